"""A summary made by a language model: what is asked of it, and what of its answer is believed.

Pure. The model gets numbered utterances and must answer with their numbers: what rests on no
utterance is dropped, so that everything shown points at words that were said. Utterances are
anybody's words, and may speak to the model: they go to it as JSON and as nothing else, and what
comes back is text of bounded length, never markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from bridge.domain.documents.record import Record, clock, one_line
from bridge.domain.transcript import current
from bridge.text import Language, say

Section = Literal["points", "decisions", "actions"]
SECTIONS: tuple[Section, ...] = get_args(Section)

PART = 24_000
"""Characters of one request: some 8000 tokens, what small models read with care."""
PARTS = 12
"""Requests for one meeting, five hours of talk: what lies behind is left out, and that is said."""
LONGEST = 300
"""Characters of one line of a summary."""
ITEMS = 15
"""Lines of one section."""
RESTS_ON = 4
"""Utterances that one line points at."""


@dataclass(frozen=True, slots=True)
class Line:
    """An utterance as the model sees it. `segment`: which it is."""

    number: int
    segment: str
    at_ms: int
    speaker: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a summary. `rests_on`: numbers of utterances. `who`, `when`: of an action."""

    section: Section
    text: str
    rests_on: tuple[int, ...]
    who: str = ""
    when: str = ""


class Unusable(ValueError):
    """An answer that says nothing in the form that was asked for."""


def lines(record: Record, language: Language) -> tuple[Line, ...]:
    """The record's utterances, numbered from 1."""
    return tuple(
        Line(
            number,
            said.segment,
            said.start_ms,
            one_line(record.label(said, language)),
            one_line(said.text),
        )
        for number, said in enumerate(current(record.utterances), 1)
    )


def parts(said: Sequence[Line]) -> tuple[tuple[tuple[Line, ...], ...], int]:
    """The meeting in pieces that a model reads at once, and how many utterances are left out."""
    pieces: list[list[Line]] = []
    size = PART
    for line in said:
        cost = len(line.text) + len(line.speaker) + 40
        if size + cost > PART:
            pieces.append([])
            size = 0
        pieces[-1].append(line)
        size += cost
    kept = pieces[:PARTS]
    return tuple(map(tuple, kept)), sum(map(len, pieces[PARTS:]))


def question(part: Sequence[Line], language: Language) -> list[dict[str, str]]:
    """What the model is asked of one part: messages of a chat."""
    told = [
        {"n": line.number, "at": clock(line.at_ms), "who": line.speaker, "text": line.text}
        for line in part
    ]
    return _asked("summary.prompt", "utterances", told, language)


def merging(items: Iterable[Item], language: Language) -> list[dict[str, str]]:
    """What it is asked when a meeting had several parts: one summary of theirs."""
    told = [
        {
            "section": item.section,
            "text": item.text,
            "who": item.who,
            "when": item.when,
            "utterances": list(item.rests_on),
        }
        for item in items
    ]
    return _asked("summary.merge", "items", told, language)


def read(answer: str, allowed: Iterable[int]) -> tuple[Item, ...]:
    """The items of an answer; those that rest on none of the `allowed` numbers are dropped.

    Raises Unusable where it is no JSON object with sections.
    """
    body = answer[answer.find("{") : answer.rfind("}") + 1]
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise Unusable("the answer is not JSON") from None
    if not isinstance(told, dict) or not any(isinstance(told.get(s), list) for s in SECTIONS):
        raise Unusable("the answer has none of the sections")
    known = frozenset(allowed)
    found = [item for section in SECTIONS for item in _section(told.get(section), section, known)]
    return tuple(found)


def bounded(items: Iterable[Item], *, most: int = ITEMS) -> tuple[Item, ...]:
    """At most so many of each section, the first ones; those that say the same are one."""
    unlike: dict[tuple[Section, str], Item] = {}
    for item in items:
        same = unlike.setdefault((item.section, item.text.casefold()), item)
        rests_on = tuple(dict.fromkeys((*same.rests_on, *item.rests_on)))[:RESTS_ON]
        unlike[item.section, item.text.casefold()] = replace(same, rests_on=rests_on)
    return tuple(
        item
        for section in SECTIONS
        for item in [one for one in unlike.values() if one.section == section][:most]
    )


def _asked(
    key: str, name: str, told: list[dict[str, Any]], language: Language
) -> list[dict[str, str]]:
    schema = json.dumps(SCHEMA, ensure_ascii=False)
    return [
        {"role": "system", "content": f"{say(key, language)}\n\n{schema}"},
        {"role": "user", "content": json.dumps({name: told}, ensure_ascii=False)},
    ]


def _section(told: object, section: Section, known: frozenset[int]) -> list[Item]:
    found = [_item(one, section, known) for one in told] if isinstance(told, list) else []
    return [item for item in found if item is not None][: 10 * ITEMS]


def _item(told: object, section: Section, known: frozenset[int]) -> Item | None:
    if not isinstance(told, Mapping):
        return None
    text, numbers = _text(told.get("text"), LONGEST), told.get("utterances")
    named = numbers if isinstance(numbers, list) else []
    # In JSON `true` is no number; in Python it is one.
    rests = [n for n in named if isinstance(n, int) and not isinstance(n, bool) and n in known]
    if not text or not rests:
        return None
    action = section == "actions"
    return Item(
        section=section,
        text=text,
        rests_on=tuple(dict.fromkeys(rests))[:RESTS_ON],
        who=_text(told.get("who"), 80) if action else "",
        when=_text(told.get("when"), 80) if action else "",
    )


def _text(told: object, longest: int) -> str:
    line = one_line(told[: 4 * longest]) if isinstance(told, str) else ""
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def _array(**more: object) -> dict[str, object]:
    properties = {
        "text": {"type": "string"},
        **more,
        "utterances": {"type": "array", "items": {"type": "integer"}},
    }
    item = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "array", "items": item}


_STRING: dict[str, object] = {"type": "string"}

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "points": _array(),
        "decisions": _array(),
        "actions": _array(who=_STRING, when=_STRING),
    },
    "required": list(SECTIONS),
    "additionalProperties": False,
}
"""Of the model's answer, as `response_format` wants it."""
