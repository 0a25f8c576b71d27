"""When a leave that was handed over is postponed, and when it happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.domain.leaves import (
    CONNECT_MS,
    GRACE_MS,
    KEEP_TRYING_MS,
    SHORTEST_PAUSE_MS,
    Action,
    Leave,
    Outcome,
    answered,
    seen,
    wanted,
)

HOUR = 3_600_000
NEW = Leave(
    media_room="media",
    identity="@alice:a:DEV",
    alias="",
    room_id="!r",
    user_id="@alice:a",
    delay_id="syd_1",
    timeout_ms=HOUR,
    asked_ms=1_000,
)
THERE = replace(NEW, connected=True, restarted_ms=2_000)
GONE = replace(THERE, gone_ms=10_000)


def test_names() -> None:
    assert NEW.names == {"@alice:a:DEV"}
    assert replace(NEW, alias="hash").names == {"@alice:a:DEV", "hash"}


@pytest.mark.parametrize(
    ("before", "present", "after"),
    [
        (NEW, False, NEW),
        (NEW, True, replace(NEW, connected=True)),
        (THERE, True, THERE),
        (THERE, False, replace(THERE, gone_ms=50_000)),
        (GONE, False, GONE),
        (GONE, True, THERE),
    ],
)
def test_what_is_seen(before: Leave, present: bool, after: Leave) -> None:
    assert seen(before, present, 50_000) == after


@pytest.mark.parametrize(
    ("leave", "at_ms", "action"),
    [
        (NEW, 1_000 + CONNECT_MS - 1, None),
        (NEW, 1_000 + CONNECT_MS, "send"),
        (replace(NEW, connected=True), 1_000, "restart"),
        (THERE, 2_000 + HOUR * 8 // 10 - 1, None),
        (THERE, 2_000 + HOUR * 8 // 10, "restart"),
        (replace(THERE, timeout_ms=1), 2_000 + SHORTEST_PAUSE_MS - 1, None),
        (replace(THERE, timeout_ms=1), 2_000 + SHORTEST_PAUSE_MS, "restart"),
        (GONE, 10_000 + GRACE_MS - 1, None),
        (GONE, 10_000 + GRACE_MS, "send"),
        (replace(GONE, rest_until_ms=90_000), 89_999, None),
        (replace(GONE, rest_until_ms=90_000), 90_000, "send"),
        (replace(THERE, replaced=True), 3_000, "cancel"),
    ],
)
def test_what_is_wanted(leave: Leave, at_ms: int, action: Action | None) -> None:
    assert wanted(leave, at_ms) == action


@pytest.mark.parametrize(
    ("action", "outcome", "after"),
    [
        ("restart", "done", replace(THERE, restarted_ms=9_000)),
        ("send", "done", None),
        ("cancel", "done", None),
        ("restart", "unknown", None),
        ("send", "unknown", None),
        ("send", "refused", None),
        ("send", "failed", replace(THERE, tries=1, rest_until_ms=10_000)),
    ],
)
def test_what_an_answer_leaves(action: Action, outcome: Outcome, after: Leave | None) -> None:
    assert answered(THERE, action, outcome, 9_000) == after


@pytest.mark.parametrize(
    ("tries", "asked_to_rest", "rest"),
    [(0, 0, 1_000), (3, 0, 8_000), (20, 0, 30_000), (0, 45_000, 45_000)],
)
def test_rests_grow(tries: int, asked_to_rest: int, rest: int) -> None:
    after = answered(replace(GONE, tries=tries), "send", "failed", 20_000, rest_ms=asked_to_rest)
    assert after is not None
    assert (after.tries, after.rest_until_ms) == (tries + 1, 20_000 + rest)


def test_nobody_tries_for_ever_except_to_keep_who_is_there() -> None:
    assert answered(GONE, "send", "failed", 10_000 + HOUR - 1) is not None
    assert answered(GONE, "send", "failed", 10_000 + HOUR) is None
    short = replace(GONE, timeout_ms=18_000)
    assert answered(short, "send", "failed", 10_000 + KEEP_TRYING_MS - 1) is not None
    assert answered(short, "send", "failed", 10_000 + KEEP_TRYING_MS) is None
    assert answered(NEW, "send", "failed", 1_000 + HOUR) is None
    assert answered(THERE, "restart", "failed", 100 * HOUR) is not None


def test_a_restart_that_works_again_forgets_the_failures() -> None:
    troubled = replace(THERE, tries=4, rest_until_ms=5_000)
    assert answered(troubled, "restart", "done", 6_000) == replace(THERE, restarted_ms=6_000)
