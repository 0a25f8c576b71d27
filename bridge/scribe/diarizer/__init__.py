"""Who speaks when inside one track, where several people share its microphone.

Behind one small protocol, so that another program than pyannote.audio can take its place. All
positions are samples at 16 kHz, counted from the first one given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class VoiceTurn:
    """`voice` speaks from `start` to `end`."""

    start: int
    end: int
    voice: str


@dataclass(frozen=True, slots=True)
class Diarized:
    """Turns in the order of their beginnings, without overlaps; voices have names of this answer.

    `prints`: what each voice sounds like, to be compared by the cosine. Kept in memory alone, as
    long as the meeting: a person must not be known again in the next one.
    """

    turns: tuple[VoiceTurn, ...] = ()
    prints: Mapping[str, tuple[float, ...]] = field(default_factory=dict, repr=False)


class NotDiarized(Exception):
    """There is no answer; the text is one clear line for a log."""


class Diarizer(Protocol):
    """Tells voices apart, one request after the other."""

    @property
    def most(self) -> int:
        """People at one microphone, at most."""

    def warm(self) -> None:
        """It will be asked something soon. Returns at once; that it fails is said to who asks."""

    async def diarize(self, pcm: bytes, max_speakers: int, *, patient: bool = False) -> Diarized:
        """Who speaks when in `pcm` (mono, signed 16 bit, 16 kHz). 0 speakers: any number.

        `patient`: what nobody waits for comes after everything else. Raises NotDiarized.
        """
