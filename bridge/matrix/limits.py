"""Bounded memory of strangers: how often they asked, and what was found out about them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_second`."""

    per_second: float
    burst: int


class RateLimit:
    """Token buckets, one for each key, at most `capacity` of them.

    When the table is full the key that asked longest ago is forgotten. Forgetting gives a fresh
    burst, so the capacity must exceed what one attacker can present within a burst's refill time.
    """

    def __init__(self, rate: Rate, *, capacity: int = 20_000) -> None:
        self._rate = rate
        self._capacity = capacity
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """0.0: go on. Otherwise the seconds after which asking again succeeds."""
        level, then = self._buckets.pop(key, (float(self._rate.burst), now))
        level = min(self._rate.burst, level + max(0.0, now - then) * self._rate.per_second)
        allowed = level >= 1.0
        self._buckets[key] = (level - 1.0 if allowed else level, now)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) / self._rate.per_second

    def __len__(self) -> int:
        return len(self._buckets)


class Recent(Generic[K, V]):
    """Values with a time of expiry, at most `capacity` of them; the oldest entry goes first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K, now: float) -> tuple[bool, V | None]:
        """(True, value) where one is known and has not expired."""
        until, value = self._entries.get(key, (0.0, None))
        if until <= now:
            self._entries.pop(key, None)
            return False, None
        return True, value

    def put(self, key: K, value: V, *, until: float) -> None:
        """Remember a value until a time on the same clock as `now` of `get`."""
        self._entries.pop(key, None)
        self._entries[key] = (until, value)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def forget(self, key: K) -> None:
        """Know nothing of it any more."""
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)
