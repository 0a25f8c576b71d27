"""The conference machine, step by step: events in, snapshot and effects out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.domain.conference import (
    CARD_PAUSE_MS,
    KNOCKS_TOLD,
    LATE_PAUSE_MS,
    SCRIBE_GRACE_MS,
    STAYS_KEPT,
    Rules,
    Span,
    from_json,
    scribe_identity,
    start,
    step,
    to_json,
)
from bridge.domain.happenings import (
    Admit,
    Effect,
    ElsewhereSeen,
    Event,
    Knocked,
    MediaClosed,
    MediaRoomFinished,
    ParticipantJoined,
    ParticipantLeft,
    PersonAdmittedAgain,
    PersonRemoved,
    PostCard,
    PostDocuments,
    PostStatus,
    PostUtterance,
    Say,
    ScribeFailed,
    ScribeStopped,
    SegmentHeard,
    StopAsked,
    Tick,
    WishRead,
)
from bridge.domain.stays import Stay
from bridge.domain.wish import Wish

T0 = 1_000_000
RULES = Rules(empty_timeout_ms=60_000)
ALICE, BOB = "@alice:a", "@bob:b"


class Call:
    """A conference and its clock."""

    def __init__(self, **wish: Any) -> None:
        self.now_ms = T0
        self.c, self.effects = start(
            conference="c1",
            room_id="!r",
            by=ALICE,
            display_name="Alice",
            wish=Wish(**wish),
            now_ms=T0,
        )

    def do(self, event: Event, after_ms: int = 1000) -> tuple[Effect, ...]:
        self.now_ms += after_ms
        self.c, effects = step(self.c, event, now_ms=self.now_ms, rules=RULES)
        # A snapshot survives the store whole, at every step.
        assert from_json(json.loads(json.dumps(to_json(self.c)))) == self.c
        return effects


def joined(user: str, sid: str, identity: str = "", media: str = "RM1") -> ParticipantJoined:
    return ParticipantJoined(
        identity=identity or f"{user}:D",
        sid=sid,
        user_id=user,
        device_id="D",
        display_name=user[1:].partition(":")[0].title(),
        media_sid=media,
    )


def left(user: str, sid: str) -> ParticipantLeft:
    return ParticipantLeft(identity=f"{user}:D", sid=sid)


def test_start_shows_card_and_status() -> None:
    call = Call(captions=True, transcript=True, language="en", spoken_language="en-GB")
    assert call.effects == (PostCard(0), PostStatus())
    assert call.c.listening
    assert call.c.open
    assert call.c.spans == (Span(0),)
    assert (call.c.language, call.c.spoken_language) == ("en", "en-GB")


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


def test_stop_without_transcript_is_final_at_once() -> None:
    call = Call(captions=True)
    call.do(joined(ALICE, "P1"))
    assert call.do(StopAsked(), 5000) == (PostCard(1), PostStatus())
    assert call.c.phase == "ended"
    assert call.c.ended_ms == T0 + 6000
    assert call.c.present == ()
    assert not call.c.listening
    assert call.c.open  # the media is to be closed
    assert call.do(MediaClosed()) == ()
    assert not call.c.open
    assert call.do(StopAsked()) == ()
    assert call.do(joined(BOB, "P9")) == ()
    assert call.c.phase == "ended"


def test_media_closed_is_of_no_account_while_it_runs() -> None:
    call = Call()
    call.do(MediaClosed())
    assert not call.c.media_closed


def test_documents_come_when_the_scribe_has_stopped() -> None:
    call = Call(transcript=True)
    call.do(joined(ALICE, "P1"))
    assert call.do(SegmentHeard(segment="s1", rev=0)) == (PostUtterance("s1", 0),)
    assert call.do(StopAsked()) == (PostCard(1), PostStatus())
    assert call.c.phase == "ending"
    assert call.do(SegmentHeard(segment="s2", rev=0)) == (PostUtterance("s2", 0),)
    assert call.do(ScribeStopped()) == (PostCard(2), PostDocuments(1))
    assert (call.c.phase, call.c.utterances) == ("ended", 2)
    assert call.do(ScribeStopped()) == ()


def test_documents_wait_no_longer_than_ten_seconds() -> None:
    call = Call(transcript=True)
    call.do(SegmentHeard(segment="s1", rev=0))
    call.do(StopAsked())
    assert call.c.due_ms(RULES) == call.now_ms + SCRIBE_GRACE_MS
    assert call.do(Tick(), SCRIBE_GRACE_MS - 1) == ()
    assert call.do(Tick(), 1) == (PostCard(2), PostDocuments(1))


def test_no_documents_where_nobody_spoke() -> None:
    call = Call(transcript=True)
    call.do(StopAsked())
    assert call.do(ScribeStopped()) == ()
    assert call.c.phase == "ended"


def test_late_segments_are_posted_and_gathered_into_new_documents() -> None:
    call = Call(transcript=True)
    call.do(SegmentHeard(segment="s1", rev=0))
    call.do(StopAsked())
    call.do(ScribeStopped())
    assert call.do(SegmentHeard(segment="s2", rev=0)) == (PostUtterance("s2", 0),)
    first = call.now_ms
    assert call.do(SegmentHeard(segment="s1", rev=1, correction=True)) == (PostUtterance("s1", 1),)
    assert call.c.open
    assert call.c.due_ms(RULES) == first + LATE_PAUSE_MS
    assert call.do(Tick(), LATE_PAUSE_MS) == (PostCard(3), PostDocuments(2))
    assert call.c.utterances == 2


def test_a_correction_after_the_end_alone_makes_new_documents() -> None:
    call = Call(transcript=True)
    call.do(SegmentHeard(segment="s1", rev=0))
    call.do(StopAsked())
    call.do(ScribeStopped())
    call.do(SegmentHeard(segment="s1", rev=1, correction=True))
    assert call.do(Tick(), LATE_PAUSE_MS)[-1] == PostDocuments(2)
    assert call.c.utterances == 1


def test_an_empty_call_ends_and_lasted_until_the_last_one_left() -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    call.do(left(ALICE, "P1"))
    gone = call.now_ms
    call.do(Tick(), CARD_PAUSE_MS)
    assert call.c.due_ms(RULES) == gone + 60_000
    assert PostStatus() in call.do(Tick(), 60_000)
    assert call.c.ended_ms == gone


def test_a_call_nobody_joined_ends_too() -> None:
    call = Call()
    assert call.do(Tick(), 59_999) == ()
    assert call.do(Tick(), 1) == (PostCard(1), PostStatus())
    assert call.c.ended_ms == T0 + 60_000
    assert call.c.due_ms(RULES) is None


@pytest.mark.parametrize(("sid", "ends"), [("RM1", True), ("RM0", False), ("", False)])
def test_only_the_media_room_people_are_in_ends_the_call(sid: str, ends: bool) -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    call.do(MediaRoomFinished(media_sid=sid))
    assert (call.c.phase == "ended") is ends
    assert call.c.media_closed is ends


def test_media_room_finished_after_the_end_closes_it() -> None:
    call = Call()
    call.do(joined(ALICE, "P1"))
    call.do(StopAsked())
    assert call.do(MediaRoomFinished(media_sid="RM1")) == ()
    assert not call.c.open


def test_the_wish_ends_a_call_or_changes_it() -> None:
    call = Call()
    assert call.do(WishRead(wish=Wish(active=True))) == ()
    effects = call.do(WishRead(wish=Wish(transcript=True, language="en")))
    assert effects == (PostCard(1), PostStatus())
    assert (call.c.listening, call.c.language) == (True, "en")
    assert call.do(WishRead(wish=Wish(transcript=True, language="en"))) == ()
    assert call.do(WishRead(wish=Wish(active=False)))[:2] == (PostCard(2), PostStatus())
    assert call.c.phase == "ending"
    assert call.do(WishRead(wish=Wish(active=False))) == ()


def test_the_record_holds_what_was_said_while_it_was_wished_for() -> None:
    call = Call(transcript=False)
    assert not call.c.takes(0, 500)
    call.do(WishRead(wish=Wish(transcript=True)), 10_000)
    call.do(WishRead(wish=Wish(transcript=False)), 10_000)
    call.do(WishRead(wish=Wish(transcript=True)), 10_000)
    assert call.c.spans == (Span(10_000, 20_000), Span(30_000))
    taken = [call.c.takes(at, at + 1000) for at in (9_500, 10_000, 19_000, 19_500, 30_000, 99_000)]
    assert taken == [False, True, True, False, True, True]


def test_a_scribe_that_fails_is_told_of_once() -> None:
    call = Call(transcript=True)
    assert call.do(ScribeFailed()) == (Say("scribe.failed"),)
    assert call.do(ScribeFailed()) == ()
    assert Call().do(ScribeFailed()) == ()


def test_what_a_scribe_lacks_in_an_encrypted_call_is_told_once_each() -> None:
    call = Call(transcript=True)
    assert call.do(ScribeFailed(reason="no_key")) == (Say("scribe.no_key"),)
    assert call.do(ScribeFailed(reason="no_member")) == (Say("scribe.no_member"),)
    assert call.do(ScribeFailed(reason="no_key")) == ()


def test_an_encrypted_call_is_told_who_listens_before_they_do() -> None:
    call = Call()
    assert call.do(WishRead(wish=Wish(), encrypted=True)) != ()
    effects = call.do(WishRead(wish=Wish(captions=True), encrypted=True))
    assert effects[-1] == Say("scribe.encrypted")
    assert Say("scribe.encrypted") not in call.do(WishRead(wish=Wish(), encrypted=True))
    assert Say("scribe.encrypted") not in call.do(WishRead(wish=Wish(captions=True)))
    assert call.c.encrypted  # for ever: a room's encryption is never taken back


def test_an_encrypted_call_that_is_written_down_from_the_start_says_so_at_once() -> None:
    wish = Wish(transcript=True)
    _, effects = start(
        conference="c1",
        room_id="!r",
        by=ALICE,
        display_name="Alice",
        wish=wish,
        now_ms=T0,
        encrypted=True,
    )
    assert effects == (PostCard(0), PostStatus(), Say("scribe.encrypted"))


def test_scribe_stopped_in_a_running_call_is_the_reconcilers_business() -> None:
    call = Call(transcript=True)
    before = call.c
    assert call.do(ScribeStopped()) == ()
    assert call.c == before


def test_fields_of_a_later_version_are_left_out() -> None:
    call = Call()
    assert from_json({**to_json(call.c), "hologram": True, "earlier": []}) == call.c


def test_scribe_identity() -> None:
    assert scribe_identity("c1") == "scribe-c1"


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


def away(*users: str) -> ElsewhereSeen:
    """These people, each at their own site."""
    return ElsewhereSeen(
        there=tuple(
            Stay(identity="", sid="", user_id=user, site=user.partition(":")[2]) for user in users
        )
    )


def test_people_at_other_sites_are_present_and_keep_the_call_alive() -> None:
    call = Call()
    call.do(away(BOB))
    assert [(s.user_id, s.site) for s in call.c.present] == [(BOB, "b")]
    assert (call.c.empty_since_ms, call.c.card_due_ms) == (None, call.now_ms + CARD_PAUSE_MS)
    call.do(joined(ALICE, "P1"))
    call.do(ParticipantLeft(identity=f"{ALICE}:D", sid="P1"))
    call.do(Tick(), after_ms=10 * 60_000)
    assert call.c.phase == "running"
    call.do(away())
    assert (call.c.present, call.c.empty_since_ms) == ((), call.now_ms)
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


# ---- the lobby


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


def test_the_lobby_is_in_the_snapshot() -> None:
    call = Call()
    call.do(knock())
    call.do(Admit(user_id=ALICE))
    read = from_json(json.loads(json.dumps(to_json(call.c))))
    assert (read.knocked, read.admitted) == ((BOB,), (ALICE,))


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
