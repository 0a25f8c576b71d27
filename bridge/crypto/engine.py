"""The parts of encryption, wired: what `Crypto` promises.

A transaction is decrypted where it is made durable; what then needs somebody's server (device
lists, sessions to repair, keys to ask for) is worked on by the tasks of `run()`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from bridge.config import Settings
from bridge.crypto import Handler, NoSession, Undecryptable
from bridge.crypto.api import KeyApi
from bridge.crypto.device import OwnDevice, device_of
from bridge.crypto.handling import Handling
from bridge.crypto.incoming import Incoming
from bridge.crypto.machine import Machine, Store, open_tables
from bridge.crypto.opening import Opening
from bridge.crypto.outgoing import Outgoing
from bridge.crypto.people import People
from bridge.crypto.repairs import Repairs
from bridge.crypto.rooms import EncryptedRooms
from bridge.crypto.secret import Secret, kept
from bridge.errors import Unavailable
from bridge.matrix.client import Homeserver
from bridge.store.database import Database
from bridge.store.inbox import Inbox

__all__ = ["Engine", "NoSession", "Undecryptable", "open_engine"]

log = logging.getLogger(__name__)

Woken = Callable[[set[str]], None]


async def open_engine(settings: Settings, db: Database, homeserver: Homeserver) -> Engine:
    """Encryption over this database and `data_dir`. Raises ConfigError; asks nobody."""
    # It names each key and session it meets.
    logging.getLogger("mau.crypto").setLevel(logging.WARNING)
    await open_tables(db)
    secret = kept(settings.path(settings.data_dir))
    store = Store(homeserver.user_id, secret.pickle, db)
    machine = Machine(KeyApi(homeserver, await device_of(store, db)), store, db)
    await machine.load()
    return Engine(machine, homeserver, secret)


class Engine:
    """`Crypto` by libolm. `on_unlocked` is told which rooms have something to read now."""

    def __init__(
        self,
        machine: Machine,
        homeserver: Homeserver,
        secret: Secret,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.on_unlocked: Woken = lambda _rooms: None
        self._machine = machine
        self._people = People(machine)
        self._rooms = EncryptedRooms(machine.db, homeserver)
        self._own = OwnDevice(machine, secret)
        box = secret.box()
        self._incoming = Incoming(
            machine, self._people, self._own, Inbox(machine.db), box, now_ms=now_ms
        )
        self._opening = Opening(machine, self._people)
        self._outgoing = Outgoing(machine, self._people, self._rooms)
        self._handling = Handling(machine, self._people, box, now_ms=now_ms)
        self._repairs = Repairs(machine, self._people, self._outgoing, self._unlocked, now_ms)

    @property
    def device_id(self) -> str:
        """The bot's device."""
        return self._machine.api.device_id

    @property
    def ready(self) -> asyncio.Event:
        """Set when the homeserver knows the device and has keys of it."""
        return self._own.ready

    async def take(self, transaction: dict[str, Any]) -> None:
        """See `Crypto.take`."""
        events = transaction.get("events")
        await self._rooms.heard(events if isinstance(events, list) else [])
        unlocked, senders = await self._incoming.take(transaction)
        self._repairs.seen(senders)
        self._handling.wake()
        self._unlocked(unlocked)

    async def decrypt(self, event: dict[str, Any]) -> dict[str, Any]:
        """See `Crypto.decrypt`."""
        try:
            return await self._opening.decrypt(event)
        except Undecryptable as error:
            if error.session is not None:
                self._repairs.missing(event, error.session)
            raise

    async def encrypts(self, room_id: str) -> bool:
        """See `Crypto.encrypts`."""
        return await self._rooms.encrypts(room_id)

    async def encrypt(
        self, room_id: str, event_type: str, content: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """See `Crypto.encrypt`."""
        if await self._rooms.encrypts(room_id):
            self._ready()
        return await self._outgoing.encrypt(room_id, event_type, content)

    async def current(self, room_id: str, sealed: dict[str, Any]) -> bool:
        """Whether content that was encrypted before may be sent as it is."""
        self._ready()
        return await self._outgoing.current(room_id, str(sealed.get("session_id")))

    async def send_to_device(
        self, user_id: str, device_id: str, event_type: str, content: dict[str, Any]
    ) -> None:
        """See `Crypto.send_to_device`."""
        self._ready()
        await self._outgoing.send_to_device(user_id, device_id, event_type, content)

    def on_to_device(self, event_type: str, handler: Handler) -> None:
        """See `Crypto.on_to_device`."""
        self._incoming.hooked.add(event_type)
        self._handling.on(event_type, handler)

    async def missed(self) -> None:
        """Either of us was away: what people's servers told meanwhile may be lost."""
        await self._people.all_changed()

    async def run(self) -> None:
        """See `Crypto.run`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._own.run())
            tasks.create_task(self._handling.run())
            tasks.create_task(self._repairs.run())

    def _ready(self) -> None:
        if not self._own.ready.is_set():
            raise Unavailable("homeserver_unavailable")

    def _unlocked(self, room_ids: set[str]) -> None:
        if room_ids:
            self.on_unlocked(room_ids)
