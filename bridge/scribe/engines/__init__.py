"""Speech recognition behind one small interface; an engine says what it can instead of subclassing.

An engine gets speech only (the voice activity detector has cut silence away), utterance by
utterance, and answers with events. All positions are samples of the track at 16 kHz.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

RATE = 16_000
"""Samples a second of all audio given to an engine: mono, signed 16 bit, native byte order."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What an engine can do."""

    name: str
    """As it stands in transcripts: product, model and version."""
    languages: frozenset[str]
    """ISO 639-1 codes it understands; empty: every language."""
    interim: bool
    """Whether it tells words before an utterance has ended."""
    streaming: bool = False
    """Whether it takes audio as it is spoken, without a pause, while the gate is open, and cuts it
    into `Final`s by itself; others are given whole utterances, as the detector cut them."""
    words: bool = False
    """Whether the times of its words are measured; else they are spread over the utterance."""

    def understands(self, language: str) -> bool:
        """`language` may carry a region (`en-GB`)."""
        return not self.languages or primary(language) in self.languages


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Interim:
    """The words understood so far of the utterance that began at `start`; may change.

    `sure`: they do not: more are added, until the `Final` has them all.
    """

    start: int
    words: tuple[str, ...]
    language: str = ""
    sure: bool = False


@dataclass(frozen=True, slots=True)
class Final:
    """The words of one utterance; empty when there were none.

    A streaming engine may answer an utterance in parts: all but the one that ends it say
    `last=False`. After the last one nothing of that utterance is owed any more. `engine`: who
    wrote it; `language`: what was listened for; both filled in where engines are chosen.
    """

    start: int
    words: tuple[Word, ...]
    last: bool = True
    engine: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Audio from `start` to `end` was not understood: the engine could not keep up, or failed.

    It stands for a part of an utterance, which has its last Final all the same.
    """

    start: int
    end: int


Event = Interim | Final | Gap


class UnknownLanguage(Exception):
    """The engine has no model for that language."""


class EngineDown(Exception):
    """The engine does not answer, refuses us, or has no room: another one may be asked.

    The message is one of the `REASONS`: a word for logs and for the choice of a sentence.
    """


REASONS = ("refused", "timeout", "lost", "busy", "key", "protocol", "model")
"""No connection; no answer in time; an answer broken off; no free channel; a key that is not
accepted; an answer that is none; a model that is not there."""


class Stream(Protocol):
    """One track. `push` and `end` never block; what the engine cannot take is told as a Gap.

    When the engine is lost, the iteration raises EngineDown and tells no Gap for what it has not
    answered: whoever opened the stream has that audio still and may give it to another engine.
    """

    def push(self, pcm: bytes, start: int) -> None:
        """More speech of the current utterance; the first call after `end` begins a new one."""

    def end(self) -> None:
        """The current utterance is over: its Final will follow."""

    async def close(self) -> None:
        """End the current utterance; the iteration ends when all that was pushed is answered."""

    def __aiter__(self) -> AsyncIterator[Event]: ...


class Recognizer(Protocol):
    """An engine for any number of tracks."""

    @property
    def capability(self) -> Capability: ...

    async def run(self) -> None:
        """Own the engine's processes and connections until cancelled."""

    async def ready(self) -> None:
        """Return once the engine is warm."""

    async def open(self, language: str) -> Stream:
        """A stream for one track. Raises UnknownLanguage and EngineDown."""


class Transcriber(Protocol):
    """An engine for what was recorded: all of it is there, and nobody waits for the words."""

    @property
    def capability(self) -> Capability: ...

    async def run(self) -> None:
        """Own the engine's processes and connections until cancelled."""

    async def transcribe(self, pcm: bytes, language: str) -> list[Word]:
        """The words in `pcm` (mono, signed 16 bit, 16 kHz), positions from its first sample.

        Raises UnknownLanguage and EngineDown.
        """


def primary(language: str) -> str:
    """`en` of `en-GB`, `EN` or `en_GB`."""
    return language.replace("_", "-").partition("-")[0].lower()
