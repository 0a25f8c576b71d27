"""The wire of moshi-server, at a server that speaks it, and its faults."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
import pytest_asyncio

from bridge.scribe.engines import RATE, EngineDown, Event, Final, Gap, Interim, UnknownLanguage
from bridge.scribe.engines.kyutai import Kyutai
from bridge.scribe.engines.remote import Patience, RemoteStream, address
from tests.support.moshi_server import KEY, MoshiServer
from tests.support.sound import Pcm, joined, quiet
from tests.support.tones import GAP_S, TONE_S, tones

PATIENCE = Patience(connect_s=2, stall_s=0.6, down_s=1.5, pause_s=0.02, linger_s=0.3)
TEXT = "alpha bravo charlie delta echo foxtrot golf hotel"
CHUNK = 480


@pytest_asyncio.fixture
async def server() -> AsyncIterator[MoshiServer]:
    async with MoshiServer() as made:
        yield made


@contextlib.asynccontextmanager
async def running(engine: Kyutai) -> AsyncIterator[Kyutai]:
    task = asyncio.create_task(engine.run())
    try:
        await asyncio.wait_for(engine.ready(), 10)
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def engine_at(
    url: str, key: str = KEY, patience: Patience = PATIENCE
) -> contextlib.AbstractAsyncContextManager[Kyutai]:
    return running(Kyutai(url, key, patience=patience))


def push(stream: RemoteStream, pcm: Pcm, at: int = 0) -> None:
    for offset in range(0, len(pcm), CHUNK):
        stream.push(pcm[offset : offset + CHUNK].tobytes(), at + offset)


async def answered(stream: RemoteStream, limit_s: float = 20) -> list[Event]:
    async with asyncio.timeout(limit_s):
        return [event async for event in stream]


async def said(engine: Kyutai, pcm: Pcm, at: int = 0) -> list[Event]:
    stream = await engine.open("fr")
    push(stream, pcm, at)
    await stream.close()
    return await answered(stream)


def text(events: list[Event]) -> str:
    return " ".join(w.text for e in events if isinstance(e, Final) for w in e.words)


@pytest.mark.asyncio
async def test_words_come_once_in_order_at_their_places(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        events = await said(engine, tones(TEXT), at=60 * RATE)
    assert text(events) == TEXT
    words = [w for e in events if isinstance(e, Final) for w in e.words]
    for number, word in enumerate(words):
        spoken = 60 + number * (TONE_S + GAP_S)
        assert abs(word.start / RATE - spoken) <= 0.1, word
        assert word.start < word.end
    finals = [e for e in events if isinstance(e, Final)]
    assert [e.last for e in finals] == [False] * (len(finals) - 1) + [True]


@pytest.mark.asyncio
async def test_interims_only_grow(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        stream = await engine.open("en-GB")
        push(stream, tones(TEXT))
        stream.end()
        shown: tuple[str, ...] = ()
        async with asyncio.timeout(20):
            async for event in stream:
                if isinstance(event, Interim):
                    assert event.words[: len(shown)] == shown
                    shown = event.words
                elif isinstance(event, Final):
                    assert tuple(w.text for w in event.words)[: len(shown)] == shown
                    shown = ()
                    if event.last:
                        break


@pytest.mark.asyncio
async def test_two_utterances_use_one_connection_and_their_own_times(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        stream = await engine.open("fr")
        push(stream, tones("alpha bravo"))
        stream.end()
        push(stream, tones("charlie delta"), at=100 * RATE)
        await stream.close()
        finals = [e for e in await answered(stream) if isinstance(e, Final)]
    assert [" ".join(w.text for w in f.words) for f in finals] == ["alpha bravo", "charlie delta"]
    assert [f.last for f in finals] == [True, True]
    assert abs(finals[1].words[0].start / RATE - 100) <= 0.1
    assert server.connections == 1


@pytest.mark.asyncio
async def test_silence_has_no_words_and_is_answered(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        events = await said(engine, quiet(1.0))
    assert [e for e in events if isinstance(e, Final)] == [Final(0, ())]


@pytest.mark.asyncio
async def test_who_is_silent_holds_no_channel(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        stream = await engine.open("fr")
        assert server.connections == 0
        push(stream, tones("alpha"))
        stream.end()
        await until(lambda: len(server.channels) == 1)
        await until(lambda: not server.channels)
        push(stream, tones("bravo"), at=10 * RATE)
        await stream.close()
        assert text(await answered(stream)) == "alpha bravo"
    assert server.connections == 2


@pytest.mark.asyncio
async def test_who_speaks_again_soon_has_the_same_connection(server: MoshiServer) -> None:
    async with engine_at(server.url, patience=Patience(linger_s=60)) as engine:
        stream = await engine.open("fr")
        push(stream, tones("alpha"))
        stream.end()
        async with asyncio.timeout(20):
            async for event in stream:
                if isinstance(event, Final):
                    break
        (channel,) = server.channels
        await until(lambda: not channel.inbox and len(channel.data) < 1920)
        await asyncio.sleep(0.1)  # what it says of the silence after the words is heard, too
        push(stream, tones("bravo"), at=10 * RATE)
        await stream.close()
        assert text(await answered(stream)) == "bravo"
    assert server.connections == 1


@pytest.mark.asyncio
async def test_a_connection_lost_while_nobody_spoke_is_no_failure(server: MoshiServer) -> None:
    patience = Patience(linger_s=60, down_s=0.0)
    async with engine_at(server.url, patience=patience) as engine:
        stream = await engine.open("fr")
        push(stream, tones("alpha"))
        stream.end()
        async with asyncio.timeout(20):
            async for event in stream:
                if isinstance(event, Final):
                    break
        await server.channels[0].ws.close()
        await until(lambda: not server.channels)
        await asyncio.sleep(0.1)
        push(stream, tones("bravo"), at=10 * RATE)
        await stream.close()
        assert text(await answered(stream)) == "bravo"
    assert server.connections == 2


@pytest.mark.asyncio
async def test_the_last_channel_goes_to_who_speaks() -> None:
    patient = Patience(linger_s=60, pause_s=0.02, down_s=5)
    async with MoshiServer(channels=1) as server, engine_at(server.url, patience=patient) as engine:
        one, two = await engine.open("fr"), await engine.open("fr")
        push(one, tones("alpha"))
        one.end()
        async for event in one:
            if isinstance(event, Final):
                break
        push(two, tones("bravo"))
        await two.close()
        assert text(await answered(two)) == "bravo"


@pytest.mark.asyncio
async def test_no_free_channel_is_waited_for_and_then_told() -> None:
    async with MoshiServer(channels=0) as server, engine_at(server.url) as engine:
        with pytest.raises(EngineDown, match="busy"):
            await said(engine, tones("alpha"))
        with pytest.raises(EngineDown, match="busy"):
            await engine.open("fr")


@pytest.mark.asyncio
@pytest.mark.parametrize("steps", range(14, 62, 4))
async def test_a_break_at_any_step_loses_nothing_and_doubles_nothing(
    server: MoshiServer, steps: int
) -> None:
    server.faults.close_at += [steps, 20]
    async with engine_at(server.url) as engine:
        events = await said(engine, tones(TEXT))
    assert text(events) == TEXT
    assert not any(isinstance(e, Gap) for e in events)
    assert server.connections >= 2
    words = [w for e in events if isinstance(e, Final) for w in e.words]
    for number, word in enumerate(words):
        assert abs(word.start / RATE - number * (TONE_S + GAP_S)) <= 0.1, word


@pytest.mark.asyncio
async def test_a_server_without_steps_is_understood_too() -> None:
    async with MoshiServer(heads=False) as server, engine_at(server.url) as engine:
        server.faults.close_at += [30]
        assert text(await said(engine, tones(TEXT))) == TEXT


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["no_markers", "early_markers"])
async def test_steps_say_when_markers_do_not(server: MoshiServer, fault: str) -> None:
    setattr(server.faults, fault, True)
    async with engine_at(server.url) as engine:
        assert text(await said(engine, tones(TEXT))) == TEXT
    assert server.connections == 1


@pytest.mark.asyncio
async def test_a_server_that_stalls_is_left_and_asked_again(server: MoshiServer) -> None:
    patient = Patience(stall_s=0.4, down_s=15, pause_s=0.02)
    async with engine_at(server.url, patience=patient) as engine:
        stream = await engine.open("fr")
        push(stream, tones("alpha bravo charlie"))
        await until(lambda: any(channel.steps > 20 for channel in server.channels))
        server.faults.stalled = True
        await stream.close()
        await until(lambda: server.connections >= 2)
        server.faults.stalled = False
        assert text(await answered(stream)) == "alpha bravo charlie"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "garbage", [b"\xc1", b"", msgpack.packb([1]), msgpack.packb({"type": "Word", "text": "x"})]
)
async def test_nonsense_ends_the_connection_not_the_words(
    server: MoshiServer, garbage: bytes
) -> None:
    server.faults.garbage += [garbage]
    async with engine_at(server.url) as engine:
        assert text(await said(engine, tones("alpha bravo"))) == "alpha bravo"
    assert server.connections == 2


@pytest.mark.asyncio
async def test_messages_of_a_newer_server_are_left_aside(server: MoshiServer) -> None:
    server.faults.garbage += [msgpack.packb({"type": "Weather", "rain": True})]
    async with engine_at(server.url) as engine:
        assert text(await said(engine, tones("alpha"))) == "alpha"
    assert server.connections == 1


@pytest.mark.asyncio
async def test_speech_that_breaks_the_server_again_and_again_is_a_gap(server: MoshiServer) -> None:
    server.faults.close_at += [20, 20, 20]
    async with engine_at(server.url) as engine:
        stream = await engine.open("fr")
        push(stream, quiet(1.0))
        stream.end()
        await until(lambda: server.connections >= 3)
        push(stream, tones("alpha"), at=5 * RATE)
        await stream.close()
        events = await answered(stream)
    assert [(e.start, e.end) for e in events if isinstance(e, Gap)] == [(0, RATE)]
    assert text(events) == "alpha"


@pytest.mark.asyncio
async def test_an_engine_that_is_away_for_a_moment_is_waited_for(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        await server.refuse()
        stream = await engine.open("fr")
        push(stream, tones("alpha bravo"))
        await asyncio.sleep(0.2)
        await server.listen()
        await stream.close()
        assert text(await answered(stream)) == "alpha bravo"


@pytest.mark.asyncio
async def test_an_engine_that_stays_away_is_down_and_no_gap_is_told(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        await server.refuse()
        stream = await engine.open("fr")
        push(stream, tones("alpha"))
        with pytest.raises(EngineDown, match="refused"):
            await asyncio.wait_for(anext(aiter(stream)), 20)
        with pytest.raises(EngineDown, match="refused"):
            await engine.open("fr")
        await server.listen()


@pytest.mark.asyncio
async def test_words_told_before_the_engine_went_down_are_kept(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        stream = await engine.open("fr")
        first = joined(tones("alpha bravo"), quiet(0.8))
        push(stream, first)
        events = aiter(stream)
        async with asyncio.timeout(20):
            event = await anext(events)
            while not (isinstance(event, Interim) and event.words == ("alpha", "bravo")):
                event = await anext(events)
            server.faults.status = 500
            await server.channels[0].ws.close()
            push(stream, tones("charlie"), at=len(first))
            final = await anext(events)
            assert isinstance(final, Final)
            assert [word.text for word in final.words] == ["alpha", "bravo"]
            assert not final.last
            with pytest.raises(EngineDown, match="protocol"):
                await anext(events)


@pytest.mark.asyncio
async def test_a_wrong_key_is_not_tried_twice_and_in_no_log(
    server: MoshiServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with engine_at(server.url, "a-secret-key") as engine:
        with pytest.raises(EngineDown, match="key"):
            await said(engine, tones("alpha"))
    assert server.keys == ["a-secret-key"]
    assert "a-secret-key" not in caplog.text


@pytest.mark.asyncio
async def test_a_key_is_read_from_its_file_when_it_is_needed(
    server: MoshiServer, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    engine = Kyutai(server.url, file, patience=PATIENCE)
    async with running(engine):
        with pytest.raises(EngineDown, match="key"):
            await said(engine, tones("alpha"))
    file.write_text(f"{KEY}\n")
    async with running(Kyutai(server.url, file, patience=PATIENCE)) as engine:
        assert text(await said(engine, tones("alpha"))) == "alpha"


@pytest.mark.asyncio
async def test_more_than_can_wait_is_dropped_and_told() -> None:
    patient = Patience(down_s=30, pause_s=0.02)
    async with (
        MoshiServer(step_s=0.0005) as server,
        engine_at(server.url, patience=patient) as engine,
    ):
        await server.refuse()
        stream = await engine.open("fr")
        push(stream, joined(quiet(4.0), tones(TEXT), quiet(18.0 - 8 * (TONE_S + GAP_S))))
        await server.listen()
        await stream.close()
        events = await answered(stream)
    assert [(e.start, e.end) for e in events if isinstance(e, Gap)] == [(0, 2 * RATE)]
    assert text(events) == TEXT


@pytest.mark.asyncio
async def test_another_language_is_refused(server: MoshiServer) -> None:
    async with engine_at(server.url) as engine:
        with pytest.raises(UnknownLanguage):
            await engine.open("de")


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x/", "ws://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"not an address|.*"):
        Kyutai(url)


def test_the_path_of_the_published_configuration_is_the_default() -> None:
    assert str(address("wss://stt.example", "/api/x")) == "wss://stt.example/api/x"
    assert str(address("http://stt.example/own/path", "/api/x")) == "http://stt.example/own/path"


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the server tells nobody of its steps
            await asyncio.sleep(0.005)
