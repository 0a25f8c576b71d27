"""What a room wants of its conference: the content of the state event `eu.colloque.conference`.

Any moderator writes it from any client; it is read leniently. A field of the wrong kind keeps its
default and is named as a problem; fields this version does not know are kept when we write the
event ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from bridge.text import LANGUAGES, Language

Publish = Literal["everyone", "moderators"]
# A language tag as RFC 5646 builds it, as far as recognizers tell languages apart.
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Problem:
    """A field that could not be read: a key of `bridge.text` and its values."""

    key: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`active` is None where the room leaves it to commands and the call button.

    `language` is that of sentences and documents; `spoken_language` (None: the same) is what the
    recognizer listens for. `locked`: nobody new comes in; `lobby`: newcomers wait until a moderator
    admits them; `publish`: who may send sound and picture (bridge.domain.entry). `summary`: a
    machine sums up each call that has a transcript.
    """

    active: bool | None = None
    captions: bool = False
    transcript: bool = False
    language: Language = "fr"
    spoken_language: str | None = None
    locked: bool = False
    lobby: bool = False
    max_participants: int | None = None
    publish: Publish = "everyone"
    summary: bool = False
    languages: Mapping[str, str] = field(default_factory=dict)
    """What single people speak, by Matrix id, where it is not `spoken_language`."""
    shared_microphones: tuple[str, ...] = ()
    """Matrix ids of participants that are rooms, with several people at one microphone."""
    content: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """The event's content as it was read: the ground of the next one we write."""

    def listened(self) -> str:
        """The language tag for the recognizer."""
        return self.spoken_language or self.language

    def with_field(self, name: str, value: object) -> Wish:
        """The same wish with one field of the event changed; None takes the field out of it.

        `name` may be a field this version does not read: it then stands in the content only.
        """
        content = {**self.content, name: value}
        if value is None:
            del content[name]
        read_here: dict[str, Any] = {name: value} if name in _READ else {}
        return replace(self, content=content, **read_here)


_READ = frozenset(f.name for f in fields(Wish)) - {"content"}


def read(content: object, defaults: Wish) -> tuple[Wish, tuple[Problem, ...]]:
    """The wish in a state event's content, and what in it could not be read."""
    if not isinstance(content, Mapping):
        return defaults, (Problem("wish.not_object"),)
    problems: list[Problem] = []

    def flag(name: str, default: bool | None) -> bool | None:
        value = content.get(name)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        problems.append(Problem("wish.not_bool", {"field": name}))
        return default

    wish = Wish(
        active=flag("active", None),
        captions=bool(flag("captions", defaults.captions)),
        transcript=bool(flag("transcript", defaults.transcript)),
        language=_language(content.get("language"), defaults.language, problems),
        spoken_language=_tag(content.get("spoken_language"), defaults.spoken_language, problems),
        locked=bool(flag("locked", False)),
        lobby=bool(flag("lobby", False)),
        max_participants=_count(content.get("max_participants"), problems),
        publish=_publish(content.get("publish"), problems),
        summary=bool(flag("summary", False)),
        languages=_languages(content.get("languages"), problems),
        shared_microphones=_people(content, "shared_microphones", problems),
        content=dict(content),
    )
    return wish, tuple(problems)


def write(wish: Wish) -> dict[str, Any]:
    """Content of the state event: what was there before, with the fields this wish changed."""
    return {"version": 1, **wish.content}


def languages(content: Mapping[str, Any]) -> dict[str, str]:
    """What single people speak, by Matrix id, in a state event's content."""
    return _languages(content.get("languages"), [])


def shared_microphones(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Who is a room with several people at one microphone, in a state event's content."""
    return _people(content, "shared_microphones", [])


def is_language_tag(value: str) -> bool:
    """Whether this names a language as recognizers know them: `fr`, `en-GB`."""
    return _TAG.fullmatch(value) is not None


def _language(value: object, default: Language, problems: list[Problem]) -> Language:
    if value is None:
        return default
    for language in LANGUAGES:
        if value == language:
            return language
    choices = ", ".join(LANGUAGES)
    problems.append(Problem("wish.not_language", {"field": "language", "choices": choices}))
    return default


def _count(value: object, problems: list[Problem]) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2:
        return value
    problems.append(Problem("wish.not_count", {"field": "max_participants"}))
    return None


def _publish(value: object, problems: list[Problem]) -> Publish:
    if value is None:
        return "everyone"
    choices: tuple[Publish, ...] = get_args(Publish)
    for choice in choices:
        if value == choice:
            return choice
    # Who wanted to restrict it and mistyped wanted it restricted.
    problems.append(Problem("wish.not_choice", {"field": "publish", "choices": ", ".join(choices)}))
    return "moderators"


def _languages(value: object, problems: list[Problem]) -> dict[str, str]:
    if value is None:
        return {}
    read = {
        user: tag
        for user, tag in (value.items() if isinstance(value, Mapping) else ())
        if isinstance(tag, str) and is_language_tag(tag)
    }
    if not isinstance(value, Mapping) or len(read) < len(value):
        problems.append(Problem("wish.not_languages", {"field": "languages"}))
    return read


MOST_SHARED = 50
"""Shared microphones a room may name."""


def _people(content: Mapping[str, Any], name: str, problems: list[Problem]) -> tuple[str, ...]:
    value = content.get(name)
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(dict.fromkeys(value))[:MOST_SHARED]
    problems.append(Problem("wish.not_people", {"field": name}))
    return ()


def _tag(value: object, default: str | None, problems: list[Problem]) -> str | None:
    if value is None:
        return default
    if isinstance(value, str) and is_language_tag(value):
        return value
    problems.append(Problem("wish.not_tag", {"field": "spoken_language"}))
    return default
