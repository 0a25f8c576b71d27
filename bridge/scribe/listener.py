"""Listens to one track: puts its samples in time, cuts them into utterances, feeds the engine."""

from __future__ import annotations

from collections import deque

from bridge.scribe.activity import Activity
from bridge.scribe.confirm import Confirmer
from bridge.scribe.engines import RATE, Stream
from bridge.scribe.silero import Judge
from bridge.scribe.vad import FRAME_BYTES, Detector, Ended, Endpointer, Speech

PER_MS = RATE // 1000
SILENT_MS = 600
"""A track that delivers nothing for so long was muted or cut: its utterance is over."""


class SampleClock:
    """Where a track's samples lie in the conference, counted in samples of 16 kHz since its epoch.

    Samples are counted, not clocked: a frame that the machine handled late is not spoken late.
    The count is corrected in two cases only. A sample cannot arrive before it is spoken: the
    anchor was late, and moves back. And when every frame of a second lags behind by more than
    `JUMP_MS`, audio is missing: the count jumps forward by the smallest lag.
    """

    JUMP_MS, LATE_MS = 400, 20
    WINDOW = RATE

    def __init__(self, epoch_ms: int) -> None:
        self._epoch_ms = epoch_ms
        self._next: int | None = None
        self._lags: deque[tuple[int, int]] = deque()

    def place(self, samples: int, arrived_ms: int) -> tuple[int, bool]:
        """Position of the first of `samples` that arrived now, and whether the count jumped."""
        now = (arrived_ms - self._epoch_ms) * PER_MS
        if self._next is None:
            self._next = now - samples
        end = self._next + samples
        jump = self._jump(now - end, end)
        start = self._next + jump
        self._next = start + samples
        return start, jump > 0

    def _jump(self, lag: int, end: int) -> int:
        if lag < -self.LATE_MS * PER_MS:
            self._lags.clear()
            return lag
        self._lags.append((end, lag))
        while self._lags[0][0] < end - self.WINDOW:
            self._lags.popleft()
        least = min(lag for _, lag in self._lags)
        whole = end - self._lags[0][0] >= self.WINDOW * 9 // 10
        if not whole or least < self.JUMP_MS * PER_MS:
            return 0
        self._lags.clear()
        return least


class Listener:
    """One track's way from PCM to the engine. Plain calls: nothing here waits."""

    def __init__(
        self,
        stream: Stream,
        detector: Detector,
        judge: Judge,
        epoch_ms: int,
        activity: Activity | None = None,
    ) -> None:
        self.stream = stream
        self._activity = activity or Activity()
        self._clock = SampleClock(epoch_ms)
        self._endpointer = Endpointer(detector)
        self._confirmer = Confirmer(judge)
        self._rest = b""
        self._arrived_ms = 0

    @property
    def hears(self) -> bool:
        """Whether the track has delivered anything, be it silence."""
        return self._arrived_ms > 0

    def accept(self, pcm: bytes, arrived_ms: int) -> None:
        """Audio of the track: mono, signed 16 bit, 16 kHz, any length."""
        self._arrived_ms = arrived_ms
        start, jumped = self._clock.place(len(pcm) // 2, arrived_ms)
        if jumped:
            self.finish()
        position = start - len(self._rest) // 2
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % FRAME_BYTES
        for at in range(0, whole, FRAME_BYTES):
            self._frame(pcm[at : at + FRAME_BYTES], position + at // 2)
        self._rest = pcm[whole:]

    def tick(self, now_ms: int) -> None:
        """To be called a few times a second: a track that went quiet ends its utterance."""
        if self._endpointer.in_speech and now_ms - self._arrived_ms > SILENT_MS:
            self.finish()

    def finish(self) -> None:
        """The track stops here: whatever was being said is over."""
        self._rest = b""
        self._heard(self._endpointer.finish())

    def _frame(self, frame: bytes, position: int) -> None:
        events = self._endpointer.process(frame, position)
        self._activity.level(position, self._endpointer.level)
        self._heard(events)

    def _heard(self, events: list[Speech | Ended]) -> None:
        for event in events:
            for known in self._confirmer.take(event, self._endpointer.evidence):
                self._tell(known)

    def _tell(self, known: Speech | Ended) -> None:
        if isinstance(known, Speech):
            self._activity.speech(known.start)
            self.stream.push(known.pcm, known.start)
        else:
            self._activity.ended(known.end)
            self.stream.end()
