"""The recognizers of the configuration: do they answer, take the key, have a model?

Nobody's voice is sent: an empty question is enough to see who answers.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

from bridge.doctor.findings import Remark, failed, ok, warning
from bridge.doctor.http import NoAnswer, Reply, ask
from bridge.doctor.visit import Visit
from bridge.recognition import Engine

WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json")


async def engines(visit: Visit) -> list[Remark]:
    """One remark for each engine, in the order of the list."""
    listed = visit.settings.scribe.engines
    looks = (
        _look(visit, engine, f"scribe.engines[{number}]") for number, engine in enumerate(listed)
    )
    return list(await asyncio.gather(*looks))


async def _look(visit: Visit, engine: Engine, at: str) -> Remark:
    if engine.engine == "pocketsphinx":
        return ok("engine.inside", engine=engine.engine)
    if engine.engine == "whisper":
        return _folder(visit.settings.path(engine.model_dir), at)
    key = ""
    if engine.api_key_file:
        path = visit.settings.path(engine.api_key_file)
        problem = _key_file(path, at)
        if problem is not None:
            return problem
        key = path.read_text(encoding="utf-8").strip()
    return await _server(engine, key, at)


def _folder(folder: Path, at: str) -> Remark:
    missing = [name for name in WHISPER_FILES if not (folder / name).is_file()]
    if missing:
        return failed("engine.folder", at=at, path=str(folder), missing=", ".join(missing))
    if find_spec("faster_whisper") is None:
        return failed("engine.extra", at=at)
    return ok("engine.inside", engine="whisper")


def _key_file(path: Path, at: str) -> Remark | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return failed("engine.no_key", at=at, path=str(path))
    if not text or len(text.split()) != 1:
        return failed("engine.no_key", at=at, path=str(path))
    if path.stat().st_mode & 0o077:
        return warning("engine.open_key", at=at, path=str(path))
    return None


async def _server(engine: Engine, key: str, at: str) -> Remark:
    url = engine.url.replace("ws", "http", 1) if engine.url.startswith("ws") else engine.url
    try:
        reply = await _ask(engine, url.rstrip("/"), key)
    except NoAnswer as error:
        return failed("engine.down", at=at, url=engine.url, reason=str(error))
    if reply.status in {401, 403}:
        return failed("engine.refused", at=at, url=engine.url, status=reply.shown)
    if reply.status >= 500:
        return failed("engine.broken", at=at, url=engine.url, status=reply.shown)
    return ok("engine.answers", engine=engine.engine, host=engine.host, ms=reply.ms)


async def _ask(engine: Engine, url: str, key: str) -> Reply:
    """What needs the key and does nothing: 400 and 404 are as good an answer as 200."""
    if engine.engine == "openai":
        return await ask("POST", f"{url}/audio/transcriptions", token=key)
    if engine.engine == "kyutai":
        return await ask("GET", url, headers={"kyutai-api-key": key} if key else {})
    return await ask("GET", url, token=key)
