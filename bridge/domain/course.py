"""The course of a conference, from its start to its record.

                 StopAsked, WishRead(active: false), MediaRoomFinished, empty for too long
    start() -> running ----------------------------------------> ending ----> ended
                 ^ people come and go, segments are heard          | ScribeStopped, or 10 s
                                                                   v
                                                              the documents

Pure: `now_ms` comes in with each event. `step()` takes a snapshot and an event and gives the next
snapshot and the effects, in the order in which they must become visible. It knows no rights
(policy.py), no sentences' wording (bridge.text) and no Matrix. Every event may be repeated: the
second time changes nothing.

What happens is done in attendance.py, elsewhere.py and ending.py; what of it the room is shown, and
when, in showing.py.
"""

from __future__ import annotations

from dataclasses import replace

from bridge.domain import attendance, elsewhere, ending, joint, ringing, showing
from bridge.domain.conference import Conference, Rules, Span
from bridge.domain.documents import clock
from bridge.domain.federation import Call
from bridge.domain.happenings import (
    Admit,
    ElsewhereSeen,
    Event,
    Interrupted,
    Knocked,
    MediaClosed,
    MediaRoomFinished,
    ParticipantJoined,
    ParticipantLeft,
    PersonAdmittedAgain,
    PersonRemoved,
    PostCard,
    PostStatus,
    PostUtterance,
    RecordChanged,
    Say,
    ScribeFailed,
    ScribeStopped,
    ScribeWell,
    SegmentHeard,
    StopAsked,
    WishRead,
)
from bridge.domain.joint import NO_CARD, PeersHeard, ShareTaken
from bridge.domain.showing import Step
from bridge.domain.wish import Wish


def start(
    *,
    conference: str,
    room_id: str,
    by: str,
    display_name: str,
    wish: Wish,
    now_ms: int,
    encrypted: bool = False,
) -> Step:
    """Begin a conference. `conference` is its id: 12 random characters."""
    begun = Conference(
        id=conference,
        room_id=room_id,
        started_ms=now_ms,
        started_by=by,
        started_name=display_name,
        empty_since_ms=now_ms,
        spans=(Span(0),) if wish.transcript else (),
        encrypted=encrypted,
    )
    begun, more = showing.honest(_as_wished(begun, wish))
    return begun, (PostCard(0), PostStatus(), *more)


def follow(
    *,
    conference: str,
    room_id: str,
    call: Call,
    site: str,
    wish: Wish,
    encrypted: bool = False,
) -> Step:
    """Take part in a call that another site began. `site`: our own server name."""
    begun = Conference(
        id=conference,
        room_id=room_id,
        started_ms=call.started_ms,
        started_by=call.started_by,
        started_name=call.started_name,
        spans=(Span(0),) if wish.transcript else (),
        joint=replace(joint.alone(call), leading=call.home == site, card_first=NO_CARD),
        encrypted=encrypted,
    )
    return showing.honest(_as_wished(begun, wish))


def step(conference: Conference, event: Event, *, now_ms: int, rules: Rules) -> Step:
    """The next snapshot, and what to do. What is due at `now_ms` is done with any event."""
    before = conference
    conference, effects = _handled(conference, event, now_ms)
    conference, due = ending.due(conference, now_ms, rules)
    conference, rung = _rung(conference, event, now_ms, rules)
    conference, more = showing.honest(conference)
    return showing.shown_soon(before, conference, now_ms), (*effects, *due, *rung, *more)


def _handled(c: Conference, event: Event, now_ms: int) -> Step:
    match event:
        case StopAsked(by=by):
            return ending.end(c, now_ms, by) if c.phase == "running" else (c, ())
        case WishRead(wish=wish, by=by, encrypted=encrypted):
            return _wished(c, wish, now_ms, by, encrypted=encrypted)
        case PeersHeard():
            return elsewhere.peers(c, event, now_ms)
        case ShareTaken():
            return elsewhere.share_taken(c, event, now_ms), ()
        case ParticipantJoined():
            return attendance.joined(c, event, now_ms), ()
        case ParticipantLeft(sid=sid):
            return attendance.left(c, sid, now_ms), ()
        case PersonRemoved(user_id=user_id):
            return replace(c, removed=(*_without(c.removed, user_id), user_id)), ()
        case PersonAdmittedAgain(user_id=user_id):
            return replace(c, removed=_without(c.removed, user_id)), ()
        case Knocked():
            return attendance.knocked(c, event)
        case Admit(user_id=user_id):
            return replace(c, admitted=(*_without(c.admitted, user_id), user_id)), ()
        case MediaRoomFinished(media_sid=media_sid):
            return ending.media_finished(c, media_sid, now_ms)
        case MediaClosed():
            return (c if c.phase == "running" else replace(c, media_closed=True)), ()
        case SegmentHeard():
            return _heard(c, event, now_ms)
        case Interrupted():
            return _interrupted(c, event, now_ms)
        case RecordChanged():
            return _changed(c, event, now_ms), ()
        case ScribeStopped():
            return (replace(c, documents_due_ms=now_ms) if c.phase == "ending" else c), ()
        case ScribeFailed(reason=reason):
            return _scribe_failed(c, reason)
        case ScribeWell():
            return _scribe_well(c)
        case ElsewhereSeen(there=there):
            return elsewhere.claimed(c, there, now_ms), ()
        case _:
            return c, ()


def _wished(c: Conference, wish: Wish, now_ms: int, by: str, *, encrypted: bool) -> Step:
    if c.phase != "running":
        return c, ()
    if wish.active is False:
        return ending.end(c, now_ms, by)
    wanted = replace(
        _as_wished(c, wish),
        spans=_switched(c, wish.transcript, now_ms - c.started_ms),
        encrypted=encrypted or c.encrypted,
    )
    return (c, ()) if wanted == c else showing.with_card(wanted, PostStatus())


def _as_wished(c: Conference, wish: Wish) -> Conference:
    return replace(
        c,
        captions=wish.captions,
        transcript=wish.transcript,
        locked=wish.locked,
        lobby=wish.lobby,
        language=wish.language,
        spoken_language=wish.listened(),
    )


def _switched(c: Conference, transcript: bool, at: int) -> tuple[Span, ...]:
    if transcript == c.transcript:
        return c.spans
    if transcript:
        return (*c.spans, Span(at))
    return (*c.spans[:-1], Span(c.spans[-1].start, at))


def _heard(c: Conference, event: SegmentHeard, now_ms: int) -> Step:
    heard = replace(c, utterances=c.utterances + (not event.correction))
    if c.phase == "ended":
        heard = ending.again(heard, now_ms)
    return heard, (PostUtterance(event.segment, event.rev),)


def _interrupted(c: Conference, event: Interrupted, now_ms: int) -> Step:
    lost = Span(event.start_ms, event.end_ms)
    if lost in c.interruptions or not c.wanted_within(lost):
        return c, ()
    known = replace(c, interruptions=(*c.interruptions, lost))
    if c.phase == "ended":
        known = ending.again(known, now_ms)
    values = {"since": clock(event.start_ms), "until": clock(event.end_ms)}
    return known, (Say("scribe.interrupted", values, in_thread=True),)


def _changed(c: Conference, event: RecordChanged, now_ms: int) -> Conference:
    if event.withheld:
        return replace(c, withheld=tuple(dict.fromkeys((*c.withheld, *event.withheld))))
    left = max(0, c.utterances - event.deleted)
    changed = replace(c, utterances=left, expired=c.expired or event.expired)
    if event.deleted or changed.expired != c.expired:
        changed = showing.card_soon(changed, now_ms)
    again = c.phase == "ended" and not changed.expired
    return ending.again(changed, now_ms) if again else changed


def _scribe_failed(c: Conference, reason: str) -> Step:
    return showing.once(c, f"scribe.{reason or 'failed'}") if c.listening else (c, ())


def _scribe_well(c: Conference) -> Step:
    """Who was told that the engines fail is told when they are back."""
    told = {"scribe.engine_simple", "scribe.engine_down"} & set(c.told)
    return showing.once(c, "scribe.engine_back") if told and c.listening else (c, ())


def _rung(c: Conference, event: Event, now_ms: int, rules: Rules) -> Step:
    running = c.phase == "running"
    rings = ringing.told(c.rings, event, now_ms=now_ms, lifetime_ms=rules.ring_ms)
    present = [stay.user_id for stay in c.present] if running and rings else []
    rings = ringing.passed(rings, present, running=running, now_ms=now_ms)
    return replace(c, rings=rings), ringing.effects(c.rings, rings, event)


def _without(users: tuple[str, ...], user_id: str) -> tuple[str, ...]:
    return tuple(user for user in users if user != user_id)
