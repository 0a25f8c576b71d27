"""The registration file: what a homeserver needs to know of this bridge, and both its secrets."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bridge.config import Settings
from bridge.errors import ConfigError

_PLACEHOLDER = "GENERATE_ME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A registration as the homeserver has it. The tokens never appear in a `repr`."""

    id: str
    url: str
    sender_localpart: str
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    user_namespaces: tuple[str, ...] = ()
    proxy_prefix: str | None = None
    scopes: tuple[str, ...] = ()
    has_device: bool = False
    """The homeserver lets the bot have a device, and tells us what is sent to it."""

    def bot(self, server_name: str) -> str:
        """The bot's Matrix id."""
        return f"@{self.sender_localpart}:{server_name}"


def read(path: Path) -> Registration:
    """Read a registration file. Raises ConfigError, naming the file and what is wrong in it."""
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}"
            " (`python -m bridge generate-registration` writes one)"
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold keys such as `as_token:`")
    return _registration(document, path)


def _registration(document: dict[str, Any], path: Path) -> Registration:
    texts = {name: _text(document, name, path) for name in _REQUIRED}
    for token in ("as_token", "hs_token"):
        # A header, compared byte for byte: Synapse sends it as ASCII.
        if not texts[token].isascii() or _PLACEHOLDER in texts[token]:
            raise ConfigError(
                f"{path}: `{token}` must be a secret of your own"
                " (`python -m bridge generate-registration` makes one)"
            )
    if texts["as_token"] == texts["hs_token"]:
        raise ConfigError(f"{path}: `as_token` and `hs_token` must differ")
    return Registration(
        **texts,
        user_namespaces=_namespaces(document, path),
        proxy_prefix=document.get("io.element.msc4512.proxy_prefix"),
        scopes=tuple(document.get("io.element.msc4502.scopes") or ()),
        has_device=all(document.get(name) is True for name in _DEVICE_FLAGS),
    )


_DEVICE_FLAGS = (
    "io.element.msc4190",
    "org.matrix.msc3202",
    "de.sorunome.msc2409.push_ephemeral",
)
_REQUIRED = ("id", "url", "sender_localpart", "as_token", "hs_token")


def _text(document: dict[str, Any], name: str, path: Path) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{path}: `{name}` must be a text that is not empty")
    return value


def _namespaces(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    namespaces = document.get("namespaces")
    users = namespaces.get("users") if isinstance(namespaces, dict) else None
    if not isinstance(users, list):
        raise ConfigError(f"{path}: `namespaces.users` must be a list")
    regexes = [user.get("regex") if isinstance(user, dict) else None for user in users]
    if not all(isinstance(regex, str) for regex in regexes):
        raise ConfigError(f"{path}: each of `namespaces.users` must have a `regex`")
    return tuple(str(regex) for regex in regexes)


def generate(settings: Settings, before: Registration | None = None) -> str:
    """The text of a registration file with fresh tokens, or those it had. Keep it secret."""
    return _fill(
        server_name=settings.homeserver.server_name,
        url=f"http://{settings.appservice.listen}",
        as_token=before.as_token if before else secrets.token_urlsafe(32),
        hs_token=before.hs_token if before else secrets.token_urlsafe(32),
    )


def template() -> str:
    """The same without secrets: the tracked `registration.yaml`."""
    return _fill(
        server_name="example.org",
        url=f"http://{Settings().appservice.listen}",
        as_token=f"{_PLACEHOLDER}_as_token",
        hs_token=f"{_PLACEHOLDER}_hs_token",
    )


def _fill(*, server_name: str, url: str, as_token: str, hs_token: str) -> str:
    text = _TEXT
    for name, value in (
        ("URL", url),
        ("AS_TOKEN", as_token),
        ("HS_TOKEN", hs_token),
        ("SERVER_REGEX", re.escape(server_name)),
    ):
        text = text.replace(f"<{name}>", value)
    return text


_TEXT = """\
# Registration of Colloque at a homeserver (Matrix specification, Application Service API).
# `python -m bridge generate-registration` writes one with fresh tokens and your server's name.
# Give the same file to the homeserver (Synapse: `app_service_config_files`) and to the bridge
# (`appservice.registration`). Whoever has it can act as the bot: keep it readable to both alone.
id: colloque

# Where the homeserver reaches the bridge (`appservice.listen`, as seen from the homeserver).
url: "<URL>"

# What the bridge shows to the homeserver, and the homeserver to the bridge. Two different secrets.
as_token: "<AS_TOKEN>"
hs_token: "<HS_TOKEN>"

# The bot is @visio:your.server.
sender_localpart: visio

# The bridge's own sending is not rate limited; it sends one message at a time per room.
rate_limited: false

# The bot is the only user this bridge claims: it creates none for people who already have an
# account. Of aliases it claims #visio_…: rooms made when somebody joins one by its name
# (`conference.alias_rooms`).
namespaces:
  users:
    - exclusive: true
      regex: '@visio:<SERVER_REGEX>'
  aliases:
    - exclusive: true
      regex: '#visio_.*:<SERVER_REGEX>'
  rooms: []

# MSC4190: devices without a login. Required where a Matrix Authentication Service signs people in.
io.element.msc4190: true

# MSC3202 and MSC2409: the homeserver tells the bridge what is sent to the bot's device, so that it
# can read and write in encrypted rooms. Synapse needs `experimental_features:
# {msc2409_to_device_messages_enabled: true, msc3202_transaction_extensions: true}`.
org.matrix.msc3202: true
receive_ephemeral: true
de.sorunome.msc2409.push_ephemeral: true

# MSC4512: the homeserver passes call-token requests of its users and of other homeservers to the
# bridge. Synapse needs `experimental_features: {msc4512_enabled: true}`.
io.element.msc4512.proxy_prefix: "rtc/livekit"
io.element.msc4512.proxy_url: "<URL>"

# MSC4502: the bridge may ask whether somebody is a member of a room, also where the bot is not.
# Synapse needs `experimental_features: {msc4502_enabled: true}`.
io.element.msc4502.scopes: ["urn:matrix:client:io.element.msc4502:rooms:is_joined"]
"""
