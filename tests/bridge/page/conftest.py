"""One browser and one set of services for the tests of a whole run; each test has its own page."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.bridge.page.browser import chromium
from tests.bridge.page.services import Services, services

_PAUSE_S = 2


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spoken sentence and a pause, as the fake microphone plays them again and again."""
    path = tmp_path_factory.mktemp("voice") / "alice.wav"
    speech = "Good morning everybody, the budget meeting is open."
    subprocess.run(["espeak-ng", "-v", "en", "-w", str(path), speech], check=True)
    with wave.open(str(path)) as spoken:
        parameters, samples = spoken.getparams(), spoken.readframes(spoken.getnframes())
    with wave.open(str(path), "wb") as padded:
        padded.setparams(parameters)
        padded.writeframes(samples + bytes(_PAUSE_S * parameters.framerate * parameters.sampwidth))
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(voice: Path) -> AsyncIterator[Browser]:
    """A browser that grants camera and microphone."""
    async with chromium(voice) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def around() -> AsyncIterator[Services]:
    """The page and servers that fail when told to."""
    async with services() as running:
        yield running
