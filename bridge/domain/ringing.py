"""Calling people into a conference: whom, until when, and what became of it. Pure.

A ring is asked for, goes out when the bot's call membership is there (phones ring only for a call
that somebody is in, MSC4075), and is over when somebody it was for comes in, when all of them
decline (MSC4310), when its time is over, or when the conference ends.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from bridge.domain.happenings import (
    CallOut,
    CancelRing,
    Effect,
    Event,
    Mode,
    PostRing,
    RingAsked,
    RingDeclined,
    RingFailed,
    RingReady,
    Say,
)
from bridge.domain.stays import Stay

State = Literal["asked", "sent", "answered", "declined", "missed", "over"]

KEPT = 8
"""Rings of one conference that are remembered, and the most that may be under way at once."""
PATIENCE_MS = 20_000
"""A ring that could not go out for so long does not go out any more."""
MOST_USERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """One call to some people. `id`: the event that asked for it.

    `users`: whom it is for, empty for everybody in the room but `by`. `until_ms`: when it is given
    up. `name`: of the one person it is for, '' where there are more.
    """

    id: str
    by: str
    mode: Mode
    users: tuple[str, ...]
    name: str = ""
    state: State = "asked"
    until_ms: int
    declined: tuple[tuple[str, str], ...] = ()
    """Who will not come: Matrix id and name."""

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return self.state in {"asked", "sent"}

    def reaches(self, user_id: str) -> bool:
        """Whether it is for this person."""
        return user_id in self.users if self.users else user_id != self.by


Rings = tuple[Ring, ...]


def told(rings: Rings, event: Event, *, now_ms: int, lifetime_ms: int) -> Rings:
    """The rings after an event; every other event changes none."""
    match event:
        case RingAsked():
            return _added(rings, event, now_ms)
        case RingReady(ring=ring_id):
            return tuple(_sent(one, ring_id, now_ms + lifetime_ms) for one in rings)
        case RingFailed(ring=ring_id):
            return tuple(_over(one) if one.id == ring_id else one for one in rings)
        case RingDeclined():
            return tuple(_declined(one, event) for one in rings)
    return rings


def passed(rings: Rings, present: Collection[str], *, running: bool, now_ms: int) -> Rings:
    """The rings now: whoever is in has answered, what is late is missed, an end ends them all."""
    if not running:
        return tuple(map(_over, rings))
    return tuple(_overdue(_answered(one, present), now_ms) for one in rings)


def effects(before: Rings, after: Rings, event: Event) -> tuple[Effect, ...]:
    """What is to be done about the difference."""
    states = {one.id: one.state for one in before}
    done: list[Effect] = []
    for ring in after:
        match states.get(ring.id), ring.state:
            case None, "asked":
                done.append(CallOut(ring.id))
            case "asked", "sent" if isinstance(event, RingReady):
                done.append(PostRing(ring.id, event.membership))
            case "sent", "over":
                done.append(CancelRing(ring.id))
            case "sent", "missed" if ring.mode == "ring":
                key = "ring.missed_by" if ring.name else "ring.missed"
                done.append(Say(key, {"name": ring.name} if ring.name else {}))
    return tuple(done)


def next_ms(rings: Rings) -> int | None:
    """When the first of them is given up."""
    return min((one.until_ms for one in rings if one.live), default=None)


def from_json(stored: Any) -> Rings:
    """As a snapshot has them."""
    return tuple(
        Ring(
            **{**one, "users": tuple(one["users"]), "declined": tuple(map(tuple, one["declined"]))}
        )
        for one in stored or ()
    )


def who_declined(rings: Rings, people: Collection[Stay]) -> tuple[str, ...]:
    """Names of those who declined and did not come after all."""
    came = {stay.user_id for stay in people}
    everybody = {user_id: name for one in rings for user_id, name in one.declined}
    return tuple(name for user_id, name in everybody.items() if user_id not in came)


def who_missed(rings: Rings, people: Collection[Stay]) -> tuple[str, ...]:
    """Names of those who were called one by one, did not answer, and did not come after all."""
    came = {stay.user_id for stay in people}
    missed = (one for one in rings if one.state == "missed" and one.name)
    return tuple(dict.fromkeys(one.name for one in missed if came.isdisjoint(one.users)))


def _added(rings: Rings, asked: RingAsked, now_ms: int) -> Rings:
    if any(one.id == asked.ring for one in rings):
        return rings
    ring = Ring(
        id=asked.ring,
        by=asked.by,
        mode=asked.mode,
        users=asked.users[:MOST_USERS],
        name=asked.name,
        until_ms=now_ms + PATIENCE_MS,
    )
    live = [one for one in rings if one.live]
    # What goes on is never forgotten: whoever asks for one more is refused at the door.
    over = [one for one in rings if not one.live]
    return (*over[max(0, len(rings) + 1 - KEPT) :], *live, ring)


def _sent(ring: Ring, ring_id: str, until_ms: int) -> Ring:
    waits = ring.id == ring_id and ring.state == "asked"
    return replace(ring, state="sent", until_ms=until_ms) if waits else ring


def _over(ring: Ring) -> Ring:
    return replace(ring, state="over") if ring.live else ring


def _answered(ring: Ring, present: Collection[str]) -> Ring:
    came = ring.live and any(map(ring.reaches, present))
    return replace(ring, state="answered") if came else ring


def _overdue(ring: Ring, now_ms: int) -> Ring:
    if not ring.live or now_ms < ring.until_ms:
        return ring
    # What never went out cannot be missed.
    return replace(ring, state="missed" if ring.state == "sent" else "over")


def _declined(ring: Ring, event: RingDeclined) -> Ring:
    known = {user_id for user_id, _ in ring.declined}
    mine = ring.id == event.ring and ring.live and ring.reaches(event.user_id)
    if not mine or event.user_id in known or len(known) >= MOST_USERS:
        return ring
    refused = (*ring.declined, (event.user_id, event.name))
    nobody_left = bool(ring.users) and set(ring.users) <= {*known, event.user_id}
    return replace(ring, declined=refused, state="declined" if nobody_left else ring.state)
