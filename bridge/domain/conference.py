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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bridge.domain.happenings import (
    Effect,
    Event,
    MediaClosed,
    MediaRoomFinished,
    ParticipantJoined,
    ParticipantLeft,
    PostCard,
    PostDocuments,
    PostStatus,
    PostUtterance,
    Say,
    ScribeFailed,
    ScribeStopped,
    SegmentHeard,
    StopAsked,
    WishRead,
)
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
LATE_PAUSE_MS = 10_000
"""Segments that arrive after the documents are gathered this long before new documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the administrator decided for all conferences."""

    empty_timeout_ms: int = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One connection of a person to the call, from joining to leaving (Unix milliseconds).

    `sid` is the media server's id of the connection: the same identity that connects again gets
    another one, and the old one's leaving may be reported after the new one's joining.
    """

    identity: str
    sid: str
    user_id: str
    device_id: str = ""
    display_name: str = ""
    joined_ms: int = 0
    left_ms: int | None = None


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
    failure_told: bool = False

    @property
    def present(self) -> tuple[Stay, ...]:
        """One stay for each person who is in the call now, in the order they came."""
        return _one_each(stay for stay in self.stays if stay.left_ms is None)

    @property
    def people(self) -> tuple[Stay, ...]:
        """One stay for each person who was ever in the call, in the order they came."""
        return _one_each(iter(self.stays))

    @property
    def servers(self) -> tuple[str, ...]:
        """The homeservers of all who took part."""
        return tuple(dict.fromkeys(server_of(stay.user_id) for stay in self.people))

    @property
    def listening(self) -> bool:
        """Whether a scribe should be in the call now."""
        return self.phase == "running" and (self.captions or self.transcript)

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
        ]
        return min((time for time in times if time is not None), default=None)


Step = tuple[Conference, tuple[Effect, ...]]


def scribe_identity(conference: str) -> str:
    """Identity of the scribe of a conference at the media server."""
    return f"scribe-{conference}"


def start(
    *, conference: str, room_id: str, by: str, display_name: str, wish: Wish, now_ms: int
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
        empty_since_ms=now_ms,
        spans=(Span(0),) if wish.transcript else (),
    )
    return begun, (PostCard(0), PostStatus())


def step(conference: Conference, event: Event, *, now_ms: int, rules: Rules) -> Step:
    """The next snapshot, and what to do. What is due at `now_ms` is done with any event."""
    conference, effects = _handled(conference, event, now_ms)
    conference, due = _due(conference, now_ms, rules)
    return conference, (*effects, *due)


def to_json(conference: Conference) -> dict[str, Any]:
    """The snapshot as JSON; `from_json` reads it back."""
    return {"version": 1, **dataclasses.asdict(conference)}


def from_json(snapshot: Mapping[str, Any]) -> Conference:
    """Read a snapshot. Fields of a later version are left out (after a step back to this one)."""
    known = {f.name for f in dataclasses.fields(Conference)}
    values = {key: value for key, value in snapshot.items() if key in known}
    values["stays"] = tuple(Stay(**stay) for stay in snapshot["stays"])
    values["spans"] = tuple(Span(**span) for span in snapshot["spans"])
    return Conference(**values)


def _handled(c: Conference, event: Event, now_ms: int) -> Step:
    match event:
        case StopAsked():
            return _end(c, now_ms) if c.phase == "running" else (c, ())
        case WishRead(wish=wish):
            return _wished(c, wish, now_ms)
        case ParticipantJoined():
            return _joined(c, event, now_ms), ()
        case ParticipantLeft(sid=sid):
            return _left(c, sid, now_ms), ()
        case MediaRoomFinished(media_sid=media_sid):
            return _media_finished(c, media_sid, now_ms)
        case MediaClosed():
            return (c if c.phase == "running" else replace(c, media_closed=True)), ()
        case SegmentHeard():
            return _heard(c, event, now_ms)
        case ScribeStopped():
            return (replace(c, documents_due_ms=now_ms) if c.phase == "ending" else c), ()
        case ScribeFailed():
            return _scribe_failed(c)
        case _:
            return c, ()


def _wished(c: Conference, wish: Wish, now_ms: int) -> Step:
    if c.phase != "running":
        return c, ()
    if wish.active is False:
        return _end(c, now_ms)
    wanted = replace(
        c,
        captions=wish.captions,
        transcript=wish.transcript,
        language=wish.language,
        spoken_language=wish.listened(),
        spans=_switched(c, wish.transcript, now_ms - c.started_ms),
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
    stays = tuple(_gone(s, now_ms) if s.identity == event.identity else s for s in c.stays)
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
    stays = tuple(_gone(stay, now_ms) if stay.sid == sid else stay for stay in c.stays)
    left = _card_soon(replace(c, stays=stays), now_ms)
    return left if left.present else replace(left, empty_since_ms=now_ms)


def _media_finished(c: Conference, media_sid: str, now_ms: int) -> Step:
    # The room's name is the same in every conference of the room: the end of an earlier media room
    # may be reported when the next conference has begun. Only the one that people are in counts.
    if not media_sid or media_sid != c.media_sid:
        return c, ()
    if c.phase != "running":
        return replace(c, media_closed=True), ()
    ended, effects = _end(c, now_ms)
    return replace(ended, media_closed=True), effects


def _heard(c: Conference, event: SegmentHeard, now_ms: int) -> Step:
    heard = replace(c, utterances=c.utterances + (not event.correction))
    if c.phase == "ended":
        heard = replace(
            heard, documented=-1, documents_due_ms=c.documents_due_ms or now_ms + LATE_PAUSE_MS
        )
    return heard, (PostUtterance(event.segment, event.rev),)


def _scribe_failed(c: Conference) -> Step:
    if c.failure_told or not c.listening:
        return c, ()
    return replace(c, failure_told=True), (Say("scribe.failed"),)


def _end(c: Conference, now_ms: int) -> Step:
    ended_ms = c.empty_since_ms if c.stays and c.empty_since_ms is not None else now_ms
    ended = replace(
        c,
        phase="ending",
        ended_ms=ended_ms,
        stays=tuple(_gone(stay, ended_ms) for stay in c.stays),
        empty_since_ms=None,
        card_due_ms=None,
        # Only a scribe that listened for the record can have something left to say.
        documents_due_ms=now_ms + SCRIBE_GRACE_MS if c.spans else now_ms,
    )
    return _with_card(ended, PostStatus())


def _due(c: Conference, now_ms: int, rules: Rules) -> Step:
    effects: tuple[Effect, ...] = ()
    empty = c.empty_since_ms
    if c.phase == "running" and empty is not None and now_ms - empty >= rules.empty_timeout_ms:
        c, effects = _end(c, now_ms)
    if c.card_due_ms is not None and now_ms >= c.card_due_ms:
        c, more = _with_card(c)
        effects += more
    if c.documents_due_ms is not None and now_ms >= c.documents_due_ms:
        c, more = _documented(c)
        effects += more
    return c, effects


def _documented(c: Conference) -> Step:
    done = replace(c, phase="ended", documents_due_ms=None, documented=c.utterances)
    if c.utterances == c.documented:
        return done, ()
    done = replace(done, documents_rev=c.documents_rev + 1)
    return _with_card(done, PostDocuments(done.documents_rev))


def _with_card(c: Conference, *others: Effect) -> Step:
    shown = replace(c, card_rev=c.card_rev + 1, card_due_ms=None)
    return shown, (PostCard(shown.card_rev), *others)


def _card_soon(c: Conference, now_ms: int) -> Conference:
    return replace(c, card_due_ms=c.card_due_ms or now_ms + CARD_PAUSE_MS)


def _gone(stay: Stay, now_ms: int) -> Stay:
    return stay if stay.left_ms is not None else replace(stay, left_ms=now_ms)


def _one_each(stays: Any) -> tuple[Stay, ...]:
    return tuple({stay.user_id: stay for stay in stays}.values())
