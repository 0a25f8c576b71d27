"""Memberships as Element Call 0.26 and strangers write them, and the picture they make."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain import membership
from bridge.domain.membership import (
    EXPIRES_MS,
    LONGEST_MS,
    LONGEST_STICKY_MS,
    PER_USER,
    Membership,
    Picture,
    Withdrawn,
    elsewhere,
    heard,
    kept,
    read,
    read_whole,
)
from bridge.ids import hashed_identity

ALICE, BOB, CAROL = "@alice:a", "@bob:b", "@carol:c"
A, B = "https://visio.a", "https://visio.b"
NOW = 1_700_000_000_000
HOUR = 3_600_000


def transport(url: object, kind: object = "livekit") -> dict[str, Any]:
    return {"type": kind, "livekit_service_url": url, "livekit_alias": "!room"}


def state(user: str = ALICE, device: str = "DEV", url: str = A, **more: Any) -> dict[str, Any]:
    """The event, with `more` in place of members of its content (None: left out)."""
    content = {
        "application": "m.call",
        "call_id": "",
        "scope": "m.room",
        "device_id": device,
        "membershipID": f"{user}:{device}",
        "expires": EXPIRES_MS,
        "m.call.intent": "video",
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [transport(url)],
        **more,
    }
    return {
        "type": "org.matrix.msc3401.call.member",
        "state_key": f"_{user}_{device}_m.call",
        "room_id": "!room",
        "sender": user,
        "event_id": f"$state of {user}",
        "origin_server_ts": NOW,
        "content": {key: value for key, value in content.items() if value is not None},
    }


def sticky(user: str = ALICE, device: str = "DEV", url: str = A, **more: Any) -> dict[str, Any]:
    content = {
        "slot_id": "m.call#ROOM",
        "application": {"type": "m.call", "m.call.intent": "audio"},
        "member": {"user_id": user, "device_id": device, "id": "uuid"},
        "transports": {"published": [transport(url)], "can_subscribe": ["livekit"]},
        "versions": [],
        "msc4354_sticky_key": "uuid",
        **more,
    }
    return {
        "type": "org.matrix.msc4143.rtc.member",
        "room_id": "!room",
        "sender": user,
        "event_id": f"$sticky of {user}",
        "origin_server_ts": NOW,
        "msc4354_sticky": {"duration_ms": HOUR},
        "content": {key: value for key, value in content.items() if value is not None},
    }


def member(event: dict[str, Any], now_ms: int = NOW) -> Membership:
    value = read(event, now_ms=now_ms)
    assert isinstance(value, Membership)
    return value


def picture(*events: dict[str, Any], now_ms: int = NOW, **more: Any) -> Picture:
    return Picture.of([member(event) for event in events], now_ms=now_ms, **more)


def test_a_state_membership() -> None:
    assert member(state()) == Membership(
        room_id="!room",
        user_id=ALICE,
        device_id="DEV",
        kind="state",
        key="_@alice:a_DEV_m.call",
        event_id="$state of @alice:a",
        member_id="@alice:a:DEV",
        service_url=A,
        selection="multi_sfu",
        intent="video",
        created_ms=NOW,
        sent_ms=NOW,
        expires_ms=NOW + EXPIRES_MS,
    )
    assert member(state()).identity == "@alice:a:DEV"
    assert member(state()).place == "_@alice:a_DEV_m.call"


def test_a_sticky_membership() -> None:
    one = member(sticky())
    assert (one.kind, one.key, one.member_id, one.intent) == ("sticky", "uuid", "uuid", "audio")
    assert (one.service_url, one.expires_ms) == (A, NOW + HOUR)
    assert one.identity == hashed_identity(ALICE, "DEV", "uuid")
    assert one.place == "@alice:a uuid"
    stable = {**sticky(), "type": "m.rtc.member"}
    stable["content"] = {**stable["content"], "sticky_key": "other", "msc4354_sticky_key": None}
    del stable["content"]["msc4354_sticky_key"]
    assert member(stable).key == "other"


@pytest.mark.parametrize(
    "content",
    [
        {"application": "m.board"},
        {"call_id": "breakout"},
        {"call_id": None},
        {"device_id": None},
        {"device_id": "8448:X"},
        {"device_id": "D" * 256},
        {"device_id": "D\0"},
        {"device_id": "D\ud800"},
        {"focus_active": None},
        {"focus_active": {"type": 3}},
    ],
)
def test_a_state_event_that_is_no_membership_takes_the_place_of_one(content: Any) -> None:
    gone = read(state(**content), now_ms=NOW)
    assert isinstance(gone, Withdrawn)
    assert gone.place == member(state()).place


@pytest.mark.parametrize(
    "content",
    [
        {"slot_id": "m.call#breakout"},
        {"application": {"type": "m.board"}},
        {"application": None},
        {"member": None},
        {"member": {"user_id": BOB, "device_id": "DEV", "id": "uuid"}},
        {"member": {"user_id": ALICE, "device_id": "DEV"}},
        {"member": {"user_id": ALICE, "id": "uuid"}},
    ],
)
def test_a_sticky_event_that_is_no_membership_takes_the_place_of_one(content: Any) -> None:
    gone = read(sticky(**content), now_ms=NOW)
    assert isinstance(gone, Withdrawn)
    assert gone.place == member(sticky()).place


@pytest.mark.parametrize(
    "event",
    [
        None,
        "text",
        {},
        {**state(), "type": "m.room.topic"},
        {**state(), "state_key": 7},
        {**state(), "sender": None},
        {**state(), "room_id": ""},
        {**state(), "event_id": ["$"]},
        {**sticky(), "state_key": ""},
        {**sticky(), "content": "none"},
        {**sticky(), "content": {}},
    ],
)
def test_what_has_no_place_is_nothing(event: object) -> None:
    assert read(event, now_ms=NOW) is None


def test_a_sticky_event_that_does_not_stick_is_none() -> None:
    for sticks in (None, {}, {"duration_ms": True}, {"duration_ms": -1}, {"duration_ms": "1"}):
        assert isinstance(read({**sticky(), "msc4354_sticky": sticks}, now_ms=NOW), Withdrawn)


def test_an_emptied_state_is_a_withdrawal() -> None:
    gone = read({**state(), "content": {}}, now_ms=NOW)
    assert gone == Withdrawn(
        room_id="!room",
        user_id=ALICE,
        kind="state",
        key="_@alice:a_DEV_m.call",
        event_id="$state of @alice:a",
    )


def test_times_are_bounded_by_our_clock() -> None:
    renewed = member(state(created_ts=NOW - 5 * HOUR, expires=6 * HOUR))
    assert (renewed.created_ms, renewed.expires_ms) == (NOW - 5 * HOUR, NOW + HOUR)
    ahead = member(state(created_ts=NOW + HOUR, expires=10**30))
    assert (ahead.created_ms, ahead.expires_ms) == (NOW, NOW + LONGEST_MS)
    for odd in (True, -1, "soon", None):
        one = member(state(created_ts=odd, expires=odd))
        assert (one.created_ms, one.expires_ms) == (NOW, NOW + EXPIRES_MS)
    long = member(
        {**sticky(), "origin_server_ts": NOW + HOUR, "msc4354_sticky": {"duration_ms": 10**30}}
    )
    assert long.expires_ms == NOW + LONGEST_STICKY_MS


def test_a_zero_time_of_creation_is_none() -> None:
    assert member(state(created_ts=0)).created_ms == NOW


@pytest.mark.parametrize(
    ("foci", "url"),
    [
        ([transport(A + "/")], A),
        ([transport(A), transport(B)], A),
        ([transport(A, "full_mesh"), transport(B)], ""),
        ([transport(7)], ""),
        ([transport("h" * 1025)], ""),
        (["text"], ""),
        ([], ""),
        ({"0": transport(A)}, ""),
        (None, ""),
    ],
)
def test_the_service_url_is_that_of_the_first_transport(foci: Any, url: str) -> None:
    assert member(state(foci_preferred=foci)).service_url == url


def test_odd_members_of_the_content_get_defaults() -> None:
    one = member(state(membershipID=3, focus_active={"type": "livekit"}, **{"m.call.intent": 5}))
    assert (one.member_id, one.selection, one.intent) == ("@alice:a:DEV", "multi_sfu", "")
    assert member(state(**{"m.call.intent": "audio"})).intent == "audio"
    assert member(state(call_id="ROOM")).device_id == "DEV"


def test_a_renewed_sticky_membership_is_as_old_as_its_first() -> None:
    first, later = (
        member(sticky()),
        member({**sticky(), "origin_server_ts": NOW + HOUR}, NOW + HOUR),
    )
    assert kept(None, later) is later
    assert kept(first, later).created_ms == NOW
    assert kept(first, later).expires_ms == NOW + 2 * HOUR
    other = member(sticky(member={"user_id": ALICE, "device_id": "DEV", "id": "anew"}))
    assert kept(first, other) is other
    assert kept(first, member(state())).kind == "state"


def test_the_picture_holds_who_is_in_the_call_now() -> None:
    earlier = state(BOB, url=B, created_ts=NOW - HOUR, expires=2 * HOUR)
    assert [m.user_id for m in picture(state(), earlier).members] == [BOB, ALICE]
    assert [m.user_id for m in picture(state(), earlier, now_ms=NOW + HOUR).members] == [ALICE]
    joined = picture(state(), earlier, joined=frozenset({BOB}))
    assert [m.user_id for m in joined.members] == [BOB]
    assert picture().members == ()


def test_a_sticky_membership_stands_above_a_state_one_of_its_device() -> None:
    both = state(), sticky(url=B), state(device="PHONE")
    for order in (both, both[::-1]):
        devices = {(m.device_id, m.kind) for m in picture(*order).members}
        assert devices == {("DEV", "sticky"), ("PHONE", "state")}
    closed = picture(*both, slot_closed=True)
    assert {m.kind for m in closed.members} == {"state"}


def test_of_two_state_memberships_of_a_device_the_later_counts() -> None:
    old = {**state(url=B), "state_key": "another", "origin_server_ts": NOW - 1}
    for order in ((state(), old), (old, state())):
        assert [m.service_url for m in picture(*order).members] == [A]


def test_where_each_one_publishes() -> None:
    oldest = {"type": "livekit", "focus_selection": "oldest_membership"}
    unknown = {"type": "livekit", "focus_selection": "random"}
    seen = picture(
        state(ALICE, url=A, created_ts=NOW - 3, focus_active=oldest),
        state(BOB, url=B, created_ts=NOW - 2),
        state(CAROL, url=B, created_ts=NOW - 1, focus_active=oldest),
        state("@dave:d", url=B, focus_active=unknown),
    )
    assert [seen.focus(m) for m in seen.members] == [A, B, A, ""]
    assert [seen.site(m) for m in seen.members] == ["a", "b", "a", "d"]
    assert [m.user_id for m in seen.at(A + "/")] == [ALICE, CAROL]
    assert [m.user_id for m in seen.at(B)] == [BOB]
    assert seen.at("") == ()
    assert [m.user_id for m in seen.without(ALICE).members] == [BOB, CAROL, "@dave:d"]
    assert [m.device_id for m in seen.of_user(BOB)] == ["DEV"]


def test_who_is_only_elsewhere() -> None:
    seen = picture(
        state(ALICE, url=A),
        state(ALICE, "PHONE", url=B),
        state(BOB, url=B, created_ts=NOW - 1),
        state(BOB, "TABLET", url=B),
        state(CAROL, url="https://visio.c"),
        state("@dave:d", foci_preferred=[]),
    )
    assert [(m.user_id, m.device_id) for m in elsewhere(seen, A)] == [(BOB, "DEV"), (CAROL, "DEV")]
    assert [m.user_id for m in elsewhere(seen, "https://visio.c")] == [BOB, ALICE]


def withdrawn(event: dict[str, Any]) -> Withdrawn:
    value = read({**event, "content": {"msc4354_sticky_key": "uuid"}}, now_ms=NOW)
    assert isinstance(value, Withdrawn)
    return value


def test_one_event_after_another() -> None:
    alice, bob = member(state()), member(sticky(BOB))
    both = heard(heard((), alice, now_ms=NOW), bob, now_ms=NOW)
    assert both == (alice, bob)
    assert heard(both, withdrawn(state()), now_ms=NOW) == (bob,)
    assert heard(both, withdrawn(sticky(BOB)), now_ms=NOW) == (alice,)
    assert heard(both, withdrawn(sticky(CAROL)), now_ms=NOW) == both
    later = NOW + 2 * HOUR
    assert heard(both, withdrawn(sticky(CAROL)), now_ms=later) == (alice,)
    assert heard((), bob, now_ms=later) == ()
    renewed = member({**sticky(BOB), "origin_server_ts": NOW + 1}, NOW + 1)
    assert heard(both, renewed, now_ms=NOW + 1)[1].created_ms == NOW


def test_whoever_writes_into_a_state_key_has_it() -> None:
    alice = member(state())
    other = {**state(BOB), "state_key": alice.key}
    assert heard((alice,), member(other), now_ms=NOW) == (member(other),)
    assert heard((alice,), withdrawn({**state(BOB), "state_key": alice.key}), now_ms=NOW) == ()


def test_what_one_person_and_one_room_can_make_grow_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many: tuple[Membership, ...] = (member(state(BOB)),)
    for number in range(PER_USER + 3):
        event = {**state(device=f"D{number}"), "origin_server_ts": NOW - 100 + number}
        many = heard(many, member(event), now_ms=NOW)
    assert len(many) == PER_USER + 1
    assert [one.device_id for one in many[:2]] == ["DEV", "D3"]
    monkeypatch.setattr(membership, "PER_ROOM", PER_USER + 1)
    assert heard(many, member(state(CAROL)), now_ms=NOW) == many


def test_the_whole_state_of_a_room_is_true_of_state_alone() -> None:
    known = member(state(created_ts=NOW - 1))
    before = known, member(state(BOB)), member(sticky(CAROL)), member(sticky("@gone:c"))
    again = read(state(created_ts=NOW - 1), now_ms=NOW + 1)
    dave, stranger = member(state("@dave:d")), member(state("@stranger:d"))
    assert again is not None
    whole = read_whole(
        before,
        [again, dave, stranger, withdrawn(state("@erin:e"))],
        joined=frozenset({ALICE, BOB, CAROL, "@dave:d", "@erin:e"}),
        now_ms=NOW,
    )
    assert whole == (member(sticky(CAROL)), known, dave)
