"""From an engine's events to what people see: segments to keep, captions to show. Pure.

Positions are samples since the conference's start at 16 kHz; times given on are milliseconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from bridge.scribe.engines import RATE, Event, Final, Gap, Interim, Word

STEADY = 3
"""A word is shown when so many interims in a row agree on it and on all before it."""
CAPTION_MS = 250
"""Least time between two interim captions of one voice: four a second do not flicker."""
GAP_TEXT = "[…]"
"""What stands where speech was not understood in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A segment, interim or final. `start_ms` and `end_ms` count from the conference's start.

    `words`: (word, start, end) likewise, of a final segment; none where words are missing.
    `engine`: who understood it; `language`: in which it was listened to. Empty: as the track says.
    """

    segment: str
    text: str
    start_ms: int
    end_ms: int
    final: bool
    words: tuple[tuple[str, int, int], ...] = ()
    engine: str = ""
    language: str = ""


class Voice:
    """What one track says, as segments with ids of its own: `<prefix>-<number>`.

    `prefix` is random for each track of each session, so ids never meet, whatever restarts.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._number = 0
        self._interims: deque[tuple[str, ...]] = deque(maxlen=STEADY)
        self._shown: tuple[str, ...] = ()
        self._withheld: Interim | None = None
        self._shown_at_ms = -CAPTION_MS

    def take(self, event: Event, now_ms: int) -> Piece | None:
        """The piece an event is worth, if any."""
        if isinstance(event, Interim):
            return self._interim(event, now_ms)
        self._interims.clear()
        self._shown = ()
        self._withheld = None
        return self._gap(event) if isinstance(event, Gap) else self._final(event)

    def wait_ms(self, now_ms: int) -> int | None:
        """Until `due` has something to show; None: it has nothing."""
        if self._withheld is None:
            return None
        return max(0, self._shown_at_ms + CAPTION_MS - now_ms)

    def due(self, now_ms: int) -> Piece | None:
        """Words that came too soon after those shown before."""
        return None if self._withheld is None else self._render(self._withheld, now_ms)

    def _interim(self, event: Interim, now_ms: int) -> Piece | None:
        self._interims.append(event.words)
        steady = event.words if event.sure else self._agreed()
        # Words once shown are not taken away again before the final text.
        if len(steady) <= len(self._shown):
            self._withheld = None
            return None
        return self._render(replace(event, words=steady), now_ms)

    def _agreed(self) -> tuple[str, ...]:
        return agreed(tuple(self._interims)) if len(self._interims) == STEADY else ()

    def _render(self, steady: Interim, now_ms: int) -> Piece | None:
        early = now_ms - self._shown_at_ms < CAPTION_MS
        self._withheld = steady if early else None
        if early:
            return None
        self._shown, self._shown_at_ms = steady.words, now_ms
        start = milliseconds(steady.start)
        piece = self._piece(" ".join(steady.words), start, start, final=False)
        return replace(piece, language=steady.language)

    def _final(self, event: Final) -> Piece | None:
        if not event.words:
            return None
        words = tuple(
            (word.text, milliseconds(word.start), milliseconds(word.end)) for word in event.words
        )
        closing = self._closing(text_of(event.words), event.words[0].start, event.words[-1].end)
        return replace(closing, words=words, engine=event.engine, language=event.language)

    def _gap(self, event: Gap) -> Piece:
        return self._closing(GAP_TEXT, event.start, event.end)

    def _closing(self, text: str, start: int, end: int) -> Piece:
        piece = self._piece(text, milliseconds(start), milliseconds(end), final=True)
        self._number += 1
        return piece

    def _piece(self, text: str, start_ms: int, end_ms: int, *, final: bool) -> Piece:
        segment = f"{self._prefix}-{self._number}"
        return Piece(segment=segment, text=text, start_ms=start_ms, end_ms=end_ms, final=final)


def agreed(interims: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """The words at the beginning on which all of them agree."""
    words: list[str] = []
    for column in zip(*interims, strict=False):
        if len(set(column)) > 1:
            break
        words.append(column[0])
    return tuple(words)


def text_of(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def milliseconds(position: int) -> int:
    """A position in samples as whole milliseconds, never before the conference's start."""
    return max(0, position * 1000 // RATE)
