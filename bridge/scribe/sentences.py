"""From the words of an engine that never stops to segments people can read. Pure.

A segment ends where somebody pauses, where a sentence ends, or where a caption is full; what was
shown of a segment stays in it. Positions are samples at 16 kHz.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bridge.scribe.engines import RATE, Word

PAUSE = RATE * 8 // 10
"""Silence between two words that ends a segment."""
LINE, LINES = 36, 3
"""Signs in a line, and lines of a live caption (charter of the CSA on subtitles, 2011)."""
LONGEST = 7 * RATE
"""A segment is no longer than this: it is what the reading time of three lines allows."""
SENTENCE = LINE
"""A sentence shorter than a line does not end a segment: `Yes.` goes with what follows."""
CLAUSE = LINE * 2
"""From so many signs on a segment also ends at a comma."""

_SENTENCE_END = re.compile(r"[.!?…][\"'»”’)\]]*$")
_CLAUSE_END = re.compile(r"[,;:][\"'»”’)\]]*$")
_NO_END = re.compile(
    r"(^|['’(«\"-])("
    r"[A-ZÀ-Ý]\.|([A-Za-zÀ-ÿ]\.){2,}|\d+\.|MM?\.|Mmes?\.|Mlles?\.|Mr\.|Mrs\.|Ms\.|Dr\.|Pr\.|St\.|"
    r"art\.|al\.|cf\.|ex\.|env\.|vs\.|[Nn]o\.|p\.)$"
)
"""Words with a full stop that ends no sentence: initials, numbers, titles, abbreviations."""

Segment = tuple[Word, ...]


class Sentences:
    """The words of one voice. Every word given comes out once, in the order it was given."""

    def __init__(self) -> None:
        self._words: list[Word] = []

    @property
    def pending(self) -> Segment:
        """The words of the segment that is still open: they are only added to until it ends."""
        return tuple(self._words)

    def word(self, word: Word) -> list[Segment]:
        """One more word; the segments that are complete now, in order."""
        ended = self._before(word)
        self._words.append(word)
        return [*ended, *(self.flush() if self._is_complete() else [])]

    def quiet(self, position: int) -> list[Segment]:
        """No word begins before `position`: after a pause, what is open is a segment."""
        return self.flush() if self._words and position - self._words[-1].end > PAUSE else []

    def pause(self, position: int) -> list[Segment]:
        """The engine takes it that the speaker paused at `position`."""
        return self.flush() if self._words and self._words[-1].start < position else []

    def flush(self) -> list[Segment]:
        """Nothing follows: what is open is a segment."""
        segment, self._words = tuple(self._words), []
        return [segment] if segment else []

    def _before(self, word: Word) -> list[Segment]:
        if not self._words:
            return []
        last = self._words[-1]
        if word.start - last.end > PAUSE:
            return self.flush()
        if last.end > word.start:  # ends are estimates where the engine tells none
            self._words[-1] = replace(last, end=max(last.start, word.start))
        long = word.end - self._words[0].start > LONGEST
        return self.flush() if long or not fits([*self._texts(), word.text]) else []

    def _is_complete(self) -> bool:
        signs, last = len(" ".join(self._texts())), self._words[-1].text
        if signs >= SENTENCE and ends_sentence(last):
            return True
        return signs >= CLAUSE and _CLAUSE_END.search(last) is not None

    def _texts(self) -> list[str]:
        return [word.text for word in self._words]


def ends_sentence(word: str) -> bool:
    """Whether a sentence ends with this word, its punctuation included."""
    return _SENTENCE_END.search(word) is not None and _NO_END.search(word) is None


def fits(texts: list[str]) -> bool:
    """Whether the words can stand in one caption; a word longer than a line is broken by it."""
    lines, room = 0, 0
    for text in texts:
        if room > len(text):
            room -= len(text) + 1
        else:
            full, rest = divmod(max(0, len(text) - 1), LINE)
            lines, room = lines + full + 1, LINE - rest - 1
    return lines <= LINES
