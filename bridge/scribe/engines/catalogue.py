"""From the administrator's list to engines: what the settings say, built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import ConfigError
from bridge.recognition import Engine
from bridge.scribe.engines import Recognizer, Transcriber
from bridge.scribe.engines.choice import Choice, Option, meant
from bridge.scribe.engines.kyutai import Kyutai
from bridge.scribe.engines.openai import Dialect as Shape
from bridge.scribe.engines.openai import OpenAi
from bridge.scribe.engines.pocketsphinx import PocketSphinx
from bridge.scribe.engines.realtime import Dialect, Realtime
from bridge.scribe.engines.whisper import Whisper


def recognizer(engines: Sequence[Engine], *, workers: int = 2) -> Choice:
    """The engines that write during calls. Raises ConfigError where there is none.

    `workers`: processes of each engine inside.
    """
    live = [engine for engine in engines if engine.live]
    if not live:
        raise ConfigError("`scribe.engines` has none for calls: one needs `use: live` or `both`")
    return Choice([Option(_built(one, workers), frozenset(one.languages)) for one in live])


@dataclass(frozen=True, slots=True)
class After:
    """An engine for what was recorded. `languages`: what it is wanted for; empty: all it knows."""

    transcriber: Transcriber
    languages: frozenset[str]

    def knows(self, language: str) -> bool:
        """Whether it may be asked for what was said in this language."""
        known = self.transcriber.capability.understands(language)
        return known and (not self.languages or any(meant(t, language) for t in self.languages))


def transcribers(engines: Sequence[Engine]) -> list[After]:
    """The engines for when a call is over, the best one first; who falls is left for the next."""
    return [After(_for_after(one), frozenset(one.languages)) for one in engines if one.after]


def _for_after(engine: Engine) -> Transcriber:
    return Whisper(engine.model_dir) if engine.engine == "whisper" else _openai(engine)


def _built(engine: Engine, workers: int) -> Recognizer:
    if engine.engine == "pocketsphinx":
        return PocketSphinx(workers)
    key = Path(engine.api_key_file) if engine.api_key_file else ""
    if engine.engine == "kyutai":
        return Kyutai(engine.url, key)
    if engine.engine == "realtime":
        dialect: Dialect = "openai" if engine.dialect == "openai" else "vllm"
        return Realtime(engine.url, key, model=engine.model, dialect=dialect)
    return Whisper(engine.model_dir) if engine.engine == "whisper" else _openai(engine)


def _openai(engine: Engine) -> OpenAi:
    shape: Shape = "lasuite" if engine.dialect == "lasuite" else "openai"
    key = Path(engine.api_key_file) if engine.api_key_file else ""
    return OpenAi(engine.url, key, model=engine.model, dialect=shape)
