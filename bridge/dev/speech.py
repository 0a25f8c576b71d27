"""Speech for the demo: spoken by flite, or read from a WAV file."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from bridge.errors import ColloqueError

RATE = 48_000
Pcm = npt.NDArray[np.int16]


def spoken(text: str, voice: str, folder: Path) -> Pcm:
    """`text` in one of flite's voices, mono at RATE. Raises ColloqueError without flite."""
    flite = shutil.which("flite")
    if flite is None:
        raise ColloqueError(
            "the demo speaks with flite, which is not installed: `apt-get install flite`, "
            "or give it recorded speech: --say alice=FILE.wav --say bob=FILE.wav"
        )
    file = folder / "speech.wav"
    done = subprocess.run(
        [flite, "-voice", voice, "-t", text, "-o", str(file)], capture_output=True, check=False
    )
    if done.returncode != 0:
        raise ColloqueError(f"flite failed: {done.stderr.decode(errors='replace').strip()}")
    return read_wav(file)


def read_wav(file: Path) -> Pcm:
    """A 16-bit PCM WAV file of any rate, as mono at RATE. Raises ColloqueError for another kind."""
    try:
        with wave.open(str(file), "rb") as reader:
            width, channels, rate = (
                reader.getsampwidth(),
                reader.getnchannels(),
                reader.getframerate(),
            )
            content = reader.readframes(reader.getnframes())
    except OSError as error:
        raise ColloqueError(f"{file}: cannot be read: {error.strerror}") from error
    except (wave.Error, EOFError) as error:
        raise ColloqueError(f"{file}: is not a WAV file of PCM samples: {error}") from error
    if width != 2 or not content:
        raise ColloqueError(f"{file}: must hold 16-bit samples (it has {8 * width}-bit ones)")
    samples = np.frombuffer(content, np.int16).reshape(-1, channels).mean(axis=1)
    resampled: npt.NDArray[Any] = soxr.resample(samples, rate, RATE)
    pcm: Pcm = np.clip(resampled, -32768, 32767).astype(np.int16)
    return pcm
