"""One conference of a room: the snapshot that is stored, and what can be read from it.

Pure. How it goes on from one snapshot to the next is in course.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bridge.domain import joint, ringing
from bridge.domain.federation import Call
from bridge.domain.joint import Joint
from bridge.domain.stays import Stay, one_each
from bridge.ids import server_of
from bridge.text import Language

Phase = Literal["running", "ending", "ended"]


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
    interruptions: tuple[Span, ...] = ()
    """When nobody listened although the transcript was on."""
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
    expired: bool = False
    """What was said is kept no longer: the room's retention."""
    withheld: tuple[str, ...] = ()
    """Forms of documents that somebody removed: they are not made again."""
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
        away = [stay for stay in self.away if stay.left_ms is None]
        return one_each((*here, *_elsewhere(here, away)))

    @property
    def occupied(self) -> bool:
        """Whether anybody is in the call now, wherever."""
        here = any(stay.left_ms is None for stay in self.stays)
        return here or self.occupied_elsewhere

    @property
    def occupied_elsewhere(self) -> bool:
        """Whether anybody is in it now at another site."""
        told = self.joint is not None and self.joint.occupied
        return told or any(stay.left_ms is None for stay in self.claimed)

    @property
    def people(self) -> tuple[Stay, ...]:
        """One stay for each person who was ever in the call, wherever."""
        return one_each((*self.stays, *_elsewhere(self.stays, self.away)))

    def sites_of(self, user_id: str) -> tuple[str, ...]:
        """The other sites at whose media servers somebody is in the call now."""
        theirs = [s.site for s in self.away if s.user_id == user_id and s.left_ms is None]
        return tuple(dict.fromkeys(theirs))

    @property
    def away(self) -> tuple[Stay, ...]:
        """Who is or was at other sites' media servers.

        Their site knows better than what they wrote into the room.
        """
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
        here = bool(self.stays) or not self.away
        return self.phase == "running" and (self.captions or self.transcript) and here

    @property
    def open(self) -> bool:
        """Whether anything is still to be done for it."""
        done = self.phase == "ended" and self.media_closed
        return not done or self.documents_due_ms is not None or self.card_due_ms is not None

    def takes(self, start_ms: int, end_ms: int) -> bool:
        """Whether something said then (milliseconds since the start) belongs into the record."""
        return any(span.holds(start_ms, end_ms) for span in self.spans)

    def wanted_within(self, span: Span) -> bool:
        """Whether the transcript was on at any time within it."""
        return any(
            (span.end is None or on.start < span.end) and (on.end is None or span.start < on.end)
            for on in self.spans
        )

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


def scribe_identity(conference: str) -> str:
    """Identity of the scribe of a conference at the media server."""
    return f"scribe-{conference}"


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


def to_json(conference: Conference) -> dict[str, Any]:
    """The snapshot as JSON; `from_json` reads it back."""
    return {"version": 1, **dataclasses.asdict(conference)}


def from_json(snapshot: Mapping[str, Any]) -> Conference:
    """Read a snapshot. Fields of a later version are left out (after a step back to this one)."""
    known = {f.name for f in dataclasses.fields(Conference)}
    values = {key: value for key, value in snapshot.items() if key in known}
    values["stays"] = tuple(Stay(**stay) for stay in snapshot["stays"])
    values["rings"] = ringing.from_json(snapshot.get("rings"))
    for name in ("removed", "admitted", "knocked", "told", "withheld"):
        values[name] = tuple(snapshot.get(name, ()))
    values["spans"] = tuple(Span(**span) for span in snapshot["spans"])
    values["interruptions"] = tuple(Span(**s) for s in snapshot.get("interruptions", ()))
    values["claimed"] = tuple(Stay(**stay) for stay in snapshot.get("claimed", ()))
    values["joint"] = joint.from_json(snapshot.get("joint"))
    return Conference(**values)


def read_conferences(snapshot: Mapping[str, Any] | None) -> list[Conference]:
    """The conferences in a room's stored snapshot, the newest first."""
    if snapshot is None:
        return []
    return [from_json(one) for one in (snapshot, *snapshot.get("earlier", ()))]


def write_conferences(conferences: list[Conference]) -> dict[str, Any]:
    """The snapshot to store: the newest, with the ones before it under `earlier`."""
    newest, *earlier = (to_json(conference) for conference in conferences)
    return {**newest, "earlier": earlier}


def _elsewhere(here: Sequence[Stay], away: Sequence[Stay]) -> list[Stay]:
    """Those away who are not here too: one person, one place."""
    known = {stay.user_id for stay in here}
    return [stay for stay in away if stay.user_id not in known]
