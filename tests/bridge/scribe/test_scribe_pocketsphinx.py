"""The embedded engine on flite's voices, with its real worker processes."""

from __future__ import annotations

import asyncio
import os
import signal

import jiwer
import pytest

from bridge.scribe.engines import RATE, Final, Gap, Stream, UnknownLanguage
from bridge.scribe.engines.pocketsphinx import PocketSphinx, telling
from bridge.scribe.vad import FRAME, Endpointer, Speech, detector
from tests.support import not_speech
from tests.support.sound import Pcm, Speak, joined, quiet

MEETING = [
    "good morning everyone and welcome to the meeting",
    "yes",
    "we agreed on the budget last week",
    "can you hear me now",
    "the next meeting is on monday morning",
]


def feed(stream: Stream, pcm: Pcm) -> None:
    """Everything said in `pcm`, cut as in a call."""
    endpointer = Endpointer(detector())
    events = []
    for at in range(0, len(pcm) - FRAME + 1, FRAME):
        events += endpointer.process(pcm[at : at + FRAME].tobytes(), at)
    for event in events + endpointer.finish():
        if isinstance(event, Speech):
            stream.push(event.pcm, event.start)
        else:
            stream.end()


async def understood(engine: PocketSphinx, pcm: Pcm) -> list[Final | Gap]:
    stream = await engine.open("en-GB")
    feed(stream, pcm)
    await stream.close()
    async with asyncio.timeout(60):
        return [event async for event in stream if isinstance(event, Final | Gap)]


def text(events: list[Final | Gap]) -> str:
    finals = [event for event in events if isinstance(event, Final)]
    return " ".join(word.text for final in finals for word in final.words)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("voice", "margin"), [("rms", 0.10), ("slt", 0.20)])
async def test_a_meeting_is_understood(
    warm_engine: PocketSphinx, speak: Speak, voice: str, margin: float
) -> None:
    parts = [part for sentence in MEETING for part in (quiet(0.8), speak(sentence, voice))]
    events = await understood(warm_engine, joined(*parts, quiet(1)))
    assert jiwer.wer(" ".join(MEETING), text(events)) <= margin
    assert len(events) == len(MEETING)


@pytest.mark.asyncio(loop_scope="session")
async def test_words_lie_where_they_were_spoken(warm_engine: PocketSphinx, speak: Speak) -> None:
    said = joined(quiet(3), speak("good morning everyone", "rms"), quiet(1))
    (final,) = await understood(warm_engine, said)
    assert isinstance(final, Final)
    assert [word.text for word in final.words] == ["good", "morning", "everyone"]
    assert 3.0 < final.words[0].start / RATE < 3.5
    assert final.words[-1].end / RATE < len(said) / RATE - 0.9
    assert all(a.end <= b.start for a, b in zip(final.words, final.words[1:], strict=False))


@pytest.mark.asyncio(loop_scope="session")
async def test_two_who_speak_at_once_are_kept_apart(
    warm_engine: PocketSphinx, speak: Speak
) -> None:
    one, two = "we agreed on the budget last week", "the next meeting is on monday morning"
    heard = await asyncio.gather(
        understood(warm_engine, joined(quiet(1), speak(one, "rms"), quiet(1))),
        understood(warm_engine, joined(quiet(1), speak(two, "slt"), quiet(1))),
    )
    assert [text(events) for events in heard] == [one, two]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_language_it_has_no_model_for_is_refused(warm_engine: PocketSphinx) -> None:
    assert not warm_engine.capability.understands("fr")
    with pytest.raises(UnknownLanguage):
        await warm_engine.open("fr")


async def test_a_worker_killed_in_mid_sentence_loses_nothing(speak: Speak) -> None:
    engine = PocketSphinx(workers=1)
    running = asyncio.create_task(engine.run())
    async with asyncio.timeout(60):
        await engine.ready()
        said = joined(quiet(1), speak(MEETING[0], "rms"), quiet(1))
        stream = await engine.open("en")
        feed(stream, said)
        answers = aiter(stream)
        await anext(answers)  # at work
        (before,) = engine.pids
        os.kill(before, signal.SIGKILL)
        await stream.close()
        events = [event async for event in answers if isinstance(event, Final | Gap)]
    assert text(events) == MEETING[0]
    assert engine.pids != [before]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert engine.pids == []


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", ["white noise", "fan"])
async def test_noise_that_came_through_does_not_garble_the_next_sentence(
    warm_engine: PocketSphinx, speak: Speak, name: str
) -> None:
    stream, at = await warm_engine.open("en"), 0
    for pcm in (*(not_speech.ALL[name](10, seed) for seed in (1, 2)), speak(MEETING[2], "rms")):
        stream.push(pcm.tobytes(), at)
        stream.end()
        at += len(pcm)
    await stream.close()
    async with asyncio.timeout(60):
        finals = [event async for event in stream if isinstance(event, Final)]
    assert " ".join(word.text for word in finals[-1].words) == MEETING[2]


def test_what_is_worth_remembering_of_a_voice() -> None:
    assert telling([("we", 0, 20), ("agreed", 20, 60), ("on", 60, 80)])
    assert not telling([("yes", 0, 30)])
    assert not telling([("if", 0, 30), ("if", 500, 530), ("if", 900, 930)])
