"""The programs the bridge keeps running: command line, secrets, and how their health is asked."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from bridge import recognition
from bridge.config import Settings
from bridge.media.keys import ApiKey

SCRIBE_DRAIN_S = 12.0
"""Beside what every program gets to end: it finishes what was said, and gives up by itself after
16 s (bridge.scribe.ending)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to keep running.

    `secrets` is added to the environment: a command line can be read by everybody on the machine.
    `files` are written before it starts, readable to their owner alone. `healthy` asks whether it
    works; it answers False rather than raise. `drain_s`: seconds it may take to end on SIGTERM,
    beside what every program gets; a second SIGTERM ends it at once.
    """

    name: str
    argv: tuple[str, ...]
    healthy: Callable[[], Awaitable[bool]] = field(repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[Path, str] = field(default_factory=dict, repr=False)
    drain_s: float = 0.0

    @property
    def digest(self) -> str:
        """Tells whether a running process was started as this program is configured now."""
        parts = [*self.argv, *(f"{name}={value}" for name, value in sorted(self.secrets.items()))]
        parts += [f"{path}={text}" for path, text in sorted(self.files.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def programs(settings: Settings, key: ApiKey) -> list[Program]:
    """What this bridge keeps running, as the settings say."""
    kept = []
    if settings.media.backend == "embedded":
        kept.append(sfu_program(settings, key))
    if settings.scribe.supervise:
        kept.append(scribe_program(settings))
    return kept


def sfu_program(settings: Settings, key: ApiKey) -> Program:
    """Our own media server, as the settings describe it."""
    media = settings.media
    api = urlsplit(media.api_url)
    argv = [sys.executable, "-m", "sfu", "--port", str(api.port or 7880)]
    for address in media.bind:
        argv += ["--bind", address]
    for address in media.advertised_addresses:
        argv += ["--advertise", address]
    if media.stun_server:
        argv += ["--stun-server", media.stun_server]
    argv += ["--udp-port", str(media.rtc_udp_port), "--tcp-port", str(media.rtc_tcp_port)]
    argv += _relays(settings)
    argv += ["--webhook", webhook_url(settings), "--drain-s", str(media.drain_s)]
    return Program(
        name="sfu",
        argv=tuple(argv),
        secrets={"LIVEKIT_KEYS": f"{key.key}: {key.secret}"},
        healthy=lambda: answers_http(media.api_url),
        drain_s=media.drain_s,
    )


def _relays(settings: Settings) -> list[str]:
    """Options for TURN; the secret stays in its file."""
    media = settings.media
    options = [option for url in media.turn_urls for option in ("--turn-url", url)]
    if media.turn_secret_file:
        file = settings.path(media.turn_secret_file).resolve()
        options += ["--turn-secret-file", str(file), "--turn-ttl", str(media.turn_ttl_s)]
    return options


def scribe_program(settings: Settings, options: Sequence[str] = ()) -> Program:
    """The process that writes down what is said. `options` go behind its own.

    Its engines are told by a file: a command line can be read by everybody on the machine.
    """
    socket = settings.path(settings.scribe.socket).resolve()
    spool = (settings.path(settings.data_dir) / "scribe.spool").resolve()
    argv = [sys.executable, "-m", "bridge", "scribe", "--socket", str(socket)]
    engines = (settings.path(settings.data_dir) / "scribe.engines.json").resolve()
    argv += ["--spool", str(spool), "--engines", str(engines), *_diarization(settings), *options]
    return Program(
        name="scribe",
        argv=tuple(argv),
        healthy=lambda: answers_socket(socket),
        drain_s=SCRIBE_DRAIN_S,
        files={engines: recognition.to_json(settings.scribe.engines, settings.base)},
    )


def _diarization(settings: Settings) -> list[str]:
    """Options of the scribe for telling voices apart; none where that is off."""
    diarization = settings.diarization
    if not diarization.model_dir:
        return []
    return [
        *("--voices-model", str(settings.path(diarization.model_dir).resolve())),
        *("--voices-python", diarization.python or sys.executable),
        *("--voices-most", str(diarization.max_speakers)),
    ]


def webhook_url(settings: Settings) -> str:
    """Where a media server on this machine tells us its news."""
    host, _, port = settings.web.listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"http://{host}:{port}/media/webhook"


async def answers_http(url: str) -> bool:
    """Whether a GET is answered with 200 within two seconds."""
    timeout = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def answers_socket(path: Path) -> bool:
    """Whether somebody listens at a local socket."""
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
