"""`python -m bridge run` where something is not as it should be: one clear line, nothing left."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.config import Settings
from bridge.dev.layout import SitePlan, write_config
from bridge.dev.ports import free_block
from bridge.dev.records import part_pids
from bridge.matrix import registration

ROOT = Path(__file__).parents[3]


@pytest.fixture
def plan(tmp_path: Path) -> SitePlan:
    return SitePlan(name="x", folder=tmp_path, first_port=free_block(10), people=())


@pytest.fixture
def settings(plan: SitePlan) -> Settings:
    settings = write_config(plan)
    path = settings.path(settings.appservice.registration)
    path.write_text(registration.generate(settings))
    return settings


@contextmanager
def bridge(plan: SitePlan) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    log = plan.folder / "run.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "run", "--config", str(plan.config_path)],
            cwd=ROOT,
            stderr=output,
            text=True,
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.mark.parametrize("offset", [2, 3])
def test_a_taken_port_ends_it(plan: SitePlan, settings: Settings, offset: int) -> None:
    port = plan.first_port + offset
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with bridge(plan) as (process, log):
            assert process.wait(30) == 1
    said = log.read_text()
    assert "colloque: the port is taken" in said
    assert str(port) in said
    assert "Traceback" not in said


def test_a_missing_registration_ends_it(plan: SitePlan, settings: Settings) -> None:
    settings.path(settings.appservice.registration).unlink()
    with bridge(plan) as (process, log):
        assert process.wait(30) == 2
    assert "generate-registration" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_an_unreachable_homeserver_is_waited_for(plan: SitePlan, settings: Settings) -> None:
    with bridge(plan) as (process, log):
        end = time.monotonic() + 30
        while "the homeserver does not answer" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)  # another process's log: nothing to await
        assert f"127.0.0.1:{plan.client_port}" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    parts = part_pids(settings)
    assert (parts.sfu, parts.scribe) == ([], [])
    assert "Traceback" not in log.read_text()
