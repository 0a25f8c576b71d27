"""Power levels as rooms have them, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.policy import (
    Power,
    may_change_wish,
    may_correct,
    may_delete,
    may_moderate,
    may_name_voices,
    may_stop,
    server_admitted,
)

ALICE, BOB, BOT = "@alice:a", "@bob:b", "@visio:a"
LEVELS: dict[str, Any] = {
    "users": {ALICE: 100, BOT: 50},
    "events": {"eu.colloque.conference": 60, "text": "75", "float": 1.5, "bool": True},
    "state_default": 50,
    "users_default": 10,
}


def power(levels: Any, version: object = "11", creator: str = ALICE, **create: Any) -> Power:
    return Power(levels, {"room_version": version, **create}, creator)


@pytest.mark.parametrize(
    ("levels", "user", "expected"),
    [
        (LEVELS, ALICE, 100),
        (LEVELS, BOB, 10),
        (None, ALICE, 100),
        (None, BOB, 0),
        ({}, ALICE, 0),
        ({"users": {BOB: " 50 "}}, BOB, 50),
        ({"users": {BOB: "fifty"}, "users_default": -1}, BOB, -1),
        ({"users": [BOB], "users_default": None}, BOB, 0),
        ({"users": {BOB: True}}, BOB, 0),
    ],
)
def test_level_of_a_user(levels: Any, user: str, expected: int) -> None:
    assert power(levels).of(user) == expected


@pytest.mark.parametrize(
    ("version", "above"),
    [
        ("12", True),
        ("13", True),
        (12, True),
        ("org.matrix.hydra.11", True),
        ("11", False),
        ("x", False),
        ("²", False),
        ("9" * 20, False),
        (None, False),
    ],
)
def test_creators_from_version_12(version: object, above: bool) -> None:
    room = power({"users": {}}, version, additional_creators=[BOB, 3])
    assert (room.of(ALICE) > 1000) is above
    assert (room.of(BOB) > 1000) is above
    assert room.of(BOT) == 0


def test_creators_that_are_no_list() -> None:
    assert power({}, "12", additional_creators=BOB).of(BOB) == 0


@pytest.mark.parametrize(
    ("levels", "event_type", "expected"),
    [
        (LEVELS, "eu.colloque.conference", 60),
        (LEVELS, "text", 75),
        (LEVELS, "float", 50),
        (LEVELS, "bool", 50),
        (LEVELS, "m.room.name", 50),
        ({}, "m.room.name", 50),
        ({"events": 3, "state_default": 0}, "m.room.name", 0),
        (None, "m.room.name", 0),
    ],
)
def test_level_needed(levels: Any, event_type: str, expected: int) -> None:
    assert power(levels).needed_for_state(event_type) == expected


def test_may_send_state() -> None:
    assert power(LEVELS).may_send_state(BOT, "m.room.name")
    assert not power(LEVELS).may_send_state(BOT, "eu.colloque.conference")


@pytest.mark.parametrize(
    ("user", "started_by", "allowed"),
    [(BOB, BOB, True), (BOB, ALICE, False), (ALICE, BOB, True), (BOT, BOB, True), (BOB, "", False)],
)
def test_who_may_stop(user: str, started_by: str, allowed: bool) -> None:
    assert may_stop(user, started_by=started_by, power=power(LEVELS)) is allowed


@pytest.mark.parametrize(
    ("user", "started_by", "allowed"),
    [(BOB, BOB, True), (BOB, ALICE, False), (ALICE, "", True), (BOT, "", False)],
)
def test_who_may_change_the_wish(user: str, started_by: str, allowed: bool) -> None:
    decided = may_change_wish(
        user, started_by=started_by, power=power(LEVELS), event_type="eu.colloque.conference"
    )
    assert decided is allowed


@pytest.mark.parametrize(
    ("user", "person", "started_by", "allowed"),
    [
        (ALICE, BOB, "", True),
        (BOB, BOT, BOB, True),
        (BOB, ALICE, BOB, False),
        (BOB, BOB, ALICE, False),
    ],
)
def test_who_may_moderate(user: str, person: str, started_by: str, allowed: bool) -> None:
    levels = {"users": {ALICE: 100}, "kick": "60"}
    decided = may_moderate(user, person, started_by=started_by, power=power(levels))
    assert decided is allowed


@pytest.mark.parametrize(
    ("levels", "level"),
    [
        (None, None),
        ({"users": {BOT: 50}, "events": {"m.room.power_levels": 100}}, None),
        ({"users": {BOT: 100, ALICE: 50}, "events": {"call": 0}}, 51),
        ({"users": {BOT: 100}, "users_default": 60, "events": {"call": 0}}, 61),
        ({"users": {BOT: 50, ALICE: 100}, "events": {"call": 0}}, 50),
        ({"users": {BOT: 50, ALICE: 100}}, None),
    ],
)
def test_a_level_above_others(levels: dict[str, Any] | None, level: int | None) -> None:
    assert power(levels).level_above_others(BOT, "call") == level


def test_a_level_above_others_is_a_number_events_can_hold() -> None:
    levels = {"users": {ALICE: 2**53 - 1}}
    assert power(levels, "12", BOT).level_above_others(BOT, "call") == 2**53 - 1


@pytest.mark.parametrize(
    ("levels", "invites", "calls_everyone"),
    [
        (None, True, False),
        ({}, True, False),
        ({"invite": 1, "notifications": {"room": 0}}, False, True),
        ({"users": {BOB: 50}, "invite": 50, "notifications": 3}, True, True),
    ],
)
def test_inviting_and_calling(
    levels: dict[str, Any] | None, invites: bool, calls_everyone: bool
) -> None:
    assert power(levels).may_invite(BOB) is invites
    assert power(levels).may_call_everyone(BOB) is calls_everyone


@pytest.mark.parametrize(
    ("server", "allowed", "admitted"),
    [
        ("b", ["*"], True),
        ("b", [], False),
        ("a", [], True),
        ("chat.Gouv.fr", ["*.gouv.FR"], True),
        ("gouv.fr", ["*.gouv.fr"], False),
        ("evil.example", ["good.example"], False),
    ],
)
def test_admitted_servers(server: str, allowed: list[str], admitted: bool) -> None:
    assert server_admitted(server, allowed, "a") is admitted


@pytest.mark.parametrize(
    ("user", "corrects", "deletes", "names"),
    [
        ("@speaker:a", True, True, True),
        ("@starter:a", True, False, True),
        ("@mod:a", True, True, True),
        ("@half:a", True, False, True),
        ("@there:a", False, False, True),
        ("@other:a", False, False, False),
    ],
)
def test_who_may_change_what_was_written_down(
    user: str, corrects: bool, deletes: bool, names: bool
) -> None:
    levels = {"users": {"@mod:a": 60, "@half:a": 50}, "redact": 60}
    speaker, started_by, present = "@speaker:a", "@starter:a", ["@there:a"]
    own = power(levels)
    assert may_correct(user, speaker=speaker, started_by=started_by, power=own) is corrects
    assert may_delete(user, speaker=speaker, power=own) is deletes
    may = may_name_voices(user, speaker=speaker, started_by=started_by, present=present, power=own)
    assert may is names
