"""Words as they are looked for: what of a text goes into the index, and what of a query is asked.

A word is found by its stem (Snowball, by the language it was said in), so that "décisions" finds
"décision"; and by its own letters without accents, so that "congres" finds "congrès". Both are
made here, for the text and for the query alike; the databases only compare them. Nothing of a
query reaches a database but letters and digits, so no query has a syntax there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import snowballstemmer

LONGEST_QUERY = 200
MOST_TERMS = 8
MOST_WORDS = 12
"""Words of one phrase."""
_LONGEST_WORD = 64
_MOST_INDEXED = 5000
_SHORTEST_PREFIX = 2
_SNIPPET = 200

_STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "tr": "turkish",
}
_PARTICIPLE = re.compile(r"(?<=\w\w)e(e?)(s?)$", re.IGNORECASE)
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "ı": "i"})
# "l’école" is looked for as "école".
_ELIDED = frozenset(
    {"l", "d", "j", "n", "s", "c", "m", "t", "qu", "lorsqu", "puisqu", "jusqu", "quoiqu"}
)
# Asked for as words of their own these find everything; inside a phrase they count.
_STOP_WORDS = """
a au aux avec ce ces cette dans de des du elle en est et eux il ils je la le les leur lui ma
mais me mes moi mon ne nos notre nous on ou par pas pour qu que qui sa se ses son sur ta te
tes toi ton tu un une vos votre vous y an and are as at be but by for from has he in is it
its of or that the their this to was were will with
"""
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: its folded letters, its stem, and where it stands in the text."""

    letters: str
    stem: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must follow each other. `prefix`: the last one may go on.

    `stems`: what they may look like as stems, one tuple for each way.
    """

    letters: tuple[str, ...]
    stems: tuple[tuple[str, ...], ...] = ()
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a snippet. `found`: it is what was looked for."""

    text: str
    found: bool = False


def spelled(text: str) -> str:
    """The text in the one spelling in which positions in it are counted (Unicode NFC)."""
    return unicodedata.normalize("NFC", text)


def words(text: str, language: str) -> list[Word]:
    """The words of a text in the spelling of `spelled`."""
    return [
        Word(fold(text[start:end]), _stem(text[start:end].lower(), _tag(language)), start, end)
        for start, end in _spans(text)
    ][:_MOST_INDEXED]


def fold(word: str) -> str:
    """Without case and accents: "Élève" and "eleve" are the same."""
    apart = unicodedata.normalize("NFKD", word.casefold().translate(_LIGATURES))
    return "".join(sign for sign in apart if unicodedata.category(sign) != "Mn")[:_LONGEST_WORD]


def read_query(text: str, languages: Iterable[str]) -> tuple[Term, ...]:
    """What is asked for; all terms must be found. Empty where nothing can be looked for.

    `"..."` is a phrase, `budg*` the beginning of a word. `languages`: those of the texts.
    """
    tags = tuple(dict.fromkeys(_tag(language) for language in languages))
    read = [
        term
        for quoted, chunk in _chunks(spelled(text[:LONGEST_QUERY]))
        if (term := _term(chunk, quoted=quoted, tags=tags)) is not None
    ]
    telling = [term for term in read if len(term.letters) > 1 or term.letters[0] not in _STOP]
    return tuple(dict.fromkeys(telling or read))[:MOST_TERMS]


def snippet(text: str, language: str, terms: Sequence[Term]) -> list[Piece]:
    """A part of a text in which what was looked for is marked."""
    text = spelled(text)
    found = _found(words(text, language), terms)
    first, last = _window(text, found[0] if found else (0, 0))
    pieces: list[Piece] = [] if first == 0 else [Piece("… ")]
    at = first
    for start, end in found:
        if start < at or end > last:
            continue
        pieces += [Piece(text[at:start]), Piece(text[start:end], found=True)]
        at = end
    pieces.append(Piece(text[at:last] + ("" if last == len(text) else " …")))
    return [piece for piece in pieces if piece.text]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """From where to where each word of a text goes."""
    begun: int | None = None
    for at, sign in enumerate(text):
        inside = sign.isalnum() or unicodedata.category(sign)[0] == "M"
        if inside and begun is None:
            begun = at
        elif not inside and begun is not None:
            yield begun, at
            begun = None
    if begun is not None:
        yield begun, len(text)


@lru_cache(maxsize=32)
def _stemmer(name: str) -> Any:
    return snowballstemmer.stemmer(name)


@lru_cache(maxsize=20_000)
def _stem(word: str, tag: str) -> str:
    """A word's stem, folded; the folded word itself in a language without a stemmer."""
    name = _STEMMERS.get(tag)
    if tag == "fr" and len(word) > 3 and word[-1] == "s" and word[-2] != "s":
        # Snowball takes the ending of "crédit" for a verb's, and leaves that of "crédits".
        word = word[:-1]
    return fold(_stemmer(name).stemWord(word) if name else word)


def _tag(language: str) -> str:
    """The language itself of a tag such as fr-CA (RFC 5646)."""
    return language.lower().replace("_", "-").partition("-")[0]


def _chunks(text: str) -> Iterator[tuple[bool, str]]:
    """The query's parts, and whether each was quoted. A quote that nobody closes ends the text."""
    for quote in "«»“”„":
        text = text.replace(quote, '"')
    for number, part in enumerate(text.split('"')):
        if number % 2:
            yield True, part
        else:
            yield from ((False, chunk) for chunk in part.split())


def _term(chunk: str, *, quoted: bool, tags: Sequence[str]) -> Term | None:
    raw = [chunk[start:end] for start, end in _spans(chunk)]
    if not quoted:
        while len(raw) > 1 and fold(raw[0]) in _ELIDED:
            raw = raw[1:]
    raw = [word for word in raw if fold(word)][:MOST_WORDS]
    if not raw:
        return None
    letters = tuple(fold(word) for word in raw)
    if chunk.rstrip().endswith("*") and len(letters[-1]) >= _SHORTEST_PREFIX:
        return Term(letters, prefix=True)
    ways = [(tag, raw) for tag in tags]
    if "fr" in tags:
        ways.append(("fr", [_accented(word) for word in raw]))
    stems = (tuple(_stem(word.lower(), tag) for word in way) for tag, way in ways)
    return Term(letters, tuple(dict.fromkeys(stems)))


def _accented(word: str) -> str:
    """A French participle typed without its accent ("decidee"): the stem depends on it."""
    ending = _PARTICIPLE.search(word)
    return f"{word[: ending.start()]}é{ending[1]}{ending[2]}" if ending else word


def _found(said: Sequence[Word], terms: Sequence[Term]) -> list[tuple[int, int]]:
    """From where to where the terms stand, in order and without overlaps."""
    places = {
        (said[at].start, said[at + len(term.letters) - 1].end)
        for term in terms
        for at in range(len(said) - len(term.letters) + 1)
        if _stands(said[at : at + len(term.letters)], term)
    }
    kept: list[tuple[int, int]] = []
    for start, end in sorted(places, key=lambda place: (place[0], -place[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def _stands(here: Sequence[Word], term: Term) -> bool:
    letters = tuple(word.letters for word in here)
    if term.prefix:
        *whole, last = term.letters
        return letters[:-1] == tuple(whole) and letters[-1].startswith(last)
    return letters == term.letters or tuple(word.stem for word in here) in term.stems


def _window(text: str, place: tuple[int, int]) -> tuple[int, int]:
    """From where to where the text is shown: whole words around a place."""
    if len(text) <= _SNIPPET:
        return 0, len(text)
    first = max(0, place[0] - _SNIPPET // 3)
    last = min(len(text), max(first + _SNIPPET, place[1]))
    if first:
        space = text.find(" ", first, place[0])
        first = space + 1 if space >= 0 else place[0]
    if last < len(text):
        space = text.rfind(" ", place[1], last)
        last = space if space >= 0 else last
    return first, last
