"""From the administrator's list to engines: what the settings say, built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bridge.errors import ConfigError
from bridge.recognition import Engine
from bridge.scribe.engines import Recognizer
from bridge.scribe.engines.choice import Choice, Option
from bridge.scribe.engines.kyutai import Kyutai
from bridge.scribe.engines.pocketsphinx import PocketSphinx
from bridge.scribe.engines.realtime import Dialect, Realtime


def recognizer(engines: Sequence[Engine], *, workers: int = 2) -> Choice:
    """The engines that write during calls. Raises ConfigError where there is none.

    `workers`: processes of each engine inside.
    """
    live = [engine for engine in engines if engine.live]
    if not live:
        raise ConfigError("`scribe.engines` has none for calls: one needs `use: live` or `both`")
    return Choice([Option(_built(one, workers), frozenset(one.languages)) for one in live])


def _built(engine: Engine, workers: int) -> Recognizer:
    if engine.engine == "pocketsphinx":
        return PocketSphinx(workers)
    key = Path(engine.api_key_file) if engine.api_key_file else ""
    if engine.engine == "kyutai":
        return Kyutai(engine.url, key)
    if engine.engine == "realtime":
        dialect: Dialect = "openai" if engine.dialect == "openai" else "vllm"
        return Realtime(engine.url, key, model=engine.model, dialect=dialect)
    raise ConfigError(f"the engine `{engine.engine}` cannot write during calls in this version")
