"""One voice at two microphones is told once; two people who say the same are both told."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from bridge.scribe.activity import KEPT_MS, SILENT_DB, Activity
from bridge.scribe.bleed import HOLD_MS, Bleed, alike, matched, stretches
from bridge.scribe.merge import Piece

WORD_MS = 300
LOUD, FAINT = -20.0, -34.0
SAID = "we agreed on the budget last week"


def piece(text: str, at_ms: int = 1000, *, final: bool = True, name: str = "s") -> Piece:
    spread = [
        (w, at_ms + n * WORD_MS, at_ms + (n + 1) * WORD_MS - 20) for n, w in enumerate(text.split())
    ]
    end = at_ms + len(spread) * WORD_MS
    return Piece(
        segment=name, text=text, start_ms=at_ms, end_ms=end, final=final, words=tuple(spread)
    )


@dataclass
class Call:
    """Tracks of a call, each heard for half a minute."""

    bleed: Bleed[str]

    def hears(self, track: str, *spoken: tuple[int, int, float]) -> Activity:
        """`spoken`: from, until (ms) and level of what arrives on a track; all answered later."""
        activity = self.bleed.joined(track)
        for at in range(0, 30_000, 30):
            level = next((db for start, end, db in spoken if start <= at < end), -70.0)
            activity.level(at * 16, level)
        for start, end, _ in spoken:
            activity.speech(start * 16)
            activity.ended(end * 16)
        return activity


@pytest.fixture
def call() -> Call:
    return Call(Bleed())


def texts(told: list[tuple[str, Piece]]) -> list[tuple[str, str]]:
    return [(track, one.text) for track, one in told]


def test_a_copy_waits_for_the_louder_track_and_is_gone(call: Call) -> None:
    loud = call.hears("loud", (900, 3200, LOUD))
    call.hears("faint", (915, 3215, FAINT))
    assert call.bleed.final("faint", piece(SAID, 1015), 0) == []
    loud.answered()
    assert texts(call.bleed.final("loud", piece(SAID), 300)) == [("loud", SAID)]
    assert call.bleed.due(HOLD_MS + 1) == []


def test_a_copy_that_comes_later_is_gone_at_once(call: Call) -> None:
    call.hears("loud", (900, 3200, LOUD)).answered()
    call.hears("faint", (915, 3215, FAINT))
    assert texts(call.bleed.final("loud", piece(SAID), 0)) == [("loud", SAID)]
    assert call.bleed.final("faint", piece(SAID, 1015), 10) == []
    assert call.bleed.due(HOLD_MS + 20) == []


def test_the_louder_track_never_waits(call: Call) -> None:
    call.hears("faint", (900, 3200, FAINT))
    call.hears("loud", (900, 3200, LOUD))
    assert texts(call.bleed.final("loud", piece(SAID), 0)) == [("loud", SAID)]


def test_who_speaks_alone_never_waits(call: Call) -> None:
    call.hears("silent")
    call.hears("before", (100, 400, LOUD))  # owes an answer, of another moment
    call.hears("alone", (900, 3200, FAINT))
    assert texts(call.bleed.final("alone", piece(SAID), 0)) == [("alone", SAID)]


@pytest.mark.parametrize(
    ("text", "at_ms", "level"),
    [
        ("yes", 1000, LOUD),  # at once, and as loud
        ("yes", 1000, LOUD - 5),  # not as loud, and no echo either
        ("yes", 1600, FAINT),  # one after the other
        (SAID, 1000, LOUD - 5),
        (SAID, 1700, FAINT),
    ],
)
def test_two_who_say_the_same_are_both_told(
    call: Call, text: str, at_ms: int, level: float
) -> None:
    length = len(text.split()) * WORD_MS
    call.hears("one", (900, 1000 + length, LOUD)).answered()
    call.hears("two", (at_ms - 50, at_ms + length, level)).answered()
    call.bleed.final("one", piece(text), 0)
    assert texts(call.bleed.final("two", piece(text, at_ms), 0)) == [("two", text)]


def test_a_copy_that_was_understood_worse_is_gone(call: Call) -> None:
    call.hears("loud", (900, 3200, LOUD)).answered()
    call.hears("faint", (900, 3200, FAINT)).answered()
    call.bleed.final("loud", piece(SAID), 0)
    assert call.bleed.final("faint", piece("we a greed on the budgets last", 1000), 0) == []


def test_other_words_at_the_same_time_stay(call: Call) -> None:
    call.hears("loud", (900, 3200, LOUD)).answered()
    call.hears("faint", (900, 3200, FAINT)).answered()
    call.bleed.final("loud", piece(SAID), 0)
    other = "no I think the school is closed"
    assert texts(call.bleed.final("faint", piece(other), 0)) == [("faint", other)]


def test_an_answer_after_a_copy_stays_with_its_own_times(call: Call) -> None:
    call.hears("loud", (900, 3100, LOUD)).answered()
    call.hears("faint", (900, 3100, FAINT), (3101, 4200, LOUD)).answered()
    call.bleed.final("loud", piece(SAID), 0)
    ((track, own),) = call.bleed.final("faint", piece(f"{SAID} thank you all"), 0)
    assert (track, own.text) == ("faint", "thank you all")
    assert (own.start_ms, own.words[0][0]) == (1000 + 7 * WORD_MS, "thank")


def test_a_copy_before_and_after_ones_own_words_is_cut_out(call: Call) -> None:
    call.hears("loud", (900, 1900, LOUD), (2500, 3800, LOUD)).closed()
    call.hears("faint", (900, 1900, FAINT), (1901, 2499, LOUD), (2500, 3800, FAINT)).closed()
    call.bleed.final("loud", piece("can you hear", 1000), 0)
    call.bleed.final("loud", piece("me now or not", 2500), 0)
    ((_, own),) = call.bleed.final("faint", piece("can you hear yes sir me now or not"), 0)
    assert own.text == "yes sir"


def test_a_copy_waits_no_longer_than_it_must(call: Call) -> None:
    call.hears("loud", (900, 29_000, LOUD))  # goes on and on, or its engine is stuck
    call.hears("faint", (900, 3200, FAINT))
    assert call.bleed.final("faint", piece(SAID), 0) == []
    assert call.bleed.due(HOLD_MS - 1) == []
    assert texts(call.bleed.due(HOLD_MS)) == [("faint", SAID)]


def test_what_one_says_stays_in_order(call: Call) -> None:
    call.hears("loud", (900, 3200, LOUD))
    call.hears("faint", (900, 3200, FAINT), (5000, 6000, LOUD))
    assert call.bleed.final("faint", piece(SAID), 0) == []
    assert call.bleed.final("faint", piece("thank you", 5000), 100) == []
    assert texts(call.bleed.due(HOLD_MS + 100)) == [("faint", SAID), ("faint", "thank you")]


def test_a_louder_track_that_ends_lets_the_others_go(call: Call) -> None:
    call.hears("loud", (900, 3200, LOUD))
    call.hears("faint", (900, 3200, FAINT))
    assert call.bleed.final("faint", piece(SAID), 0) == []
    call.bleed.left("loud", 50)
    assert texts(call.bleed.due(100)) == [("faint", SAID)]
    call.bleed.left("faint", 50 + KEPT_MS + 1)
    assert call.bleed.joined("loud").newest_ms == 0


def test_at_the_end_all_that_waits_is_told_but_copies(call: Call) -> None:
    call.hears("loud", (900, 3200, LOUD))
    call.hears("faint", (900, 3200, FAINT))
    assert call.bleed.final("faint", piece("something else"), 0) == []
    call.bleed.final("loud", piece(SAID), 0)
    assert call.bleed.final("faint", piece(SAID), 0) == []
    assert texts(call.bleed.rest()) == [("faint", "something else")]
    assert call.bleed.rest() == []


def test_interims_of_the_fainter_one_are_not_shown(call: Call) -> None:
    call.hears("loud", (900, 3200, LOUD))
    call.hears("faint", (900, 3200, FAINT), (20_000, 30_000, FAINT))
    assert call.bleed.shows("loud", piece(SAID, final=False))
    assert not call.bleed.shows("faint", piece(SAID, final=False))
    assert call.bleed.shows("faint", piece("alone now", 20_000, final=False))


def test_matched_words_are_near_and_in_order() -> None:
    theirs = [("one", 0, 1), ("two", 300, 1), ("one", 600, 1)]
    assert matched([("one", 100, 1), ("two", 400, 1), ("one", 700, 1)], theirs) == [0, 1, 2]
    assert matched([("two", 0, 1), ("one", 300, 1)], theirs) == [0, 1]
    assert matched([("one", 1200, 1)], theirs) == []


def test_stretches_are_where_the_louder_one_spoke() -> None:
    louder = [False, True, True, True, False, True]
    assert stretches([2, 3, 5], louder) == [(1, 3), (5, 5)]
    assert stretches([], louder) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Budget,", "budget", True),
        ("budgets", "budget", True),
        ("the", "then", False),
        ("week", "weak", True),
        ("monday", "morning", False),
    ],
)
def test_alike(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is same


def test_activity_of_a_track() -> None:
    activity = Activity()
    assert activity.loudness(0, 1000) == SILENT_DB
    activity.answered()
    activity.ended(5)
    activity.speech(16_000)
    activity.speech(16_480)
    assert activity.owes(900, 1100)
    assert activity.spoke(5000, 6000)
    activity.ended(32_000)
    assert not activity.spoke(2000, 3000)
    activity.answered()
    assert not activity.owes(900, 1100)
    for at in range(0, 200_000, 100):
        activity.level(at * 16, -20.0)
    assert math.isclose(activity.loudness(199_000, 199_000), -20.0, abs_tol=0.01)
    assert activity.loudness(0, 1000) == SILENT_DB


def test_a_copy_that_was_shown_is_taken_back(call: Call) -> None:
    first = call.hears("a")
    call.hears("b", (1000, 3400, FAINT))
    interim = piece("we agreed on", final=False, name="b-0")
    assert call.bleed.shows("b", interim)  # the louder microphone's words are still on their way
    assert call.bleed.shows("b", interim)
    for at in range(1000, 3400, 30):
        first.level((30_000 + at) * 16, LOUD)
    second = call.bleed.joined("b")
    for at in range(1000, 3400, 30):
        second.level((30_000 + at) * 16, FAINT)
    first.speech(31_000 * 16)
    first.ended(33_400 * 16)
    first.answered()
    said = piece(SAID, 31_000, name="a-0")
    assert call.bleed.final("a", said, 0) == [("a", said)]
    copy = piece(SAID, 31_060, name="b-0")
    ((track, told),) = call.bleed.final("b", copy, 100)
    assert (track, told.segment, told.text, told.words) == ("b", "b-0", "", ())
    assert call.bleed.final("b", piece(SAID, 31_060, name="b-1"), 200) == []


def test_a_track_nobody_knows_has_nothing_to_forget(call: Call) -> None:
    call.bleed.left("nobody", 0)
    assert call.bleed.rest() == []
