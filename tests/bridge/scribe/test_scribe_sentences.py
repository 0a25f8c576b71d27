"""Where the words of a streaming engine become segments."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.scribe.engines import RATE, Word
from bridge.scribe.sentences import LINE, LINES, PAUSE, Sentences, ends_sentence, fits

STEP = RATE // 4


def said(text: str, at: int = 0, each: int = STEP) -> list[Word]:
    """The words of `text`, one after the other without a pause."""
    return [Word(t, at + i * each, at + (i + 1) * each) for i, t in enumerate(text.split())]


def segments(words: list[Word]) -> list[str]:
    sentences = Sentences()
    done = [segment for word in words for segment in sentences.word(word)]
    return [" ".join(word.text for word in segment) for segment in done + sentences.flush()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Bonjour", ["Bonjour"]),
        (
            "Oui. Je suis d'accord avec cette proposition. On continue",
            ["Oui. Je suis d'accord avec cette proposition.", "On continue"],
        ),
        (
            "Le budget de la direction a été voté hier. "
            "Mme. Durand, M. Petit et J. Dupont y étaient. Bien",
            [
                "Le budget de la direction a été voté hier.",
                "Mme. Durand, M. Petit et J. Dupont y étaient.",
                "Bien",
            ],
        ),
        (
            "nous avons regardé les trois propositions que vous avez envoyées la semaine dernière, "
            "et elles sont toutes bonnes",
            [
                "nous avons regardé les trois propositions que vous avez envoyées la semaine "
                "dernière,",
                "et elles sont toutes bonnes",
            ],
        ),
        (
            "Est-ce que tout le monde entend bien là-bas ? demande le président",
            ["Est-ce que tout le monde entend bien là-bas ?", "demande le président"],
        ),
    ],
)
def test_sentences_and_clauses_end_segments(text: str, expected: list[str]) -> None:
    # Short words, so that only the text decides.
    assert segments(said(text, each=RATE // 8)) == expected


def test_three_full_lines_end_a_segment() -> None:
    text = " ".join(["mot"] * 60)
    first, *_ = segments(said(text, each=RATE // 10))
    assert len(textwrap.wrap(first, LINE)) == LINES
    assert len(textwrap.wrap(first + " mot", LINE)) == LINES + 1


def test_a_slow_speaker_gets_a_segment_every_few_seconds() -> None:
    assert segments(said("un deux trois quatre cinq six", each=2 * RATE)) == [
        "un deux trois",
        "quatre cinq six",
    ]


def test_a_pause_between_words_ends_a_segment() -> None:
    short, long = said("un deux", at=0), said("trois", at=2 * STEP + PAUSE)
    assert segments(short + long) == ["un deux trois"]
    assert segments(short + said("trois", at=2 * STEP + PAUSE + 1)) == ["un deux", "trois"]


def test_a_pause_is_noticed_while_it_lasts() -> None:
    sentences = Sentences()
    assert sentences.quiet(10 * RATE) == []
    (word,) = said("un")
    sentences.word(word)
    assert sentences.quiet(word.end + PAUSE) == []
    assert sentences.quiet(word.end + PAUSE + 1) == [(word,)]
    assert sentences.pending == ()


def test_a_pause_the_engine_predicts_ends_what_was_said_before_it() -> None:
    sentences = Sentences()
    assert sentences.pause(0) == []
    (word,) = said("un", at=RATE)
    sentences.word(word)
    assert sentences.pause(RATE) == []
    assert sentences.pending == (word,)
    assert sentences.pause(RATE + 1) == [(word,)]


def test_an_end_that_was_estimated_too_late_gives_way_to_the_next_word() -> None:
    sentences = Sentences()
    sentences.word(Word("un", 0, 900))
    sentences.word(Word("deux", 500, 1000))
    sentences.word(Word("trois", 400, 1100))
    assert [(w.start, w.end) for w in sentences.pending] == [(0, 500), (500, 500), (400, 1100)]


@pytest.mark.parametrize("word", ["fin.", "fin!", "fin?", "fin…", "fin.»", "98"])
def test_what_ends_a_sentence(word: str) -> None:
    assert ends_sentence(word) == (word != "98")


@pytest.mark.parametrize(
    "word", ["M.", "Mme.", "(J.", "J.-P.", "U.E.", "3.", "Dr.", "art.", "«M.", "d'A."]
)
def test_full_stops_that_end_nothing(word: str) -> None:
    assert not ends_sentence(word)


WORDS = st.lists(st.text("abé.,-", min_size=1, max_size=LINE), max_size=30)


@given(WORDS)
def test_what_fits_is_what_can_be_wrapped(words: list[str]) -> None:
    wrapped = textwrap.wrap(" ".join(words), LINE, break_on_hyphens=False)
    assert fits(words) == (len(wrapped) <= LINES)


def test_a_word_longer_than_the_caption_stands_alone() -> None:
    assert not fits(["a" * (LINE * LINES + 1)])
    assert fits(["a" * LINE * LINES])
    assert segments(said("un " + "a" * 200 + " deux")) == ["un", "a" * 200, "deux"]


STEPS = st.lists(
    st.tuples(
        st.text("abcé.,!…M", min_size=1, max_size=50),
        st.integers(-RATE, 3 * RATE),
        st.integers(0, RATE),
        st.sampled_from(["", "quiet", "pause", "flush"]),
    )
)


@given(STEPS)
def test_no_word_is_lost_doubled_or_moved(steps: list[tuple[str, int, int, str]]) -> None:
    sentences, at, done = Sentences(), 0, []
    for number, (text, gap, length, then) in enumerate(steps):
        start = max(0, at + gap)
        at = start + length
        done += sentences.word(Word(f"{number}:{text}", start, at))
        before = [word.text for word in sentences.pending]
        if then == "flush":
            done += sentences.flush()
        elif then:
            done += getattr(sentences, then)(at + gap)
        # What is open is only added to, or becomes a segment whole: interims never change.
        assert [word.text for word in sentences.pending] in ([], before)
    done += sentences.flush()
    assert all(done)
    told = [word.text for segment in done for word in segment]
    assert told == [f"{number}:{text}" for number, (text, *_) in enumerate(steps)]
