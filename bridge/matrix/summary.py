"""How a summary looks in a room's timeline. docs/protocol.md.

Every word of it is a machine's that had read strangers' words: escaped in HTML, and calling nobody
(`m.mentions` is empty).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from bridge.domain.documents import clock
from bridge.domain.summary import SECTIONS, Section
from bridge.matrix.wire import NOTICE, RELATES_TO, SUMMARY, THREAD
from bridge.text import Language, say

LARGEST = 45_000
"""Bytes of the message, of the 65,536 that an event may have when it is encrypted."""


@dataclass(frozen=True, slots=True)
class Rests:
    """An utterance that a line rests on. `event_id`: its message, '' where there is none here."""

    segment: str
    at_ms: int
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One line."""

    section: Section
    text: str
    who: str
    when: str
    rests_on: tuple[Rests, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A whole one. `root`: what the thread's root is called in the outbox.

    `left_out`: utterances that the model was not given.
    """

    room_id: str
    conference: str
    model: str
    language: Language
    root: str
    server: str
    items: tuple[Shown, ...]
    left_out: int = 0


def message(told: Summary) -> dict[str, Any]:
    """The message, in the call's thread; with fewer lines where it would be too large."""
    items = list(told.items)
    while True:
        content = _content(told, items)
        if not items or len(json.dumps(content, ensure_ascii=False).encode()) <= LARGEST:
            return content
        items.pop()


def _content(told: Summary, items: Sequence[Shown]) -> dict[str, Any]:
    root = f"outbox:{told.root}"
    return {
        "msgtype": NOTICE,
        "body": _markdown(told, items),
        "format": "org.matrix.custom.html",
        "formatted_body": _html(told, items),
        "m.mentions": {},
        SUMMARY: {
            "version": 1,
            "conference": told.conference,
            "model": told.model,
            "items": [_object(item) for item in items],
        },
        RELATES_TO: {
            "rel_type": THREAD,
            "event_id": root,
            "is_falling_back": True,
            "m.in_reply_to": {"event_id": root},
        },
    }


def _object(item: Shown) -> dict[str, Any]:
    action = {"who": item.who, "when": item.when} if item.section == "actions" else {}
    return {
        "section": item.section,
        "text": item.text,
        **action,
        "segments": [one.segment for one in item.rests_on],
    }


def _markdown(told: Summary, items: Sequence[Shown]) -> str:
    lines = [_title(told), _notice(told)]
    for section, chosen in _sections(items):
        lines += ["", f"## {say(f'summary.{section}', told.language)}", ""]
        for item in chosen:
            times = ", ".join(clock(one.at_ms) for one in item.rests_on)
            lines.append(f"- {_line(item)} [{times}]")
    return "\n".join(lines)


def _html(told: Summary, items: Sequence[Shown]) -> str:
    parts = [f"<p><strong>{escape(_title(told))}</strong><br>{escape(_notice(told))}</p>"]
    for section, chosen in _sections(items):
        parts.append(f"<h4>{escape(say(f'summary.{section}', told.language))}</h4><ul>")
        for item in chosen:
            links = ", ".join(_link(told, one) for one in item.rests_on)
            parts.append(f"<li>{escape(_line(item))} ({links})</li>")
        parts.append("</ul>")
    return "".join(parts)


def _sections(items: Sequence[Shown]) -> list[tuple[Section, list[Shown]]]:
    chosen = [
        (section, [item for item in items if item.section == section]) for section in SECTIONS
    ]
    return [(section, found) for section, found in chosen if found]


def _title(told: Summary) -> str:
    return say("summary.title", told.language, model=told.model)


def _notice(told: Summary) -> str:
    if not told.items:
        return say("summary.nothing", told.language)
    key = "summary.notice_part" if told.left_out else "summary.notice"
    return say(key, told.language, count=told.left_out)


def _line(item: Shown) -> str:
    about = ", ".join(part for part in (item.who, item.when) if part)
    return f"{item.text} — {about}" if about else item.text


def _link(told: Summary, one: Rests) -> str:
    at = clock(one.at_ms)
    if not one.event_id:
        return at
    path = f"{quote(told.room_id, safe='')}/{quote(one.event_id, safe='')}"
    via = quote(told.server, safe="")
    return f'<a href="https://matrix.to/#/{path}?via={via}">{at}</a>'


def read_items(noted: object, known: Mapping[str, Rests]) -> tuple[Shown, ...]:
    """The lines as an errand noted them; what they rest on must be `known`."""
    told = noted if isinstance(noted, list) else []
    return tuple(
        Shown(
            section=item["section"],
            text=item["text"],
            who=item["who"],
            when=item["when"],
            rests_on=tuple(known[segment] for segment in item["rests_on"]),
        )
        for item in told
    )
