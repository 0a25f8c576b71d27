"""A toy language that survives resampling: every word is a tone of its own pitch.

A server that hears it really decodes the audio it is sent: a test passes only with the right audio
in the right order, without a hole and without a repetition.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bridge.scribe.engines import RATE
from tests.support.sound import Pcm, clipped, joined

WORDS = [
    *("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india"),
    *("juliett", "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo"),
    *("sierra", "tango", "uniform", "victor", "whiskey", "xray", "yankee", "zulu"),
]
LOWEST, APART = 500.0, 100.0
"""Hz: the pitch of the first word, and how far the next one is above it."""
TONE_S, GAP_S = 0.32, 0.16


def tones(text: str, tone_s: float = TONE_S, gap_s: float = GAP_S) -> Pcm:
    """Words one after the other, each followed by a gap; 16 kHz."""
    gap = np.zeros(int(gap_s * RATE), np.int16)
    time = np.arange(int(tone_s * RATE)) / RATE
    parts: list[Pcm] = []
    for word in text.split():
        wave = np.sin(2 * np.pi * (LOWEST + APART * WORDS.index(word)) * time)
        parts += [clipped(wave * 12000), gap]
    return joined(*parts)


def heard(samples: Any, rate: int) -> str | None:
    """The word that fills these samples (80 ms, -1 to 1); None where they are mostly silent."""
    if float(np.sqrt(np.mean(np.square(samples)))) < 0.12:
        return None
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 4 * len(samples)))
    pitch = float(np.argmax(spectrum)) * rate / (4 * len(samples))
    number = round((pitch - LOWEST) / APART)
    return WORDS[number] if 0 <= number < len(WORDS) else None
