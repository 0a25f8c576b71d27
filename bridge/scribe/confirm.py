"""What the cheap gate lets through is held until it is known to be speech.

Silero listens only while the cheap gate is open. What it confirms goes on with half a second of
what came before, so that no first sound is cut; what it does not confirm goes nowhere. It goes on
listening: music that follows a word without a pause ends the utterance.
"""

from __future__ import annotations

from bridge.scribe.silero import CHUNK_BYTES, Judge
from bridge.scribe.vad import RATE, Ended, Evidence, Speech

SPEECH, DOUBT = 0.5, 0.35
"""Probability from which a chunk is speech, and below which it is none (silero's own values)."""
ENOUGH, PLENTY = 5, 12
"""Chunks of speech in a row (0.16 s) that confirm what is plausible in pitch and rhythm too, and
(0.38 s) that confirm in any case, for whispers. A `no` has 5 and more; noise and music have at
most 4 (docs/measurements.md)."""
LEAD = RATE // 2
"""Samples before the first chunk of speech that are speech too."""
HELD = 3 * RATE
"""Samples held for confirmation; of longer noise the oldest are forgotten."""
CLOSE = 24
"""Chunks without speech (0.77 s) that end an utterance while the cheap gate stays open."""


class Confirmer:
    """Takes what the cheap gate tells of one track; gives the part of it that is speech."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._held = bytearray()
        self._end = 0
        self._unjudged = bytearray()
        self._row = self._longest = self._doubts = 0
        self._first: int | None = None
        self._open = False

    def take(self, event: Speech | Ended, evidence: Evidence | None) -> list[Speech | Ended]:
        """What is known to be speech, or over, after this.

        `evidence`: of the utterance so far; None with its last speech, when its end follows.
        """
        if isinstance(event, Ended):
            return self._finish(event)
        self._held += event.pcm
        self._end = event.start + len(event.pcm) // 2
        self._listen(event.pcm)
        if not self._open and evidence is not None and self._believes(evidence):
            self._begin()
        if not self._open:
            self._forget_oldest()
            return []
        told = self._pass()
        if self._doubts >= CLOSE and evidence is not None:
            told.append(Ended(self._end, evidence))
            self._shut()
        return told

    def _listen(self, pcm: bytes) -> None:
        self._unjudged += pcm
        while len(self._unjudged) >= CHUNK_BYTES:
            at = self._end - len(self._unjudged) // 2
            probability = self._judge.judge(bytes(self._unjudged[:CHUNK_BYTES]))
            del self._unjudged[:CHUNK_BYTES]
            self._weigh(probability, at)

    def _weigh(self, probability: float, at: int) -> None:
        self._doubts = self._doubts + 1 if probability < DOUBT else 0
        self._row = self._row + 1 if probability >= SPEECH else 0
        self._longest = max(self._longest, self._row)
        if self._row and self._first is None:
            self._first = at

    def _believes(self, evidence: Evidence, *, whole: bool = False) -> bool:
        plausible = self._longest >= ENOUGH and evidence.plausible(certain=not whole)
        return plausible or self._longest >= PLENTY

    def _begin(self) -> None:
        self._open = True
        start = self._end - len(self._held) // 2
        first = start if self._first is None else self._first
        del self._held[: max(0, first - LEAD - start) * 2]

    def _pass(self) -> list[Speech | Ended]:
        speech = Speech(self._end - len(self._held) // 2, bytes(self._held))
        self._held.clear()
        return [speech]

    def _forget_oldest(self) -> None:
        del self._held[: max(0, len(self._held) - HELD * 2)]

    def _shut(self) -> None:
        self._open, self._first = False, None
        self._row = self._longest = self._doubts = 0

    def _finish(self, ended: Ended) -> list[Speech | Ended]:
        told: list[Speech | Ended] = []
        # A short word may be plausible only as a whole.
        if not self._open and self._believes(ended.evidence, whole=True):
            self._begin()
            told = self._pass()
        if self._open:
            told.append(ended)
        self._held.clear()
        self._unjudged.clear()
        self._shut()
        self._judge.forget()
        return told
