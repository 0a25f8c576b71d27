"""Settings of the media server: flags, environment and an optional YAML file, in that order.

The file uses LiveKit's own names (`port`, `bind_addresses`, `keys`, `rtc.udp_port`, `room`,
`webhook`), so that a small livekit.yaml works here too. Unknown names are errors.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

DEV_KEYS = {"devkey": "secret"}


class BadConfig(ValueError):
    """A setting is missing or wrong; the text is one clear line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything the media server can be told."""

    bind: tuple[str, ...] = ("0.0.0.0",)
    port: int = 7880
    udp_port: int = 7882
    tcp_port: int = 7881
    advertised: tuple[str, ...] = ()
    stun_server: tuple[str, int] | None = None
    """Asked at start what address we are seen at."""
    loopback: bool = False
    """Tell clients of 127.0.0.1 too where a wildcard is bound (development)."""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    webhook_urls: tuple[str, ...] = field(default=(), repr=False)
    webhook_key: str = ""
    auto_create: bool = True
    empty_timeout_s: int = 300
    departure_timeout_s: int = 20
    resume_timeout_s: int = 20
    max_participants: int = 0
    turn_urls: tuple[str, ...] = ()
    """Relays told to clients (RFC 7065)."""
    turn_secret: str = field(default="", repr=False)
    turn_ttl_s: int = 14400
    """Seconds that credentials for the relays are valid."""
    drain_s: int = 0
    """Seconds that calls may go on after SIGTERM."""
    loudest: int = 6
    """Voices forwarded at a time in a large room; 0: all."""
    loudest_above: int = 10
    """Microphones in a room up to which all are forwarded."""
    max_connections: int = 5000
    single_connection: bool = True
    """False: `/rtc/v1` answers 404, which makes clients use two peer connections."""
    log_level: str = "INFO"


def read(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Config:
    """Settings from the command line. Raises BadConfig; exits for --help and unknown flags."""
    given = _parser().parse_args(arguments)
    config = _from_file(Config(), Path(given.config)) if given.config else Config()
    if given.dev:
        config = replace(config, bind=("127.0.0.1",), loopback=True, keys=config.keys or DEV_KEYS)
    if environment.get("LIVEKIT_KEYS"):
        config = replace(config, keys=keys_of(environment["LIVEKIT_KEYS"]))
    config = replace(config, **_flags(given))
    if not config.keys:
        raise BadConfig("no API key: give --keys 'KEY: SECRET', LIVEKIT_KEYS, a file, or --dev")
    return _checked(config)


def keys_of(text: str) -> dict[str, str]:
    """Pairs of `key: secret`, one a line or separated by commas. Raises BadConfig."""
    keys = {}
    for pair in text.replace("\n", ",").split(","):
        key, colon, secret = pair.partition(":")
        if not pair.strip():
            continue
        if not (colon and key.strip() and secret.strip()):
            raise BadConfig("keys must be written as 'KEY: SECRET'")
        keys[key.strip()] = secret.strip()
    return keys


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sfu", description="A LiveKit-compatible media server."
    )
    flag = parser.add_argument
    flag("--dev", action="store_true", help="loopback, key `devkey`, secret `secret`")
    flag("--bind", action="append", metavar="IP", help="address to listen on; may be repeated")
    flag("--port", type=int, help="signalling, server API and metrics (7880)")
    flag("--udp-port", type=int, help="the one UDP port of all media (7882)")
    flag("--tcp-port", type=int, help="the one TCP port of all media, 0 for none (7881)")
    flag("--advertise", action="append", metavar="IP", help="address given to clients for media")
    flag("--stun-server", metavar="HOST:PORT", help="asked at start for our public address")
    flag("--keys", metavar="'KEY: SECRET'", help="API keys; LIVEKIT_KEYS does the same unseen")
    flag("--webhook", action="append", metavar="URL", help="where events are posted")
    flag("--webhook-key", metavar="KEY", help="the API key events are signed with (the first)")
    flag("--turn-url", action="append", metavar="URL", help="relay (turn:HOST:PORT) for clients")
    flag("--turn-secret-file", metavar="FILE", help="coturn's static-auth-secret")
    flag("--turn-ttl", type=int, metavar="S", help="seconds its credentials are valid (14400)")
    flag("--drain-s", type=int, metavar="S", help="seconds calls may go on after SIGTERM (0)")
    flag("--loudest", type=int, metavar="N", help="voices forwarded in a large room, 0: all (6)")
    flag("--loudest-above", type=int, metavar="N", help="microphones of a large room (10)")
    flag("--config", metavar="FILE", help="YAML file; flags stand above it")
    flag("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    flag("--metrics", action="store_true", help="kept for scripts: /metrics is always there")
    return parser


def _flags(given: argparse.Namespace) -> dict[str, Any]:
    values = {
        "bind": _hosts(given.bind) if given.bind else None,
        "port": given.port,
        "udp_port": given.udp_port,
        "tcp_port": given.tcp_port,
        "advertised": _hosts(given.advertise) if given.advertise else None,
        "stun_server": _server(given.stun_server) if given.stun_server else None,
        "keys": keys_of(given.keys) if given.keys else None,
        "webhook_urls": tuple(given.webhook) if given.webhook else None,
        "webhook_key": given.webhook_key,
        "turn_urls": tuple(given.turn_url) if given.turn_url else None,
        "turn_secret": _secret_in(given.turn_secret_file) if given.turn_secret_file else None,
        "turn_ttl_s": given.turn_ttl,
        "drain_s": given.drain_s,
        "loudest": given.loudest,
        "loudest_above": given.loudest_above,
        "log_level": given.log_level,
    }
    return {name: value for name, value in values.items() if value is not None}


def _checked(config: Config) -> Config:
    for name in ("port", "udp_port", "tcp_port"):
        value = getattr(config, name)
        if not (0 if name == "tcp_port" else 1) <= value <= 65535:
            raise BadConfig(f"{name} must be a port number")
    for address in config.advertised:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise BadConfig(f"{address!r} is no IP address: clients cannot be told of it") from None
    _check_relays(config)
    for name in ("drain_s", "loudest", "loudest_above"):
        if getattr(config, name) < 0:
            raise BadConfig(f"{name} must not be negative")
    key = config.webhook_key or next(iter(config.keys))
    if key not in config.keys:
        raise BadConfig("webhook key is not among the API keys")
    return replace(config, webhook_key=key)


def _hosts(given: Sequence[str]) -> tuple[str, ...]:
    """Addresses as sockets take them: IPv6 without the brackets that URLs need."""
    return tuple(host[1:-1] if host[:1] + host[-1:] == "[]" else host for host in given)


_SERVER = re.compile(r"(\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\s\[\]]+))(:(?P<port>\d{1,5}))?")


def _server(text: str) -> tuple[str, int]:
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 3478) < 65536:
        raise BadConfig(f"{text!r} is no server: write HOST:PORT, or [ADDRESS]:PORT for IPv6")
    return found["six"] or found["host"], int(found["port"] or 3478)


_RELAY = re.compile(
    r"(turn:HOST(:\d+)?(\?transport=(udp|tcp))?|turns:HOST(:\d+)?(\?transport=tcp)?)".replace(
        "HOST", r"([\w.-]+|\[[0-9a-fA-F:.]+\])"
    )
)


def _check_relays(config: Config) -> None:
    for url in config.turn_urls:
        if not _RELAY.fullmatch(url):
            raise BadConfig(
                f"{url!r} is no relay: turn:HOST:PORT?transport=udp, or turns:HOST:PORT"
            )
    if config.turn_urls and not config.turn_secret:
        raise BadConfig("relays need the secret they share with us: --turn-secret-file")
    if config.turn_ttl_s < 60:
        raise BadConfig("credentials for relays must be valid for 60 seconds at least")


def _secret_in(file: str) -> str:
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadConfig(f"{file}: the secret of the relays cannot be read: {reason}") from error
    if not secret or len(secret.split()) > 1:
        raise BadConfig(f"{file}: must hold the secret of the relays, in one line")
    return secret


# -- file -------------------------------------------------------------------------------------

_Reader = Callable[[Any], Any]


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadConfig("must be a whole number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadConfig("must be true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadConfig("must be a text")
    return value


def _level(value: Any) -> str:
    level = _text(value).upper().replace("WARN", "WARNING").replace("WARNINGING", "WARNING")
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise BadConfig("must be debug, info, warn or error")
    return level


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadConfig("must be a list of texts")
    return tuple(str(item) for item in value)


def _table(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise BadConfig("must be a table of key: secret")
    return {str(key): str(secret) for key, secret in value.items()}


_FILE: dict[str, tuple[str, _Reader]] = {
    "port": ("port", _number),
    "bind_addresses": ("bind", lambda value: _hosts(_texts(value))),
    "keys": ("keys", _table),
    "rtc.udp_port": ("udp_port", _number),
    "rtc.tcp_port": ("tcp_port", _number),
    "rtc.advertised_addresses": ("advertised", lambda value: _hosts(_texts(value))),
    "rtc.stun_server": ("stun_server", lambda value: _server(_text(value))),
    "room.auto_create": ("auto_create", _flag),
    "room.empty_timeout": ("empty_timeout_s", _number),
    "room.departure_timeout": ("departure_timeout_s", _number),
    "room.max_participants": ("max_participants", _number),
    "turn.urls": ("turn_urls", _texts),
    "turn.secret_file": ("turn_secret", lambda value: _secret_in(_text(value))),
    "turn.ttl": ("turn_ttl_s", _number),
    "drain_s": ("drain_s", _number),
    "audio.loudest": ("loudest", _number),
    "audio.loudest_above": ("loudest_above", _number),
    "resume_timeout": ("resume_timeout_s", _number),
    "max_connections": ("max_connections", _number),
    "single_connection": ("single_connection", _flag),
    "webhook.urls": ("webhook_urls", _texts),
    "webhook.api_key": ("webhook_key", _text),
    "logging.level": ("log_level", _level),
}


def _from_file(config: Config, file: Path) -> Config:
    try:
        document = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{file}: cannot be read: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadConfig(f"{file}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise BadConfig(f"{file}: must hold settings such as `port:`")
    values = {}
    for name, value in _flattened(document).items():
        if name not in _FILE:
            raise BadConfig(f"{file}: `{name}` is not a setting; known: {', '.join(_FILE)}")
        target, reader = _FILE[name]
        try:
            values[target] = reader(value)
        except BadConfig as error:
            raise BadConfig(f"{file}: `{name}` {error}") from error
    return replace(config, **values)


def _flattened(document: Mapping[Any, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and key != "keys":
            flat.update((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            flat[str(key)] = value
    return flat
