"""What models of the Whisper kind write in silence, having learnt from films' subtitles. Pure.

A phrase is left out only where the model itself doubts that there was speech: somebody may well say
"thank you for watching". Evidence is the model's: `no_speech_prob` and `avg_logprob`, as
faster-whisper and OpenAI's `verbose_json` have them; without them nothing is left out.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

NO_SPEECH = 0.5
"""From this probability of no speech on, a phrase of the list is believed to be made up."""
DOUBT = -0.8
"""...and below this mean log probability of its words. Whisper's own limits are 0.6 and -1.0, and
it wants both; a phrase of the list is worth less, so one of these is enough."""


def made_up(segment: Mapping[str, Any], language: str) -> bool:
    """Whether a segment is a known phrase, and the model doubts that anybody spoke."""
    doubts = _number(segment.get("no_speech_prob")) >= NO_SPEECH
    doubts = doubts or _number(segment.get("avg_logprob")) <= DOUBT
    return doubts and is_known(str(segment.get("text", "")), language)


def is_known(text: str, language: str) -> bool:
    """Whether the text is such a phrase; phrases of an unknown language are those of all."""
    lists = _phrases()
    tag = language.lower()[:2]
    said = _plain(text)
    chosen = [lists[tag]] if tag in lists else list(lists.values())
    return bool(said) and any(said.startswith(phrase) for one in chosen for phrase in one)


@cache
def _phrases() -> dict[str, tuple[str, ...]]:
    source = files("bridge.scribe.engines").joinpath("hallucinations.json")
    read = json.loads(source.read_text(encoding="utf-8"))
    return {tag: tuple(_plain(phrase) for phrase in phrases) for tag, phrases in read.items()}


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = (c if c.isalnum() else " " for c in decomposed if not unicodedata.combining(c))
    return " ".join("".join(letters).split())


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value)
