"""How fast the bridge writes into timelines: a homeserver has other things to do, too."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

EVENTS_PER_S = 5
"""Measured on Synapse: beyond it events lag at other homeservers, and CPU goes up by 5 % each."""


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class Pace:
    """At most `most` events in any second, for all rooms together; who waits goes in turn."""

    def __init__(
        self,
        most: int = EVENTS_PER_S,
        *,
        now_s: Callable[[], float] = _now_s,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now_s = now_s
        self._sleep = sleep
        self._sent: deque[float] = deque(maxlen=most)
        self._line = asyncio.Lock()

    def taken(self) -> None:
        """An event goes out that does not wait: an answer, a card."""
        self._sent.append(self._now_s())

    async def turn(self) -> None:
        """Return when one more may go out, and count it."""
        async with self._line:
            while (wait_s := self._wait_s()) > 0:
                await self._sleep(wait_s)
            self.taken()

    def _wait_s(self) -> float:
        if len(self._sent) < (self._sent.maxlen or 0):
            return 0.0
        return self._sent[0] + 1.0 - self._now_s()
