"""What strangers write, made fit for a column of either database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from bridge.domain.transcript import Word

_LONGEST_ID = 255  # bytes; Matrix specification, "Size limits" of events


def plain(text: str) -> str:
    """The text without what UTF-8 or PostgreSQL cannot hold (lone surrogates, NUL)."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def storable_id(value: object) -> bool:
    """Whether this is a Matrix id (of an event or a room) that a column holds unchanged."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and plain(value) == value


def dumped(value: dict[str, Any]) -> str:
    """JSON in ASCII: an escape holds what `plain` would have to replace."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def written_words(words: Iterable[Word]) -> str:
    """Words and their times as a column holds them."""
    return json.dumps([list(word) for word in words], ensure_ascii=True, separators=(",", ":"))


def read_words(text: str) -> tuple[Word, ...]:
    """The words `written_words` wrote."""
    return tuple((word, start_ms, end_ms) for word, start_ms, end_ms in json.loads(text))


def loaded(text: str) -> dict[str, Any]:
    """The object `dumped` wrote."""
    value: dict[str, Any] = json.loads(text)
    return value
