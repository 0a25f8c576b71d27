"""What transcription servers answer, read: `verbose_json`, `diarized_json`, or text alone. Pure.

Times are trusted as far as they are possible: within the audio, forward, of some length. Where a
server tells none for a word, the words of its segment share its time by their letters. Segments
that a model made up in silence are left out (hallucinations.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.scribe.engines import RATE, Word
from bridge.scribe.engines.hallucinations import made_up

MOST_WORDS = 20_000


class Unreadable(Exception):
    """It is not an answer of such a server."""


def words_of(body: bytes, *, samples: int) -> list[Word]:
    """The words in an answer about `samples` samples of audio. Raises Unreadable."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable("an answer that is no JSON") from None
    if not isinstance(answer, dict):
        raise Unreadable("an answer that is no object")
    language = str(answer.get("language") or "")
    segments = [s for s in _list(answer, "segments") if isinstance(s, dict)]
    if not segments:
        text = answer.get("text")
        if not isinstance(text, str):
            raise Unreadable("an answer without text")
        segments = [{"text": text, "start": 0.0, "end": samples / RATE}]
    timed = [w for w in _list(answer, "words") if isinstance(w, dict)]
    heard = [
        word
        for segment in segments
        if not made_up(segment, language)
        for word in _segment(segment, timed, samples)
    ]
    return _forward(heard[:MOST_WORDS])


def _segment(
    segment: Mapping[str, Any], timed: Sequence[Mapping[str, Any]], samples: int
) -> Iterator[Word]:
    start, end = _times(segment, samples)
    # OpenAI lists all words beside the segments, WhisperX each segment's within it.
    words: list[Mapping[str, Any]] = [w for w in _list(segment, "words") if isinstance(w, dict)]
    until = max(end, start + 1)
    words = words or [w for w in timed if start <= _at(w, "start", samples) < until]
    texts = [str(w.get("word", w.get("text", ""))).strip() for w in words]
    known = [w for w, text in zip(words, texts, strict=True) if text]
    if not known:
        yield from spread(str(segment.get("text", "")).split(), start, end)
        return
    for word, text in zip(known, filter(None, texts), strict=True):
        begins = _at(word, "start", samples) if "start" in word else start
        ends = _at(word, "end", samples) if "end" in word else begins
        yield Word(text, begins, max(begins, ends))


def spread(texts: Sequence[str], start: int, end: int) -> Iterator[Word]:
    """Words whose times nobody knows: each as long as its letters."""
    letters = sum(map(len, texts)) or 1
    at = 0
    for text in texts:
        begins = start + (end - start) * at // letters
        at += len(text)
        yield Word(text, begins, start + (end - start) * at // letters)


def _times(segment: Mapping[str, Any], samples: int) -> tuple[int, int]:
    start = _at(segment, "start", samples)
    return start, max(start, _at(segment, "end", samples) if "end" in segment else samples)


def _at(item: Mapping[str, Any], key: str, samples: int) -> int:
    value = item.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return min(max(0, int(value * RATE)), samples)


def _list(item: Mapping[str, Any], key: str) -> list[Any]:
    value = item.get(key)
    return value if isinstance(value, list) else []


def _forward(words: Sequence[Word]) -> list[Word]:
    """In the order in which they were spoken: none begins before the one before it."""
    done: list[Word] = []
    for word in words:
        start = max(word.start, done[-1].start) if done else word.start
        done.append(Word(word.text, start, max(start, word.end)))
    return done
