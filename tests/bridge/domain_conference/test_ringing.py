"""Whom the bridge calls into a conference, and what becomes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bridge.domain.conference import Conference, Rules, from_json, to_json
from bridge.domain.course import start, step
from bridge.domain.happenings import (
    CallOut,
    CancelRing,
    Effect,
    Event,
    ParticipantJoined,
    PostCard,
    PostRing,
    RingAsked,
    RingDeclined,
    RingFailed,
    RingReady,
    Say,
    StopAsked,
    Tick,
)
from bridge.domain.ringing import KEPT, MOST_USERS, PATIENCE_MS
from bridge.domain.wish import Wish

ALICE, BOB, CAROL = "@alice:a", "@bob:a", "@carol:a"
RULES = Rules(ring_ms=60_000)


def asked(ring: str = "r", **values: Any) -> RingAsked:
    return RingAsked(**{"ring": ring, "by": ALICE, "mode": "ring", "users": (BOB,), **values})


def joined(user: str) -> ParticipantJoined:
    return ParticipantJoined(identity=user, sid=user, user_id=user)


READY = RingReady(ring="r", membership="$m")


def after(*events: Event, now_ms: int = 1) -> tuple[Conference, list[Effect]]:
    """A call with these events, and the effects of the last one."""
    call, effects = start(
        conference="c", room_id="!r", by=ALICE, display_name="Alice", wish=Wish(), now_ms=0
    )
    for event in events:
        call, effects = step(call, event, now_ms=now_ms, rules=RULES)
    assert from_json(json.loads(json.dumps(to_json(call)))) == call
    return call, list(effects)


def state(*events: Event) -> str:
    return after(*events)[0].rings[-1].state


def test_a_ring_goes_out_when_there_is_something_it_belongs_to() -> None:
    call, effects = after(asked())
    assert effects == [CallOut("r")]
    assert (call.rings[0].state, call.rings[0].until_ms) == ("asked", PATIENCE_MS + 1)
    call, effects = after(asked(), READY)
    assert effects == [PostRing("r", "$m")]
    assert (call.rings[0].state, call.rings[0].until_ms) == ("sent", 60_001)
    assert call.due_ms(RULES) == 60_001


@pytest.mark.parametrize("event", [asked(), READY, RingFailed(ring="x")])
def test_repeated_or_foreign_events_change_nothing(event: Event) -> None:
    before, _ = after(asked(), READY)
    assert after(asked(), READY, event) == (before, [])


@pytest.mark.parametrize(
    ("users", "user", "answers"),
    [((BOB,), BOB, True), ((BOB,), CAROL, False), ((), CAROL, True), ((), ALICE, False)],
)
def test_whoever_it_was_for_answers_by_coming(
    users: tuple[str, ...], user: str, answers: bool
) -> None:
    assert state(asked(users=users), READY, joined(user)) == ("answered" if answers else "sent")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "Bob"}, [Say("ring.missed_by", {"name": "Bob"})]),
        ({"users": ()}, [Say("ring.missed", {})]),
        ({"mode": "notification"}, []),
    ],
)
def test_a_missed_call(values: dict[str, Any], said: list[Effect]) -> None:
    call, _ = after(asked(**values), READY)
    call, effects = step(call, Tick(), now_ms=60_001, rules=RULES)
    assert call.rings[0].state == "missed"
    assert list(effects) == said
    assert step(call, Tick(), now_ms=60_002, rules=RULES) == (call, ())
    assert call.unanswered == (("Bob",) if values.get("name") else ())
    call, _ = step(call, joined(BOB), now_ms=60_003, rules=RULES)
    assert call.unanswered == ()


def test_what_never_went_out_is_not_missed() -> None:
    call, _ = after(asked())
    call, effects = step(call, Tick(), now_ms=PATIENCE_MS + 1, rules=RULES)
    assert (call.rings[0].state, effects) == ("over", ())
    assert state(asked(), RingFailed(ring="r")) == "over"


def test_who_declines_is_on_the_card() -> None:
    decline = RingDeclined(ring="r", user_id=BOB, name="Bob")
    call, _ = after(asked(users=(BOB, CAROL)), READY, decline)
    assert (call.declined, call.rings[0].state) == (("Bob",), "sent")
    assert call.card_due_ms is not None
    call, effects = step(call, joined(BOB), now_ms=2, rules=RULES)
    assert call.declined == ()
    assert not [effect for effect in effects if isinstance(effect, PostCard)]


def test_a_ring_is_over_when_all_have_declined() -> None:
    declines = [RingDeclined(ring="r", user_id=user, name=user) for user in (BOB, CAROL)]
    assert state(asked(users=(BOB, CAROL)), READY, *declines) == "declined"
    assert state(asked(users=()), READY, *declines) == "sent"


@pytest.mark.parametrize(
    "decline",
    [
        RingDeclined(ring="x", user_id=BOB, name="Bob"),
        RingDeclined(ring="r", user_id=CAROL, name="Carol"),
    ],
)
def test_declines_that_count_for_nothing(decline: RingDeclined) -> None:
    assert after(asked(), READY, decline)[0].declined == ()


def test_declines_are_counted_once_and_bounded() -> None:
    call, _ = after(asked(users=()), READY)
    for number in [0, 0, *range(MOST_USERS + 5)]:
        decline = RingDeclined(ring="r", user_id=f"@u{number}:a", name="x")
        call, _ = step(call, decline, now_ms=2, rules=RULES)
    assert len(call.rings[0].declined) == MOST_USERS


def test_the_end_takes_back_what_rings() -> None:
    call, effects = after(asked("1"), asked("r"), READY, StopAsked())
    assert [ring.state for ring in call.rings] == ["over", "over"]
    assert effects[-1] == CancelRing("r")
    assert CancelRing("1") not in effects


def test_only_the_last_rings_are_remembered() -> None:
    call, _ = after(*(asked(str(number)) for number in range(KEPT)))
    assert len(call.rings) == KEPT
    call = replace(call, rings=(replace(call.rings[0], state="missed"), *call.rings[1:]))
    call, _ = step(call, asked("new"), now_ms=1, rules=RULES)
    assert [ring.id for ring in call.rings] == [*map(str, range(1, KEPT)), "new"]
