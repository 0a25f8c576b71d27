"""A conference ends, and its documents are made once everybody's words are there."""

from __future__ import annotations

import pytest

from bridge.domain.ending import LATE_PAUSE_MS, SCRIBE_GRACE_MS
from bridge.domain.happenings import (
    MediaClosed,
    MediaRoomFinished,
    PostCard,
    PostDocuments,
    PostStatus,
    PostUtterance,
    ScribeStopped,
    SegmentHeard,
    StopAsked,
    Tick,
)
from bridge.domain.showing import CARD_PAUSE_MS
from tests.support.course import ALICE, BOB, RULES, T0, Call, joined, left


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
