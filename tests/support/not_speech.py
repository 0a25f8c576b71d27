"""Sounds of meetings that are no speech, each made from a seed: no word may come of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bridge.scribe.engines import RATE
from tests.support.sound import Pcm, clipped, noise, pink

Wave = npt.NDArray[np.float64]
Sound = Callable[[float, int], Pcm]
"""So many seconds of it, from a seed."""


def silence(seconds: float, seed: int) -> Pcm:
    """What an open microphone sends in a quiet room."""
    return noise(-70, seconds, seed)


def white(seconds: float, seed: int) -> Pcm:
    return noise(-28, seconds, seed)


def fan(seconds: float, seed: int) -> Pcm:
    """Pink noise that swells and sinks, as of a fan or a street."""
    wave = pink(-28, seconds, seed).astype(np.float64)
    return clipped(wave * (1 + 0.7 * np.sin(2 * np.pi * 0.4 * _time(seconds) + seed)))


def babble(seconds: float, seed: int) -> Pcm:
    """Noise with the spectrum and the syllables of many voices, and no word in it."""
    rng = np.random.default_rng(seed)
    total = np.zeros(int(seconds * RATE))
    for _ in range(12):
        band = _band(rng.standard_normal(len(total)), 250, float(rng.uniform(700, 3400)))
        total += band * _slow(rng, seconds, rate=float(rng.uniform(3, 6)))
    return _at(total, -26)


def chords(seconds: float, seed: int) -> Pcm:
    """Held chords with harmonics, as of an organ or strings: one every 1.6 s."""
    rng = np.random.default_rng(seed)
    return _notes(seconds, rng, every=1.6, length=1.6, voices=4, decay=0.4)


def arpeggios(seconds: float, seed: int) -> Pcm:
    """A piano's broken chords: a note every 0.18 s."""
    rng = np.random.default_rng(seed)
    return _notes(seconds, rng, every=0.18, length=0.9, voices=1, decay=4.0)


def drums(seconds: float, seed: int) -> Pcm:
    rng = np.random.default_rng(seed)
    total = np.zeros(int(seconds * RATE) + RATE)
    for number, at in enumerate(np.arange(0, seconds, 0.25)):
        time = np.arange(RATE // 4) / RATE
        kick = np.sin(2 * np.pi * (50 * time + 6 * np.exp(-time * 30))) * np.exp(-time * 14)
        snare = rng.standard_normal(len(time)) * np.exp(-time * 22)
        begin = int(at * RATE)
        total[begin : begin + len(time)] += snare if number % 4 == 2 else kick
    return _at(total[: int(seconds * RATE)], -22)


def song(seconds: float, seed: int) -> Pcm:
    """A voice-like tone that glides and trembles, with the resonances of an `a`, without words."""
    rng, time = np.random.default_rng(seed), _time(seconds)
    notes = rng.choice([147, 165, 196, 220, 247, 262], int(seconds / 0.7) + 2).astype(float)
    pitch = np.interp(time, np.arange(len(notes)) * 0.7, notes) * (
        1 + 0.02 * np.sin(2 * np.pi * 5.5 * time)
    )
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    total = np.zeros(len(time))
    for k in range(1, 16):
        loud = sum(np.exp(-(((pitch * k - f) / 150) ** 2)) for f in (730.0, 1090.0, 2440.0))
        total += (0.05 + np.asarray(loud)) / k**0.5 * np.sin(k * phase)
    return _at(total, -22)


def hold_tone(seconds: float, seed: int) -> Pcm:
    """A telephone's tone: 440 Hz, half a second in every three and a half (ITU-T E.180, France)."""
    time = _time(seconds)
    return clipped(6000 * np.sin(2 * np.pi * 440 * time) * ((time + seed) % 3.5 < 1.5))


def dtmf(seconds: float, seed: int) -> Pcm:
    """Keys of a telephone (ITU-T Q.23), 0.1 s each."""
    rng, time = np.random.default_rng(seed), _time(seconds)
    slot = (time / 0.2).astype(int)
    low = rng.choice([697, 770, 852, 941], slot.max() + 1)[slot]
    high = rng.choice([1209, 1336, 1477], slot.max() + 1)[slot]
    both = np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)
    return clipped(4000 * both * (time % 0.2 < 0.1))


def clicks(seconds: float, seed: int) -> Pcm:
    return _strokes(seconds, seed, every=0.5, ring_hz=3000, fade=900)


def keyboard(seconds: float, seed: int) -> Pcm:
    """Somebody types beside the microphone, in bursts."""
    return _strokes(seconds, seed, every=0.14, ring_hz=1200, fade=150)


NOISES: dict[str, Sound] = {
    "white noise": white,
    "fan": fan,
    "babble": babble,
    "clicks": clicks,
    "keyboard": keyboard,
}
MUSIC: dict[str, Sound] = {
    "chords": chords,
    "arpeggios": arpeggios,
    "drums": drums,
    "song without words": song,
    "hold tone": hold_tone,
    "telephone keys": dtmf,
}
ALL: dict[str, Sound] = {"silence": silence, **NOISES, **MUSIC}


def _time(seconds: float) -> Wave:
    wave: Wave = np.arange(int(seconds * RATE)) / RATE
    return wave


def _at(wave: Wave, level_db: float) -> Pcm:
    return clipped(wave / (np.std(wave) + 1e-9) * 32768 * 10 ** (level_db / 20))


def _band(wave: Wave, low: float, high: float) -> Wave:
    spectrum = np.fft.rfft(wave)
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    kept: Wave = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), len(wave))
    return kept


def _slow(rng: np.random.Generator, seconds: float, rate: float) -> Wave:
    """A loudness that changes so many times a second."""
    points = rng.random(int(seconds * rate) + 2) ** 2
    wave: Wave = np.interp(_time(seconds), np.arange(len(points)) / rate, points)
    return wave


def _notes(
    seconds: float,
    rng: np.random.Generator,
    *,
    every: float,
    length: float,
    voices: int,
    decay: float,
) -> Pcm:
    total = np.zeros(int((seconds + length) * RATE) + 1)
    time = np.arange(int(length * RATE)) / RATE
    edge = np.minimum(1, np.minimum(time, length - time) / 0.01)
    for at in np.arange(0, seconds, every):
        for semitone in rng.choice([0, 3, 4, 7, 9, 12, 16, 19], voices, replace=False):
            hertz = 196 * 2 ** (semitone / 12)
            tone = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 7))
            begin = int(at * RATE)
            total[begin : begin + len(time)] += tone * np.exp(-decay * time) * edge
    return _at(total[: int(seconds * RATE)], -22)


def _strokes(seconds: float, seed: int, *, every: float, ring_hz: float, fade: float) -> Pcm:
    rng = np.random.default_rng(seed)
    total = np.zeros(int(seconds * RATE) + RATE)
    time = np.arange(RATE // 10) / RATE
    for at in np.arange(0, seconds, every):
        begin = int((at + rng.uniform(0, every)) * RATE)
        ring = np.sin(2 * np.pi * ring_hz * rng.uniform(0.7, 1.4) * time)
        stroke = (ring + rng.standard_normal(len(time))) * np.exp(-time * fade)
        total[begin : begin + len(time)] += stroke * rng.uniform(0.3, 1)
    return clipped(total[: int(seconds * RATE)] * 9000)
