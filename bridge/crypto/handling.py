"""Decrypted to-device messages to their handlers: one sender's in order, kept until handled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from cryptography.fernet import Fernet
from mautrix.types import DeviceIdentity

from bridge.crypto import Handler, ToDevice
from bridge.crypto.machine import Machine
from bridge.crypto.people import People
from bridge.errors import Unavailable
from bridge.matrix.http import HomeserverError
from bridge.store.database import DATABASE_ERRORS
from bridge.store.text import loaded

log = logging.getLogger(__name__)


class _Unknown(Exception):
    """Their server does not say that this device is theirs (yet)."""


_TOO_OLD_MS = 3_600_000  # the keys of a call that is long over
_TRIES = 5
_FIRST_PAUSE_S = 0.5
_SENDERS_AT_ONCE = 32
_PASSES: tuple[type[Exception], ...] = (
    Unavailable,
    HomeserverError,
    _Unknown,
    *DATABASE_ERRORS,
)


class Handling:
    """Owner of the tasks that call handlers; one task for a sender who has something waiting."""

    def __init__(
        self, machine: Machine, people: People, box: Fernet, *, now_ms: Callable[[], int]
    ) -> None:
        self._machine = machine
        self._people = people
        self._box = box
        self._now_ms = now_ms
        self._handlers: dict[str, Handler] = {}
        self._lines: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    def on(self, event_type: str, handler: Handler) -> None:
        """Who is given messages of this type."""
        self._handlers[event_type] = handler

    def wake(self) -> None:
        """Something came."""
        self._news.set()

    async def run(self) -> None:
        """Hand over what waits, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                for sender in await self._senders():
                    if sender not in self._lines and len(self._lines) < _SENDERS_AT_ONCE:
                        self._lines[sender] = tasks.create_task(self._line(sender))
                await self._news.wait()

    async def _senders(self) -> list[str]:
        while True:
            try:
                rows = await self._machine.db.fetch(
                    "SELECT sender FROM e2ee_to_device GROUP BY sender ORDER BY MIN(seq)"
                )
                return [row["sender"] for row in rows]
            except DATABASE_ERRORS as error:
                log.error("messages to the bot's device cannot be read: %s", error)
                await asyncio.sleep(_FIRST_PAUSE_S)

    async def _line(self, sender: str) -> None:
        try:
            while (row := await self._next(sender)) is not None:
                await self._handle(row)
                await self._machine.db.execute(
                    "DELETE FROM e2ee_to_device WHERE seq = $1", row["seq"]
                )
        except DATABASE_ERRORS as error:
            log.error("messages of %s wait, the database fails: %s", sender, error)
            await asyncio.sleep(_FIRST_PAUSE_S)
        finally:
            del self._lines[sender]
            self._news.set()

    async def _next(self, sender: str) -> Any:
        return await self._machine.db.fetchrow(
            "SELECT * FROM e2ee_to_device WHERE sender = $1 ORDER BY seq LIMIT 1", sender
        )

    async def _handle(self, row: Any) -> None:
        """Until it is handled, or can be left aside with a line in the log."""
        handler = self._handlers.get(row["type"])
        for attempt in range(_TRIES):
            if handler is None or self._now_ms() - row["received_ms"] > _TOO_OLD_MS:
                return
            try:
                device = await self._device(row)
                await handler(
                    ToDevice(
                        sender=row["sender"],
                        device=str(device.device_id),
                        type=row["type"],
                        content=loaded(self._box.decrypt(row["content"]).decode()),
                    )
                )
                return
            except _PASSES as error:
                log.info("a message of %s waits: %s", row["sender"], error)
            except Exception:  # a defect of a handler must not stop the others' messages
                log.exception("a message of %s (%s) failed", row["sender"], row["type"])
            await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt)
        log.error("a message of %s (%s) is set aside", row["sender"], row["type"])

    async def _device(self, row: Any) -> DeviceIdentity:
        """The device whose Olm session it came through. Raises _Unknown unless it is theirs."""
        device = await self._people.of_key(row["sender"], row["sender_key"])
        if device is None:
            await self._people.learn(row["sender"])
            device = await self._people.of_key(row["sender"], row["sender_key"])
        if device is None or device.signing_key != row["signing_key"]:
            raise _Unknown("its device is not known as the sender's")
        return device
