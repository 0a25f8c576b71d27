"""Corrections keep what was not corrected: the other words, their times, their utterance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.revision import Substitution, retimed, spread, substitution

WORDS = (("a", 0, 100), ("mist", 100, 300), ("ache", 300, 500), ("here", 500, 700))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("s/old/new/", Substitution("old", "new")),
        (" s/two words/new ", Substitution("two words", "new")),
        ("s/old//", Substitution("old", "")),
        ("s/old/new/g", Substitution("old", "new", True)),
        (r"s/1\/2/half/", Substitution("1/2", "half")),
        (r"s/a\\b/c/", Substitution(r"a\b", "c")),
        ("s//new/", None),
        ("s/old", None),
        ("s/old/new/x", None),
        ("so be it", None),
        ("s/a/b/c/d/", None),
    ],
)
def test_what_a_substitution_is(typed: str, meant: Substitution | None) -> None:
    assert substitution(typed) == meant


def test_a_substitution_is_plain_text() -> None:
    dots = Substitution("a.c", "x")
    assert (dots.count("abc a.c"), dots.apply("abc a.c")) == (1, "abc x")


@pytest.mark.parametrize(
    ("texts", "corrected", "spread_out"),
    [
        (["one two", "three four"], "one too three four", ["one too", "three four"]),
        (["one two", "three four"], "one two and three four", ["one two and", "three four"]),
        (["one two", "three four"], "zero one two three", ["zero one two", "three"]),
        (["one two", "three four"], "three four", ["", "three four"]),
        (["one two", "three four"], "something else entirely", ["something else", "entirely"]),
        (["one"], "quite another", ["quite another"]),
        (["one", "two"], "one two three", ["one", "two three"]),
        ([""], "new", ["new"]),
    ],
)
def test_each_utterance_keeps_its_own(
    texts: list[str], corrected: str, spread_out: list[str]
) -> None:
    assert spread(texts, corrected) == spread_out


@given(st.lists(st.text("ab ", max_size=9), min_size=1, max_size=4), st.text("ab ", max_size=20))
def test_no_word_is_lost_or_doubled(texts: list[str], corrected: str) -> None:
    shares = spread(texts, corrected)
    assert len(shares) == len(texts)
    assert sorted(" ".join(shares).split()) == sorted(corrected.split())


@pytest.mark.parametrize(
    ("corrected", "timed"),
    [
        ("a mist ache here", WORDS),
        ("a fog ache here", (WORDS[0], ("fog", 100, 300), *WORDS[2:])),
        ("a mistake here", (WORDS[0], ("mistake", 100, 500), WORDS[3])),
        ("a big mist ache here", (WORDS[0], ("big", 100, 100), *WORDS[1:])),
        ("the a mist ache here", (("the", 0, 0), *WORDS)),
        ("mist ache here", WORDS[1:]),
        (
            "a b c d here",
            (WORDS[0], ("b", 100, 233), ("c", 233, 367), ("d", 367, 500), WORDS[3]),
        ),
        ("", ()),
    ],
)
def test_words_keep_their_times(corrected: str, timed: tuple[tuple[str, int, int], ...]) -> None:
    assert retimed(WORDS, corrected) == timed


def test_without_times_there_are_none() -> None:
    assert retimed((), "anything") == ()
