"""Whisper on this machine: its worker, what it says without a model, and that it asks nobody.

The library itself is an extra; `python -m tests.bench.whisper_local` runs it with a model of random
weights. Here a module of its name answers as its interface says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.recognition import Engine
from bridge.scribe.engines import RATE, EngineDown, Final, UnknownLanguage, Word
from bridge.scribe.engines.catalogue import recognizer, transcribers
from bridge.scribe.engines.choice import Choice
from bridge.scribe.engines.whisper import Whisper
from bridge.scribe.engines.whisper_worker import NEEDED
from tests.support.engines import SECOND, ToldEngine

LIBRARY = """
import os
import time
from types import SimpleNamespace as Of

class WhisperModel:
    supported_languages = ["en", "fr"]

    def __init__(self, folder, *, device, local_files_only):
        assert local_files_only and os.environ["HF_HUB_OFFLINE"] == "1"
        print("a library may print")
        self.slow = os.path.exists(os.path.join(folder, "slow"))
        if os.path.exists(os.path.join(folder, "broken")):
            raise RuntimeError("not a model")

    def transcribe(self, audio, *, language, word_timestamps, **how):
        assert word_timestamps and not how["condition_on_previous_text"]
        seconds = len(audio) / 16000
        if self.slow:
            time.sleep(30)
        words = [Of(word=" word", start=n + 0.25, end=n + 0.75) for n in range(int(seconds))]
        said = Of(start=0.0, end=seconds, text=" word", words=words,
                  avg_logprob=-0.2, no_speech_prob=0.01)
        dreamt = Of(start=0.0, end=seconds, text="Sous-titrage ST' 501", words=[],
                    avg_logprob=-1.4, no_speech_prob=0.9)
        return iter([said, dreamt]), None
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for name in NEEDED:
        (made / name).touch()
    return made


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "library" / "faster_whisper.py"
    file.parent.mkdir()
    file.write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", str(file.parent))
    return file


@contextlib.asynccontextmanager
async def running(engine: Whisper | Choice) -> AsyncIterator[None]:
    task = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_model_in_a_folder(folder: Path, library: Path) -> None:
    engine = Whisper(folder)
    async with running(engine), asyncio.timeout(60):
        stream = await engine.open("fr-CA")
        stream.push(SECOND * 2, RATE)
        await stream.close()
        told = [event async for event in stream]
        assert told == [
            Final(
                RATE,
                tuple(Word("word", n * RATE + RATE // 4, n * RATE + RATE * 3 // 4) for n in (1, 2)),
            )
        ]
        assert len(await engine.transcribe(SECOND * 3, "fr")) == 3
        with pytest.raises(UnknownLanguage):
            await engine.transcribe(SECOND, "tlh")


async def test_a_worker_that_dies_is_replaced(folder: Path, library: Path) -> None:
    engine = Whisper(folder)
    async with running(engine), asyncio.timeout(60):
        await engine.transcribe(SECOND, "fr")
        first = engine.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        while engine.pid in {first, None}:  # its death is noticed, or met by who asks
            with contextlib.suppress(EngineDown):
                await engine.transcribe(SECOND, "fr")
        assert len(await engine.transcribe(SECOND, "fr")) == 1


@pytest.mark.parametrize("fault", ["files", "library", "broken"])
async def test_without_a_model_the_next_engine_writes(
    folder: Path, library: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    if fault == "files":
        (folder / "tokenizer.json").unlink()
    elif fault == "library":
        os.unlink(library)
        library.with_suffix("").mkdir()  # a package without the class
    else:
        (folder / "broken").touch()
    simple = ToldEngine("simple")
    choice = Choice.of(Whisper(folder), simple)
    async with running(choice), asyncio.timeout(60):
        relay = await choice.open("fr")
        relay.push(SECOND, RATE)
        relay.end()
        async for event in relay:
            assert isinstance(event, Final)
            assert event.engine == "simple"
            break
        assert choice.standing(["fr"]) == "engine_simple"
    said = {"files": "lacks tokenizer.json", "library": "the extra", "broken": "not a model"}
    assert said[fault] in caplog.text


async def test_an_answer_that_takes_too_long_is_none(folder: Path, library: Path) -> None:
    (folder / "slow").touch()
    engine = Whisper(folder, live_s=0.3)
    async with running(engine), asyncio.timeout(60):
        await engine.ready()
        with pytest.raises(EngineDown, match="timeout"):
            await engine.ask(SECOND, "fr", engine.live_s)


def test_the_list_says_what_writes_during_and_after_calls() -> None:
    engines = [
        Engine(engine="kyutai", url="wss://speech.example", languages=["fr"]),
        Engine(engine="openai", url="https://h/v1", model="m", use="after", languages=["fr"]),
        Engine(engine="whisper", model_dir="/models/large", use="both"),
        Engine(),
    ]
    live = recognizer(engines).capability
    assert live.languages == frozenset(), "whisper may know every language"
    french, any_language = transcribers(engines)
    assert (french.knows("fr-CA"), french.knows("en")) == (True, False)
    assert any_language.knows("en")
    assert any_language.transcriber.capability.name == "whisper/large"
