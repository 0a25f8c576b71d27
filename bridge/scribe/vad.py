"""Where somebody speaks in a track: frames in, utterances of speech out.

Gates from cheap to strict, because a recognizer given noise answers with words:
1. energy: a frame must stand out of the track's own noise floor (minimum statistics);
2. WebRTC's voice activity detector (in pocketsphinx), 30 ms frames;
3. `Evidence` of the utterance, and silero: see `confirm`.
What these hold against, in figures, is in docs/scribe.md.

All positions are in samples of the track at 16 kHz; nothing here knows a clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pocketsphinx import Vad

RATE = 16_000
FRAME = 480
"""Samples in one frame: 30 ms."""
FRAME_BYTES = FRAME * 2

START_WINDOW, START_FRAMES = 8, 4
"""Speech begins when so many frames of the window are speech: 120 ms within 240 ms."""
MODE = 2
"""Of 0 to 3: with 3 and five frames five of 80 words said alone were lost, with this two."""
END_FRAMES = 17
"""...and ends after 0.5 s without; 0.3 s cuts sentences in two (WER 16.2 % instead of 13.8 %)."""
PRE_ROLL = 12
"""Frames kept before the first speech frame: 0.36 s, for an unvoiced first sound."""
BREATH_AFTER, BREATH_FRAMES = 400, 6
"""An utterance longer than 12 s ends at the next breath of 180 ms..."""
LONGEST = 900
"""...and one of 27 s ends in any case, so that captions and memory stay bounded."""
FLOOR_FRAMES = 66
"""The noise floor is the lowest level of the last 2 s."""
QUIETEST_DB, ABOVE_FLOOR_DB = -58.0, 6.0

Samples = npt.NDArray[np.int16]


class Detector(Protocol):
    """Says whether one frame of 30 ms sounds like voice."""

    def is_speech(self, frame: bytes) -> bool: ...


def detector() -> Detector:
    """WebRTC's voice activity detector for one track."""
    made: Detector = Vad(MODE, RATE, FRAME / RATE)
    return made


@dataclass(slots=True)
class Evidence:
    """What speaks for an utterance being speech at all, gathered while it lasts."""

    levels: list[float] = field(default_factory=list)
    """Level of each frame, dB of full scale."""
    voiced: list[bool] = field(default_factory=list)
    """Whether each frame is periodic at a pitch people have."""
    frames: int = 0
    """Frames that passed the first two gates."""

    def add(self, level: float, voiced: bool, speech: bool) -> None:
        self.levels.append(level)
        self.voiced.append(voiced)
        self.frames += speech

    @property
    def dynamics_db(self) -> float:
        """Span of levels between the 10th and the 90th percentile of the frames."""
        low, high = np.percentile(self.levels, (10, 90)) if self.levels else (0.0, 0.0)
        return float(high - low)

    @property
    def voiced_share(self) -> float:
        """Share of the gated frames that are voiced, 0 to 1."""
        return sum(self.voiced) / max(1, self.frames)

    def plausible(self, *, certain: bool = False) -> bool:
        """Speech rises and falls by syllables and is voiced for a good part; noise does neither.

        `certain` asks for more: enough to believe an utterance that has only just begun.
        """
        share, voiced = (0.25, 8) if certain else (0.2, 3)
        return self.dynamics_db >= 6.0 and self.voiced_share >= share and sum(self.voiced) >= voiced


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of audio of the utterance in progress, starting at sample `start`."""

    start: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The utterance in progress is over."""

    end: int
    evidence: Evidence


class Endpointer:
    """Cuts one track into utterances; `process` takes one frame at a time."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._recent: deque[tuple[bytes, bool, float, bool]] = deque(maxlen=START_WINDOW + PRE_ROLL)
        self._floor: deque[float] = deque(maxlen=FLOOR_FRAMES)
        self._evidence: Evidence | None = None
        self._quiet = 0
        self._position = 0
        self.level = -96.0
        """Of the last frame, in dB of full scale."""

    @property
    def in_speech(self) -> bool:
        return self._evidence is not None

    @property
    def evidence(self) -> Evidence | None:
        """What is known so far of the utterance in progress."""
        return self._evidence

    def process(self, frame: bytes, position: int) -> list[Speech | Ended]:
        """What one frame (960 bytes, its first sample at `position`) adds."""
        samples = np.frombuffer(frame, np.int16)
        level = self.level = decibels(samples)
        speech = self._gate(level) and self._detector.is_speech(frame)
        voiced = speech and is_voiced(samples)
        self._position = position + FRAME
        if self._evidence is None:
            return self._idle(frame, speech, level, voiced)
        self._evidence.add(level, voiced, speech)
        self._quiet = 0 if speech else self._quiet + 1
        heard: list[Speech | Ended] = [Speech(position, frame)]
        return heard + self.finish() if self._over() else heard

    def finish(self) -> list[Speech | Ended]:
        """End the utterance in progress, if any: the track stopped, or its clock jumped."""
        evidence, self._evidence = self._evidence, None
        self._recent.clear()
        self._quiet = 0
        return [] if evidence is None else [Ended(self._position, evidence)]

    def _gate(self, level: float) -> bool:
        self._floor.append(level)
        return level > max(QUIETEST_DB, min(self._floor) + ABOVE_FLOOR_DB)

    def _idle(self, frame: bytes, speech: bool, level: float, voiced: bool) -> list[Speech | Ended]:
        self._recent.append((frame, speech, level, voiced))
        latest = list(self._recent)[-START_WINDOW:]
        if sum(entry[1] for entry in latest) < START_FRAMES:
            return []
        return [self._begin()]

    def _begin(self) -> Speech:
        self._evidence = Evidence()
        for _, speech, level, voiced in self._recent:
            self._evidence.add(level, voiced, speech)
        pcm = b"".join(entry[0] for entry in self._recent)
        self._recent.clear()
        return Speech(self._position - len(pcm) // 2, pcm)

    def _over(self) -> bool:
        assert self._evidence is not None  # noqa: S101 - only called while somebody speaks
        length = len(self._evidence.levels)
        patience = END_FRAMES if length < BREATH_AFTER else BREATH_FRAMES
        return self._quiet >= patience or length >= LONGEST


def decibels(samples: Samples) -> float:
    """Level of a frame in dB of full scale; -96 for digital silence."""
    power = float(np.mean(np.square(samples.astype(np.float32)))) / (32768.0 * 32768.0)
    return max(-96.0, 10.0 * float(np.log10(power + 1e-12)))


_SHORTEST_LAG, _LONGEST_LAG = RATE // 400, RATE // 65


def is_voiced(samples: Samples) -> bool:
    """Whether the frame repeats itself at a pitch between 65 and 400 Hz."""
    wave = samples.astype(np.float32)
    wave -= wave.mean()
    spectrum = np.fft.rfft(wave, 1024)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[: _LONGEST_LAG + 1]
    if correlation[0] <= 0:
        return False
    # The overlap shrinks as the lag grows: weigh each lag by the samples that take part.
    lags = np.arange(_SHORTEST_LAG, _LONGEST_LAG + 1)
    peak = float(np.max(correlation[lags] * (FRAME / (FRAME - lags))))
    return peak / float(correlation[0]) > 0.5
