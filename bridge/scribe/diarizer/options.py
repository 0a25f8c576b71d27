"""How the scribe's process is told of the diarizer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bridge import config
from bridge.scribe.diarizer.process import Diarization


def add(parser: argparse.ArgumentParser) -> None:
    """The options a diarizer is made from."""
    parser.add_argument(
        "--voices-model", type=Path, help="tell voices at one microphone apart: pipeline's folder"
    )
    parser.add_argument("--voices-python", default=sys.executable, help="it has pyannote.audio")
    parser.add_argument("--voices-most", type=int, default=8, help="people at one microphone")


def made(options: argparse.Namespace) -> Diarization | None:
    """None where voices are not told apart. Raises ConfigError."""
    if options.voices_model is not None:
        return Diarization(options.voices_python, options.voices_model, most=options.voices_most)
    if options.config is None:
        return None
    settings = config.load(options.config)
    wanted = settings.diarization
    if not wanted.model_dir:
        return None
    folder = settings.path(wanted.model_dir)
    return Diarization(wanted.python or sys.executable, folder, most=wanted.max_speakers)
