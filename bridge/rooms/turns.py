"""One piece of work per room at a time, many rooms at once, each task owned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

log = logging.getLogger(__name__)

Handle = Callable[[str], Awaitable[float | None]]


class Turns:
    """Calls `handle(room_id)` for every woken room, never twice at once for the same room.

    `handle` returns None when the room has nothing left, or the seconds to rest before its next
    turn (a wake does not shorten the rest). A room woken during its turn gets another one. What
    waits is a set of rooms, so it is bounded by their number; at most `limit` turns run at once.
    """

    def __init__(self, handle: Handle, *, limit: int = 16, rest_after_error_s: float = 5.0) -> None:
        self._handle = handle
        self._limit = limit
        self._rest_after_error_s = rest_after_error_s
        self._waiting: dict[str, None] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()

    def wake(self, room_ids: Iterable[str]) -> None:
        """These rooms may have something to do. Cheap, never blocks."""
        for room_id in room_ids:
            self._waiting[room_id] = None
        self._changed.set()
        self._idle.clear()

    async def run(self) -> None:
        """Work until cancelled; then end the turns under way."""
        try:
            while True:
                self._start_ready()
                await self._changed.wait()
                self._changed.clear()
        finally:
            await self._stop()

    async def idle(self) -> None:
        """Return when no room is woken, working or resting."""
        await self._idle.wait()

    def _start_ready(self) -> None:
        for room_id in list(self._waiting):
            if len(self._running) >= self._limit:
                return
            if room_id not in self._running and room_id not in self._resting:
                del self._waiting[room_id]
                self._running[room_id] = asyncio.create_task(self._turn(room_id))
        if not (self._waiting or self._running or self._resting):
            self._idle.set()

    async def _turn(self, room_id: str) -> None:
        rest: float | None = self._rest_after_error_s
        try:
            rest = await self._handle(room_id)
        except Exception:  # the task's top level: the room rests, and is tried again
            log.exception("the turn of room %s failed", room_id)
        finally:
            del self._running[room_id]
            if rest is not None:
                self._rest(room_id, rest)
            self._changed.set()

    def _rest(self, room_id: str, seconds: float) -> None:
        self._waiting[room_id] = None
        loop = asyncio.get_running_loop()
        self._resting[room_id] = loop.call_later(seconds, self._rested, room_id)

    def _rested(self, room_id: str) -> None:
        del self._resting[room_id]
        self._changed.set()

    async def _stop(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        # A turn that was cancelled asks for a rest on its way out.
        for timer in self._resting.values():
            timer.cancel()
        self._resting.clear()
