"""Several synthetic people at one microphone: sentences, voices, mixtures with known turns.

Seeded throughout: the same seed gives the same samples. Needs flite and espeak-ng, and of Python's
libraries numpy alone, because the diarizer's own environment uses it too.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE = 16_000
Wave = npt.NDArray[np.float32]
"""Samples at 16 kHz between -1 and 1."""

FLITE = ("rms", "slt", "awb", "kal16")
ESPEAK = (
    *("en-us", "en-us+f2", "en-us+m3", "en-gb+f4", "en-gb+m7", "en-us+klatt2", "en-gb+Annie"),
    *("fr-fr", "fr-fr+f3", "fr-fr+m1", "fr-be+f5", "fr-be+m5", "fr-fr+linda", "fr-fr+michel"),
)
VOICES = (*(f"flite:{name}" for name in FLITE), *(f"espeak:{name}" for name in ESPEAK))

_WORDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("the office", "our team", "the ministry", "every colleague", "the prefect", "a citizen"),
        ("prepares", "reads again", "sends back", "has signed", "will publish", "never opened"),
        ("the budget", "a long report", "the new rules", "this letter", "the old contract"),
        ("before noon", "with great care", "on Monday", "in the large room", "without delay"),
        ("", "and nobody objects", "because the deadline is near", "as we said last week"),
    ),
    "fr": (
        ("le bureau", "notre équipe", "la préfète", "chaque agent", "le service", "une usagère"),
        ("prépare", "relit", "renvoie", "a signé", "publiera", "attend encore"),
        ("le budget", "un long rapport", "les nouvelles règles", "cette lettre", "la convention"),
        ("avant midi", "avec soin", "lundi matin", "dans la grande salle", "sans tarder"),
        ("", "et personne ne s'oppose", "car le délai est court", "comme on l'avait dit"),
    ),
}
HELD_OUT = {
    "en": (
        "could somebody write down what we have just decided",
        "I would rather wait until the figures are complete",
        "the train from Lyon arrives at twenty past seven",
        "yes of course that was my question as well",
        "please remember to invite the people from the archive",
        "there were only three answers to our survey",
        "we should move the workshop to another building",
        "last year nobody came to the second meeting",
        "can you hear me now or is the microphone still off",
        "my proposal is to test it in two regions first",
    ),
    "fr": (
        "est-ce que quelqu'un peut noter cette décision",
        "je préfère attendre que les chiffres soient complets",
        "le train de Lyon arrive à sept heures vingt",
        "oui bien sûr c'était aussi ma question",
        "pensez à inviter les collègues des archives",
        "nous n'avons reçu que trois réponses",
        "il faudrait changer de bâtiment pour l'atelier",
        "l'an dernier personne n'est venu à la deuxième réunion",
        "vous m'entendez ou le micro est encore coupé",
        "je propose un essai dans deux régions d'abord",
    ),
}
"""Said in mixtures that measure; nothing is trained on them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """`voice` speaks from `start` to `end`, in seconds."""

    start: float
    end: float
    voice: str


def language(voice: str) -> str:
    return "fr" if voice.startswith("espeak:fr") else "en"


def sentence(rng: np.random.Generator, tongue: str) -> str:
    """A sentence to train on."""
    return " ".join(str(rng.choice(column)) for column in _WORDS[tongue]).strip()


def say(text: str, voice: str) -> Wave:
    """A sentence without the silence around it, at one loudness."""
    kind, _, name = voice.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        said = {
            "flite": ["flite", "-voice", name, "-t", text, "-o", str(file)],
            "espeak": ["espeak-ng", "-v", name, "-w", str(file), text],
        }[kind]
        subprocess.run(said, check=True, capture_output=True)
        with wave.open(str(file), "rb") as reader:
            rate, content = reader.getframerate(), reader.readframes(reader.getnframes())
    samples = np.frombuffer(content, np.int16).astype(np.float64) / 32768
    return _trimmed(_resampled(samples, rate))


def mixture(
    seed: int, voices: Sequence[str], seconds: float, overlap: float = 0.15
) -> tuple[Wave, list[Turn]]:
    """People taking turns at random, each with sentences of `HELD_OUT`, over faint noise.

    `overlap`: share of the changes at which the next one begins 0.3 to 1.0 s early.
    """
    rng = np.random.default_rng(seed)
    audio = np.zeros(int((seconds + 15) * RATE), np.float32)
    turns: list[Turn] = []
    at, speaker = 0.5, ""
    while at < seconds:
        others = [voice for voice in voices if voice != speaker]
        unheard = [voice for voice in others if all(turn.voice != voice for turn in turns)]
        before, speaker = speaker, str(rng.choice(unheard or others or [speaker]))
        for _ in range(int(rng.integers(1, 4))):
            said = say(str(rng.choice(HELD_OUT[language(speaker)])), speaker)
            if before and before != speaker and rng.random() < overlap:
                at = max(0.0, at - float(rng.uniform(0.5, 1.2)))
            before = ""
            start = int(at * RATE)
            audio[start : start + len(said)] += said * float(rng.uniform(0.7, 1.2))
            turns.append(Turn(at, at + len(said) / RATE, speaker))
            at += len(said) / RATE + float(rng.uniform(0.1, 0.4))
    whole = audio[: int((at + 0.5) * RATE)]
    hiss = rng.standard_normal(len(whole)) * 10 ** (float(rng.uniform(-60, -48)) / 20)
    return np.clip(whole + hiss, -1, 1).astype(np.float32), turns


def pcm(samples: Wave) -> bytes:
    """As signed 16 bit."""
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()


def _resampled(samples: npt.NDArray[np.float64], rate: int) -> npt.NDArray[np.float64]:
    """By the spectrum of the whole: good enough for one sentence."""
    count = len(samples) * RATE // rate
    if count == len(samples):
        return samples
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(count // 2 + 1, complex)
    both = min(len(kept), len(spectrum))
    kept[:both] = spectrum[:both]
    return np.fft.irfft(kept, count) * (count / len(samples))


def _trimmed(samples: npt.NDArray[np.float64]) -> Wave:
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    said = samples[loud[0] : loud[-1] + 1]
    return (said * (0.06 / np.sqrt(np.mean(said**2)))).astype(np.float32)
