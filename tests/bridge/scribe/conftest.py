"""Speech for the tests, spoken by flite, and noise with known seeds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
import soxr

from bridge.dev import speech
from bridge.scribe.engines import RATE
from bridge.scribe.engines.pocketsphinx import PocketSphinx

Pcm = npt.NDArray[np.int16]
Speak = Callable[[str, str], Pcm]


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


def at_16k(pcm: Pcm) -> Pcm:
    resampled: Pcm = soxr.resample(pcm, speech.RATE, RATE)
    return resampled


def noise(level_db: float, seconds: float, seed: int = 7) -> Pcm:
    """White noise at a level below full scale."""
    wave = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return clipped(wave * 32768 * 10 ** (level_db / 20))


def pink(level_db: float, seconds: float, seed: int = 7) -> Pcm:
    """Noise with as much energy in every octave, as rooms and fans have it."""
    count = int(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    wave = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), count)
    return clipped(wave / np.std(wave) * 32768 * 10 ** (level_db / 20))


def clipped(wave: npt.NDArray[np.float64]) -> Pcm:
    pcm: Pcm = wave.clip(-32768, 32767).astype(np.int16)
    return pcm


def quiet(seconds: float) -> Pcm:
    return noise(-70, seconds)


def joined(*parts: Pcm) -> Pcm:
    pcm: Pcm = np.concatenate(parts)
    return pcm
