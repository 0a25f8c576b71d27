"""The doctor looks at each recognizer of the configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bridge.config import Scribe, Settings
from bridge.doctor import engines as probes
from bridge.doctor.findings import Remark
from bridge.doctor.visit import Visit
from bridge.recognition import Engine
from tests.support.transcriptions_server import Transcriptions, serving


async def looked(folder: Path, *engines: Engine) -> list[Remark]:
    settings = dataclasses.replace(Settings(), base=folder, scribe=Scribe(engines=list(engines)))
    return await probes.engines(Visit(folder / "config.yaml", found=settings))


async def test_a_server_that_takes_the_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    key.chmod(0o600)
    async with serving(Transcriptions()) as server:
        engine = Engine(engine="openai", url=server.url, model="m", api_key_file="key")
        inside, there = await looked(tmp_path, Engine(), engine)
        assert (inside.key, there.key) == ("engine.inside", "engine.answers")
        key.write_text("another")
        (refused,) = await looked(tmp_path, engine)
        assert (refused.outcome, refused.key) == ("failed", "engine.refused")
        key.chmod(0o644)
        (open_key,) = await looked(tmp_path, engine)
        assert (open_key.outcome, open_key.key) == ("warning", "engine.open_key")
        key.unlink()
        (missing,) = await looked(tmp_path, engine)
        assert (missing.key, missing.values["at"]) == ("engine.no_key", "scribe.engines[0]")
    (down,) = await looked(tmp_path, dataclasses.replace(engine, api_key_file=""))
    assert (down.outcome, down.key) == ("failed", "engine.down")


@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_that_is_broken(tmp_path: Path, status: int) -> None:
    async with serving(Transcriptions()) as server:
        server.status = status
        engine = Engine(engine="openai", url=server.url, model="m")
        (broken,) = await looked(tmp_path, engine)
        assert (broken.outcome, broken.key) == ("failed", "engine.broken")


async def test_a_websocket_server_is_reached(tmp_path: Path) -> None:
    async with serving(Transcriptions()) as server:
        url = server.url.replace("http", "ws")
        kyutai = Engine(engine="kyutai", url=url)
        realtime = Engine(engine="realtime", url=url, model="m")
        found = await looked(tmp_path, kyutai, realtime)
        assert [remark.key for remark in found] == ["engine.answers", "engine.answers"]


async def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (found,) = await looked(tmp_path, Engine(engine="whisper", model_dir="models/whisper"))
    assert found.key == "engine.folder"
    assert "model.bin" in str(found.values["missing"])
    folder = tmp_path / "models" / "whisper"
    folder.mkdir(parents=True)
    for name in probes.WHISPER_FILES:
        (folder / name).touch()
    (found,) = await looked(tmp_path, Engine(engine="whisper", model_dir="models/whisper"))
    assert found.key in {"engine.extra", "engine.inside"}
