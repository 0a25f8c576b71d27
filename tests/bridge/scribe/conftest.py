"""Speech and a warm recognizer for the scribe's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.dev import speech
from bridge.scribe.engines.pocketsphinx import PocketSphinx
from tests.bridge.scribe.call_stage import Stage, a_stage
from tests.support.sound import Pcm, Speak, at_16k


@pytest.fixture(scope="session")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Speak:
    """`speak(text, voice)`: a sentence at 16 kHz, the same object for the same sentence."""
    folder = tmp_path_factory.mktemp("speech")
    said: dict[tuple[str, str], Pcm] = {}

    def one(text: str, voice: str) -> Pcm:
        if (text, voice) not in said:
            said[text, voice] = at_16k(speech.spoken(text, voice, folder))
        return said[text, voice]

    return one


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def warm_engine() -> AsyncIterator[PocketSphinx]:
    """A recognizer that is warm, for tests that do not harm it."""
    engine = PocketSphinx(workers=2)
    running = asyncio.create_task(engine.run())
    await engine.ready()
    yield engine
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "scribe.sock"


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A media server and a scribe process; nobody is in the call yet."""
    async with a_stage(tmp_path) as made:
        yield made
