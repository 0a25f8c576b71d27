"""How the scribe's process is told of the diarizer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bridge.scribe.diarizer.process import Diarization


def add(parser: argparse.ArgumentParser) -> None:
    """The options a diarizer is made from."""
    parser.add_argument(
        "--voices-model", type=Path, help="tell voices at one microphone apart: pipeline's folder"
    )
    parser.add_argument("--voices-python", default=sys.executable, help="it has pyannote.audio")
    parser.add_argument("--voices-most", type=int, default=8, help="people at one microphone")


def made(options: argparse.Namespace) -> Diarization | None:
    """None where voices are not told apart."""
    if options.voices_model is None:
        return None
    return Diarization(options.voices_python, options.voices_model, most=options.voices_most)
