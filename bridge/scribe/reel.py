"""What was said at one microphone, without the silence between: audio with its place in time.

Positions are samples at 16 kHz since the conference's start. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from bridge.scribe.engines import RATE

PAUSE = RATE * 3 // 10
"""Silence put for any longer one: voices change there, and nothing is learnt from more of it."""


@dataclass(frozen=True, slots=True)
class Splice:
    """`length` samples from `at` in the joined audio were spoken from `start` on."""

    at: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Audio in one piece: mono, signed 16 bit, 16 kHz."""

    pcm: bytes
    splices: tuple[Splice, ...]

    def spoken(self, start: int, end: int) -> list[tuple[int, int]]:
        """Where a stretch of the joined audio lies in time: one or more stretches."""
        first = max(0, bisect_right(self.splices, start, key=lambda splice: splice.at) - 1)
        found = []
        for splice in self.splices[first:]:
            if splice.at >= end:
                break
            low, high = max(start, splice.at), min(end, splice.at + splice.length)
            if low < high:
                found.append((splice.start + low - splice.at, splice.start + high - splice.at))
        return found


class Reel:
    """Bounded to `limit` samples; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[tuple[int, bytearray]] = deque()
        self.samples = 0

    def add(self, pcm: bytes, start: int) -> None:
        """Audio spoken from `start` on; not before what was added last."""
        if self._chunks and self._end == start and len(self._chunks[-1][1]) < 2 * RATE:
            self._chunks[-1][1].extend(pcm)
        else:
            self._chunks.append((start, bytearray(pcm)))
        self.samples += len(pcm) // 2
        self.keep(self._limit)

    def keep(self, samples: int) -> None:
        """Forget all but the last so many samples, and the rest of a second with them."""
        while self.samples > samples and self._chunks:
            self.samples -= len(self._chunks.popleft()[1]) // 2

    def joined(self, last: int | None = None) -> Joined:
        """All of it, or at least the last so many samples."""
        chunks: Sequence[tuple[int, bytearray]] = list(self._chunks)
        if last is not None:
            first, kept = len(chunks), 0
            while first and kept < last:
                first -= 1
                kept += len(chunks[first][1]) // 2
            chunks = chunks[first:]
        return joined([(start, bytes(pcm)) for start, pcm in chunks])

    @property
    def _end(self) -> int:
        start, pcm = self._chunks[-1]
        return start + len(pcm) // 2


def joined(chunks: Sequence[tuple[int, bytes]]) -> Joined:
    """Chunks (first sample, audio) in the order of time as one piece, long silences made short."""
    whole, splices = bytearray(), []
    end: int | None = None
    for start, pcm in chunks:
        if end is not None:
            whole += bytes(2 * min(PAUSE, max(0, start - end)))
        splices.append(Splice(len(whole) // 2, start, len(pcm) // 2))
        whole += pcm
        end = start + len(pcm) // 2
    return Joined(bytes(whole), tuple(splices))
