"""The queue between a track and its engine: bounded, in order, with visible gaps."""

from __future__ import annotations

import asyncio

from bridge.scribe.engines import RATE, Event, Final, Gap, Interim, Word
from bridge.scribe.engines.backlog import LIMIT, Backlog

SECOND = b"\0\0" * RATE


def backlog() -> Backlog:
    return Backlog(lambda: None)


async def events(stream: Backlog) -> list[Event]:
    await stream.close()
    async with asyncio.timeout(1):
        return [event async for event in stream]


def answer(stream: Backlog, word: str = "") -> None:
    """Take all there is of the head, and answer it."""
    head = stream.head
    assert head is not None
    while head.waiting:
        stream.take(RATE)
    words = (Word(word, head.start, head.end),) if word else ()
    stream.answered(Final(head.start, words))


async def test_utterances_are_answered_in_order() -> None:
    stream = backlog()
    for number in range(3):
        stream.push(SECOND, number * 5 * RATE)
        stream.end()
    for word in "abc":
        answer(stream, word)
    finals = [event for event in await events(stream) if isinstance(event, Final)]
    assert [(f.start // RATE, f.words[0].text) for f in finals] == [(0, "a"), (5, "b"), (10, "c")]


async def test_only_the_newest_interim_waits_to_be_read() -> None:
    stream = backlog()
    stream.push(SECOND, 0)
    stream.take(100)
    for words in (("a",), ("a", "b")):
        stream.interim(words)
    stream.end()
    answer(stream, "a")
    assert (await events(stream))[0] == Interim(0, ("a", "b"))


async def test_too_much_waiting_drops_the_oldest_and_says_so() -> None:
    stream = backlog()
    for number in range(25):
        stream.push(SECOND, number * RATE)
    head = stream.head
    assert head is not None
    assert len(head.waiting) // 2 == LIMIT
    assert head.start == 5 * RATE
    stream.end()
    answer(stream, "rest")
    assert await events(stream) == [
        Gap(0, 5 * RATE),
        Final(5 * RATE, (Word("rest", 5 * RATE, 25 * RATE),)),
    ]


async def test_what_the_engine_heard_is_answered_before_the_gap() -> None:
    stream = backlog()
    stream.push(SECOND, 0)
    stream.take(len(SECOND))
    for number in range(1, 23):
        stream.push(SECOND, number * RATE)
    stream.end()
    answer(stream, "first")
    answer(stream, "last")
    told = [(type(event).__name__, event.start // RATE) for event in await events(stream)]
    assert told == [("Final", 0), ("Gap", 1), ("Final", 3)]


async def test_an_utterance_dropped_whole_is_still_a_gap() -> None:
    stream = backlog()
    stream.push(SECOND, 0)
    stream.end()
    for number in range(20):
        stream.push(SECOND, (10 + number) * RATE)
    stream.end()
    answer(stream)
    answer(stream, "rest")
    gap, nothing, rest = await events(stream)
    assert (gap, nothing) == (Gap(0, RATE), Final(RATE, ()))
    assert isinstance(rest, Final)


async def test_a_dead_worker_costs_nothing_the_first_time() -> None:
    stream = backlog()
    stream.push(SECOND * 2, 0)
    stream.take(len(SECOND))
    stream.failed()
    head = stream.head
    assert head is not None
    assert (len(head.waiting), len(head.sent)) == (len(SECOND) * 2, 0)
    stream.end()
    answer(stream, "all")
    assert await events(stream) == [Final(0, (Word("all", 0, 2 * RATE),))]


async def test_what_kills_two_workers_is_given_up_and_the_rest_goes_on() -> None:
    stream = backlog()
    stream.push(SECOND, 0)
    for _ in range(2):
        stream.take(len(SECOND))
        stream.failed()
    stream.push(SECOND, RATE)
    stream.end()
    answer(stream, "after")
    assert await events(stream) == [
        Gap(0, RATE),
        Final(RATE, (Word("after", RATE, 2 * RATE),)),
    ]


async def test_an_ended_utterance_given_up_is_answered_by_nothing() -> None:
    stream = backlog()
    stream.push(SECOND, 0)
    stream.end()
    for _ in range(2):
        stream.take(len(SECOND))
        stream.failed()
    assert await events(stream) == [Gap(0, RATE), Final(RATE, ())]


async def test_closing_ends_what_was_being_said() -> None:
    stream = backlog()
    stream.push(SECOND, 0)
    await stream.close()
    assert stream.head is not None
    assert stream.head.ended
    assert not stream.finished
    answer(stream, "x")
    assert stream.finished
