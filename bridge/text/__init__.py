"""The sentences people read, in French and English. Pure: which sentence is decided elsewhere.

A sentence is named by its key; `{placeholders}` are filled with values. Both catalogues have the
same keys and each sentence the same placeholders (a test holds them to it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from bridge.text import en, fr

Language = Literal["fr", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
CATALOGUES: Mapping[Language, Mapping[str, str]] = {"fr": fr.SENTENCES, "en": en.SENTENCES}


def say(key: str, language: Language, **values: str | int) -> str:
    """The sentence `key` in `language`. Raises KeyError for an unknown key or a missing value."""
    return CATALOGUES[language][key].format_map(values)


def people(count: int, language: Language) -> str:
    """`nobody`, `1 person`, `3 people`."""
    return _counted("people", count, language)


def servers(count: int, language: Language) -> str:
    """`1 homeserver`, `2 homeservers`."""
    return _counted("servers", count, language)


def utterances(count: int, language: Language) -> str:
    """`no utterance`, `1 utterance`, `12 utterances`."""
    return _counted("utterances", count, language)


def duration(milliseconds: int, language: Language) -> str:
    """A length of time as people say it, to the minute above one minute: `40 s`, `1 h 05 min`."""
    seconds = max(0, milliseconds) // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return say("duration.hours", language, hours=hours, minutes=f"{minutes:02d}")
    if minutes:
        return say("duration.minutes", language, minutes=minutes)
    return say("duration.seconds", language, seconds=seconds)


def on_off(value: bool, language: Language) -> str:
    """`on` or `off`."""
    return say("on" if value else "off", language)


def _counted(noun: str, count: int, language: Language) -> str:
    form = {0: "none", 1: "one"}.get(count, "many")
    return say(f"{noun}.{form}", language, count=count)
