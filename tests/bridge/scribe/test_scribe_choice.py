"""Several engines: the best that knows the language and answers; nothing said is lost between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from bridge.scribe.engines import RATE, Event, Final, Gap, Interim, Word
from bridge.scribe.engines import relay as relays
from bridge.scribe.engines.choice import LONGEST_REST_S, REST_S, Choice, Option, meant
from bridge.scribe.engines.relay import Relay
from tests.support.engines import SECOND, ToldEngine


async def true(check: Callable[[], bool]) -> None:
    for _ in range(4000):
        if check():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A choice over engines, a relay, and what it has told."""

    def __init__(self, choice: Choice, clock: Clock) -> None:
        self.choice, self.clock = choice, clock
        self.told: list[Event] = []
        self._reading: list[asyncio.Task[None]] = []

    async def relay(self, language: str = "fr") -> Relay:
        relay = await self.choice.open(language)
        self._reading.append(asyncio.create_task(self._read(relay)))
        return relay

    async def _read(self, relay: Relay) -> None:
        async for event in relay:
            self.told.append(event)

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            await asyncio.gather(*self._reading)

    async def until(self, count: int) -> list[Event]:
        await true(lambda: len(self.told) >= count)
        return self.told


@contextlib.asynccontextmanager
async def scene(*options: Option | ToldEngine) -> AsyncIterator[Scene]:
    clock = Clock()
    choice = Choice([o if isinstance(o, Option) else Option(o) for o in options], clock=clock)
    running = asyncio.create_task(choice.run())
    try:
        yield Scene(choice, clock)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def says(relay: Relay, at_s: int, seconds: int = 1) -> None:
    for second in range(seconds):
        relay.push(SECOND, (at_s + second) * RATE)
    relay.end()


def words(told: list[Event]) -> list[str]:
    return [event.words[0].text for event in told if isinstance(event, Final)]


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_first_that_knows_the_language_writes() -> None:
    best, simple = ToldEngine("best", "fr"), ToldEngine("simple", "fr", "en")
    async with scene(best, simple) as s:
        french, english = await s.relay("fr-CA"), await s.relay("en-GB")
        says(french, 1)
        await s.until(1)
        says(english, 2)
        told = await s.until(2)
        assert told == [
            Final(RATE, (Word("best", RATE, 2 * RATE),), engine="best", language="fr-CA"),
            Final(
                2 * RATE, (Word("simple", 2 * RATE, 3 * RATE),), engine="simple", language="en-GB"
            ),
        ]
        assert s.choice.standing({"fr", "en"}) == ""
        german = await s.relay("de")
        says(german, 3)
        await german.close()
        assert len(s.told) == 2


async def test_an_engine_that_refuses_is_left_for_the_next_and_tried_again_after_a_rest() -> None:
    best, simple = ToldEngine("best"), ToldEngine("simple")
    best.down = "refused"
    async with scene(best, simple) as s:
        relay = await s.relay()
        says(relay, 1)
        assert words(await s.until(1)) == ["simple"]
        assert s.choice.standing(["fr"]) == "engine_simple"
        best.rise()
        s.clock.now = REST_S - 1
        says(relay, 2)
        assert words(await s.until(2)) == ["simple", "simple"]
        s.clock.now = REST_S + 1
        says(relay, 3)
        assert words(await s.until(3))[2] == "best"
        assert s.choice.standing(["fr"]) == ""
        assert len(best.opened) == 2


async def test_what_an_engine_had_when_it_fell_is_written_by_the_next() -> None:
    best, simple = ToldEngine("best"), ToldEngine("simple")
    best.mute = True
    async with scene(best, simple) as s:
        relay = await s.relay()
        says(relay, 1)
        relay.push(SECOND, 5 * RATE)
        await settled()
        assert best.ends == 1
        best.fall()
        relay.push(SECOND, 6 * RATE)
        relay.end()
        told = await s.until(2)
        assert [(e.start, e.words[0].end) for e in told if isinstance(e, Final)] == [
            (RATE, 2 * RATE),
            (5 * RATE, 7 * RATE),
        ]
        assert words(told) == ["simple", "simple"]


async def test_parts_that_were_answered_are_not_written_twice() -> None:
    best, simple = ToldEngine("best"), ToldEngine("simple")
    best.mute = True
    async with scene(best, simple) as s:
        relay = await s.relay()
        for second in range(4):
            relay.push(SECOND, second * RATE)
        await settled()
        best.streams[0].tell(Interim(0, ("so", "far")))
        await s.until(1)
        best.streams[0].tell(Final(0, (Word("half", 0, 2 * RATE),), last=False))
        await s.until(2)
        best.fall()
        relay.end()
        told = await s.until(3)
        assert told[0] == Interim(0, ("so", "far"), language="fr")
        assert told[2] == Final(
            2 * RATE,
            (Word("simple", 2 * RATE, 4 * RATE),),
            engine="simple",
            language="fr",
        )


async def test_a_minute_without_any_engine_is_a_visible_gap_and_then_it_goes_on() -> None:
    only = ToldEngine("only")
    async with scene(only) as s:
        relay = await s.relay()
        says(relay, 0)
        await s.until(1)
        only.fall()
        await settled()
        for second in range(2, 62):
            relay.push(SECOND, second * RATE)
            if second % 10 == 1:
                relay.end()
            await asyncio.sleep(0)
        assert s.choice.standing(["fr"]) == "engine_down"
        only.rise()
        s.clock.now = LONGEST_REST_S
        says(relay, 70)
        await true(lambda: isinstance(s.told[-1], Final) and s.told[-1].start >= 70 * RATE)
        gaps = [e for e in s.told if isinstance(e, Gap)]
        assert gaps, "what could not be kept is told"
        assert len(gaps) <= 5, "and not in fifty pieces"
        assert gaps[0].start == 2 * RATE
        covered = sum(e.end - e.start for e in gaps)
        written = sum(e.words[0].end - e.start for e in s.told if isinstance(e, Final))
        assert covered + written == 62 * RATE, "every second is a word or a gap"
        assert s.choice.standing(["fr"]) == ""


async def test_a_track_that_ends_without_any_engine_ends_with_a_gap() -> None:
    only = ToldEngine("only")
    only.down = "refused"
    async with scene(only) as s:
        relay = await s.relay()
        relay.push(SECOND, 3 * RATE)
        await relay.close()
        await s.ended()
        assert s.told == [Gap(3 * RATE, 4 * RATE)]


async def test_what_an_engine_ends_without_answering_is_a_gap_in_the_end() -> None:
    silent = ToldEngine("silent")
    silent.mute = True
    async with scene(silent) as s:
        relay = await s.relay()
        says(relay, 1)
        relay.push(SECOND, 3 * RATE)
        await relay.close()
        await s.ended()
        assert s.told == [Gap(RATE, 4 * RATE)], "one hole, told once"


async def test_a_language_changes_with_the_next_utterance() -> None:
    french, english = ToldEngine("mot", "fr"), ToldEngine("word", "en")
    async with scene(french, english) as s:
        relay = await s.relay("fr")
        relay.push(SECOND, RATE)
        relay.speaks("en-GB")
        relay.push(SECOND, 2 * RATE)
        relay.end()
        says(relay, 4)
        told = await s.until(2)
        assert [(e.engine, e.language) for e in told if isinstance(e, Final)] == [
            ("mot", "fr"),
            ("word", "en-GB"),
        ]
        relay.speaks("de")
        says(relay, 6)
        relay.speaks("fr")
        says(relay, 8)
        assert words(await s.until(3)) == ["mot", "word", "mot"]
        assert s.choice.standing({"fr", "de"}) == "language"


async def test_a_busy_engine_keeps_the_tracks_it_has() -> None:
    best, simple = ToldEngine("best"), ToldEngine("simple")
    async with scene(best, simple) as s:
        first = await s.relay()
        says(first, 1)
        await s.until(1)
        best.down = "busy"
        second = await s.relay()
        says(second, 2)
        assert words(await s.until(2)) == ["best", "simple"]
        says(first, 4)
        assert words(await s.until(3))[2] == "best"


async def test_one_track_tries_a_rested_engine_for_all() -> None:
    best, simple = ToldEngine("best"), ToldEngine("simple")
    best.down = "timeout"
    async with scene(best, simple) as s:
        tracks = [await s.relay() for _ in range(4)]
        says(tracks[0], 1)
        await s.until(1)
        s.clock.now = REST_S
        asked = len(best.opened)
        for number, track in enumerate(tracks):
            says(track, 10 + number)
        assert words(await s.until(5)) == ["simple"] * 5
        assert len(best.opened) == asked + 1


async def test_an_utterance_that_fells_every_engine_is_given_up() -> None:
    cursed = ToldEngine("cursed")
    cursed.mute = True
    async with scene(cursed) as s:
        relay = await s.relay()
        says(relay, 1)
        for attempt in range(relays.ATTEMPTS):
            await true(lambda wanted=attempt: cursed.ends > wanted)
            cursed.fall()
            cursed.rise()
            await settled()
            s.clock.now += LONGEST_REST_S
            relay.end()  # wakes it: its clock is the test's
        assert await s.until(1) == [Gap(RATE, 2 * RATE)]
        cursed.mute = False
        says(relay, 3)
        assert words((await s.until(2))[1:]) == ["cursed"]


async def test_an_engine_that_breaks_does_not_end_the_others() -> None:
    broken, simple = ToldEngine("broken"), ToldEngine("simple")
    broken.breaks = 1
    async with scene(broken, simple) as s:
        relay = await s.relay()
        await settled()
        says(relay, 1)
        assert words(await s.until(1)) == ["simple"]


async def test_what_is_to_be_forgotten_is_neither_answered_nor_given_to_another() -> None:
    best, simple = ToldEngine("best"), ToldEngine("simple")
    best.mute = True
    async with scene(best, simple) as s:
        relay = await s.relay()
        says(relay, 1)
        await settled()
        relay.forget()
        best.fall()
        says(relay, 3)
        await relay.close()
        await s.ended()
        assert s.told == []
        assert simple.opened == []


async def test_what_nobody_waits_for_any_longer_is_told_as_a_gap() -> None:
    slow = ToldEngine("slow")
    slow.mute = True
    async with scene(slow) as s:
        relay = await s.relay()
        assert relay.owed_since is None
        says(relay, 1)
        says(relay, 4, seconds=2)
        await settled()
        assert relay.owed_since == RATE
        await relay.close()
        relay.give_up()
        await s.ended()
        assert s.told == [Gap(RATE, 2 * RATE), Gap(4 * RATE, 6 * RATE)]
        slow.streams[0].tell(Final(RATE, (Word("late", RATE, 2 * RATE),)))
        await settled()
        assert len(s.told) == 2
        assert relay.owed_since is None


async def test_gaps_of_an_engine_are_passed_on() -> None:
    engine = ToldEngine("slow")
    engine.mute = True
    async with scene(engine) as s:
        relay = await s.relay()
        says(relay, 0, seconds=3)
        await settled()
        engine.streams[0].tell(Gap(0, RATE))
        engine.streams[0].tell(Final(RATE, (Word("rest", RATE, 3 * RATE),)))
        await relay.close()
        await s.ended()
        assert s.told == [
            Gap(0, RATE),
            Final(RATE, (Word("rest", RATE, 3 * RATE),), engine="slow", language="fr"),
        ]


async def test_ready_waits_for_one_and_not_for_all() -> None:
    down, simple = ToldEngine("down"), ToldEngine("simple")
    down.down = "refused"
    async with asyncio.timeout(10):
        await Choice.of(down, simple).ready()


def test_what_the_list_says_of_languages() -> None:
    wide, narrow = ToldEngine("wide"), ToldEngine("narrow", "en", "fr")
    both = Choice([Option(wide, frozenset({"fr"})), Option(narrow, frozenset({"en-GB"}))])
    assert both.capability.languages == {"fr", "en"}
    assert both.understands("fr-BE")
    assert both.understands("en_gb")
    assert not both.understands("en-US")
    assert Choice.of(wide, narrow).capability.languages == frozenset()
    assert meant("en", "en-GB")
    assert not meant("en", "eng")
