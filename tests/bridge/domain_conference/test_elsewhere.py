"""People who are in the call at other sites by their own word."""

from __future__ import annotations

from bridge.domain.happenings import MediaRoomFinished, ParticipantLeft, StopAsked, Tick
from bridge.domain.showing import CARD_PAUSE_MS
from tests.support.course import ALICE, BOB, Call, away, joined


def test_people_at_other_sites_are_present_and_keep_the_call_alive() -> None:
    call = Call()
    call.do(away(BOB))
    assert [(s.user_id, s.site) for s in call.c.present] == [(BOB, "b")]
    assert (call.c.sites_of(BOB), call.c.sites_of(ALICE)) == (("b",), ())
    assert (call.c.empty_since_ms, call.c.card_due_ms) == (None, call.now_ms + CARD_PAUSE_MS)
    call.do(joined(ALICE, "P1"))
    call.do(ParticipantLeft(identity=f"{ALICE}:D", sid="P1"))
    call.do(Tick(), after_ms=10 * 60_000)
    assert call.c.phase == "running"
    call.do(away())
    assert (call.c.present, call.c.empty_since_ms) == ((), call.now_ms)
    assert call.c.sites_of(BOB) == ()
    call.do(away(), after_ms=59_000)
    assert call.c.phase == "running"
    call.do(Tick(), after_ms=1_000)
    assert call.c.phase != "running"
    assert [(s.user_id, s.site) for s in call.c.people] == [(ALICE, ""), (BOB, "b")]
    assert call.c.servers == ("a", "b")
    call.do(away(BOB))
    assert call.c.present == ()


def test_one_person_is_in_one_place_and_ours_is_certain() -> None:
    call = Call()
    call.do(away(BOB))
    call.do(joined(BOB, "P1"))
    assert [(s.user_id, s.site) for s in call.c.present] == [(BOB, "")]
    call.do(away())
    came = call.c.claimed[0].joined_ms
    call.do(away(BOB))
    (stay,) = call.c.claimed
    assert (stay.joined_ms, stay.left_ms) == (came, None)


def test_the_end_of_our_media_room_is_not_the_end_for_the_others() -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    call.do(away(BOB))
    call.do(MediaRoomFinished(media_sid="RM1"))
    assert call.c.phase == "running"
    assert [s.user_id for s in call.c.present] == [BOB]
    call.do(StopAsked())
    assert call.c.claimed[0].left_ms == call.now_ms
