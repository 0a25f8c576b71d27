"""What is said on one connection to a speech server, and what its answers mean. Pure.

`engines.remote` owns the connection: it sends what a dialogue returns, and hands it what comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.scribe.engines import RATE, Word

Frame = bytes | str
"""A binary or a text message of the WebSocket."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """No further word begins before `position`."""

    position: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The engine takes it that the speaker paused at `position`; all words before it are told."""

    position: int


@dataclass(frozen=True, slots=True)
class Done:
    """The first utterance that was not answered is answered, to its end."""


Said = Word | Quiet | Paused | Done


class Dialogue(Protocol):
    """One connection. Positions are samples of the track at 16 kHz."""

    @property
    def slack(self) -> int:
        """Samples by which the places of words may be wrong."""

    @property
    def ready(self) -> bool:
        """Whether speech may be sent now."""

    @property
    def owes(self) -> bool:
        """Whether an utterance was begun that is not answered to its end."""

    @property
    def due(self) -> bool:
        """Whether the server ought to say something by now."""

    @property
    def answered(self) -> int:
        """Where to begin again, if the connection is lost now: all before it has been told.

        It may be where the last word began: a word that was only half sent again is understood as
        another one. Whoever begins there drops that word when it comes again (`repeats`).
        """

    def greeting(self) -> list[Frame]:
        """What a connection begins with."""

    def speech(self, pcm: bytes, start: int) -> list[Frame]:
        """More of an utterance: mono, signed 16 bit, its first sample at `start`."""

    def over(self) -> list[Frame]:
        """The utterance is over: a `Done` will follow."""

    def idle(self) -> list[Frame]:
        """Asked every `BEAT_S` while something is owed and nothing waits to be sent."""

    def heard(self, message: Frame) -> list[Said]:
        """What a message of the server means. Raises EngineDown when it ends the connection."""


def repeats(word: Word, last: Word, slack: int) -> bool:
    """Whether the first word of a connection is the last one of the connection before.

    `slack`: samples by which the places of words may be wrong.
    """
    if word.start < last.start + APART - slack:
        return True
    return _plain(word.text) == _plain(last.text) and word.start < last.end + slack


def _plain(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign.isalnum())


APART = RATE * 15 // 100
"""No two words begin within so many samples."""
BEAT_S = 0.08
"""Seconds of one frame of moshi-server's models, and the pace of `idle`."""
