"""Correcting what was said: new words for old ones, with the old ones' times. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from bridge.domain.transcript import Word

_SUBSTITUTION = re.compile(r"s/((?:[^/\\]|\\.)+)/((?:[^/\\]|\\.)*)(?:/(g?))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Substitution:
    """`s/old/new/`; `everywhere`: `s/old/new/g`. Plain text, no patterns."""

    old: str
    new: str
    everywhere: bool = False

    def count(self, text: str) -> int:
        """How often the old words are in a text."""
        return text.count(self.old)

    def apply(self, text: str) -> str:
        """The text with the new words."""
        return text.replace(self.old, self.new)


def substitution(typed: str) -> Substitution | None:
    """What `s/old/new/` asks for, None where that is something else. `\\/` is a slash."""
    found = _SUBSTITUTION.fullmatch(typed.strip())
    if found is None:
        return None
    old, new, flag = found.groups()
    return Substitution(_plain(old), _plain(new), flag == "g")


def spread(texts: Sequence[str], corrected: str) -> list[str]:
    """The corrected text of several utterances, each with the words that are its own.

    A new word goes to the utterance whose word it replaces, else to that of the word before it.
    """
    homes = [place for place, text in enumerate(texts) for _ in text.split()]
    old, new = [word for text in texts for word in text.split()], corrected.split()
    shares: list[list[str]] = [[] for _ in texts]
    for word, origin in zip(new, _origins(old, new), strict=True):
        shares[_home(origin, homes)].append(word)
    return [" ".join(share) for share in shares]


def retimed(words: Sequence[Word], corrected: str) -> tuple[Word, ...]:
    """The corrected words with the times of those they replace; none where none were known.

    Several in place of others share their time; those in place of nothing take none of it.
    """
    if not words:
        return ()
    new = corrected.split()
    timed: list[Word] = []
    matcher = SequenceMatcher(None, [word for word, _, _ in words], new, autojunk=False)
    for _, first, last, begin, end in matcher.get_opcodes():
        timed += _shared(words, first, last, new[begin:end])
    return tuple(timed)


def _shared(words: Sequence[Word], first: int, last: int, new: Sequence[str]) -> list[Word]:
    if last - first == len(new):
        return [(word, at[1], at[2]) for word, at in zip(new, words[first:last], strict=True)]
    start = words[first][1] if first < last or not first else words[first - 1][2]
    end = words[last - 1][2] if first < last else start
    step = (end - start) / max(1, len(new))
    return [
        (word, round(start + place * step), round(start + (place + 1) * step))
        for place, word in enumerate(new)
    ]


def _origins(old: Sequence[str], new: Sequence[str]) -> list[int]:
    """For each new word, the place of the old one it stands for."""
    origins: list[int] = []
    for _, first, last, begin, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        furthest = max(first, last - 1) if first < last else first - 1
        origins += [min(first + place, furthest) for place in range(end - begin)]
    return origins


def _home(origin: int, homes: Sequence[int]) -> int:
    return homes[min(max(origin, 0), len(homes) - 1)] if homes else 0


def _plain(escaped: str) -> str:
    return re.sub(r"\\(.)", r"\1", escaped, flags=re.DOTALL)
