"""Encrypted rooms: the bot's own device, what it may read, and what only a room may read.

Olm and Megolm are libolm's, their state and the keys of others lie in the bridge's own database
(`mautrix.crypto.PgCryptoStore`). What comes in is decrypted in the transaction that makes it
durable; nothing that a stranger's server has to answer is waited for there, nor where a room's
entries are handled. This module imports no cryptography, so that a bridge without python-olm runs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.config import Settings
from bridge.errors import ColloqueError
from bridge.matrix.client import Homeserver
from bridge.matrix.registration import Registration
from bridge.store.database import Database

__all__ = [
    "Crypto",
    "Handler",
    "NoSession",
    "ToDevice",
    "Undecryptable",
    "installed",
    "open_crypto",
]

log = logging.getLogger(__name__)


class Undecryptable(ColloqueError):
    """An event cannot be read. `session`: the Megolm session whose key may still come, or None."""

    def __init__(self, reason: str, *, session: str | None = None) -> None:
        super().__init__(reason)
        self.session = session


class NoSession(ColloqueError):
    """A device has no keys that something could be encrypted for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDevice:
    """A message of one device to the bot's, decrypted.

    `device` is the one whose Olm session it came through, as the sender's server lists it: never
    what the message says of itself.
    """

    sender: str
    device: str
    type: str
    content: dict[str, Any]


Handler = Callable[[ToDevice], Awaitable[None]]


class Crypto(Protocol):
    """Encryption as the rest of the bridge uses it.

    `on_unlocked` is told which rooms have something to read now.
    """

    on_unlocked: Callable[[set[str]], None]

    @property
    def device_id(self) -> str:
        """The bot's device, the same for as long as the database lives."""

    @property
    def ready(self) -> asyncio.Event:
        """Set when the homeserver knows the device and has keys of it."""

    async def take(self, transaction: dict[str, Any]) -> None:
        """Keep what a transaction of the homeserver says. Durable when it returns.

        Raises one of DATABASE_ERRORS, and has then kept nothing; a repeated one changes nothing.
        """

    async def decrypt(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event as it was before encryption, its sender checked. Asks nobody.

        Raises Undecryptable. Its `session` names what to wait for: the inbox entries that are
        locked for it are unlocked when its key comes.
        """

    async def encrypt(
        self, room_id: str, event_type: str, content: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Type and content to send: unchanged where the room, or this kind of event, is in clear.

        Shares the key with everybody's devices before. Raises HomeserverError, Unreachable.
        """

    async def encrypts(self, room_id: str) -> bool:
        """Whether this room's messages are encrypted. Once true it stays true."""

    async def send_to_device(
        self, user_id: str, device_id: str, event_type: str, content: dict[str, Any]
    ) -> None:
        """Send one device something only it can read.

        Raises NoSession where that device has no keys; HomeserverError, Unreachable.
        """

    def on_to_device(self, event_type: str, handler: Handler) -> None:
        """Have decrypted messages of this type handled; set before anything is taken.

        A message counts as processed when its handler returned: until then it is brought again,
        also after a restart. Those of one sender come in order.
        """

    async def current(self, room_id: str, sealed: dict[str, Any]) -> bool:
        """Whether what `encrypt` made before may still be sent as it is: nobody left since."""

    async def missed(self) -> None:
        """Either of us was away: what the homeserver had to tell meanwhile may be lost."""

    async def run(self) -> None:
        """Work until cancelled: the device's keys, other people's devices, handlers."""


def installed() -> bool:
    """Whether the packages of the extra `encryption` are there."""
    needed = ("olm", "base58", "unpaddedbase64")
    return all(importlib.util.find_spec(name) is not None for name in needed)


async def open_crypto(
    settings: Settings, granted: Registration, db: Database, homeserver: Homeserver
) -> Crypto | None:
    """Encryption, or None (with the reason in the log) where encrypted rooms are not served."""
    if not settings.encryption.enabled:
        log.info("encrypted rooms are not served: encryption.enabled is false")
        return None
    if not installed():
        log.warning("encrypted rooms are not served: install the extra `encryption` (python-olm)")
        return None
    if not granted.has_device:
        log.warning(
            "encrypted rooms are not served: the registration has no org.matrix.msc3202 or"
            " de.sorunome.msc2409.push_ephemeral (`generate-registration` writes both)"
        )
        return None
    from bridge.crypto.engine import open_engine  # needs python-olm, which may not be there

    return await open_engine(settings, db, homeserver)
