"""The rooms at work: takes news through the one durable door and handles it, room by room.

Each room's entries are handled in order by one turn at a time. A part that does not answer
(`Unavailable`, the database) is waited for, however long; anything else that fails is a defect, is
tried five times, and is then set aside with a reference, so that it never blocks its room for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from bridge.domain.conference import read_conferences
from bridge.errors import Unavailable
from bridge.matrix.client import HomeserverError
from bridge.rooms import news
from bridge.rooms.conductor import Conductor
from bridge.rooms.house import Stores
from bridge.rooms.sealed import KEY_WAIT_MS
from bridge.rooms.turns import Turns
from bridge.store.database import DATABASE_ERRORS
from bridge.store.inbox import Entry, NewEntry

log = logging.getLogger(__name__)

ATTEMPTS = 5
_WAITED_FOR: tuple[type[Exception], ...] = (Unavailable, HomeserverError, *DATABASE_ERRORS)
FIRST_REST_S, LAST_REST_S = 0.5, 10.0
SWEEP_S = 10.0
UNLOCK_S = 2.0

Woken = Callable[[Iterable[str]], None]


class Rooms:
    """Owner of the rooms' turns. `run()` works until cancelled.

    `on_handled` is called with the room after each committed entry: the outbox and the reconciler
    then have something to do.
    """

    def __init__(
        self,
        stores: Stores,
        conductor: Conductor,
        *,
        on_handled: Woken,
        registry: CollectorRegistry | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        first_rest_s: float = FIRST_REST_S,
    ) -> None:
        self._stores = stores
        self._conductor = conductor
        self._on_handled = on_handled
        self._clock_ms = clock_ms
        self._first_rest_s = first_rest_s
        self._turns = Turns(self._turn)
        self._failures: dict[str, int] = {}
        self._handled = Counter(
            "colloque_inbox_entries",
            "Inbox entries by what became of them.",
            ["kind", "outcome"],
            registry=registry,
        )

    def wake(self, room_ids: Iterable[str]) -> None:
        """Entries of these rooms were committed."""
        self._turns.wake(room_ids)

    async def run(self) -> None:
        """Begin with what waited over the restart, then work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._turns.run())
            tasks.create_task(self._sweep())
            tasks.create_task(self._unlock())

    async def idle(self) -> None:
        """Return when nothing is left to handle."""
        await self._turns.idle()

    async def take(self, entries: Sequence[NewEntry]) -> None:
        """Commit entries and wake their rooms; durable when it returns."""
        self.wake(await self._stores.inbox.commit(entries, now_ms=self._clock_ms()))

    async def segments(self, frames: list[dict[str, Any]]) -> None:
        """`on_segment` of the scribe's link."""
        await self.take([entry for frame in frames if (entry := _segment(frame)) is not None])

    async def session(self, frame: dict[str, Any]) -> None:
        """`on_session` of the scribe's link: an end, a failure and a missing key are news."""
        conference, state = str(frame.get("conference")), str(frame.get("state"))
        room_id = await self._room_of(conference)
        if room_id is None:
            return
        self._on_handled([room_id])
        # "lost": the scribe has restarted, and is asked again in a moment. Nobody need know.
        detail = str(frame.get("detail", ""))
        if state == "stopped" or (state == "failed" and detail != "lost"):
            await self.take([news.session(room_id, conference, state)])
        elif detail == "no_key":
            await self.take([news.session(room_id, conference, state, detail)])

    async def _sweep(self) -> None:
        """Find what waits although nobody woke its room: committed, and then we were killed."""
        while True:
            try:
                self.wake(await self._stores.inbox.waiting_rooms())
            except DATABASE_ERRORS as error:
                log.error("the inbox cannot be read: %s", error)
            await asyncio.sleep(SWEEP_S)

    async def _unlock(self) -> None:
        """Bring back encrypted entries whose key did not come in time: somebody is to be told."""
        while True:
            try:
                before_ms = self._clock_ms() - KEY_WAIT_MS
                self.wake(await self._stores.inbox.unlock_old(before_ms))
            except DATABASE_ERRORS as error:
                log.error("the inbox cannot be read: %s", error)
            await asyncio.sleep(UNLOCK_S)

    async def _room_of(self, conference: str) -> str | None:
        for room_id in await self._stores.conferences.active():
            snapshot = await self._stores.conferences.load(None, room_id)
            if any(c.id == conference for c in read_conferences(snapshot)):
                return room_id
        return None

    async def _turn(self, room_id: str) -> float | None:
        while (entry := await self._stores.inbox.next(room_id)) is not None:
            rest = await self._try(entry)
            if rest is not None:
                return rest
            self._failures.pop(room_id, None)
            self._on_handled([room_id])
        return None

    async def _try(self, entry: Entry) -> float | None:
        """None when the entry is out of the way, else how long to rest."""
        try:
            await self._conductor.handle(entry)
        except _WAITED_FOR as error:
            if not _passes(error):
                return await self._failed(entry, error)
            log.info("room %s waits: %s", entry.room_id, error)
            return self._rest(entry.room_id)
        except Exception as error:  # a defect: the top level of handling one entry
            return await self._failed(entry, error)
        self._handled.labels(entry.kind, "done").inc()
        return None

    async def _failed(self, entry: Entry, error: Exception) -> float | None:
        reference = hashlib.sha256(f"{entry.kind} {entry.key}".encode()).hexdigest()[:8]
        last = entry.attempts + 1 >= ATTEMPTS
        log.error(
            "entry %d (%s) of room %s failed, reference %s%s",
            entry.seq,
            entry.kind,
            entry.room_id,
            reference,
            ", set aside" if last else "",
            exc_info=error,
        )
        self._handled.labels(entry.kind, "set_aside" if last else "failed").inc()
        if last:
            await self._conductor.give_up(entry, reference)
        await self._stores.inbox.failed(
            entry, f"{reference} {type(error).__name__}: {error}", give_up=last
        )
        return None if last else self._rest(entry.room_id)

    def _rest(self, room_id: str) -> float:
        failures = self._failures.get(room_id, 0)
        self._failures[room_id] = failures + 1
        return min(self._first_rest_s * 2.0 ** min(failures, 10), LAST_REST_S)


def _passes(error: Exception) -> bool:
    """Whether waiting helps: the homeserver answers 429 or 5xx, or nothing answers at all."""
    return not isinstance(error, HomeserverError) or error.status == 429 or error.status >= 500


def _segment(frame: dict[str, Any]) -> NewEntry | None:
    """The entry for a segment frame; None (and a line in the log) where it is no such thing."""
    try:
        news.scribe(frame)
    except news.InvalidNews as error:
        log.error("a segment of the scribe cannot be read and is left aside: %s", error)
        return None
    room_id, key = frame.get("room_id"), frame.get("key")
    if not isinstance(room_id, str) or not isinstance(key, str):
        log.error("a segment of the scribe names no room")
        return None
    return NewEntry(room_id, "scribe", key, frame)
