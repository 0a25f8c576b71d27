"""The realtime WebSockets of vLLM and OpenAI, at servers that speak them, and their faults."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator

import pytest

from bridge.scribe.engines import RATE, EngineDown, Event, Final, Gap, Interim
from bridge.scribe.engines.realtime import Dialect, Realtime
from bridge.scribe.engines.remote import Patience, RemoteStream
from tests.support.realtime_server import KEY, RealtimeServer
from tests.support.sound import Pcm, quiet
from tests.support.tones import GAP_S, TONE_S, tones

PATIENCE = Patience(connect_s=2, stall_s=0.6, down_s=1.5, pause_s=0.02, linger_s=0.3)
TEXT = "alpha bravo charlie delta echo foxtrot golf hotel"
BOTH = pytest.mark.parametrize("dialect", ["vllm", "openai"])


@contextlib.asynccontextmanager
async def engine(server: RealtimeServer, key: str = KEY) -> AsyncIterator[Realtime]:
    made = Realtime(server.url, key, model="a/model", dialect=server.dialect, patience=PATIENCE)
    running = asyncio.create_task(made.run())
    try:
        await asyncio.wait_for(made.ready(), 10)
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def spoken(stream: RemoteStream, pcm: Pcm, at: int = 0) -> None:
    """A little faster than people speak, so that words come while it goes on."""
    for offset in range(0, len(pcm), 1280):
        stream.push(pcm[offset : offset + 1280].tobytes(), at + offset)
        await asyncio.sleep(0.002)


async def answered(stream: RemoteStream) -> list[Event]:
    async with asyncio.timeout(20):
        return [event async for event in stream]


async def said(made: Realtime, pcm: Pcm, at: int = 0) -> list[Event]:
    stream = await made.open("fr-FR")
    await spoken(stream, pcm, at)
    await stream.close()
    return await answered(stream)


def text(events: list[Event]) -> str:
    return " ".join(w.text for e in events if isinstance(e, Final) for w in e.words)


@BOTH
@pytest.mark.asyncio
async def test_words_come_once_in_order_near_their_places(dialect: Dialect) -> None:
    async with RealtimeServer(dialect) as server, engine(server) as made:
        events = await said(made, tones(TEXT), at=60 * RATE)
    assert text(events) == TEXT
    words = [w for e in events if isinstance(e, Final) for w in e.words]
    for number, word in enumerate(words):
        assert abs(word.start / RATE - 60 - number * (TONE_S + GAP_S)) < 0.7, word
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    assert words[-1].end <= 60 * RATE + len(tones(TEXT))
    assert [e.last for e in events if isinstance(e, Final)][-1]
    assert any(isinstance(e, Interim) for e in events)


@BOTH
@pytest.mark.asyncio
async def test_two_utterances_are_two_on_one_connection(dialect: Dialect) -> None:
    async with RealtimeServer(dialect) as server, engine(server) as made:
        stream = await made.open("fr")
        await spoken(stream, tones("alpha bravo"))
        stream.end()
        await spoken(stream, tones("charlie"), at=100 * RATE)
        await stream.close()
        finals = [e for e in await answered(stream) if isinstance(e, Final)]
    assert [" ".join(w.text for w in f.words) for f in finals] == ["alpha bravo", "charlie"]
    assert abs(finals[1].words[0].start / RATE - 100) < 0.5
    assert server.connections == 1


@BOTH
@pytest.mark.asyncio
async def test_a_text_that_comes_whole_is_spread_over_the_utterance(dialect: Dialect) -> None:
    async with RealtimeServer(dialect) as server, engine(server) as made:
        server.faults.text_at_the_end = True
        (final,) = [e for e in await said(made, tones("alpha bravo")) if isinstance(e, Final)]
    assert [(w.text, w.start) for w in final.words] == [
        ("alpha", 0),
        ("bravo", len(tones("alpha bravo")) // 2),
    ]
    assert final.words[-1].end == len(tones("alpha bravo"))


@BOTH
@pytest.mark.asyncio
async def test_silence_has_no_words_and_is_answered(dialect: Dialect) -> None:
    async with RealtimeServer(dialect) as server, engine(server) as made:
        assert await said(made, quiet(0.5)) == [Final(0, ())]


@pytest.mark.asyncio
async def test_what_a_session_asks_for() -> None:
    async with RealtimeServer("vllm") as server, engine(server) as made:
        await said(made, tones("alpha"))
        assert server.sessions == [{"type": "session.update", "model": "a/model"}]
    async with RealtimeServer("openai") as server, engine(server) as made:
        await said(made, tones("alpha"))
        asked = server.sessions[0]["session"]["audio"]["input"]
    assert asked == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": {"model": "a/model", "language": "fr"},
        "turn_detection": None,
    }


@BOTH
@pytest.mark.asyncio
@pytest.mark.parametrize("after", [2, 9, 17, 30])
async def test_a_break_loses_nothing_and_doubles_nothing(dialect: Dialect, after: int) -> None:
    async with RealtimeServer(dialect) as server, engine(server) as made:
        server.faults.close_after += [after, 11]
        events = await said(made, tones(TEXT))
        assert server.connections >= 2
    assert text(events) == TEXT
    assert not any(isinstance(e, Gap) for e in events)


@BOTH
@pytest.mark.asyncio
async def test_nonsense_and_errors_end_the_connection_not_the_words(dialect: Dialect) -> None:
    error = {"vllm": "processing_error", "openai": {"code": "server_error"}}[dialect]
    for instead in ("{", "[]", '{"no":"type"}', json.dumps({"type": "error", "error": error})):
        async with RealtimeServer(dialect) as server, engine(server) as made:
            server.faults.instead.append(instead)
            assert text(await said(made, tones("alpha bravo"))) == "alpha bravo"
            assert server.connections == 2


@BOTH
@pytest.mark.asyncio
async def test_a_server_that_never_answers_is_down(dialect: Dialect) -> None:
    async with RealtimeServer(dialect) as server, engine(server) as made:
        server.faults.silent = True
        with pytest.raises(EngineDown, match="timeout"):
            await said(made, tones("alpha"))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "down"),
    [({"code": "invalid_api_key"}, "key"), ({"code": "rate_limit_exceeded"}, "busy")],
)
async def test_openai_says_why_it_refuses(error: dict[str, str], down: str) -> None:
    async with RealtimeServer("openai") as server, engine(server) as made:
        server.faults.instead += [json.dumps({"type": "error", "error": error})] * 5000
        with pytest.raises(EngineDown, match=down):
            await said(made, tones("alpha"))


@pytest.mark.asyncio
async def test_too_little_to_be_committed_has_no_words() -> None:
    async with RealtimeServer("openai") as server, engine(server) as made:
        error = {"code": "input_audio_buffer_commit_empty"}
        server.faults.text_at_the_end = True
        server.faults.instead += ['{"type":"session.created"}']
        server.faults.instead += [json.dumps({"type": "error", "error": error})]
        assert await said(made, quiet(0.05)) == [Final(0, ())]


@BOTH
@pytest.mark.asyncio
async def test_a_wrong_key_is_in_no_log(dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with RealtimeServer(dialect) as server, engine(server, "sk-secret") as made:
        with pytest.raises(EngineDown, match="key"):
            await said(made, tones("alpha"))
        assert server.connections == 0
    assert "sk-secret" not in caplog.text
