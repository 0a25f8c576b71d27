"""What media server, scribe and other sites say, typed. Pure; garbage raises InvalidNews."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from bridge.domain.federation import Report
from bridge.domain.happenings import Lack
from bridge.domain.transcript import Word
from bridge.peers import messages
from bridge.store.inbox import NewEntry

MAX_TEXT = 6000
"""Characters of one segment that are kept: three copies of it must fit a 65 536 byte event."""


class InvalidNews(ValueError):
    """Not of the agreed shape."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody is in the media room. `at_ms`: since when. `seen`: found there, not announced."""

    identity: str
    sid: str
    at_ms: int
    media_sid: str
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """A connection has gone."""

    identity: str
    sid: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The media server closed its room."""

    media_sid: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Everybody was removed after a conference's end (the reconciler says so)."""

    conference: str


@dataclass(frozen=True, slots=True)
class Gone:
    """Somebody is no member of the room any more (the reconciler has asked)."""

    user_id: str


@dataclass(frozen=True, slots=True)
class Due:
    """Something of the room was due at `at_ms` (the reconciler says so)."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Knocked:
    """A member waits to be let into this conference (the doors say so)."""

    conference: str
    user_id: str


@dataclass(frozen=True, slots=True)
class CameBack:
    """An errand was carried out, or could not be. `count`: how many it touched.

    `event_id`: what it put into the room. `site`: which other site would not.
    Outcome "ready": it goes on, and this is its first half.
    """

    errand: str
    outcome: str
    count: int = 0
    event_id: str = ""
    site: str = ""


@dataclass(frozen=True, slots=True)
class Reread:
    """The room's state is to be read again (the janitor says so)."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Another site speaks of a room that we are in, and of which nothing is known here."""


@dataclass(frozen=True, slots=True)
class Ghost:
    """A membership at our media server whose device has not been there for a while."""

    event_id: str


@dataclass(frozen=True, slots=True)
class Expired:
    """A conference's record is older than its room keeps it (the retention says so)."""

    conference: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Everything that was written down of a person in the room is to go (an administrator)."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A final segment. Times are milliseconds since the conference's start.

    `voice`: "" or "V1", "V2"... `final`: of the last pass over a shared microphone.
    """

    conference: str
    segment: str
    rev: int
    identity: str
    text: str
    language: str
    start_ms: int
    end_ms: int
    engine: str
    voice: str = ""
    words: tuple[Word, ...] = ()
    final: bool = False


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Nobody listened from `start_ms` to `end_ms` (since the conference's start)."""

    conference: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The state of a scribe's session: joining, listening, failed or stopped.

    `lacks`: what it lacks to do its work as well as it can.
    """

    conference: str
    state: str
    lacks: Lack = ""


@dataclass(frozen=True, slots=True)
class Peers:
    """How the other sites say they stand, all that have spoken, and which of them are silent."""

    reports: Mapping[str, Report]
    silent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShareTaken:
    """What was said at a site is here now: `taken` revisions of `utterances` segments."""

    conference: str
    site: str
    taken: int
    utterances: int


@dataclass(frozen=True, slots=True)
class PutOut:
    """Another site was asked to remove somebody from this call, and asks us: they are here."""

    call: str
    user_id: str
    asked_by: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """These segments were deleted at the site where they were said."""

    site: str
    call: str
    segments: tuple[str, ...]


PeerNews = Peers | ShareTaken | PutOut | Unread | Forgotten
MediaNews = (
    Joined
    | Left
    | Finished
    | Closed
    | Gone
    | Due
    | Knocked
    | CameBack
    | Reread
    | Ghost
    | Expired
    | Erase
)
ScribeNews = Heard | Interrupted | SessionChanged


_LACKS: Mapping[str, Lack] = {lack: lack for lack in get_args(Lack)}


def media(payload: Mapping[str, Any]) -> MediaNews | None:
    """A webhook of the media server, or one of the reconciler's own entries below."""
    match payload.get("event"):
        case "participant_joined":
            return _joined(payload)
        case "participant_left" | "participant_connection_aborted":
            who = _object(payload, "participant")
            return Left(_text(who, "identity"), _text(who, "sid"))
        case "room_finished":
            return Finished(_text(_object(payload, "room"), "sid"))
        case "colloque.closed":
            return Closed(_text(payload, "conference"))
        case "colloque.gone":
            return Gone(_text(payload, "user_id"))
        case "colloque.due":
            return Due(_number(payload, "at_ms"))
        case "colloque.knocked":
            return Knocked(_text(payload, "conference"), _text(payload, "user_id"))
        case "colloque.errand":
            return CameBack(
                _text(payload, "errand"),
                _text(payload, "outcome"),
                _number(payload, "count", 0),
                _text(payload, "event_id", may_be_empty=True),
                _text(payload, "site", may_be_empty=True),
            )
        case "colloque.expired":
            return Expired(_text(payload, "conference"))
        case "colloque.erase":
            return Erase(_text(payload, "user_id"))
        case "colloque.reread":
            return Reread()
        case "colloque.ghost":
            return Ghost(_text(payload, "membership"))
    return None


def peer(payload: Mapping[str, Any]) -> PeerNews | None:
    """An entry of `peers`, `share_taken`, `put_out` or `unread` below."""
    match payload.get("event"):
        case "peers":
            return _peers(payload)
        case "share":
            return ShareTaken(
                _text(payload, "conference"),
                _text(payload, "site"),
                _number(payload, "taken"),
                _number(payload, "utterances"),
            )
        case "unread":
            return Unread()
        case "forgotten":
            told = messages.forget_asked(_object(payload, "told"))
            return Forgotten(_text(payload, "site"), told.call, told.segments)
        case "put_out":
            return PutOut(
                _text(payload, "call"), _text(payload, "user_id"), _text(payload, "asked_by")
            )
    return None


def scribe(payload: Mapping[str, Any]) -> ScribeNews:
    """A `segment`, `interruption` or `session` frame."""
    if payload.get("type") == "session":
        lacks = _LACKS.get(_text(payload, "detail", may_be_empty=True))
        return SessionChanged(_text(payload, "conference"), _text(payload, "state"), lacks or "")
    start_ms = max(0, _number(payload, "start_ms"))
    if payload.get("type") == "interruption":
        end_ms = max(start_ms, _number(payload, "end_ms"))
        return Interrupted(_text(payload, "conference"), start_ms, end_ms)
    return Heard(
        conference=_text(payload, "conference"),
        segment=_text(payload, "segment"),
        rev=_number(payload, "rev"),
        identity=_text(payload, "identity"),
        text=_text(payload, "text", may_be_empty=True).strip()[:MAX_TEXT],
        language=_text(payload, "language", may_be_empty=True),
        start_ms=start_ms,
        end_ms=max(start_ms, _number(payload, "end_ms")),
        engine=_text(payload, "engine", may_be_empty=True),
        voice=_voice(payload),
        words=_words(payload),
        final=payload.get("pass") == "final",
    )


def seen_joined(
    room_id: str, *, identity: str, sid: str, joined_ms: int, media_sid: str = ""
) -> NewEntry:
    """Entry for somebody found in the media room whose joining was never announced."""
    payload = {
        "event": "participant_joined",
        "seen": True,
        "room": {"sid": media_sid},
        "participant": {"identity": identity, "sid": sid, "joined_at_ms": joined_ms},
    }
    return NewEntry(room_id, "media", f"seen:joined:{sid}", payload)


def seen_left(room_id: str, *, identity: str, sid: str) -> NewEntry:
    """Entry for a connection that is gone and whose leaving was never announced."""
    payload = {"event": "participant_left", "participant": {"identity": identity, "sid": sid}}
    return NewEntry(room_id, "media", f"seen:left:{sid}", payload)


def closed(room_id: str, conference: str) -> NewEntry:
    """Entry for a media room that was emptied after a conference's end."""
    payload = {"event": "colloque.closed", "conference": conference}
    return NewEntry(room_id, "media", f"closed:{conference}", payload)


def gone(room_id: str, *, user_id: str, identity: str, granted_ms: int) -> NewEntry:
    """Entry for somebody who was found to be no member any more, since their last grant."""
    payload = {"event": "colloque.gone", "user_id": user_id}
    return NewEntry(room_id, "media", f"gone:{identity}:{granted_ms}", payload)


def session(room_id: str, conference: str, state: str, detail: str = "") -> NewEntry:
    """Entry for a state of a scribe's session; each is told once in a conference."""
    payload = {"type": "session", "conference": conference, "state": state, "detail": detail}
    what = ":".join(part for part in (state, detail) if part)
    return NewEntry(room_id, "scribe", f"session:{conference}:{what}", payload)


def due(room_id: str, conference: str, at_ms: int) -> NewEntry:
    """Entry for something of a conference that was due at `at_ms`."""
    payload = {"event": "colloque.due", "at_ms": at_ms}
    return NewEntry(room_id, "media", f"due:{conference}:{at_ms}", payload)


def knocked(room_id: str, conference: str, user_id: str) -> NewEntry:
    """Entry for somebody who waits: one for each person and conference."""
    payload = {"event": "colloque.knocked", "conference": conference, "user_id": user_id}
    return NewEntry(room_id, "media", f"knocked:{conference}:{user_id}", payload)


def came_back(room_id: str, told: CameBack) -> NewEntry:
    """Entry for what became of an errand."""
    payload = {"event": "colloque.errand", **dataclasses.asdict(told)}
    return NewEntry(room_id, "media", f"errand:{told.errand}:{told.outcome}", payload)


def expired(room_id: str, conference: str, at_ms: int) -> NewEntry:
    """Entry for a step of deleting an old record."""
    payload = {"event": "colloque.expired", "conference": conference}
    return NewEntry(room_id, "media", f"expired:{conference}:{at_ms}", payload)


def erase(room_id: str, user_id: str, at_ms: int) -> NewEntry:
    """Entry that has one person's words of a room deleted."""
    payload = {"event": "colloque.erase", "user_id": user_id}
    return NewEntry(room_id, "media", f"erase:{room_id}:{user_id}:{at_ms}", payload)


def reread(room_id: str, at_ms: int) -> NewEntry:
    """Entry that has the room's state read again."""
    return NewEntry(room_id, "media", f"reread:{room_id}:{at_ms}", {"event": "colloque.reread"})


def ghost(room_id: str, event_id: str) -> NewEntry:
    """Entry for a membership whose device is not in the media room."""
    payload = {"event": "colloque.ghost", "membership": event_id}
    return NewEntry(room_id, "media", f"ghost:{event_id}", payload)


def peers(room_id: str, key: str, reports: Mapping[str, Any], silent: Sequence[str]) -> NewEntry:
    """Entry for what the other sites say. `key` is another one each time."""
    payload = {"event": "peers", "reports": dict(reports), "silent": list(silent)}
    return NewEntry(room_id, "peer", f"peers:{key}", payload)


def share_taken(room_id: str, conference: str, site: str, taken: int, utterances: int) -> NewEntry:
    """Entry for a share that was fetched."""
    payload = {
        "event": "share",
        "conference": conference,
        "site": site,
        "taken": taken,
        "utterances": utterances,
    }
    return NewEntry(room_id, "peer", f"share:{conference}:{site}:{taken}", payload)


def unread(room_id: str, at_ms: int) -> NewEntry:
    """Entry that has a room read for the first time."""
    return NewEntry(room_id, "peer", f"unread:{room_id}:{at_ms}", {"event": "unread"})


def put_out(asked: messages.ModerateAsked) -> NewEntry:
    """Entry for a removal another site asks for; one for each person and message that asked."""
    payload = {
        "event": "put_out",
        "call": asked.call,
        "user_id": asked.user_id,
        "asked_by": asked.asked_by,
    }
    return NewEntry(asked.room_id, "peer", f"put_out:{asked.event}:{asked.user_id}", payload)


def forgotten(site: str, asked: messages.ForgetAsked) -> NewEntry:
    """Entry for what another site has deleted; telling it twice is telling it once."""
    body = messages.forget_asked_body(asked)
    what = hashlib.sha256(json.dumps([site, body]).encode()).hexdigest()[:32]
    payload = {"event": "forgotten", "site": site, "told": body}
    return NewEntry(asked.room_id, "peer", f"forgotten:{what}", payload)


def _peers(payload: Mapping[str, Any]) -> Peers:
    silent = payload.get("silent")
    try:
        reports = {
            site: messages.report(_object(_object(payload, "reports"), site))
            for site in _object(payload, "reports")
        }
    except messages.InvalidMessage as error:
        raise InvalidNews(f"a report cannot be read: {error}") from error
    return Peers(reports, tuple(silent) if isinstance(silent, list) else ())


def _joined(payload: Mapping[str, Any]) -> Joined:
    who, room = _object(payload, "participant"), _object(payload, "room")
    at_ms = _number(who, "joined_at_ms", 0)
    if not at_ms:
        # Whole seconds: the last millisecond, so that a return right after an end still counts.
        at_ms = (_number(who, "joined_at", 0) or _number(payload, "created_at", 0)) * 1000 + 999
    return Joined(
        _text(who, "identity"),
        _text(who, "sid"),
        at_ms,
        _text(room, "sid", may_be_empty=True),
        payload.get("seen") is True,
    )


def _voice(payload: Mapping[str, Any]) -> str:
    try:
        return messages.voice(payload)
    except messages.InvalidMessage as error:
        raise InvalidNews(str(error)) from error


def _words(payload: Mapping[str, Any]) -> tuple[Word, ...]:
    try:
        return messages.words(payload)
    except messages.InvalidMessage as error:
        raise InvalidNews(str(error)) from error


def _object(payload: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = payload.get(key)
    if not isinstance(value, Mapping):
        raise InvalidNews(f"{key} is not an object")
    return value


def _text(payload: Mapping[str, Any], key: str, *, may_be_empty: bool = False) -> str:
    value = payload.get(key, "")
    if not isinstance(value, str) or not (value or may_be_empty):
        raise InvalidNews(f"{key} is not a text")
    return value


def _number(payload: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = payload.get(key, default)
    # protojson writes 64-bit numbers as text.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidNews(f"{key} is not a whole number")
    return value
