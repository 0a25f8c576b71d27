"""The doctor looks at what telling voices apart takes."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from bridge.config import Diarization, Settings
from bridge.doctor import voices as probes
from bridge.doctor.findings import Remark
from bridge.doctor.visit import Visit
from tests.support.diarization import MODULES, PYTHON, tiny_model


async def looked(folder: Path, python: str, model_dir: str) -> Remark:
    wanted = Diarization(python=python, model_dir=model_dir)
    settings = dataclasses.replace(Settings(), base=folder, diarization=wanted)
    return await probes.voices(Visit(folder / "config.yaml", found=settings))


async def test_where_it_is_not_wanted_nothing_is_looked_at(tmp_path: Path) -> None:
    found = await looked(tmp_path, "", "")
    assert (found.outcome, found.key) == ("not_checked", "voices.off")


async def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    found = await looked(tmp_path, "/nowhere/python", "model")
    assert (found.outcome, found.key) == ("failed", "voices.python")


async def test_the_folder_is_looked_at_before_it_is_loaded(tmp_path: Path) -> None:
    assert (await looked(tmp_path, sys.executable, "model")).key == "voices.folder"
    folder = tmp_path / "model"
    folder.mkdir(mode=0o755)
    assert (await looked(tmp_path, sys.executable, "model")).key == "voices.folder"
    (folder / "config.yaml").touch()
    folder.chmod(0o777)
    found = await looked(tmp_path, sys.executable, "model")
    assert (found.key, found.values["path"]) == ("voices.foreign", str(folder))


async def test_a_python_without_pyannote(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    found = await looked(tmp_path, sys.executable, "tiny_diarizer")
    assert (found.outcome, found.key) == ("failed", "voices.extra")


async def test_a_worker_that_says_nothing(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    found = await looked(tmp_path, "false", "tiny_diarizer")
    assert (found.key, found.values["reason"]) == ("voices.broken", "exit status 1")


async def test_a_pipeline_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(MODULES))
    folder = tiny_model(tmp_path)
    found = await looked(tmp_path, str(PYTHON), folder.name)
    assert (found.outcome, found.key) == ("ok", "voices.loads"), found.values
