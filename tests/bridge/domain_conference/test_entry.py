"""Who comes into a call, and who is heard and seen there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.domain.conference import Conference
from bridge.domain.entry import Reason, Room, Rules, holds, may_publish, refusal
from bridge.domain.policy import Power
from bridge.domain.stays import Stay
from bridge.domain.wish import Wish

MOD, STARTER, BOB, EVE, FAR = "@mod:a", "@starter:a", "@bob:a", "@eve:a", "@far:b"
STARTED = 1_000_000
LEVELS = {"users": {MOD: 50}, "state_default": 50}
RULES = Rules(own_server="a", wish_event="eu.colloque.conference")


def room(*, with_bot: bool = True, closed: bool = False, **wish: Any) -> Room:
    power = Power(LEVELS, {"room_version": "11"}, "@creator:a")
    return Room(with_bot=with_bot, closed=closed, wish=Wish(**wish), power=power)


def call(*present: str, **more: Any) -> Conference:
    stays = tuple(Stay(identity=f"{user}:D", sid=user, user_id=user) for user in present)
    return Conference(
        id="c1", room_id="!r", started_ms=STARTED, started_by=STARTER, stays=stays, **more
    )


def left(user: str) -> Conference:
    gone = Stay(identity=f"{user}:D", sid=user, user_id=user, left_ms=STARTED + 1)
    return replace(call(), stays=(gone,))


@pytest.mark.parametrize(
    ("conference", "granted_ms", "expected"),
    [
        (None, [STARTED], False),
        (call(), [], False),
        (call(), [STARTED - 1], False),
        (call(), [STARTED - 1, STARTED], True),
        (call(BOB), [], True),
        (left(BOB), [], True),
        (call(EVE), [], False),
    ],
)
def test_who_holds_a_grant_of_this_call(
    conference: Conference | None, granted_ms: list[int], expected: bool
) -> None:
    assert holds(conference, BOB, granted_ms) is expected


LOCKED, LOBBY, BOTH = {"locked": True}, {"lobby": True}, {"locked": True, "lobby": True}
SMALL = {"max_participants": 2}


@pytest.mark.parametrize(
    ("user", "where", "conference", "held", "reason"),
    [
        (BOB, room(), None, False, None),
        (BOB, room(), call(), False, None),
        (MOD, room(closed=True), call(MOD), True, "room_closed"),
        (MOD, room(), call(removed=(MOD,)), True, "removed"),
        # locked
        (BOB, room(**LOCKED), call(), False, "locked"),
        (BOB, room(**LOCKED), None, False, "locked"),
        (BOB, room(**LOCKED), call(), True, None),
        (MOD, room(**LOCKED), call(), False, None),
        (MOD, room(**LOCKED), None, False, None),
        (STARTER, room(**LOCKED), call(), False, None),
        (STARTER, room(**LOCKED), None, False, "locked"),
        (BOB, room(**LOCKED), call(admitted=(BOB,)), False, "locked"),
        # the lobby
        (BOB, room(**LOBBY), call(), False, "waiting"),
        (BOB, room(**LOBBY), None, False, "waiting"),
        (BOB, room(**LOBBY), call(admitted=(EVE, BOB)), False, None),
        (BOB, room(**LOBBY), call(), True, None),
        (MOD, room(**LOBBY), call(), False, None),
        (BOB, room(**BOTH), call(), False, "locked"),
        # full
        (BOB, room(**SMALL), call(MOD), False, None),
        (BOB, room(**SMALL), call(MOD, EVE), False, "full"),
        (BOB, room(**SMALL), call(MOD, EVE), True, "full"),
        (EVE, room(**SMALL), call(MOD, EVE, BOB), False, None),
        (STARTER, room(**SMALL), call(MOD, EVE), False, "full"),
        (BOB, room(**SMALL), None, False, None),
        (BOB, room(**SMALL, **LOCKED), call(MOD, EVE), False, "locked"),
    ],
)
def test_who_comes_in(
    user: str, where: Room, conference: Conference | None, held: bool, reason: Reason | None
) -> None:
    assert refusal(user, where, conference, held=held, rules=RULES) == reason


@pytest.mark.parametrize(
    ("rule", "user", "with_bot", "reason"),
    [
        ("federated", FAR, False, None),
        ("local", FAR, False, "no_bot"),
        ("local", BOB, False, None),
        ("deny", BOB, False, "no_bot"),
        ("deny", FAR, True, None),
    ],
)
def test_rooms_without_the_bot(rule: Any, user: str, with_bot: bool, reason: Reason | None) -> None:
    rules = replace(RULES, without_bot=rule)
    assert refusal(user, room(with_bot=with_bot), None, held=False, rules=rules) == reason


@pytest.mark.parametrize(
    ("user", "publish", "conference", "listen_only", "expected"),
    [
        (BOB, "everyone", call(), (), True),
        (BOB, "moderators", call(), (), False),
        (MOD, "moderators", call(), (), True),
        (MOD, "moderators", None, (), True),
        (STARTER, "moderators", call(), (), True),
        (STARTER, "moderators", None, (), False),
        (FAR, "everyone", call(), ("b",), False),
        (FAR, "everyone", call(), ("*.b",), True),
        (MOD, "everyone", call(), ("*",), False),
    ],
)
def test_who_is_heard_and_seen(
    user: str,
    publish: Any,
    conference: Conference | None,
    listen_only: tuple[str, ...],
    expected: bool,
) -> None:
    rules = replace(RULES, listen_only=listen_only)
    assert may_publish(user, room(publish=publish), conference, rules=rules) is expected
