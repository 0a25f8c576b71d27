"""Audio for tests: samples at 16 kHz, and noise with known seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import soxr

from bridge.dev import speech
from bridge.scribe.engines import RATE

Pcm = npt.NDArray[np.int16]
Speak = Callable[[str, str], Pcm]
"""A sentence in one of flite's voices."""


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
