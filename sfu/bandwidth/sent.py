"""What went to one peer under transport-wide numbers, until its feedback says what arrived."""

from collections.abc import Iterable
from typing import NamedTuple

from sfu.rtp.arrivals import TICKS, WRAP_BITS
from sfu.rtp.sequence import Unwrapper

REMEMBERED = 8192
"""Packets in flight at most: two seconds of 40 Mbit/s."""


class Result(NamedTuple):
    """One packet, as feedback tells of it. Times in seconds, on a clock of each side's own.

    `arrived` is None for a packet that was lost (so far: feedback may tell of it again).
    """

    sent: float
    arrived: float | None
    size: int


class SentLog:
    """Numbers packets, and knows them again."""

    def __init__(self) -> None:
        self._next = 0
        self._sent: dict[int, tuple[float, int]] = {}
        self._ticks = Unwrapper(WRAP_BITS)

    def number(self, size: int, now: float) -> int:
        """The 16 bit number of a packet of so many octets that leaves now. Hot path."""
        number = self._next & 0xFFFF
        self._next += 1
        self._sent[number] = (now, size)
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]
        return number

    def results(self, arrivals: Iterable[tuple[int, int | None]]) -> list[Result]:
        """What is told of packets that were not told of yet; an arrival is told once."""
        found = []
        for number, ticks in arrivals:
            sent = self._sent.get(number)
            if sent is None:
                continue
            arrived = None
            if ticks is not None:
                arrived = self._ticks.unwrap(ticks) / TICKS
                del self._sent[number]
            found.append(Result(sent[0], arrived, sent[1]))
        return found
