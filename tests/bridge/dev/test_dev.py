"""`python -m bridge dev` and `demo` as people and outside programs use them: whole processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from bridge.dev.ports import free_block
from bridge.dev.speech import spoken
from tests.support.synapse import Person

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.homeserver, pytest.mark.livekit]

SITE_KEYS = {
    "name",
    "server_name",
    "homeserver",
    "federation",
    "bot",
    "page",
    "livekit_service_url",
    "sfu_url",
    "api_key",
    "api_secret",
    "metrics",
    "pids",
    "registration_shared_secret",
    "data_dir",
    "users",
}


@contextmanager
def dev(var: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    log = var.with_suffix(".log")
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "dev", "--var", str(var), *options],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait(what: str, ready: Callable[[], Any], timeout: float = 60) -> Any:
    end = time.monotonic() + timeout
    while not (found := ready()):
        assert time.monotonic() < end, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.05)  # another process's files and pids: nothing to await
    return found


def facts(var: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((var / "dev.json").read_text()))
    except FileNotFoundError:
        return None


def started(var: Path, process: subprocess.Popen[str]) -> dict[str, Any]:
    def ready() -> dict[str, Any] | None:
        assert process.poll() is None, var.with_suffix(".log").read_text()
        return facts(var)

    return dict(wait("dev.json", ready))


def pids(found: dict[str, Any]) -> set[int]:
    return {
        pid
        for site in found["sites"]
        for entry in site["pids"].values()
        for pid in (entry if isinstance(entry, list) else [entry])
    }


def gone(numbers: set[int]) -> bool:
    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(runs(pid) for pid in numbers)


def people(found: dict[str, Any]) -> list[Person]:
    return [
        Person(homeserver=site["homeserver"], **user)
        for site in found["sites"]
        for user in site["users"]
    ]


async def check_what_dev_json_says(found: dict[str, Any]) -> None:
    everybody = people(found)
    bots = {site["bot"] for site in found["sites"]}
    for person in everybody:
        members = set(await person.members(found["room_id"]))
        assert members == bots | {one.user_id for one in everybody}
    wish = await everybody[0].state(found["room_id"], "eu.colloque.conference")
    assert wish["captions"] is True
    assert wish["transcript"] is True
    async with aiohttp.ClientSession() as http:
        for site in found["sites"]:
            for url in (site["page"], site["metrics"], f"{site['livekit_service_url']}/healthz"):
                async with http.get(url) as response:
                    assert response.status == 200, url


def test_two_sites_from_start_to_end(tmp_path: Path) -> None:
    var = tmp_path / "var"
    base = free_block(20)
    with dev(var, "--sites", "2", "--port-base", str(base)) as process:
        found = started(var, process)
        assert [site["name"] for site in found["sites"]] == ["a", "b"]
        for site in found["sites"]:
            assert set(site) == SITE_KEYS
            assert len(site["users"]) >= 2
        asyncio.run(check_what_dev_json_says(found))
        assert not gone(pids(found))

        # The bridge dies: it comes again, and sfu and scribe have not noticed.
        before = found["sites"][0]["pids"]
        os.kill(before["bridge"], signal.SIGKILL)

        def back() -> bool:
            now = (facts(var) or found)["sites"][0]["pids"]
            return now["bridge"] not in (None, before["bridge"])

        wait("a new bridge", back)
        found = facts(var) or found
        after = found["sites"][0]["pids"]
        assert (after["sfu"], after["scribe"]) == (before["sfu"], before["scribe"])

        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 0
    assert gone(pids(found))
    assert facts(var) is None
    log = var.with_suffix(".log").read_text()
    for said in ("Join page", "@alice:", "password", "!visio start", str(var), "Ctrl-C"):
        assert said in log
    assert "Traceback" not in log

    # The second start finds the room; one that is killed leaves nothing behind either.
    with dev(var, "--sites", "2") as process:
        again = started(var, process)
        assert again["room_id"] == found["room_id"]
        process.kill()
        wait("the end of all", lambda: gone(pids(again)), 30)


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    import socket

    base = free_block(10)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 4))
        taken.listen()
        with dev(tmp_path / "var", "--port-base", str(base)) as process:
            assert process.wait(30) == 1
    log = (tmp_path / "var.log").read_text()
    assert f"colloque: port {base + 4} is taken" in log
    assert "Traceback" not in log


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", "demo", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_the_demo_shows_what_it_must(tmp_path: Path) -> None:
    done = run_demo("--var", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "The room as http://127.0.0.1:" in done.stdout
    for file in ("transcript.md", "transcript.vtt", "transcript.json"):
        assert f"+ {file}" in done.stdout


def test_the_demo_takes_recordings(tmp_path: Path) -> None:
    import wave

    words = {"alice": "We need to talk about the price", "bob": "Thank you for coming"}
    options = []
    for name, text in words.items():
        pcm = spoken(text, "rms", tmp_path)
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 48000, 0, "NONE", ""))
            file.writeframes(pcm.tobytes())
        options += ["--say", f"{name}={tmp_path / name}.wav"]
    done = run_demo("--var", str(tmp_path / "demo"), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "price" in done.stdout
    assert "coming" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"RIFFnot a wave", "is not a WAV file")],
)
def test_recordings_that_are_none_are_named(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "speech.wav"
    if content is not None:
        file.write_bytes(content)
    done = run_demo("--var", str(tmp_path / "demo"), "--say", f"alice={file}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"colloque: {file}: {said}")


def test_the_demo_empties_no_folder_of_yours(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    done = run_demo("--var", str(tmp_path))
    assert done.returncode == 1
    assert "holds other data" in done.stderr
    assert (tmp_path / "letter.txt").exists()
