"""The course of a conference: events in, snapshot and effects out."""

from __future__ import annotations

from bridge.domain.conference import Span
from bridge.domain.course import start
from bridge.domain.happenings import (
    Interrupted,
    PostCard,
    PostDocuments,
    PostStatus,
    Say,
    ScribeFailed,
    ScribeStopped,
    ScribeWell,
    SegmentHeard,
    Tick,
    WishRead,
)
from bridge.domain.wish import Wish
from tests.support.course import ALICE, T0, Call

TRANSCRIBED = Say("consent.transcript", in_thread=True)
CAPTIONED = Say("consent.captions", in_thread=True)


def says(effects: tuple[object, ...]) -> list[object]:
    return [effect for effect in effects if isinstance(effect, Say)]


def test_start_shows_card_and_status() -> None:
    call = Call(captions=True, transcript=True, language="en", spoken_language="en-GB")
    assert call.effects == (PostCard(0), PostStatus(), TRANSCRIBED)
    assert call.c.listening
    assert call.c.open
    assert call.c.spans == (Span(0),)
    assert (call.c.language, call.c.spoken_language) == ("en", "en-GB")


def test_the_wish_ends_a_call_or_changes_it() -> None:
    call = Call()
    assert call.do(WishRead(wish=Wish(active=True))) == ()
    effects = call.do(WishRead(wish=Wish(transcript=True, language="en")))
    assert effects == (PostCard(1), PostStatus(), TRANSCRIBED)
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


def test_an_interruption_is_told_where_a_transcript_was_wanted() -> None:
    call = Call(transcript=True)
    lost = Interrupted(start_ms=62_000, end_ms=75_500)
    values = {"since": "1:02", "until": "1:15"}
    said = (Say("scribe.interrupted", values, in_thread=True),)
    assert call.do(lost) == said
    assert call.c.interruptions == (Span(62_000, 75_500),)
    assert call.do(lost) == ()  # told twice by a scribe whose bridge died
    off = Call(transcript=False)
    assert off.do(lost) == ()
    off.do(WishRead(wish=Wish(transcript=True)), 19_000)
    assert off.do(Interrupted(start_ms=5_000, end_ms=9_000)) == ()
    off.do(WishRead(wish=Wish(transcript=False)), 1_000)
    assert off.do(Interrupted(start_ms=90_000, end_ms=95_000)) == ()


def test_an_interruption_that_comes_late_makes_the_documents_again() -> None:
    call = Call(transcript=True)
    call.do(SegmentHeard(segment="s", rev=0))
    call.do(WishRead(wish=Wish(active=False)))
    assert PostDocuments(1) in call.do(ScribeStopped())
    call.do(Interrupted(start_ms=0, end_ms=3_000))
    assert PostDocuments(2) in call.do(Tick(), 60_000)


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
    assert effects == (PostCard(0), PostStatus(), TRANSCRIBED, Say("scribe.encrypted"))


def test_each_call_is_told_once_what_is_made_of_its_words() -> None:
    call = Call()
    assert CAPTIONED in call.do(WishRead(wish=Wish(captions=True)))
    assert TRANSCRIBED in call.do(WishRead(wish=Wish(captions=True, transcript=True)))
    call.do(WishRead(wish=Wish()))
    assert not says(call.do(WishRead(wish=Wish(transcript=True))))


def test_a_scribe_whose_engines_fail_is_told_of_once_and_again_when_they_are_back() -> None:
    call = Call(transcript=True)
    assert call.do(ScribeWell()) == ()
    assert call.do(ScribeFailed(reason="engine_simple")) == (Say("scribe.engine_simple"),)
    assert call.do(ScribeFailed(reason="engine_simple")) == ()
    assert call.do(ScribeFailed(reason="engine_down")) == (Say("scribe.engine_down"),)
    assert call.do(ScribeWell()) == (Say("scribe.engine_back"),)
    assert call.do(ScribeWell()) == ()


def test_scribe_stopped_in_a_running_call_is_the_reconcilers_business() -> None:
    call = Call(transcript=True)
    before = call.c
    assert call.do(ScribeStopped()) == ()
    assert call.c == before
