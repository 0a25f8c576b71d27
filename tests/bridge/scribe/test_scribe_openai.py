"""Transcription over HTTP: what is asked, what answers mean, and what is done about faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from bridge.scribe.engines import RATE, EngineDown, Event, Final, Gap, Word
from bridge.scribe.engines.choice import Choice
from bridge.scribe.engines.hallucinations import is_known, made_up
from bridge.scribe.engines.openai import OpenAi, Patience
from bridge.scribe.engines.parts import parts
from bridge.scribe.engines.verbose import Unreadable, words_of
from tests.support.engines import SECOND, ToldEngine
from tests.support.transcriptions_server import Transcriptions, serving, silence

QUICK = Patience(connect_s=1.0, live_s=0.5, after_s=0.5, pause_s=0.01, longest_pause_s=0.05)


@contextlib.asynccontextmanager
async def engine(
    server: Transcriptions, key: str | Path = "secret", **more: Any
) -> AsyncIterator[OpenAi]:
    made = OpenAi(server.url, key, model="m", patience=QUICK, **more)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def said(made: OpenAi, seconds: int = 2, start: int = RATE) -> list[Event]:
    stream = await made.open("fr-CA")
    for second in range(seconds):
        stream.push(SECOND, start + second * RATE)
    await stream.close()
    async with asyncio.timeout(20):
        return [event async for event in stream]


@pytest.mark.parametrize("dialect", ["openai", "lasuite"])
async def test_an_utterance_is_one_request(dialect: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    async with serving(Transcriptions()) as server, engine(server, key, dialect=dialect) as made:
        (final,) = await said(made)
    (asked,) = server.asked
    assert (asked.model, asked.language, asked.samples) == ("m", "fr", 2 * RATE)
    assert asked.granularities == ["word", "segment"]
    assert asked.response_format == ("diarized_json" if dialect == "lasuite" else "verbose_json")
    assert final == Final(
        RATE,
        (
            Word("word0", RATE + RATE // 10, RATE + RATE * 6 // 10),
            Word("word1", 2 * RATE + RATE // 10, 2 * RATE + RATE * 6 // 10),
        ),
    )


async def test_a_recording_is_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "__defaults__", (3 * RATE,))
    async with serving(Transcriptions()) as server, engine(server) as made:
        words = await made.transcribe(SECOND * 8, "fr")
    assert len(server.asked) > 2
    assert sum(asked.samples for asked in server.asked) == 8 * RATE
    assert [w.start for w in words] == sorted(w.start for w in words)
    assert words[-1].start > 5 * RATE


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_what_may_pass_is_asked_again(status: int) -> None:
    async with serving(Transcriptions()) as server, engine(server) as made:
        server.faults.extend([status, status])
        server.headers["Retry-After"] = "0"
        (final,) = await said(made)
        assert isinstance(final, Final)
        assert len(final.words) == 2
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("faults", "reason", "requests"),
    [
        ([503, 503, 503], "busy", 3),
        ([500] * 3, "lost", 3),
        ([401], "key", 1),
        ([403], "key", 1),
        ([404], "protocol", 1),
        ([302], "protocol", 1),
        ([silence] * 3, "timeout", 3),
    ],
)
async def test_a_server_that_does_not_work_is_down(
    faults: list[Any], reason: str, requests: int
) -> None:
    async with serving(Transcriptions()) as server, engine(server) as made:
        server.faults.extend(faults)
        server.headers["Location"] = "http://127.0.0.1:9/stolen"
        with pytest.raises(EngineDown, match=reason):
            await said(made)
        assert len(server.asked) == requests


async def test_nobody_there_is_refused_and_a_missing_key_is_named(tmp_path: Path) -> None:
    server = Transcriptions()
    async with serving(server):
        pass
    async with engine(server) as made:
        with pytest.raises(EngineDown, match="refused"):
            await said(made)
    async with serving(server), engine(server, tmp_path / "none") as made:
        with pytest.raises(EngineDown, match="key"):
            await said(made)
        with pytest.raises(EngineDown, match="key"):
            await made.transcribe(SECOND, "fr")
    assert server.asked == []


async def test_a_redirect_takes_neither_voice_nor_key_elsewhere() -> None:
    stranger = Transcriptions()
    async with serving(stranger), serving(Transcriptions()) as server, engine(server) as made:
        server.faults.append(307)
        server.headers["Location"] = f"{stranger.url}/audio/transcriptions"
        with pytest.raises(EngineDown, match="protocol"):
            await said(made)
    assert stranger.asked == []


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_audio_that_the_server_calls_broken_is_a_gap_and_no_failure(status: int) -> None:
    async with serving(Transcriptions()) as server, engine(server) as made:
        server.faults.append(status)
        assert await said(made) == [Gap(RATE, 3 * RATE), Final(RATE, ())]
        server.faults.append(status)
        assert await made.transcribe(SECOND, "fr") == []
        assert len(server.asked) == 2


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"[" * 100_000, b'{"text": 3}'])
async def test_an_answer_that_is_none_is_no_text(body: bytes) -> None:
    async with serving(Transcriptions()) as server, engine(server) as made:
        server.answer = lambda asked: body
        with pytest.raises(EngineDown, match="protocol"):
            await said(made)


async def test_an_answer_larger_than_any_is_not_read_whole() -> None:
    async def flood() -> web.Response:
        return web.Response(body=b" " * (9 << 20))

    async with serving(Transcriptions()) as server, engine(server) as made:
        server.faults.append(flood)
        with pytest.raises(EngineDown, match="protocol"):
            await said(made)


async def test_what_it_had_is_written_by_the_next_engine_and_then_by_it_again() -> None:
    simple = ToldEngine("simple")
    async with serving(Transcriptions()) as server, engine(server) as made:
        choice = Choice.of(made, simple)
        running = asyncio.create_task(choice.run())
        server.faults.extend([500] * 3)
        relay = await choice.open("fr")
        for at in (1, 5):
            relay.push(SECOND, at * RATE)
            relay.end()
        await relay.close()
        async with asyncio.timeout(20):
            told = [event async for event in relay]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [e.engine for e in told if isinstance(e, Final)] == ["simple", "simple"]
    assert [e.start for e in told if isinstance(e, Final)] == [RATE, 5 * RATE]


def test_times_are_believed_as_far_as_they_are_possible() -> None:
    answer = {
        "segments": [
            {
                "start": -3,
                "end": 1e9,
                "text": "a b",
                "words": [
                    {"word": "a", "start": 0.5, "end": 0.2},
                    {"word": "b", "start": float("nan"), "end": None},
                    {"word": "c"},
                    {"word": " "},
                    "d",
                ],
            }
        ]
    }
    words = words_of(json.dumps(answer).encode(), samples=2 * RATE)
    assert [w.text for w in words] == ["a", "b", "c"]
    assert all(0 <= w.start <= w.end <= 2 * RATE for w in words)
    assert [w.start for w in words] == sorted(w.start for w in words)


def test_words_without_times_share_those_of_their_segment() -> None:
    words = words_of(b'{"text": "a bbb"}', samples=RATE)
    assert words == [Word("a", 0, RATE // 4), Word("bbb", RATE // 4, RATE)]
    with pytest.raises(Unreadable):
        words_of(b"3", samples=RATE)


AMARA = "Sous-titres réalisés par la communauté d'Amara.org"


@pytest.mark.parametrize(
    ("segment", "language", "left_out"),
    [
        ({"text": AMARA, "no_speech_prob": 0.9}, "fr", True),
        ({"text": f" {AMARA.upper()}.", "avg_logprob": -1.2}, "french", True),
        ({"text": AMARA, "no_speech_prob": 0.9}, "", True),
        ({"text": AMARA, "no_speech_prob": 0.1, "avg_logprob": -0.2}, "fr", False),
        ({"text": AMARA}, "fr", False),
        ({"text": "Thank you for watching!", "no_speech_prob": 0.9}, "fr", False),
        ({"text": "Bonjour à tous", "no_speech_prob": 0.99}, "fr", False),
        ({"text": "", "no_speech_prob": 0.99}, "fr", False),
    ],
)
def test_what_models_write_in_silence_is_left_out_where_they_doubt_it(
    segment: dict[str, Any], language: str, left_out: bool
) -> None:
    assert made_up(segment, language) is left_out
    answer = {"language": language, "segments": [{"start": 0, "end": 1, **segment}]}
    heard = words_of(json.dumps(answer).encode(), samples=RATE)
    assert (not heard) == (left_out or not segment["text"])


def test_the_list_is_read_by_language() -> None:
    assert is_known("Merci d’avoir regardé cette vidéo !", "fr")
    assert not is_known("Merci", "fr")


def test_parts_are_cut_where_it_is_quiet() -> None:
    loud = np.full(10 * RATE, 1000, np.int16)
    loud[6 * RATE : 7 * RATE] = 0
    pcm = loud.tobytes()
    cut = list(parts(pcm, 8 * RATE))
    assert b"".join(part for _, part in cut) == pcm
    assert cut[0][0] == 0
    assert 6 * RATE < cut[1][0] < 7 * RATE
    assert list(parts(b"", 8)) == []
    assert [len(part) for _, part in parts(pcm, 20 * RATE)] == [len(pcm)]
    assert b"".join(part for _, part in parts(pcm, RATE // 10)) == pcm
