"""What flite says, with the time of every word; and a recognizer of exactly that, by its energy."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bridge.dev.speech import RATE, Pcm, spoken
from tests.support.moshi_server import PER_S, Heard
from tests.support.moshi_server import RATE as WIRE_RATE

SLOT_S = 0.01
LOUD = 0.01
"""Root mean square of a slot of 10 ms that counts as voice."""
SOFT_SLOTS, AFTER_SLOTS = 15, 8
"""Voice that may be missing at the end of a turn, and the silence after which it is believed."""
TURN_SLOTS = 60
"""Silence of 0.6 s ends a turn."""


@dataclass(frozen=True)
class Turn:
    """One thing said; `words`: (text, start, end) in seconds of `pcm` (48 kHz)."""

    pcm: Pcm
    words: list[tuple[str, float, float]]

    @property
    def text(self) -> str:
        return " ".join(text for text, *_ in self.words)


def turn(text: str, voice: str, folder: Path) -> Turn:
    """`text` spoken by flite. Its own durations say where the words are."""
    pcm, ends = spoken(text, voice, folder), _phones(text, voice)
    counts = [len(_phones(word, voice)) for word in text.split()]
    starts, words, at = [0.0, *ends], [], 0
    total = sum(counts)
    for word, count in zip(text.split(), counts, strict=True):
        first, last = at * len(ends) // total, max(1, (at + count) * len(ends) // total)
        words.append((word, starts[first], ends[last - 1]))
        at += count
    return Turn(pcm, words)


def _phones(text: str, voice: str) -> list[float]:
    """Ends of the phones in seconds; a pause belongs to what is before it."""
    flite = shutil.which("flite")
    assert flite is not None
    command = [flite, "-voice", voice, "-psdur", "-t", text, "-o", "none"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    phones = [part.rpartition(":") for part in said.split()]
    return [float(end) for phone, _, end in phones if phone != "pau"]


def voiced(samples: Any, rate: int) -> list[bool]:
    """Whether each slot of 10 ms is loud enough for voice; samples from -1 to 1."""
    size = int(rate * SLOT_S)
    whole = np.asarray(samples[: len(samples) // size * size], np.float32).reshape(-1, size)
    loud: list[bool] = (np.sqrt(np.mean(np.square(whole), axis=1)) > LOUD).tolist()
    return loud


class Script:
    """Turns in the order in which they are said, whoever says them; shared by all connections."""

    def __init__(self, turns: list[Turn]) -> None:
        self._next = 0
        self._turns = [_marks(one) for one in turns]

    def begins(self) -> list[tuple[str, int, int]]:
        """The words of the next turn, with the voiced slots at which each begins and ends."""
        marks = self._turns[self._next] if self._next < len(self._turns) else []
        self._next += 1
        return marks

    def hearing(self) -> ScriptHearing:
        """For one connection."""
        return ScriptHearing(self)


def _marks(one: Turn) -> list[tuple[str, int, int]]:
    slots = np.cumsum([0, *voiced(one.pcm.astype(np.float32) / 32768, RATE)])

    def before(seconds: float) -> int:
        return int(slots[min(len(slots) - 1, int(seconds / SLOT_S))])

    return [(text, before(start), before(end)) for text, start, end in one.words]


class ScriptHearing:
    """Tells a word when so much voice was heard as it takes to say all up to its end."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._words: list[tuple[str, int, int]] = []
        self._slots = 0
        self._silent = TURN_SLOTS
        self._begun: dict[int, int] = {}

    def frame(self, number: int, samples: Any) -> list[Heard]:
        for loud in voiced(samples, WIRE_RATE):
            if loud and self._silent >= TURN_SLOTS:
                self._words, self._slots = self._script.begins(), 0
            self._silent = 0 if loud else self._silent + 1
            self._slots += loud
        # A codec takes the softest of a voice away: silence tells that the last word is over.
        over = self._silent >= (AFTER_SLOTS if self._near() else TURN_SLOTS - 5)
        heard = []
        while self._words and (self._slots >= self._words[0][2] or over):
            text, start, end = self._words.pop(0)
            length = round((end - start) * SLOT_S * PER_S)
            heard.append(Heard(text, max(0, number - length), number))
        return heard

    def _near(self) -> bool:
        return bool(self._words) and self._words[-1][2] - self._slots <= SOFT_SLOTS
