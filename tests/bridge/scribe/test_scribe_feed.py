"""Audio on its way to a server: kept until answered, sent again, dropped with a mark."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.scribe.engines import RATE
from bridge.scribe.engines.feed import LIMIT, TRIM, Feed, Item, Lost, Over, Speech


def audio(samples: int, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * samples


def all_of(feed: Feed, most: int = LIMIT) -> list[Item]:
    items = []
    while (item := feed.take(most)) is not None:
        items.append(item)
    return items


def test_audio_comes_out_as_it_went_in_cut_at_most() -> None:
    feed = Feed()
    feed.push(audio(100), 50)
    feed.push(audio(60), 150)
    feed.end()
    feed.end()
    feed.push(audio(10), 500)
    assert all_of(feed, 120) == [
        Speech(50, bytearray(audio(120))),
        Speech(170, bytearray(audio(40))),
        Over(210),
        Speech(500, bytearray(audio(10))),
    ]
    assert feed.take(1) is None


def test_an_end_without_speech_is_none() -> None:
    feed = Feed()
    feed.end()
    assert feed.take(1) is None


def test_only_what_is_not_answered_is_sent_again() -> None:
    feed = Feed()
    feed.push(audio(100), 0)
    feed.end()
    feed.push(audio(100), 200)
    all_of(feed)
    feed.push(audio(50), 300)
    feed.utterance_answered()
    feed.answered(240)
    feed.again()
    assert all_of(feed) == [Speech(240, bytearray(audio(110)))]
    feed.answered(1000)
    assert not feed.sent


def test_what_was_sent_twice_in_vain_is_lost() -> None:
    feed = Feed()
    feed.push(audio(100), 0)
    feed.end()
    all_of(feed)
    feed.push(audio(50), 300)
    feed.give_up()
    assert all_of(feed) == [Lost(0, 100), Over(100), Speech(300, bytearray(audio(50)))]


def test_too_much_drops_the_oldest_and_says_so_once() -> None:
    feed = Feed()
    for second in range(23):
        feed.push(audio(RATE), second * RATE)
    assert all_of(feed, RATE * 30) == [
        Lost(0, 3 * RATE),
        Speech(3 * RATE, bytearray(audio(20 * RATE))),
    ]
    feed.push(audio(2 * RATE), 23 * RATE)
    feed.again()
    lost, _ = all_of(feed, RATE * 30)
    assert lost == Lost(3 * RATE, 5 * RATE)
    assert TRIM == RATE


def test_a_short_utterance_that_is_dropped_leaves_its_end() -> None:
    feed = Feed()
    feed.push(audio(10), 0)
    feed.end()
    feed.push(audio(LIMIT), 100)
    assert all_of(feed) == [Lost(0, 10), Over(10), Speech(100, bytearray(audio(LIMIT)))]


def test_what_waits_too_long_for_an_answer_is_lost_if_it_breaks_off() -> None:
    feed = Feed()
    for second in range(22):
        feed.push(audio(RATE), second * RATE)
        feed.take(RATE)
    feed.answered(RATE)
    feed.again()
    assert all_of(feed, LIMIT * 2) == [
        Lost(RATE, 2 * RATE),
        Speech(2 * RATE, bytearray(audio(20 * RATE))),
    ]


class FeedMachine(RuleBasedStateMachine):
    """Whatever happens, every sample is answered or lost, once."""

    def __init__(self) -> None:
        super().__init__()
        self.feed = Feed()
        self.at = 0
        self.pushed: list[int] = []
        self.done: list[int] = []
        self.ends = 0
        self.ended = 0

    @rule(seconds=st.integers(1, 4), gap=st.integers(0, 1))
    def push(self, seconds: int, gap: int) -> None:
        self.at += gap
        self.feed.push(audio(seconds * RATE), self.at * RATE)
        self.pushed += range(self.at, self.at + seconds)
        self.at += seconds

    @rule()
    def end(self) -> None:
        self.feed.end()

    @rule(seconds=st.integers(1, 6))
    def take(self, seconds: int) -> None:
        item = self.feed.take(seconds * RATE)
        if isinstance(item, Lost):
            self.done += range(item.start // RATE, item.end // RATE)

    @precondition(lambda self: any(isinstance(i, Over) for i in self.feed.sent))
    @rule()
    def answer_utterance(self) -> None:
        at = next(i for i, item in enumerate(self.feed.sent) if isinstance(item, Over))
        self._answer(list(self.feed.sent)[:at])
        self.feed.utterance_answered()

    @precondition(lambda self: self.feed.sent and not isinstance(self.feed.sent[0], Over))
    @rule(seconds=st.integers(1, 3))
    def answer(self, seconds: int) -> None:
        first = self.feed.sent[0]
        assert not isinstance(first, Over)
        position = min(first.end, first.start + seconds * RATE)
        self.done += range(first.start // RATE, position // RATE)
        self.feed.answered(position)

    @rule()
    def break_off(self) -> None:
        self.feed.again()

    @rule()
    def give_up(self) -> None:
        self.feed.give_up()

    @invariant()
    def nothing_is_silent_or_twice(self) -> None:
        held = [
            second
            for item in [*self.feed.sent, *self.feed.waiting]
            if not isinstance(item, Over)
            for second in range(item.start // RATE, item.end // RATE)
        ]
        assert held == sorted(held)
        # A gap is told when its place is reached, before what was sent earlier is answered.
        assert sorted(self.done + held) == self.pushed

    def _answer(self, items: list[Item]) -> None:
        for item in items:
            if not isinstance(item, Over):
                self.done += range(item.start // RATE, item.end // RATE)


FeedMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestFeed = FeedMachine.TestCase
