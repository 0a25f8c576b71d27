"""The environment of pyannote.audio, the tests' tiny pipeline, and how wrong an answer is."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.crowd import Turn

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-diarization" / "bin" / "python"
"""Made by `make test`; pyannote.audio is in no other environment."""
MODULES = ROOT / "tests" / "tools"
"""To be on PYTHONPATH of who loads the tiny pipeline: tiny_speaker.py is there."""
TRAINED = ROOT / "tests" / "data" / "tiny_diarizer"

_RATE = """
import json, sys
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate
said, found = (
    Annotation.from_records(((Segment(a, b), n, v) for n, (a, b, v) in enumerate(turns)))
    for turns in json.load(sys.stdin)
)
print(json.dumps(DiarizationErrorRate(collar=0.0, skip_overlap=False)(said, found)))
"""


def tiny_model(folder: Path) -> Path:
    """A copy that nobody but its owner may write to, whatever the mask of a checkout."""
    copy = folder / "tiny_diarizer"
    shutil.copytree(TRAINED, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def error_rate(said: Sequence[Turn], found: Sequence[Turn]) -> float:
    """DER by pyannote.metrics: no collar, overlaps counted; 0.2 is 20 %."""
    turns = [[(t.start, t.end, t.voice) for t in one] for one in (said, found)]
    answer = subprocess.run(
        [PYTHON, "-c", _RATE], input=json.dumps(turns), capture_output=True, text=True, check=True
    )
    return float(json.loads(answer.stdout.splitlines()[-1]))


def rightly(words: Sequence[Turn], said: Sequence[Turn]) -> float:
    """Share of the words within a turn that carry the label most of that person's words have."""
    pairs = [(who, word.voice) for word in words for who in _speaking(word, said)]
    labels: dict[str, Counter[str]] = {}
    for who, label in pairs:
        labels.setdefault(who, Counter())[label] += 1
    right = sum(max(counted.values()) for counted in labels.values())
    return right / max(1, len(pairs))


def _speaking(word: Turn, said: Sequence[Turn]) -> list[str]:
    """Who speaks in the middle of a word, where one person alone does."""
    middle = (word.start + word.end) / 2
    people = {turn.voice for turn in said if turn.start <= middle <= turn.end}
    return list(people) if len(people) == 1 else []
