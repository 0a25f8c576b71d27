"""One conference of a room, from its start to its record. Pure: `now_ms` comes in with each event.

                 StopAsked, WishRead(active: false), MediaRoomFinished, empty for too long
    start() -> running ----------------------------------------> ending ----> ended
                 ^ people come and go, segments are heard          | ScribeStopped, or 10 s
                                                                   v
                                                              the documents

`step()` takes a snapshot and an event and gives the next snapshot and the effects, in the order in
which they must become visible. It knows no rights (policy.py), no sentences' wording (bridge.text)
and no Matrix. Every event may be repeated: the second time changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bridge.domain import federation, joint, ringing
from bridge.domain.federation import Call
from bridge.domain.happenings import (
    Admit,
    Effect,
    ElsewhereSeen,
    Event,
    Knocked,
    MediaClosed,
    MediaRoomFinished,
    ParticipantJoined,
    ParticipantLeft,
    PersonAdmittedAgain,
    PersonRemoved,
    PostCard,
    PostDocuments,
    PostStatus,
    PostUtterance,
    RetireCard,
    Say,
    ScribeFailed,
    ScribeStopped,
    SegmentHeard,
    StopAsked,
    WishRead,
)
from bridge.domain.joint import NO_CARD, Joint, PeersHeard, ShareTaken
from bridge.domain.stays import Stay, followed, gone, one_each
from bridge.domain.wish import Wish
from bridge.ids import server_of
from bridge.text import Language

Phase = Literal["running", "ending", "ended"]

CARD_PAUSE_MS = 3_000
"""Comings and goings within this time become one edit of the card: each edit is stored for ever."""
SCRIBE_GRACE_MS = 10_000
"""How long the documents wait for the scribe's last segments after the end."""
STAYS_KEPT = 20
"""Connections of one person that a snapshot remembers."""
KNOCKS_TOLD = 100
"""People waiting in the lobby of one call that the room is told of."""
LATE_PAUSE_MS = 10_000
"""Segments that arrive after the documents are gathered this long before new documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the administrator decided for all conferences."""

    empty_timeout_ms: int = 300_000
    ring_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which the transcript was on, in milliseconds since the start; `end` None: still."""

    start: int
    end: int | None = None

    def holds(self, start_ms: int, end_ms: int) -> bool:
        """Whether something said from `start_ms` to `end_ms` was wholly said within it.

        A segment across the switch is left out: who switches the transcript off means it.
        """
        return start_ms >= self.start and (self.end is None or end_ms <= self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conference:
    """A snapshot. Times are Unix milliseconds except in `spans`."""

    id: str
    room_id: str
    started_ms: int
    started_by: str
    started_name: str = ""
    language: Language = "fr"
    spoken_language: str = "fr"
    captions: bool = False
    transcript: bool = False
    locked: bool = False
    lobby: bool = False
    phase: Phase = "running"
    ended_ms: int | None = None
    stays: tuple[Stay, ...] = ()
    empty_since_ms: int | None = None
    media_sid: str = ""
    media_closed: bool = False
    card_rev: int = 0
    card_due_ms: int | None = None
    spans: tuple[Span, ...] = ()
    utterances: int = 0
    documented: int = 0
    documents_rev: int = 0
    documents_due_ms: int | None = None
    encrypted: bool = False
    """The room is, and its clients encrypt their media end to end."""
    told: tuple[str, ...] = ()
    """Sentences about the scribe that are said once in a call."""
    stopped_by: str = ""
    """Who ended the call for everybody, '' where it ran out by itself."""
    removed: tuple[str, ...] = ()
    """Who was put out of this call and may not come back into it."""
    rings: ringing.Rings = ()
    """Whom the bridge has called into it."""
    admitted: tuple[str, ...] = ()
    """Who was let in from the lobby."""
    knocked: tuple[str, ...] = ()
    """Who waits, or waited, in the lobby: each is said once."""
    joint: Joint | None = None
    """The call's other sites, None while none has been heard of."""
    claimed: tuple[Stay, ...] = ()
    """Who is or was at another site's media server by their own word in the room."""

    @property
    def call_id(self) -> str:
        """The call's id for everybody."""
        return self.joint.stand.call.id if self.joint else self.id

    @property
    def began_ms(self) -> int:
        """The call's start for everybody; `started_ms` is that of our own part."""
        return self.joint.stand.call.started_ms if self.joint else self.started_ms

    @property
    def leading(self) -> bool:
        """Whether the call's card and record are ours to post."""
        return self.joint is None or self.joint.leading

    @property
    def card_first(self) -> int:
        """The card's revision that was posted as a message, NO_CARD where we posted none."""
        return self.joint.card_first if self.joint else 0

    @property
    def present(self) -> tuple[Stay, ...]:
        """One stay for each person who is in the call now, wherever."""
        here = [stay for stay in self.stays if stay.left_ms is None]
        away = [stay for stay in self._away if stay.left_ms is None]
        return one_each((*here, *_elsewhere(here, away)))

    @property
    def people(self) -> tuple[Stay, ...]:
        """One stay for each person who was ever in the call, wherever."""
        return one_each((*self.stays, *_elsewhere(self.stays, self._away)))

    @property
    def _away(self) -> tuple[Stay, ...]:
        """Their site knows better than what they wrote into the room."""
        told = self.joint.heeded(self.claimed) if self.joint else ()
        return (*told, *_elsewhere([stay for stay in told if stay.left_ms is None], self.claimed))

    @property
    def declined(self) -> tuple[str, ...]:
        """Names of those who were called, declined, and did not come after all."""
        return ringing.who_declined(self.rings, self.people)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """Names of those who were called by name, did not answer, and did not come after all."""
        return ringing.who_missed(self.rings, self.people)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Matrix ids of those who wait in the lobby."""
        came = {*self.admitted, *(stay.user_id for stay in self.people)}
        return tuple(user_id for user_id in self.knocked if user_id not in came)

    @property
    def said(self) -> int:
        """Utterances of the whole call, as far as we have them."""
        return self.utterances + (self.joint.utterances if self.joint else 0)

    @property
    def missing(self) -> tuple[str, ...]:
        """Sites whose part of the record we do not have."""
        return self.joint.missing if self.joint else ()

    @property
    def servers(self) -> tuple[str, ...]:
        """The homeservers of all who took part."""
        return tuple(dict.fromkeys(server_of(stay.user_id) for stay in self.people))

    @property
    def listening(self) -> bool:
        """Whether a scribe should be in the call now.

        Not where all are at other sites' media servers, and nobody has ever been at ours.
        """
        here = bool(self.stays) or not self._away
        return self.phase == "running" and (self.captions or self.transcript) and here

    @property
    def open(self) -> bool:
        """Whether anything is still to be done for it."""
        done = self.phase == "ended" and self.media_closed
        return not done or self.documents_due_ms is not None or self.card_due_ms is not None

    def takes(self, start_ms: int, end_ms: int) -> bool:
        """Whether something said then (milliseconds since the start) belongs into the record."""
        return any(span.holds(start_ms, end_ms) for span in self.spans)

    def due_ms(self, rules: Rules) -> int | None:
        """When a `Tick` will next change something."""
        empty = self.empty_since_ms if self.phase == "running" else None
        times = [
            self.card_due_ms,
            self.documents_due_ms,
            None if empty is None else empty + rules.empty_timeout_ms,
            ringing.next_ms(self.rings),
        ]
        return min((time for time in times if time is not None), default=None)


Step = tuple[Conference, tuple[Effect, ...]]


def scribe_identity(conference: str) -> str:
    """Identity of the scribe of a conference at the media server."""
    return f"scribe-{conference}"


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
        language=wish.language,
        spoken_language=wish.listened(),
        captions=wish.captions,
        transcript=wish.transcript,
        locked=wish.locked,
        lobby=wish.lobby,
        empty_since_ms=now_ms,
        spans=(Span(0),) if wish.transcript else (),
        encrypted=encrypted,
    )
    begun, more = _honest(begun)
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
        language=wish.language,
        spoken_language=wish.listened(),
        captions=wish.captions,
        transcript=wish.transcript,
        locked=wish.locked,
        lobby=wish.lobby,
        spans=(Span(0),) if wish.transcript else (),
        joint=replace(joint.alone(call), leading=call.home == site, card_first=NO_CARD),
        encrypted=encrypted,
    )
    return _honest(begun)


def own_call(conference: Conference, site: str) -> Call:
    """The call as everybody is told of it; one nobody else has spoken of is `site`'s own."""
    if conference.joint is not None:
        return conference.joint.stand.call
    return Call(
        id=conference.id,
        home=site,
        started_ms=conference.started_ms,
        started_by=conference.started_by,
        started_name=conference.started_name,
    )


def step(conference: Conference, event: Event, *, now_ms: int, rules: Rules) -> Step:
    """The next snapshot, and what to do. What is due at `now_ms` is done with any event."""
    before = conference
    conference, effects = _handled(conference, event, now_ms)
    conference, due = _due(conference, now_ms, rules)
    conference, rung = _rung(conference, event, now_ms, rules)
    conference, more = _honest(conference)
    return _shown_soon(before, conference, now_ms), (*effects, *due, *rung, *more)


def to_json(conference: Conference) -> dict[str, Any]:
    """The snapshot as JSON; `from_json` reads it back."""
    return {"version": 1, **dataclasses.asdict(conference)}


def from_json(snapshot: Mapping[str, Any]) -> Conference:
    """Read a snapshot. Fields of a later version are left out (after a step back to this one)."""
    known = {f.name for f in dataclasses.fields(Conference)}
    values = {key: value for key, value in snapshot.items() if key in known}
    values["stays"] = tuple(Stay(**stay) for stay in snapshot["stays"])
    values["rings"] = ringing.from_json(snapshot.get("rings"))
    for name in ("removed", "admitted", "knocked", "told"):
        values[name] = tuple(snapshot.get(name, ()))
    values["spans"] = tuple(Span(**span) for span in snapshot["spans"])
    values["claimed"] = tuple(Stay(**stay) for stay in snapshot.get("claimed", ()))
    values["joint"] = joint.from_json(snapshot.get("joint"))
    return Conference(**values)


def _handled(c: Conference, event: Event, now_ms: int) -> Step:
    match event:
        case StopAsked(by=by):
            return _end(c, now_ms, by) if c.phase == "running" else (c, ())
        case WishRead(wish=wish, by=by, encrypted=encrypted):
            return _wished(c, wish, now_ms, by, encrypted=encrypted)
        case PeersHeard():
            return _peers(c, event, now_ms)
        case ShareTaken():
            return _share_taken(c, event, now_ms), ()
        case ParticipantJoined():
            return _joined(c, event, now_ms), ()
        case ParticipantLeft(sid=sid):
            return _left(c, sid, now_ms), ()
        case PersonRemoved(user_id=user_id):
            return replace(c, removed=(*_without(c.removed, user_id), user_id)), ()
        case PersonAdmittedAgain(user_id=user_id):
            return replace(c, removed=_without(c.removed, user_id)), ()
        case Knocked():
            return _knocked(c, event)
        case Admit(user_id=user_id):
            return replace(c, admitted=(*_without(c.admitted, user_id), user_id)), ()
        case MediaRoomFinished(media_sid=media_sid):
            return _media_finished(c, media_sid, now_ms)
        case MediaClosed():
            return (c if c.phase == "running" else replace(c, media_closed=True)), ()
        case SegmentHeard():
            return _heard(c, event, now_ms)
        case ScribeStopped():
            return (replace(c, documents_due_ms=now_ms) if c.phase == "ending" else c), ()
        case ScribeFailed(reason=reason):
            return _scribe_failed(c, reason)
        case ElsewhereSeen(there=there):
            return _claimed(c, there, now_ms), ()
        case _:
            return c, ()


def _wished(c: Conference, wish: Wish, now_ms: int, by: str, *, encrypted: bool) -> Step:
    if c.phase != "running":
        return c, ()
    if wish.active is False:
        return _end(c, now_ms, by)
    wanted = replace(
        c,
        captions=wish.captions,
        transcript=wish.transcript,
        locked=wish.locked,
        lobby=wish.lobby,
        language=wish.language,
        spoken_language=wish.listened(),
        spans=_switched(c, wish.transcript, now_ms - c.started_ms),
        encrypted=encrypted or c.encrypted,
    )
    return (c, ()) if wanted == c else _with_card(wanted, PostStatus())


def _switched(c: Conference, transcript: bool, at: int) -> tuple[Span, ...]:
    if transcript == c.transcript:
        return c.spans
    if transcript:
        return (*c.spans, Span(at))
    return (*c.spans[:-1], Span(c.spans[-1].start, at))


def _joined(c: Conference, event: ParticipantJoined, now_ms: int) -> Conference:
    if c.phase != "running" or any(stay.sid == event.sid for stay in c.stays):
        return c
    stay = Stay(
        identity=event.identity,
        sid=event.sid,
        user_id=event.user_id,
        device_id=event.device_id,
        display_name=event.display_name,
        joined_ms=now_ms,
    )
    # An identity is connected once: the media server has closed the older connection.
    stays = tuple(gone(s, now_ms) if s.identity == event.identity else s for s in c.stays)
    return _card_soon(
        replace(
            c,
            stays=(*_recent(stays, event.user_id), stay),
            empty_since_ms=None,
            media_sid=event.media_sid or c.media_sid,
        ),
        now_ms,
    )


def _recent(stays: tuple[Stay, ...], user_id: str) -> tuple[Stay, ...]:
    """Without a person's oldest stays: a bad network must not make the snapshot grow for ever."""
    old = [s.sid for s in stays if s.user_id == user_id and s.left_ms is not None]
    dropped = set(old[: -STAYS_KEPT + 1])
    return tuple(stay for stay in stays if stay.sid not in dropped)


def _left(c: Conference, sid: str, now_ms: int) -> Conference:
    if not any(stay.sid == sid and stay.left_ms is None for stay in c.stays):
        return c
    stays = tuple(gone(stay, now_ms) if stay.sid == sid else stay for stay in c.stays)
    left = _card_soon(replace(c, stays=stays), now_ms)
    return replace(left, empty_since_ms=None if _occupied(left) else now_ms)


def _knocked(c: Conference, event: Knocked) -> Step:
    known = event.user_id in c.knocked or event.user_id in c.admitted
    if c.phase != "running" or known or len(c.knocked) >= KNOCKS_TOLD:
        return c, ()
    told = Say("lobby.knocked", {"name": event.display_name, "user_id": event.user_id})
    return replace(c, knocked=(*c.knocked, event.user_id)), (told,)


def _media_finished(c: Conference, media_sid: str, now_ms: int) -> Step:
    # The room's name is the same in every conference of the room: the end of an earlier media room
    # may be reported when the next conference has begun. Only the one that people are in counts.
    if not media_sid or media_sid != c.media_sid:
        return c, ()
    if c.phase != "running":
        return replace(c, media_closed=True), ()
    if _occupied_elsewhere(c):
        stays = tuple(gone(stay, now_ms) for stay in c.stays)
        return _card_soon(replace(c, stays=stays, media_sid=""), now_ms), ()
    ended, effects = _end(c, now_ms)
    return replace(ended, media_closed=True), effects


def _peers(c: Conference, event: PeersHeard, now_ms: int) -> Step:
    before = c.joint or joint.alone(event.stand.call)
    now = joint.told(before, event, now_ms)
    if c.phase != "running":
        late = before.missing and not now.missing and c.phase == "ended"
        kept = replace(now, stand=before.stand, leading=before.leading, away=before.away)
        told = replace(c, joint=kept)
        return (_again(told, now_ms) if late else _hurried(told, now_ms)), ()
    call = event.stand.call
    told = replace(c, joint=now, started_by=call.started_by, started_name=call.started_name)
    if _occupied(told):
        told = replace(told, empty_since_ms=None)
    elif told.empty_since_ms is None:
        told = replace(told, empty_since_ms=now_ms)
    if told.present != c.present:
        told = _card_soon(told, now_ms)
    return _lead_changed(c, told, now)


def _lead_changed(before: Conference, c: Conference, now: Joint) -> Step:
    if now.leading and (not before.leading or now.card_first == NO_CARD):
        shown, effects = _with_card(c, PostStatus())
        if now.card_first == NO_CARD:
            shown = replace(shown, joint=replace(now, card_first=shown.card_rev))
        return shown, effects
    if before.leading and not now.leading and now.card_first != NO_CARD:
        redact = not c.utterances and c.call_id != before.id
        retire = RetireCard(now.card_first, redact)
        kept = replace(now, card_first=NO_CARD if redact else now.card_first)
        rev = c.card_rev + 1
        return replace(c, joint=kept, card_rev=rev), (retire, PostStatus())
    if not now.leading and before.joint is not None and before.joint.stand.root != now.stand.root:
        # The status names the card, which is known only now.
        return replace(c, card_rev=c.card_rev + 1), (PostStatus(),)
    return c, ()


def _occupied(c: Conference) -> bool:
    here = any(stay.left_ms is None for stay in c.stays)
    return here or _occupied_elsewhere(c)


def _occupied_elsewhere(c: Conference) -> bool:
    told = c.joint is not None and c.joint.occupied
    return told or any(stay.left_ms is None for stay in c.claimed)


def _claimed(c: Conference, there: Sequence[Stay], now_ms: int) -> Conference:
    if c.phase != "running":
        return c
    seen = replace(c, claimed=followed(c.claimed, there, now_ms))
    seen = seen if seen.present == c.present else _card_soon(seen, now_ms)
    if _occupied(seen):
        return replace(seen, empty_since_ms=None)
    return replace(seen, empty_since_ms=c.empty_since_ms or now_ms)


def _share_taken(c: Conference, event: ShareTaken, now_ms: int) -> Conference:
    if c.joint is None:
        return c
    before = c.joint
    had = replace(c, joint=joint.taken(before, event))
    if c.phase == "ended":
        return had if had.joint == before else _again(had, now_ms)
    return _hurried(had, now_ms)


def _again(c: Conference, now_ms: int) -> Conference:
    """Make the record again, once what comes late has come."""
    due_ms = c.documents_due_ms or now_ms + LATE_PAUSE_MS
    return replace(c, documented=-1, documents_due_ms=due_ms)


def _hurried(c: Conference, now_ms: int) -> Conference:
    """Wait for the other sites' shares no longer than it takes to have them."""
    waits = c.phase == "ending" and c.joint is not None and c.joint.scribe_done
    return replace(c, documents_due_ms=now_ms) if waits and not c.missing else c


def _heard(c: Conference, event: SegmentHeard, now_ms: int) -> Step:
    heard = replace(c, utterances=c.utterances + (not event.correction))
    if c.phase == "ended":
        heard = _again(heard, now_ms)
    return heard, (PostUtterance(event.segment, event.rev),)


def _honest(c: Conference) -> Step:
    """Before a scribe gets an encrypted call's keys, the room is told what that means."""
    return _once(c, "scribe.encrypted") if c.encrypted and c.listening else (c, ())


def _scribe_failed(c: Conference, reason: str) -> Step:
    return _once(c, f"scribe.{reason or 'failed'}") if c.listening else (c, ())


def _once(c: Conference, sentence: str) -> Step:
    if sentence in c.told:
        return c, ()
    return replace(c, told=(*c.told, sentence)), (Say(sentence),)


def _end(c: Conference, now_ms: int, by: str = "") -> Step:
    came = bool(c.stays or c._away)
    ended_ms = c.empty_since_ms if came and c.empty_since_ms is not None else now_ms
    shares_until_ms = now_ms + federation.PARTS_MS if c.spans else None
    ended = replace(
        c,
        phase="ending",
        ended_ms=ended_ms,
        stopped_by=by,
        stays=tuple(gone(stay, ended_ms) for stay in c.stays),
        joint=joint.ended(c.joint, ended_ms, shares_until_ms) if c.joint else None,
        claimed=tuple(gone(stay, ended_ms) for stay in c.claimed),
        empty_since_ms=None,
        card_due_ms=None,
        # Only a scribe that listened for the record can have something left to say.
        documents_due_ms=now_ms + SCRIBE_GRACE_MS if c.spans else now_ms,
    )
    return _with_card(ended, PostStatus())


def _rung(c: Conference, event: Event, now_ms: int, rules: Rules) -> Step:
    running = c.phase == "running"
    rings = ringing.told(c.rings, event, now_ms=now_ms, lifetime_ms=rules.ring_ms)
    present = [stay.user_id for stay in c.present] if running and rings else []
    rings = ringing.passed(rings, present, running=running, now_ms=now_ms)
    return replace(c, rings=rings), ringing.effects(c.rings, rings, event)


def _shown_soon(before: Conference, c: Conference, now_ms: int) -> Conference:
    """With the card due where somebody declined, did not answer, or came to the lobby's door."""
    was = (before.declined, before.unanswered, before.waiting)
    changed = c.phase == "running" and was != (c.declined, c.unanswered, c.waiting)
    return _card_soon(c, now_ms) if changed and c.card_rev == before.card_rev else c


def _due(c: Conference, now_ms: int, rules: Rules) -> Step:
    effects: tuple[Effect, ...] = ()
    empty = c.empty_since_ms
    if c.phase == "running" and empty is not None and now_ms - empty >= rules.empty_timeout_ms:
        c, effects = _end(c, now_ms)
    if c.card_due_ms is not None and now_ms >= c.card_due_ms:
        c, more = _with_card(c)
        effects += more
    if c.documents_due_ms is not None and now_ms >= c.documents_due_ms:
        c, more = _documented(c) if _all_there(c, now_ms) else (_patient(c), ())
        effects += more
    return c, effects


def _all_there(c: Conference, now_ms: int) -> bool:
    """Whether the record need not wait for the shares of other sites (any longer)."""
    until = c.joint.shares_until_ms if c.joint and c.leading else None
    return until is None or now_ms >= until or not c.missing


def _patient(c: Conference) -> Conference:
    assert c.joint is not None  # noqa: S101 - only shares of other sites are waited for
    waiting = replace(c.joint, scribe_done=True)
    return replace(c, joint=waiting, documents_due_ms=waiting.shares_until_ms)


def _documented(c: Conference) -> Step:
    done = replace(c, phase="ended", documents_due_ms=None, documented=c.said)
    if c.said == c.documented or not c.said:
        return done, ()
    done = replace(done, documents_rev=c.documents_rev + 1)
    return _with_card(done, PostDocuments(done.documents_rev))


def _with_card(c: Conference, *others: Effect) -> Step:
    shown = replace(c, card_rev=c.card_rev + 1, card_due_ms=None)
    return shown, (PostCard(shown.card_rev), *others)


def _card_soon(c: Conference, now_ms: int) -> Conference:
    return replace(c, card_due_ms=c.card_due_ms or now_ms + CARD_PAUSE_MS)


def _elsewhere(here: Sequence[Stay], away: Sequence[Stay]) -> list[Stay]:
    """Those away who are not here too: one person, one place."""
    known = {stay.user_id for stay in here}
    return [stay for stay in away if stay.user_id not in known]


def _without(users: tuple[str, ...], user_id: str) -> tuple[str, ...]:
    return tuple(user for user in users if user != user_id)
