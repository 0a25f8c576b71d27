"""How often words once shown are taken back, and how soon they are shown (captions of an engine
that does not say `sure`).

    python -m tests.bench.interims

Sentences of flite's go through the gate to pocketsphinx in steps of real time's length, faster than
real time: what counts is the audio an interim had heard. An engine's answers to each step are
recorded once, then told to `Voice` with each value of `STEADY`. Shown: words that stood in an
interim's caption.
Taken back: those of them that the final has otherwise, at that place. Delay: from a word's end in
the final to the caption that shows it first, in audio time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bridge.scribe import merge
from bridge.scribe.engines import RATE, Final, Interim, Word
from bridge.scribe.engines.decoder import AUDIO, END, READY, Decoders
from bridge.scribe.engines.pocketsphinx import FRAME as SEARCH_FRAME
from bridge.scribe.engines.pocketsphinx import STEP, telling
from bridge.scribe.listener import Listener
from bridge.scribe.silero import Silero
from bridge.scribe.vad import FRAME, detector
from tests.bench.meeting_script import SENTENCES, VOICES, _spoken
from tests.support.sound import Pcm, joined, quiet

Recorded = list[tuple[int, Interim | Final]]
"""Events with the time (ms of audio heard) at which each was told."""


@dataclass
class Figures:
    shown: int = 0
    taken_back: int = 0
    delays_ms: list[int] = field(default_factory=list)
    words: int = 0

    def row(self) -> tuple[str, ...]:
        share = 100 * self.taken_back / max(1, self.shown)
        ordered = sorted(self.delays_ms) or [0]
        p95 = ordered[len(ordered) * 95 // 100]
        median = statistics.median(ordered) / 1000
        return (
            *(str(self.words), str(self.shown), str(self.taken_back), f"{share:.1f} %"),
            *(f"{median:.2f} s", f"{p95 / 1000:.2f} s"),
        )


class Pushed:
    """A `Stream` that decodes at once and notes what was told when."""

    def __init__(self, decoders: Decoders) -> None:
        self.events: Recorded = []
        self.now_ms = 0
        self._decoders = decoders
        self._waiting = bytearray()
        self._start: int | None = None
        self._memory = ""

    def push(self, pcm: bytes, start: int) -> None:
        self._start = start if self._start is None else self._start
        self._waiting += pcm
        while len(self._waiting) >= STEP:
            self._decode(bytes(self._waiting[:STEP]))
            del self._waiting[:STEP]

    def end(self) -> None:
        if self._start is None:
            return
        if self._waiting:
            self._decode(bytes(self._waiting))
        answer = self._decoders.answer(END, 1, b"")
        if telling(answer["words"]):
            self._memory = answer["memory"] or self._memory
        at = self._start
        words = tuple(
            Word(word, at + start * SEARCH_FRAME, at + end * SEARCH_FRAME)
            for word, start, end in answer["words"]
        )
        self.events.append((self.now_ms, Final(at, words)))
        self._start = None
        self._waiting.clear()

    async def close(self) -> None:
        self.end()

    def __aiter__(self):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    def _decode(self, pcm: bytes) -> None:
        answer = self._decoders.answer(AUDIO, 1, self._memory.encode() + b"\n" + pcm)
        self.events.append((self.now_ms, Interim(self._start or 0, tuple(answer["text"].split()))))


def recorded(decoders: Decoders, pcm: Pcm) -> Recorded:
    """What the engine tells of one voice's sound."""
    stream = Pushed(decoders)
    listener = Listener(stream, detector(), Silero(), 0)
    for at in range(0, len(pcm) - FRAME + 1, FRAME):
        stream.now_ms = (at + FRAME) * 1000 // RATE
        listener.accept(pcm[at : at + FRAME].tobytes(), stream.now_ms)
    listener.finish()
    return stream.events


def measured(recordings: Sequence[Recorded]) -> Figures:
    """All recordings through the rule."""
    figures = Figures()
    for events in recordings:
        _measure(events, merge.Voice("b"), figures)
    return figures


def _measure(events: Recorded, voice: merge.Voice, figures: Figures) -> None:
    first: list[tuple[str, int]] = []
    for now_ms, event in events:
        wait = voice.wait_ms(now_ms)
        pieces = [voice.due(now_ms)] if wait == 0 else []
        pieces.append(voice.take(event, now_ms))
        for piece in (p for p in pieces if p is not None and not p.final):
            words = piece.text.split()
            first += [(word, now_ms) for word in words[len(first) :]]
        if isinstance(event, Final):
            _count(first, event, figures)
            first = []


def _count(first: list[tuple[str, int]], final: Final, figures: Figures) -> None:
    figures.words += len(final.words)
    figures.shown += len(first)
    for at, (word, when) in enumerate(first):
        if at < len(final.words) and final.words[at].text == word:
            figures.delays_ms.append(when - final.words[at].end * 1000 // RATE)
        else:
            figures.taken_back += 1


def sounds(folder: Path) -> Iterator[Pcm]:
    """Each of four voices with all the sentences, one after the other."""
    for voice, stretch in VOICES[:4]:
        parts = [p for text in SENTENCES for p in (quiet(1), _spoken(text, voice, stretch, folder))]
        yield joined(*parts, quiet(1.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    decoders = Decoders()
    decoders.answer(READY, 0, b"")
    with tempfile.TemporaryDirectory() as folder:
        recordings = [recorded(decoders, pcm) for pcm in sounds(Path(folder))]
    print("| interims that agree | words | shown | taken back | share | delay, median | p95 |")
    print("|---|---|---|---|---|---|---|")
    for merge.STEADY in (2, 3, 4, 5, 6, 8):
        print("|", " | ".join((str(merge.STEADY), *measured(recordings).row())), "|")


if __name__ == "__main__":
    main()
