"""What the probes of one walk share, and what is to be undone after it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import aiohttp

from bridge.config import Settings
from bridge.doctor.http import Reply, ask
from bridge.errors import ColloqueError
from bridge.matrix.registration import Registration
from bridge.media.keys import ApiKey

if TYPE_CHECKING:
    from bridge.doctor.room import RoomState
    from bridge.doctor.signalling import Joined

log = logging.getLogger(__name__)

T = TypeVar("T")
_LEAVE_S = 15.0
DEVICE = "DOCTOR"
"""The device the bot claims when it asks for call tokens."""


@dataclass
class Visit:
    """Filled by the probes as they go: a check that needs a value names the check that sets it."""

    file: Path
    asked_room: str = ""
    clock: Callable[[], float] = time.time
    nonce: str = field(default_factory=lambda: secrets.token_hex(6))
    undo: AsyncExitStack = field(default_factory=AsyncExitStack)
    found: Settings | None = None
    registered: Registration | None = None
    api_key: ApiKey | None = None
    instance: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    own_room: str = ""
    sealed: bool = False
    joined: Joined | None = None
    state: RoomState | None = None
    webhooks: dict[str, float] = field(default_factory=dict)
    ways: dict[str, bool] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return _there(self.found)

    @property
    def registration(self) -> Registration:
        """The registration file as this machine has it."""
        return _there(self.registered)

    @property
    def key(self) -> ApiKey:
        """Of the media server."""
        return _there(self.api_key)

    @property
    def bot(self) -> str:
        """The bridge's user."""
        return self.registration.bot(self.settings.homeserver.server_name)

    @property
    def room_state(self) -> RoomState:
        """Of the room that was asked about."""
        return _there(self.state)

    @property
    def media_room(self) -> str:
        """A room of the media server for this walk alone: no call is touched."""
        return f"doctor-{self.nonce}"

    @property
    def page(self) -> str:
        """`web.public_url`, as clients spell it."""
        return self.settings.web.public_url.rstrip("/")

    @property
    def inside(self) -> str:
        """The web service without the reverse proxy."""
        return reach(self.settings.web.listen)

    async def matrix(self, method: str, path: str, body: object = None) -> Reply:
        """One request to the homeserver as the bot. Raises NoAnswer."""
        address = self.settings.homeserver.address.rstrip("/")
        return await ask(method, address + path, token=self.registration.as_token, body=body)

    @property
    def federation_tls(self) -> ssl.SSLContext:
        """As the bridge itself judges other homeservers' certificates."""
        context = ssl.create_default_context()
        if not self.settings.federation.verify_certificates:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def leave(self) -> None:
        """Undo what the probes did; what cannot be undone is not worth the report."""
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self.undo.aclose()
        except (ColloqueError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("not everything could be undone: %s", error)


def reach(listen: str) -> str:
    """The address of something that listens on this machine, `http://host:port`."""
    host, _, port = listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"http://{host}:{port}"


def _there(value: T | None) -> T:
    if value is None:
        raise LookupError("an earlier check has not set this value")
    return value
