"""The leaves that clients handed over: owner of all of them, over restarts.

A look at the media server each second tells who is there; what follows from it is decided in
bridge.domain.leaves. A browser that crashed is so out of the call for everybody else a few seconds
after the media server calls its connection gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from bridge.domain import leaves
from bridge.domain.leaves import Action, Leave
from bridge.errors import Unavailable
from bridge.matrix.admission import BadAsk
from bridge.matrix.delayed import Answer
from bridge.media.server import MediaParticipant
from bridge.rooms.turns import Turns
from bridge.store.database import DATABASE_ERRORS

log = logging.getLogger(__name__)

LOOK_S = 1.0
MOST_OF_A_USER = 10
MOST = 5_000
_AT_ONCE = 16
_AT_ONCE_ELSEWHERE = 8

Key = tuple[str, str, str]


class Media(Protocol):
    """bridge.media.server.MediaServer."""

    async def participants(self, name: str) -> list[MediaParticipant]: ...


class Delayed(Protocol):
    """bridge.matrix.delayed.DelayedEvents."""

    def is_own(self, user_id: str) -> bool: ...
    async def reaches(self, user_id: str) -> bool: ...
    async def ask(self, user_id: str, delay_id: str, action: Action) -> Answer: ...


class Store(Protocol):
    """bridge.store.leaves.Leaves."""

    async def put(self, leave: Leave) -> None: ...
    async def connected(self, leave: Leave) -> None: ...
    async def drop(self, leave: Leave) -> None: ...
    async def all(self) -> list[Leave]: ...


class Leaves:
    """`run()` works until cancelled; `take()` is for the doors."""

    def __init__(
        self,
        store: Store,
        media: Media,
        delayed: Delayed,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        look_s: float = LOOK_S,
    ) -> None:
        self._store = store
        self._media = media
        self._delayed = delayed
        self._clock_ms = clock_ms
        self._look_s = look_s
        self._leaves: dict[Key, Leave] = {}
        self._asking: dict[str, Key] = {}
        # Slow homeservers of strangers hold up only one another.
        self._own = Turns(self._turn, limit=_AT_ONCE)
        self._others = Turns(self._turn, limit=_AT_ONCE_ELSEWHERE)
        self._looked = asyncio.Event()

    async def take(self, leave: Leave) -> None:
        """Take a leave over; durable when it returns. Raises BadAsk where that cannot be."""
        # All refusals are "bad JSON": for this code, and no other, Element Call asks again without
        # handing its leave over.
        if not await self._delayed.reaches(leave.user_id):
            raise BadAsk("the client-server API of this user's homeserver cannot be found")
        self._check_room_for(leave)
        await self._store.put(leave)
        for key, known in list(self._leaves.items()):
            if key[:2] == _key(leave)[:2] and key != _key(leave):
                self._leaves[key] = replace(known, replaced=True, rest_until_ms=0)
        known = self._leaves.get(_key(leave), leave)
        self._leaves[_key(leave)] = replace(
            known, timeout_ms=leave.timeout_ms, asked_ms=leave.asked_ms, replaced=False
        )

    def _check_room_for(self, leave: Leave) -> None:
        if _key(leave) in self._leaves:
            return
        held = Counter(known.user_id for known in self._leaves.values())
        if held[leave.user_id] >= MOST_OF_A_USER or held.total() >= MOST:
            log.warning("%s has handed over too many leaves", leave.user_id)
            raise BadAsk("too many delegated leaves")

    async def run(self) -> None:
        """Begin with what was taken over before a restart."""
        for leave in await self._store.all():
            self._leaves.setdefault(_key(leave), leave)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._own.run())
            tasks.create_task(self._others.run())
            tasks.create_task(self._look_around())

    async def _look_around(self) -> None:
        while True:
            for room in {leave.media_room for leave in self._leaves.values()}:
                try:
                    await self._look(room)
                except Unavailable as error:
                    log.info("who is in a call is not known now: %s", error)
                    break
                except DATABASE_ERRORS as error:
                    log.error("a delegated leave could not be stored: %s", error)
            self._wake()
            await asyncio.sleep(self._look_s)

    async def _look(self, room: str) -> None:
        """Who is in a media room. One that does not exist has nobody in it."""
        there = {one.identity for one in await self._media.participants(room)}
        for key in [key for key in self._leaves if key[0] == room]:
            await self._seen(key, bool(self._leaves[key].names & there))

    async def _seen(self, key: Key, present: bool) -> None:
        before = self._leaves[key]
        after = self._leaves[key] = leaves.seen(before, present, self._clock_ms())
        if after.connected and not before.connected:
            await self._store.connected(after)

    def _wake(self) -> None:
        now_ms = self._clock_ms()
        due = [key for key, leave in self._leaves.items() if leaves.wanted(leave, now_ms)]
        own = [key for key in due if self._delayed.is_own(self._leaves[key].user_id)]
        self._own.wake(self._names(own))
        self._others.wake(self._names(set(due) - set(own)))

    def _names(self, keys: Iterable[Key]) -> Sequence[str]:
        named = {"\0".join(key): key for key in keys}
        self._asking.update(named)
        return list(named)

    async def _turn(self, name: str) -> float | None:
        key = self._asking.pop(name, None)
        leave = None if key is None else self._leaves.get(key)
        action = None if leave is None else leaves.wanted(leave, self._clock_ms())
        if key is None or leave is None or action is None:
            return None
        answer = await self._delayed.ask(leave.user_id, leave.delay_id, action)
        log.info("leave of %s in room %s: %s %s", leave.user_id, leave.room_id, action, answer)
        # What was seen meanwhile counts: only what the answer changes is taken over.
        leave = self._leaves[key]
        after = leaves.answered(
            leave, action, answer.outcome, self._clock_ms(), rest_ms=answer.rest_ms
        )
        if after is None:
            del self._leaves[key]
            await self._store.drop(leave)
        else:
            self._leaves[key] = after
        return None


def _key(leave: Leave) -> Key:
    return (leave.media_room, leave.identity, leave.delay_id)
