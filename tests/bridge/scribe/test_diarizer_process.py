"""The diarizer's process, with workers that behave as broken ones do, and what it may load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bridge.scribe.diarizer import Diarized, NotDiarized, VoiceTurn, process
from bridge.scribe.diarizer.directory import BadDirectory, check
from bridge.scribe.diarizer.process import Diarization

WORKER = """
import json, os, sys, time
sys.path.insert(0, {folder!r})
import worker
out, log = sys.stdout.buffer, sys.argv[1] + "/log"
say = lambda answer: worker.write(out, answer)
def serve(requests):
    while len(head := requests.read(worker.HEAD.size)) == worker.HEAD.size:
        length, most = worker.HEAD.unpack(head)
        pcm = requests.read(length)
        open(log, "a").write(f"{{len(pcm)}} {{most}}\\n")
        {behaviour}
{start}
serve(sys.stdin.buffer)
"""
FINE = 'say({"turns": [[0, len(pcm) // 2, "A"]], "prints": {"A": [1.0, 0.0]}})'
READY = 'say({"ready": True})'


def worker(behaviour: str, start: str = READY) -> tuple[str, ...]:
    folder = str(Path(process.worker.__file__).parent)
    code = WORKER.format(folder=folder, behaviour=behaviour, start=start)
    return (sys.executable, "-c", code)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir(mode=0o755)
    (folder / "config.yaml").write_text("pipeline: {}")
    return folder


@contextlib.asynccontextmanager
async def running(folder: Path, behaviour: str, start: str = READY) -> AsyncIterator[Diarization]:
    diarizer = Diarization("python", folder, command=worker(behaviour, start))
    task = asyncio.create_task(diarizer.run())
    try:
        yield diarizer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_request_is_answered_and_the_worker_is_started_only_then(model: Path) -> None:
    async with running(model, FINE) as diarizer:
        assert diarizer.pid is None
        found = await asyncio.wait_for(diarizer.diarize(bytes(640), 3), 30)
        assert found == Diarized((VoiceTurn(0, 320, "A"),), {"A": (1.0, 0.0)})
        pid = diarizer.pid
        await asyncio.wait_for(diarizer.diarize(bytes(64), 0), 30)
        assert diarizer.pid == pid
    assert (model / "log").read_text() == "640 3\n64 0\n"
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_worker_that_dies_is_replaced_and_asked_again(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FIRST_PAUSE_S", 0.01)
    once = f"os._exit(1) if open(log).read().count(chr(10)) == 1 else {FINE}"
    async with running(model, once) as diarizer:
        found = await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)
        assert found.turns[0].voice == "A"


async def test_a_request_that_kills_every_worker_is_given_up(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FIRST_PAUSE_S", 0.01)
    async with running(model, f"os._exit(1) if length == 32 else {FINE}") as diarizer:
        with pytest.raises(NotDiarized, match="died of it"):
            await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)
        await asyncio.wait_for(diarizer.diarize(bytes(64), 0), 30)


async def test_a_worker_that_hangs_is_killed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ANSWER_S", 0.2)
    monkeypatch.setattr(process, "FIRST_PAUSE_S", 0.01)
    async with running(model, "time.sleep(60)") as diarizer:
        with pytest.raises(NotDiarized):
            await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)


@pytest.mark.parametrize(
    ("start", "reason"),
    [('say({"error": "no model"})', "no model"), ("os._exit(3)", "cannot be started")],
)
async def test_a_pipeline_that_cannot_be_loaded_is_said_at_once(
    model: Path, start: str, reason: str
) -> None:
    async with running(model, FINE, start) as diarizer:
        with pytest.raises(NotDiarized, match=reason):
            await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)


async def test_an_error_of_one_request_is_its_own(model: Path) -> None:
    async with running(model, f'say({{"error": "odd"}}) if length == 32 else {FINE}') as diarizer:
        with pytest.raises(NotDiarized, match="odd"):
            await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)
        await asyncio.wait_for(diarizer.diarize(bytes(64), 0), 30)
        pid = diarizer.pid
        await asyncio.wait_for(diarizer.diarize(bytes(64), 0), 30)
        assert diarizer.pid == pid


async def test_what_somebody_waits_for_comes_first_and_the_queue_is_bounded(model: Path) -> None:
    async with running(model, f"time.sleep(0.05); {FINE}") as diarizer:
        late = asyncio.create_task(diarizer.diarize(bytes(2), 0, patient=True))
        asked = [
            asyncio.create_task(diarizer.diarize(bytes(4 * number), 0))
            for number in range(1, process.WAITING + 3)
        ]
        results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
        await asyncio.wait_for(late, 30)
        dropped = [isinstance(result, NotDiarized) for result in results]
        assert dropped == [True] * 2 + [False] * process.WAITING
    assert (model / "log").read_text().splitlines()[-1] == "2 0"


async def test_too_much_that_is_patient_is_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENT", 0)
    async with running(model, FINE) as diarizer:
        with pytest.raises(NotDiarized, match="too much"):
            await diarizer.diarize(bytes(2), 0, patient=True)


async def test_an_idle_worker_is_ended(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "IDLE_S", 0.05)
    async with running(model, FINE) as diarizer:
        await asyncio.wait_for(diarizer.diarize(bytes(2), 0), 30)
        async with asyncio.timeout(30):
            while diarizer.pid is not None:  # noqa: ASYNC110 - the kernel tells nobody else
                await asyncio.sleep(0.02)
        await asyncio.wait_for(diarizer.diarize(bytes(2), 0), 30)


async def test_a_folder_that_others_may_write_to_is_not_loaded(model: Path) -> None:
    os.chmod(model, 0o757)  # noqa: S103 - to be refused
    async with running(model, FINE) as diarizer:
        with pytest.raises(NotDiarized, match="may be written to by others"):
            await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)
    assert not (model / "log").exists()


def _fails(folder: Path) -> str:
    with pytest.raises(BadDirectory) as raised:
        check(folder)
    return raised.value.key


def test_which_folders_may_be_loaded(model: Path, tmp_path: Path) -> None:
    check(model)
    assert _fails(tmp_path / "none") == "missing"
    weights = model / "embedding" / "pytorch_model.bin"
    weights.parent.mkdir()
    weights.write_bytes(b"")
    check(model)
    weights.chmod(0o664)
    assert _fails(model) == "writable"
    weights.chmod(0o644)
    (model / "link").symlink_to(tmp_path / "open")
    (tmp_path / "open").touch()
    (tmp_path / "open").chmod(0o666)
    assert _fails(model) == "writable"
    (model / "link").unlink()
    (model / "config.yaml").unlink()
    assert _fails(model) == "layout"


def test_a_folder_in_a_folder_open_to_all_is_refused(tmp_path: Path) -> None:
    above = tmp_path / "above"
    folder = above / "model"
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    above.chmod(0o777)
    assert _fails(folder) == "writable"
    above.chmod(0o1777)
    check(folder)


def test_files_of_others_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = (model / "config.yaml").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:  # root's files are anybody's to load
        check(model)
        os.chown(model / "config.yaml", 12345, 12345)
    assert _fails(model) == "owner"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_worker_is_loaded_before_anything_is_asked(model: Path) -> None:
    start = f"open(sys.argv[1] + '/loaded', 'a').write('x'); {READY}"
    async with running(model, FINE, start) as diarizer:
        diarizer.warm()
        diarizer.warm()
        await until((model / "loaded").exists)
        pid = diarizer.pid
        diarizer.warm()
        await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)
        assert diarizer.pid == pid is not None
    assert (model / "loaded").read_text() == "x"


async def test_warming_that_fails_is_tried_once_and_harms_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "FIRST_PAUSE_S", 0.01)
    start = (
        "log_ = sys.argv[1] + '/tried'; tried = os.path.exists(log_); open(log_, 'a').write('x');"
        f"{READY} if tried else say({{'error': 'no model'}})"
    )
    async with running(model, FINE, start) as diarizer:
        diarizer.warm()
        await until(lambda: "no model" in caplog.text)
        assert (model / "tried").read_text() == "x"
        found = await asyncio.wait_for(diarizer.diarize(bytes(32), 0), 30)
        assert found.turns
    assert (model / "tried").read_text() == "xx"
