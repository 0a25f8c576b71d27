"""What bridges say to each other, as JSON. Pure; whatever cannot be read raises InvalidMessage.

Four requests, each with its answer, docs/protocol.md "Between bridges":

    report      how we stand in one room            -> how you stand there
    utterances  what was said at your site, a page  -> the page
    moderate    mute or remove somebody there       -> what became of it
    forget      what was deleted at your site       -> taken note of
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from bridge.domain import transcript
from bridge.domain.federation import MAX_TERM, Call, End, Part, Person, Report, Stand
from bridge.domain.transcript import Word

VERSION = 1
PREFIX = "/_matrix/federation/unstable/eu.colloque/rtc/livekit"
"""Paths of the requests as homeservers pass them on (MSC4512 admits nothing but rtc/livekit)."""

MAX_PEOPLE = 300
MAX_RECENT = 8
"""Calls of a room that a report speaks of: the one that runs, and those before it."""
PAGE = 50
"""Utterances in one answer."""
MAX_TEXT = 6000
MAX_WORDS = 2000
MAX_WORD = 200
MAX_UTTERANCES = 100_000
"""Of one site in one call: a day of everybody speaking."""
LATEST_MS = 4_102_444_800_000  # the year 2100

_ID = re.compile(r"[A-Za-z0-9_.=-]{1,64}")
_SERVER = re.compile(r"[A-Za-z0-9.:\[\]-]{1,230}")
_USER = re.compile(r"@[\x21-\x39\x3b-\x7e]{1,128}:[A-Za-z0-9.:\[\]-]{1,230}")
_SEGMENT = re.compile(r"[\x21-\x7e]{1,128}")
_VOICE = re.compile(r"V[1-9][0-9]{0,2}")
_OF_A_WORD = 3
_EVENT = re.compile(r"\$[\x21-\x7e]{1,254}")
_T = TypeVar("_T")

Measure = Literal["mute", "remove"]
Outcome = Literal["done", "absent", "refused"]


class InvalidMessage(ValueError):
    """Not of the agreed shape, or beyond its bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomReport:
    """A report and what it is of.

    `rev` grows with each report of a site to another: a lower one is old news. `seen`: the highest
    one had from whoever this is told to.
    """

    room_id: str
    report: Report
    rev: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAsked:
    """Which page of a call's utterances is asked for: those after the first `skip`."""

    room_id: str
    call: str
    skip: int


Said = transcript.Utterance
"""One revision of one segment. Times are milliseconds since the call's start.

`voice`, `words` and `editor` are left out by older bridges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`total`: how many revisions there are in all."""

    said: tuple[Said, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerateAsked:
    """Somebody who is in the call at the other site is to be muted there, or removed.

    `asked_by`: who asked for it, in the message `event`.
    """

    room_id: str
    call: str
    what: Measure
    user_id: str
    asked_by: str
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated:
    """What became of it. `count`: microphones that are there, or connections that were ended."""

    outcome: Outcome
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetAsked:
    """These segments of a call were deleted where they were said: so are their copies."""

    room_id: str
    call: str
    segments: tuple[str, ...]


# ---- writing


def report_body(told: RoomReport) -> dict[str, Any]:
    """The body of a `report` request, and of its answer."""
    return {
        "version": VERSION,
        "room_id": told.room_id,
        "rev": told.rev,
        "seen": told.seen,
        **report_json(told.report),
    }


def speakable(user_id: str) -> bool:
    """Whether this Matrix id can be told of (ids of before 2017 may hold any character)."""
    return _USER.fullmatch(user_id) is not None


def report_json(report: Report) -> dict[str, Any]:
    """A report alone; `report` reads it back."""
    value: dict[str, Any] = _without_none(dataclasses.asdict(report))
    return value


def page_asked_body(asked: PageAsked) -> dict[str, Any]:
    """The body of an `utterances` request."""
    return {"version": VERSION, **dataclasses.asdict(asked)}


def page_body(page: Page) -> dict[str, Any]:
    """The answer to it."""
    return {"version": VERSION, **dataclasses.asdict(page)}


def moderate_asked_body(asked: ModerateAsked) -> dict[str, Any]:
    """The body of a `moderate` request."""
    return {"version": VERSION, **dataclasses.asdict(asked)}


def forget_asked_body(asked: ForgetAsked) -> dict[str, Any]:
    """The body of a `forget` request."""
    return {
        "version": VERSION,
        "room_id": asked.room_id,
        "call": asked.call,
        "segments": list(asked.segments),
    }


def moderated_body(moderated: Moderated) -> dict[str, Any]:
    """The answer to it."""
    return {"version": VERSION, **dataclasses.asdict(moderated)}


# ---- reading


def room_report(body: Mapping[str, Any]) -> RoomReport:
    """Read the body of a `report` request or answer."""
    _check_version(body)
    return RoomReport(
        room_id=_room(body),
        rev=_number(body, "rev", 0, LATEST_MS),
        seen=_number(body, "seen", 0, LATEST_MS),
        report=report(body),
    )


def report(body: Mapping[str, Any]) -> Report:
    """Read a report."""
    stand = body.get("stand")
    return Report(
        stand=None if stand is None else _stand(_object(stand)),
        people=_list(body, "people", _person, MAX_PEOPLE),
        parts=_list(body, "parts", _part, MAX_RECENT),
        ends=_list(body, "ends", _end, MAX_RECENT),
    )


def page_asked(body: Mapping[str, Any]) -> PageAsked:
    """Read the body of an `utterances` request."""
    _check_version(body)
    return PageAsked(
        room_id=_room(body),
        call=_matching(body, "call", _ID),
        skip=_number(body, "skip", 0, MAX_UTTERANCES),
    )


def page(body: Mapping[str, Any]) -> Page:
    """Read the answer to it."""
    _check_version(body)
    return Page(
        said=_list(body, "said", _said, PAGE), total=_number(body, "total", 0, MAX_UTTERANCES)
    )


def moderate_asked(body: Mapping[str, Any]) -> ModerateAsked:
    """Read the body of a `moderate` request."""
    _check_version(body)
    return ModerateAsked(
        room_id=_room(body),
        call=_matching(body, "call", _ID),
        what=_choice(body, "what", get_args(Measure)),
        user_id=_matching(body, "user_id", _USER),
        asked_by=_matching(body, "asked_by", _USER),
        event=_matching(body, "event", _EVENT),
    )


def forget_asked(body: Mapping[str, Any]) -> ForgetAsked:
    """Read the body of a `forget` request."""
    _check_version(body)
    segments = body.get("segments")
    if not isinstance(segments, list) or len(segments) > PAGE:
        raise InvalidMessage(f"segments is no list of at most {PAGE}")
    return ForgetAsked(
        room_id=_room(body),
        call=_matching(body, "call", _ID),
        segments=tuple(_matching({"segment": one}, "segment", _SEGMENT) for one in segments),
    )


def moderated(body: Mapping[str, Any]) -> Moderated:
    """Read the answer to it."""
    _check_version(body)
    return Moderated(
        outcome=_choice(body, "outcome", get_args(Outcome)),
        count=_number(body, "count", 0, 1_000_000),
    )


def _stand(value: Mapping[str, Any]) -> Stand:
    call = _object(value.get("call"))
    return Stand(
        call=Call(
            id=_matching(call, "id", _ID),
            home=_matching(call, "home", _SERVER),
            started_ms=_number(call, "started_ms", 0, LATEST_MS),
            started_by=_matching(call, "started_by", _USER),
            started_name=_name(call, "started_name"),
        ),
        lead=_matching(value, "lead", _SERVER),
        term=_number(value, "term", 1, MAX_TERM),
        card=_matching(value, "card", _EVENT, may_be_empty=True),
        root=_matching(value, "root", _EVENT, may_be_empty=True),
    )


def _person(value: Mapping[str, Any]) -> Person:
    left = value.get("left_ms")
    return Person(
        user_id=_matching(value, "user_id", _USER),
        display_name=_name(value, "display_name"),
        joined_ms=_number(value, "joined_ms", 0, LATEST_MS),
        left_ms=None if left is None else _number(value, "left_ms", 0, LATEST_MS),
    )


def _part(value: Mapping[str, Any]) -> Part:
    return Part(
        call=_matching(value, "call", _ID),
        said=_number(value, "said", 0, MAX_UTTERANCES),
        final=value.get("final") is True,
    )


def _end(value: Mapping[str, Any]) -> End:
    return End(
        call=_matching(value, "call", _ID),
        at_ms=_number(value, "at_ms", 0, LATEST_MS),
        by=_matching(value, "by", _USER, may_be_empty=True),
        leading=value.get("leading") is True,
    )


def _said(value: Mapping[str, Any]) -> Said:
    start_ms = _number(value, "start_ms", 0, LATEST_MS)
    return Said(
        segment=_matching(value, "segment", _SEGMENT),
        rev=_number(value, "rev", 0, 1_000_000),
        speaker=_matching(value, "speaker", _USER),
        display_name=_name(value, "display_name"),
        text=_text(value, "text", MAX_TEXT),
        language=_text(value, "language", 35),
        start_ms=start_ms,
        end_ms=max(start_ms, _number(value, "end_ms", 0, LATEST_MS)),
        engine=_text(value, "engine", 200),
        voice=voice(value),
        words=words(value),
        editor=_matching(value, "editor", _USER, may_be_empty=True),
    )


def voice(value: Mapping[str, Any]) -> str:
    """The voice of a segment: "" where it has none. Raises InvalidMessage."""
    return _matching(value, "voice", _VOICE, may_be_empty=True)


def words(value: Mapping[str, Any]) -> tuple[Word, ...]:
    """The words of a segment, [[text, start_ms, end_ms], ...]. Raises InvalidMessage."""
    listed = value.get("words", [])
    if not isinstance(listed, list | tuple) or len(listed) > MAX_WORDS:
        raise InvalidMessage(f"words is no list of at most {MAX_WORDS}")
    return tuple(_word(one) for one in listed)


def _word(value: object) -> Word:
    if not isinstance(value, list | tuple) or len(value) != _OF_A_WORD:
        raise InvalidMessage("a word is no text with two times")
    found = dict(zip(("text", "start_ms", "end_ms"), value, strict=True))
    start_ms = _number(found, "start_ms", 0, LATEST_MS)
    return (
        _text(found, "text", MAX_WORD),
        start_ms,
        max(start_ms, _number(found, "end_ms", 0, LATEST_MS)),
    )


# ---- values


def _check_version(body: Mapping[str, Any]) -> None:
    # A later version adds fields that this one leaves out; one that breaks it has another path.
    _number(body, "version", 1, 1_000_000)


def _room(body: Mapping[str, Any]) -> str:
    room_id = body.get("room_id")
    if not isinstance(room_id, str) or not room_id.startswith("!") or len(room_id) > 255:
        raise InvalidMessage("room_id is no room id")
    return room_id


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidMessage("not an object")
    return value


def _list(
    body: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any]], _T], longest: int
) -> tuple[_T, ...]:
    values = body.get(key, [])
    if not isinstance(values, list | tuple) or len(values) > longest:
        raise InvalidMessage(f"{key} is no list of at most {longest}")
    return tuple(read(_object(value)) for value in values)


def _number(body: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidMessage(f"{key} is no whole number from {least} to {most}")
    return value


def _matching(
    body: Mapping[str, Any], key: str, form: re.Pattern[str], *, may_be_empty: bool = False
) -> str:
    value = body.get(key, "")
    if may_be_empty and value == "":
        return ""
    if not isinstance(value, str) or not form.fullmatch(value):
        raise InvalidMessage(f"{key} is not of the right form")
    return value


def _choice(body: Mapping[str, Any], key: str, choices: tuple[_T, ...]) -> _T:
    for choice in choices:
        if body.get(key) == choice:
            return choice
    raise InvalidMessage(f"{key} is none of {', '.join(map(str, choices))}")


def _text(body: Mapping[str, Any], key: str, longest: int) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > longest:
        raise InvalidMessage(f"{key} is no text of at most {longest} characters")
    return value


def _name(body: Mapping[str, Any], key: str) -> str:
    return _text(body, key, 256)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
