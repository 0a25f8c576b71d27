"""Events of an engine become captions and segments."""

from __future__ import annotations

import pytest

from bridge.scribe.engines import Final, Gap, Interim, Word
from bridge.scribe.merge import GAP_TEXT, Piece, Voice, agreed, milliseconds


def interim(text: str, start: int = 16_000) -> Interim:
    return Interim(start, tuple(text.split()))


def final(text: str, start: int = 16_000) -> Final:
    begun = [(word, start + at * 800) for at, word in enumerate(text.split())]
    return Final(start, tuple(Word(word, at, at + 400) for word, at in begun))


def shown(voice: Voice, texts: list[str], step_ms: int = 120) -> list[str]:
    pieces = [voice.take(interim(text), at * step_ms) for at, text in enumerate(texts)]
    return [piece.text for piece in pieces if piece]


def test_a_word_is_shown_when_three_interims_agree() -> None:
    texts = ["please", "please send", "please sent the", "please send the"]
    assert shown(Voice("p"), texts) == ["please"]


def test_no_more_than_four_captions_a_second() -> None:
    texts = [" ".join("abcdefghijklmnopqrst"[: count + 1]) for count in range(20)]
    assert len(shown(Voice("p"), texts, step_ms=50)) == 4


def test_shown_words_are_not_taken_away_by_an_interim() -> None:
    voice = Voice("p")
    texts = ["we agreed", "we agreed", "we agreed", "we are", "we are", "we are"]
    assert shown(voice, texts, step_ms=300) == ["we agreed"]


def test_interims_and_their_final_share_an_id_and_the_next_has_another() -> None:
    voice = Voice("p")
    piece = [voice.take(interim("yes"), at * 300) for at in range(3)][-1]
    assert piece is not None
    assert (piece.segment, piece.final) == ("p-0", False)
    done = voice.take(final("yes indeed"), 1000)
    assert done == Piece(
        segment="p-0",
        text="yes indeed",
        start_ms=1000,
        end_ms=1075,
        final=True,
        words=(("yes", 1000, 1025), ("indeed", 1050, 1075)),
    )
    after = voice.take(final("and so on", 32_000), 2000)
    assert after is not None
    assert after.segment == "p-1"


def test_words_of_one_utterance_do_not_steady_those_of_the_next() -> None:
    voice = Voice("p")
    assert shown(voice, ["one two", "one two"]) == []
    assert voice.take(final("one two"), 500) is not None
    assert voice.take(interim("one two"), 1000) is None


def test_nothing_understood_is_nothing_said() -> None:
    voice = Voice("p")
    assert voice.take(Final(0, ()), 0) is None
    after = voice.take(final("x"), 0)
    assert after is not None
    assert after.segment == "p-0"


def test_a_gap_is_visible() -> None:
    piece = Voice("p").take(Gap(16_000, 48_000), 0)
    assert piece == Piece(segment="p-0", text=GAP_TEXT, start_ms=1000, end_ms=3000, final=True)


@pytest.mark.parametrize(("position", "ms"), [(-5, 0), (0, 0), (16, 1), (160_000, 10_000)])
def test_milliseconds(position: int, ms: int) -> None:
    assert milliseconds(position) == ms


def test_agreed_stops_at_the_first_difference_or_the_shortest() -> None:
    assert agreed((("a", "b", "c"), ("a", "b"), ("a", "b", "d"))) == ("a", "b")
    assert agreed((("a", "x"), ("b", "x"))) == ()
    assert agreed(()) == ()


def test_words_that_stay_are_shown_when_they_come() -> None:
    voice = Voice("p")
    piece = voice.take(Interim(16_000, ("good",), language="en", sure=True), 0)
    assert piece is not None
    assert (piece.text, piece.language, piece.final) == ("good", "en", False)


def test_what_came_too_soon_is_shown_when_its_time_has_come() -> None:
    voice = Voice("p")
    assert voice.wait_ms(0) is None
    assert voice.due(0) is None
    assert voice.take(Interim(0, ("good",), sure=True), 1000) is not None
    assert voice.take(Interim(0, ("good", "morning"), sure=True), 1100) is None
    assert voice.wait_ms(1100) == 150
    assert voice.due(1200) is None
    piece = voice.due(1250)
    assert piece is not None
    assert piece.text == "good morning"
    assert voice.wait_ms(1250) is None
    assert voice.due(2000) is None


def test_what_was_withheld_is_forgotten_with_what_takes_it_back_or_ends_it() -> None:
    voice = Voice("p")
    assert voice.take(Interim(0, ("a",), sure=True), 0) is not None
    assert voice.take(Interim(0, ("a", "b"), sure=True), 10) is None
    assert voice.take(Interim(0, ("a",), sure=True), 20) is None
    assert voice.wait_ms(20) is None
    assert voice.take(Interim(0, ("a", "b"), sure=True), 30) is None
    assert voice.take(final("a b"), 40) is not None
    assert voice.wait_ms(40) is None
