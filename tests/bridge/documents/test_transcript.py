"""Segments become a conversation."""

from __future__ import annotations

import pytest

from bridge.domain.transcript import Utterance, current, label, speakers, turns, whole

ANNE, BOB = "@anne:interieur.example", "@bob:justice.example"


def said(speaker: str, start_ms: int, end_ms: int, text: str, **more: object) -> Utterance:
    segment = str(more.pop("segment", f"{speaker}{start_ms}"))
    values: dict[str, object] = {"display_name": speaker[1:4].title(), **more}
    return Utterance(
        segment=segment,
        speaker=speaker,
        text=text,
        start_ms=start_ms,
        end_ms=end_ms,
        **values,  # type: ignore[arg-type]
    )


def test_current_is_the_newest_revision_in_order_of_time() -> None:
    late = said(BOB, 5000, 6000, "second")
    wrong = said(ANNE, 0, 1000, "a mist ache", segment="a", rev=0)
    right = said(ANNE, 0, 1000, "a mistake", segment="a", rev=1)
    for order in ([late, wrong, right], [right, wrong, late]):
        assert [u.text for u in current(order)] == ["a mistake", "second"]


def test_a_deleted_segment_does_not_come_back_with_an_older_revision() -> None:
    gone = said(ANNE, 0, 1000, " ", segment="a", rev=2)
    before = said(ANNE, 0, 1000, "a secret", segment="a", rev=1)
    assert current([gone, before]) == []
    assert current([before, gone]) == []


def test_a_turn_lasts_until_somebody_else_speaks() -> None:
    spoken = [
        said(ANNE, 0, 1000, "one"),
        said(ANNE, 1500, 2500, " two "),
        said(BOB, 3000, 3500, "three"),
        said(ANNE, 4000, 5000, "four"),
    ]
    told = turns(spoken)
    assert [(t.speaker, t.text, t.start_ms, t.end_ms) for t in told] == [
        (ANNE, "one two", 0, 2500),
        (BOB, "three", 3000, 3500),
        (ANNE, "four", 4000, 5000),
    ]
    assert not any(t.overlaps for t in told)


@pytest.mark.parametrize(("pause", "count"), [(4000, 1), (4001, 2)])
def test_a_long_pause_ends_a_turn(pause: int, count: int) -> None:
    spoken = [said(ANNE, 0, 1000, "one"), said(ANNE, 1000 + pause, 9000, "two")]
    assert len(turns(spoken)) == count


def test_speaking_at_once_is_told_of_the_turn_that_was_cut_into() -> None:
    spoken = [said(ANNE, 0, 4000, "one"), said(BOB, 2000, 3000, "two"), said(ANNE, 9000, 9500, "x")]
    assert [t.overlaps for t in turns(spoken)] == [True, False, False]


def test_a_turn_after_a_pause_does_not_overlap_with_oneself() -> None:
    spoken = [said(ANNE, 0, 1000, "one"), said(ANNE, 20_000, 21_000, "two")]
    assert [t.overlaps for t in turns(spoken)] == [False, False]


def test_a_turn_without_a_display_name_bears_the_matrix_id() -> None:
    (turn,) = turns([said(ANNE, 0, 10, "x", display_name="")])
    assert turn.display_name == ANNE


def test_speakers_are_in_the_order_of_their_first_word() -> None:
    spoken = [said(BOB, 500, 900, "b"), said(ANNE, 0, 100, "a"), said(BOB, 1000, 1100, "b")]
    assert speakers(spoken) == [ANNE, BOB]


def test_nothing_said_is_nothing_told() -> None:
    assert turns([]) == []
    assert speakers([]) == []


@pytest.mark.parametrize(
    ("voice", "voice_name", "language", "shown"),
    [
        ("", "", "fr", "Salle 214"),
        ("", "Anne Martin", "fr", "Salle 214"),
        ("V1", "", "fr", "Salle 214 \N{EN DASH} voix 1"),
        ("V12", "", "en", "Salle 214 \N{EN DASH} voice 12"),
        ("V1", "Anne Martin", "en", "Anne Martin (Salle 214)"),
    ],
)
def test_what_a_speaker_is_called(voice: str, voice_name: str, language: str, shown: str) -> None:
    assert label("Salle 214", voice, voice_name, language) == shown


def test_two_voices_at_one_microphone_take_turns_and_overlap() -> None:
    spoken = [
        said(ANNE, 0, 1500, "one", voice="V1"),
        said(ANNE, 1000, 2000, "two", voice="V2"),
        said(ANNE, 2100, 3000, "three", voice="V2"),
    ]
    told = turns(spoken)
    assert [(turn.voice, turn.text, turn.overlaps) for turn in told] == [
        ("V1", "one", True),
        ("V2", "two three", False),
    ]


@pytest.mark.parametrize(
    ("segment", "utterance"),
    [("ab-0", "ab-0"), ("ab-0.1", "ab-0"), ("ab-0.12", "ab-0"), ("a.b", "a.b"), (".1", ".1")],
)
def test_the_utterance_that_a_part_is_of(segment: str, utterance: str) -> None:
    assert whole(segment) == utterance
