"""Until when each conference was listened to, so that an interruption stands in its record.

Nobody can say what was lost while a scribe was dead, or cut off from the media server; but from
when until when can be said, and a reader must know. The mark is on disk: a scribe that was killed
finds it when it listens again.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from bridge.scribe.clock import unix_ms
from bridge.scribe.frames import Frame
from bridge.scribe.order import Order
from bridge.scribe.spool import Spool

log = logging.getLogger(__name__)

MARK_S = 1.0
"""So much earlier than it was an interruption may seem to begin."""
SHORTEST_MS = 2500
"""A shorter one is the time between two marks, or a connection that was made anew at once."""


class Vigil:
    """`run()` writes the marks of `awake()`; a session tells when it begins and stops to listen.

    `awake()`: who is listened to, and until when all is understood (Unix ms; None: until now). What
    was heard and not understood dies with the process, so that is where the mark on disk lies.
    """

    def __init__(
        self,
        spool: Spool,
        awake: Callable[[], dict[str, int | None]],
        keep: Callable[[Frame], Awaitable[None]],
        clock_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self._spool = spool
        self._awake = awake
        self._keep = keep
        self._clock_ms = clock_ms
        self._awake_ms: dict[str, int] = {}

    async def run(self) -> None:
        """Mark who is listened to, until cancelled."""
        while True:
            try:
                now_ms = self._clock_ms()
                awake = self._awake()
                self._awake_ms |= dict.fromkeys(awake, now_ms)
                marks = {c: min(now_ms, until or now_ms) for c, until in awake.items()}
                await self._spool.listening(marks)
            except sqlite3.Error as error:
                log.error("the spool cannot be written: %s", error)
            await asyncio.sleep(MARK_S)

    async def began(self, order: Order) -> None:
        """A session listens (again): what lies between is told, and kept as segments are."""
        until_ms = self._awake_ms.get(order.conference)
        if until_ms is None:
            until_ms = await self._spool.listened_until(order.conference)
        now_ms = self._awake_ms[order.conference] = self._clock_ms()
        await self._spool.listening({order.conference: now_ms})
        if until_ms is not None and now_ms - until_ms >= SHORTEST_MS and order.transcript:
            await self._keep(_interruption(order, until_ms, now_ms))

    async def ended(self, conference: str) -> None:
        """A session was stopped because the bridge wanted it so."""
        self._awake_ms.pop(conference, None)
        await self._spool.forget(conference)


def _interruption(order: Order, since_ms: int, until_ms: int) -> Frame:
    return {
        "type": "interruption",
        "key": f"interruption:{order.conference}:{since_ms}",
        "conference": order.conference,
        "room_id": order.room_id,
        "start_ms": max(0, since_ms - order.epoch_ms),
        "end_ms": max(0, until_ms - order.epoch_ms),
    }
