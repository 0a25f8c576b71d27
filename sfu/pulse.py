"""How late the loop is: a sleeper that is woken too late tells how long others kept it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

INTERVAL_S = 0.05
WINDOW_S = 10.0
"""The longest lag is told of the last one or two windows: a scrape interval fits in."""
STALL_S = 0.02
"""A packet of audio: what is later than this is heard."""


class Lag:
    """What the sleeper found; seconds."""

    def __init__(self, observe: Callable[[float], None] = lambda lag: None) -> None:
        self.last = 0.0
        self.stalls = 0
        self._observe = observe
        self._longest = self._before = 0.0
        self._until = float("-inf")

    @property
    def longest(self) -> float:
        """Of the last 10 to 20 seconds."""
        return max(self._longest, self._before)

    def note(self, lag: float, now: float) -> None:
        """One awakening, so much too late."""
        lag = max(0.0, lag)
        if now >= self._until:
            self._before, self._longest = self._longest, 0.0
            self._until = now + WINDOW_S
        self.last = lag
        self._longest = max(self._longest, lag)
        self.stalls += lag > STALL_S
        self._observe(lag)


async def pulse(lag: Lag) -> None:
    """Measure until cancelled."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(INTERVAL_S)
        now = time.monotonic()
        lag.note(now - began - INTERVAL_S, now)


class Rate:
    """Bit/s from a count of octets that only grows."""

    def __init__(self) -> None:
        self.bitrate = 0.0
        self._octets = 0
        self._at: float | None = None

    def note(self, octets: int, now: float) -> None:
        """The count as it is now; the rate is of the time since the last call, a second or more."""
        if self._at is None:
            self._octets, self._at = octets, now
        elif now - self._at >= 1.0:
            self.bitrate = (octets - self._octets) * 8 / (now - self._at)
            self._octets, self._at = octets, now
