"""People come, knock, are put out, and go."""

from __future__ import annotations

import json

from bridge.domain.attendance import KNOCKS_TOLD, STAYS_KEPT
from bridge.domain.conference import Rules, from_json, to_json
from bridge.domain.course import start, step
from bridge.domain.happenings import (
    Admit,
    Knocked,
    PersonAdmittedAgain,
    PersonRemoved,
    PostCard,
    Say,
    StopAsked,
    Tick,
    WishRead,
)
from bridge.domain.showing import CARD_PAUSE_MS
from bridge.domain.wish import Wish
from tests.support.course import ALICE, BOB, RULES, T0, Call, joined, left


def test_comings_and_goings_are_gathered_into_one_edit() -> None:
    call = Call()
    assert call.do(joined(ALICE, "P1")) == ()
    assert call.do(joined(BOB, "P2")) == ()
    assert call.c.due_ms(RULES) == T0 + 1000 + CARD_PAUSE_MS
    assert call.do(Tick(), 2000) == (PostCard(1),)
    assert [stay.user_id for stay in call.c.present] == [ALICE, BOB]
    assert call.c.servers == ("a", "b")
    assert call.do(Tick()) == ()
    assert call.c.due_ms(RULES) is None


def test_a_repeated_joining_changes_nothing() -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    before = call.c
    assert call.do(joined(ALICE, "P1"), 0) == ()
    assert call.c == before


def test_connecting_again_ends_the_older_connection_whatever_order_it_is_told_in() -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    call.do(joined(ALICE, "P2", media="RM2"))
    call.do(left(ALICE, "P1"))
    assert [stay.sid for stay in call.c.stays if stay.left_ms is None] == ["P2"]
    assert call.c.empty_since_ms is None
    assert call.c.media_sid == "RM2"
    assert len(call.c.people) == 1


def test_a_bad_network_does_not_make_the_snapshot_grow() -> None:
    call = Call()
    call.do(joined(BOB, "B"))
    for number in range(3 * STAYS_KEPT):
        call.do(joined(ALICE, f"P{number}"))
    assert len(call.c.stays) == STAYS_KEPT + 1
    assert [stay.sid for stay in call.c.present] == ["B", f"P{3 * STAYS_KEPT - 1}"]


def test_of_too_many_stays_the_shortest_gap_is_closed() -> None:
    call = Call()
    for number in range(STAYS_KEPT + 1):
        # Ten seconds there, twenty away; after the fourth only one.
        call.do(joined(ALICE, f"P{number}"), 1000 if number == 4 else 20_000)
        call.do(left(ALICE, f"P{number}"), 10_000)
    stays = call.c.stays
    assert len(stays) == STAYS_KEPT
    whole = next(stay for stay in stays if stay.sid == "P4")
    assert (whole.left_ms or 0) - whole.joined_ms == 21_000
    assert (
        sum((stay.left_ms or 0) - stay.joined_ms for stay in stays)
        == 10_000 * (STAYS_KEPT - 1) + 21_000
    )


def test_who_left_leaves_once() -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    call.do(joined(BOB, "P2"))
    call.do(left(ALICE, "P1"))
    assert call.c.empty_since_ms is None
    call.do(left(BOB, "P2"))
    assert call.c.empty_since_ms == call.now_ms
    before = call.c
    call.do(left(BOB, "P2"), 0)
    call.do(left(BOB, "unknown"), 0)
    assert call.c == before


def test_media_sid_is_kept_where_it_is_not_told() -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    call.do(joined(BOB, "P2", media=""))
    assert call.c.media_sid == "RM1"


def test_who_is_put_out_stays_out_until_let_in_again() -> None:
    call, _ = start(
        conference="c", room_id="!r", by="@a:a", display_name="A", wish=Wish(), now_ms=0
    )
    for event, removed in (
        (PersonRemoved(user_id="@b:a"), ("@b:a",)),
        (PersonRemoved(user_id="@c:a"), ("@b:a", "@c:a")),
        (PersonRemoved(user_id="@b:a"), ("@c:a", "@b:a")),
        (PersonAdmittedAgain(user_id="@b:a"), ("@c:a",)),
    ):
        call, effects = step(call, event, now_ms=1, rules=Rules())
        assert (call.removed, effects) == (removed, ())
    assert from_json(json.loads(json.dumps(to_json(call)))) == call


def knock(user: str = BOB) -> Knocked:
    return Knocked(user_id=user, display_name=f"Name of {user}")


def test_a_knock_is_said_once() -> None:
    call = Call()
    said = Say("lobby.knocked", {"name": f"Name of {BOB}", "user_id": BOB})
    assert call.do(knock()) == (said,)
    assert call.c.knocked == (BOB,)
    assert call.do(knock()) == ()


def test_who_was_admitted_does_not_knock() -> None:
    call = Call()
    assert call.do(Admit(user_id=BOB)) == ()
    call.do(Admit(user_id=BOB))
    assert call.c.admitted == (BOB,)
    assert call.do(knock()) == ()


def test_a_crowd_at_the_door_does_not_fill_the_room() -> None:
    call = Call()
    said = [call.do(knock(f"@u{n}:a"), 0) for n in range(KNOCKS_TOLD + 5)]
    assert sum(map(len, said)) == KNOCKS_TOLD


def test_nobody_knocks_at_a_call_that_is_over() -> None:
    call = Call()
    call.do(StopAsked())
    assert call.do(knock()) == ()


def test_who_waits_in_the_lobby_is_on_the_card_until_let_in() -> None:
    call, _ = start(
        conference="c", room_id="!r", by="@a:a", display_name="A", wish=Wish(lobby=True), now_ms=0
    )
    call, _ = step(call, Knocked(user_id="@b:a", display_name="B"), now_ms=1, rules=Rules())
    assert (call.waiting, call.lobby) == (("@b:a",), True)
    assert call.card_due_ms == 1 + CARD_PAUSE_MS
    call, _ = step(call, Admit(user_id="@b:a"), now_ms=2, rules=Rules())
    assert call.waiting == ()
    call, effects = step(call, WishRead(wish=Wish(locked=True)), now_ms=3, rules=Rules())
    assert (call.locked, call.lobby) == (True, False)
    assert PostCard(1) in effects


def test_the_lobby_is_in_the_snapshot() -> None:
    call = Call()
    call.do(knock())
    call.do(Admit(user_id=ALICE))
    read = from_json(json.loads(json.dumps(to_json(call.c))))
    assert (read.knocked, read.admitted) == ((BOB,), (ALICE,))
