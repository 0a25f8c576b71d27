"""What needs somebody's server before it can be read: device lists, lost keys, broken sessions.

One owner that takes what was noted meanwhile. Nothing here is stored: a message whose key is still
missing is met again when its room's entry is, and the entry's own deadline ends it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from mautrix.types import SessionID

from bridge.crypto import NoSession
from bridge.crypto.machine import Machine
from bridge.crypto.outgoing import Outgoing
from bridge.crypto.people import People
from bridge.errors import Unavailable
from bridge.matrix import wire
from bridge.matrix.http import HomeserverError
from bridge.matrix.limits import Recent
from bridge.store.database import DATABASE_ERRORS
from bridge.store.inbox import Inbox

log = logging.getLogger(__name__)

_SOON_S = 2.0
"""A key often comes a moment after its message: only then it is asked for."""
_NOTED = 1000
_UNWEDGE_EVERY_S = 3600.0
_AT_ONCE = 16
_DAY_MS = 86_400_000
_KEPT_DAYS = 90
_PASSES: tuple[type[Exception], ...] = (Unavailable, HomeserverError, NoSession, *DATABASE_ERRORS)


class Repairs:
    """Notes what is missing; `run()` works on it."""

    def __init__(
        self,
        machine: Machine,
        people: People,
        outgoing: Outgoing,
        on_unlocked: Callable[[set[str]], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._machine = machine
        self._people = people
        self._outgoing = outgoing
        self._inbox = Inbox(machine.db)
        self._on_unlocked = on_unlocked
        self._now_ms = now_ms
        self._unknown: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._missing: OrderedDict[str, tuple[dict[str, Any], float]] = OrderedDict()
        self._requested: OrderedDict[str, None] = OrderedDict()
        self._unwedged: Recent[str, None] = Recent(_NOTED)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._news = asyncio.Event()

    def seen(self, senders: set[tuple[str, str]]) -> None:
        """(user, identity key) of who sent something: it may be from a device not known yet."""
        for sender in senders:
            _note(self._unknown, sender, None)
        if senders or self._machine.wedged:
            self._news.set()

    def missing(self, event: dict[str, Any], session: str) -> None:
        """This event cannot be read without the key of `session`, or its sender's device list."""
        if session not in self._missing:
            _note(self._missing, session, (event, time.monotonic() + _SOON_S))
            self._news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forget())
            while True:
                await self._wait()
                for work in self._noted():
                    tasks.create_task(self._tried(work))

    def _noted(self) -> list[Coroutine[Any, Any, None]]:
        """What is due now. Each waits for one person's server, none for another's."""
        now = time.monotonic()
        senders, self._unknown = self._unknown, OrderedDict()
        wedged, self._machine.wedged = self._machine.wedged, {}
        work = [self._learn(user_id, key) for user_id, key in senders]
        work += [self._unwedge(user_id, key) for key, user_id in wedged.items()]
        for session in [session for session, (_, at) in self._missing.items() if at <= now]:
            work.append(self._ask_key(self._missing.pop(session)[0], session))
        return work

    async def _tried(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._at_once:
            try:
                await work
            except _PASSES as error:
                log.info("encryption: %s", error)
            except Exception:  # one person's odd keys must not end the work for everybody
                log.exception("encryption: a repair failed")

    async def _wait(self) -> None:
        until = min((due for _, due in self._missing.values()), default=None)
        pause = None if until is None else max(until - time.monotonic(), 0.05)
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def _learn(self, user_id: str, key: str) -> None:
        """Read the list of a sender whose device is not known, then look at their events again."""
        if await self._people.of_key(user_id, key) is None:
            await self._people.learn(user_id)
            waiting = {s for s, (event, _) in self._missing.items() if event["sender"] == user_id}
            await self._unlock(waiting)

    async def _unlock(self, sessions: set[str]) -> None:
        rooms: set[str] = set()
        for session in sessions:
            async with self._machine.db.acquire() as conn, conn.transaction():
                rooms |= await self._inbox.unlock(conn, session)
        if rooms:
            self._on_unlocked(rooms)

    async def _ask_key(self, event: dict[str, Any], session: str) -> None:
        """What is missing after a moment: the device list, or the key, which is asked for."""
        store = self._machine.store
        if await store.has_group_session(event["room_id"], SessionID(session)):
            await self._people.learn(event["sender"])
            await self._unlock({session})
        elif session not in self._requested:
            _note(self._requested, session, None)
            await self._request(event, session)

    async def _request(self, event: dict[str, Any], session: str) -> None:
        content = event["content"]
        api = self._machine.api
        request = {
            "action": "request",
            "request_id": session,
            "requesting_device_id": api.device_id,
            "body": {
                "algorithm": wire.MEGOLM,
                "room_id": event["room_id"],
                "session_id": session,
                "sender_key": str(content.get("sender_key", "")),
            },
        }
        device = content.get("device_id")
        to = device if isinstance(device, str) and device else "*"
        await api.send_to_device(wire.ROOM_KEY_REQUEST, [(event["sender"], to, request)])

    async def _unwedge(self, user_id: str, key: str) -> None:
        """Begin a new session with a device whose messages cannot be read any more."""
        now = time.monotonic()
        done_lately, _ = self._unwedged.get(key, now)
        if done_lately:
            return
        self._unwedged.put(key, None, until=now + _UNWEDGE_EVERY_S)
        device = await self._people.of_key(user_id, key)
        if device is None:
            await self._people.learn(user_id)
            device = await self._people.of_key(user_id, key)
        if device is not None:
            await self._outgoing.send_olm(device, wire.DUMMY, {}, anew=True)

    async def _forget(self) -> None:
        """Drop room keys and traces that nothing needs any more, once a day."""
        while True:
            before_ms = self._now_ms() - _KEPT_DAYS * _DAY_MS
            try:
                async with self._machine.db.acquire() as conn, conn.transaction():
                    await conn.execute("DELETE FROM e2ee_seen WHERE seen_ms < $1", before_ms)
                    await conn.execute(
                        "DELETE FROM crypto_megolm_inbound_session WHERE received_at < $1",
                        datetime.fromtimestamp(before_ms / 1000, UTC).replace(tzinfo=None),
                    )
                    await conn.execute(
                        "DELETE FROM crypto_message_index WHERE session_id NOT IN"
                        " (SELECT session_id FROM crypto_megolm_inbound_session)"
                    )
            except DATABASE_ERRORS as error:
                log.error("old traces of encryption cannot be removed: %s", error)
            await asyncio.sleep(_DAY_MS / 1000)


def _note(where: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    where[key] = value
    where.move_to_end(key)
    while len(where) > _NOTED:
        where.popitem(last=False)
