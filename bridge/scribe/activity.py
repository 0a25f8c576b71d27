"""When one track is spoken on, how loud, and what of it the engine has not answered yet. Pure.

Positions are samples since the conference's start at 16 kHz; questions are asked in milliseconds.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from bridge.scribe.engines import RATE

PER_MS = RATE // 1000
KEPT_MS = 60_000
"""How long levels are remembered: longer than the longest utterance and its answer."""
UTTERANCES = 200
SILENT_DB = -96.0


@dataclass(slots=True)
class _Utterance:
    start_ms: int
    end_ms: int | None = None
    answered: bool = False


class Activity:
    """Written by whoever hears the track, read by whoever compares it with others."""

    def __init__(self) -> None:
        self._powers: deque[tuple[int, float]] = deque()
        self._utterances: deque[_Utterance] = deque(maxlen=UTTERANCES)
        self.newest_ms = 0
        """Until when the track was heard."""

    def level(self, position: int, decibels: float) -> None:
        """A frame that begins at `position` has this level."""
        self.newest_ms = position // PER_MS
        self._powers.append((self.newest_ms, 10 ** (decibels / 10)))
        while self._powers[0][0] < self.newest_ms - KEPT_MS:
            self._powers.popleft()

    def speech(self, position: int) -> None:
        """Speech goes to the engine, from `position` on."""
        if not self._utterances or self._utterances[-1].end_ms is not None:
            self._utterances.append(_Utterance(position // PER_MS))

    def ended(self, position: int) -> None:
        """The utterance in progress ended there."""
        if self._utterances and self._utterances[-1].end_ms is None:
            self._utterances[-1].end_ms = position // PER_MS

    def answered(self) -> None:
        """The engine owes nothing more of the oldest utterance it owed."""
        owed = next((one for one in self._utterances if not one.answered), None)
        if owed is not None:
            owed.answered = True

    def closed(self) -> None:
        """Nothing more will be said or answered."""
        for one in self._utterances:
            one.answered = True

    def loudness(self, start_ms: int, end_ms: int) -> float:
        """Root mean square of a stretch, in dB of full scale."""
        powers, end_ms = [], max(end_ms, start_ms + 1)
        for at, power in reversed(self._powers):
            if at < start_ms:
                break
            if at < end_ms:
                powers.append(power)
        return 10 * math.log10(sum(powers) / len(powers)) if powers else SILENT_DB

    def spoke(self, start_ms: int, end_ms: int) -> bool:
        """Whether anything was said then."""
        return any(_meets(one, start_ms, end_ms) for one in self._utterances)

    def owes(self, start_ms: int, end_ms: int) -> bool:
        """Whether words that were said then may still come."""
        return any(not u.answered and _meets(u, start_ms, end_ms) for u in self._utterances)


def _meets(one: _Utterance, start_ms: int, end_ms: int) -> bool:
    return one.start_ms < end_ms and (one.end_ms is None or start_ms < one.end_ms)
