"""Supervision of real processes: a tiny HTTP server in Python plays the program."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bridge.config import Media, Settings
from bridge.media.keys import ApiKey
from bridge.media.process import is_running, last_line, read_record, start_of
from bridge.media.programs import (
    Program,
    answers_http,
    answers_socket,
    scribe_program,
    sfu_program,
    webhook_url,
)
from bridge.media.supervisor import Pace, ProgramsDown, Supervisor

SECRET = "never-on-a-command-line"
# Answers /; /hang stops it from answering any more; ignores SIGTERM where told to.
CHILD = """
import http.server, os, signal, sys
hung = False
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global hung
        hung = hung or self.path == "/hang"
        self.send_response(500 if hung else 200)
        self.end_headers()
        self.wfile.write(os.environ.get("CHILD_SECRET", "").encode())
    def log_message(self, *args): pass
if "slow" in sys.argv:
    asked = []
    def slowly(*_):
        asked.append(1)
        if len(asked) == 2: os._exit(0)
    signal.signal(signal.SIGTERM, slowly)
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
except OSError as error:
    sys.exit(f"port {sys.argv[1]} is taken")
print("serving", flush=True)
server.serve_forever()
"""
BRIDGE = """
import asyncio, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from bridge.media.supervisor import Supervisor
from tests.bridge.media.test_supervisor import program
async def main():
    one = Supervisor([program(int(sys.argv[1]))], Path(sys.argv[2]), registry=CollectorRegistry())
    running = asyncio.create_task(one.run())
    await one.wait_ready()
    print(one.pids["child"], flush=True)
    await running
asyncio.run(main())
"""
PACE = Pace(start=10, check=0.1, hung_after=3, first_pause=0.05, longest_pause=0.2, stop=0.5)


def program(port: int, *options: str) -> Program:
    return Program(
        name="child",
        argv=(sys.executable, "-c", CHILD, str(port), *options),
        secrets={"CHILD_SECRET": SECRET},
        healthy=lambda: answers_http(f"http://127.0.0.1:{port}/"),
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def supervised(
    folder: Path, *programs: Program, stop: bool = True
) -> AsyncIterator[Supervisor]:
    """A running supervisor. Without `stop` it goes as a killed bridge does."""
    supervisor = Supervisor(programs, folder, registry=CollectorRegistry(), pace=PACE)
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if stop:
            await supervisor.stop()


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- another process: it sets no Event
            await asyncio.sleep(0.02)


async def test_starts_and_ends_a_program(tmp_path: Path, port: int) -> None:
    async with supervised(tmp_path, program(port)) as supervisor:
        await supervisor.wait_ready()
        pid = supervisor.pids["child"]
        assert supervisor.states == {"child": "running"}
        assert await answers_http(f"http://127.0.0.1:{port}/")
        record = read_record(tmp_path / "child.process")
        assert record is not None
        assert (record.pid, is_running(record)) == (pid, True)
        assert os.getsid(pid) == pid, "a session of its own: no signal of our terminal reaches it"
    assert start_of(pid) is None
    assert not (tmp_path / "child.process").exists()
    assert supervisor.states == {"child": "down"}


async def test_a_dead_program_is_started_again(tmp_path: Path, port: int) -> None:
    async with supervised(tmp_path, program(port)) as supervisor:
        await supervisor.wait_ready()
        first = supervisor.pids["child"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pids.get("child", first) != first)
        await supervisor.wait_ready()
        assert start_of(first) is None


async def test_a_program_that_hangs_is_ended_and_started_again(tmp_path: Path, port: int) -> None:
    async with supervised(tmp_path, program(port)) as supervisor:
        await supervisor.wait_ready()
        first = supervisor.pids["child"]
        await answers_http(f"http://127.0.0.1:{port}/hang")
        await until(lambda: supervisor.pids.get("child", first) != first)
        await supervisor.wait_ready()


async def test_the_next_supervisor_adopts_what_runs(tmp_path: Path, port: int) -> None:
    async with supervised(tmp_path, program(port), stop=False) as first:
        await first.wait_ready()
        pid = first.pids["child"]
    assert start_of(pid) is not None
    async with supervised(tmp_path, program(port)) as second:
        await second.wait_ready()
        assert second.pids == {"child": pid}
        # It is not a child of the second one; its death is seen all the same.
        os.kill(pid, signal.SIGKILL)
        await until(lambda: second.pids.get("child", pid) != pid)
        await second.wait_ready()
        pid = second.pids["child"]
    assert start_of(pid) is None


async def test_a_bridge_killed_with_9_leaves_it_running(tmp_path: Path, port: int) -> None:
    bridge = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BRIDGE, str(port), str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert bridge.stdout is not None
    pid = int(await bridge.stdout.readline())
    bridge.kill()
    await bridge.wait()
    assert await answers_http(f"http://127.0.0.1:{port}/")
    async with supervised(tmp_path, program(port)) as supervisor:
        await supervisor.wait_ready()
        assert supervisor.pids == {"child": pid}
    assert start_of(pid) is None


async def test_other_settings_mean_a_new_process(tmp_path: Path, port: int) -> None:
    async with supervised(tmp_path, program(port), stop=False) as first:
        await first.wait_ready()
        pid = first.pids["child"]
    other = dataclasses.replace(program(port), secrets={"CHILD_SECRET": "another"})
    async with supervised(tmp_path, other) as second:
        await second.wait_ready()
        assert second.pids["child"] != pid
        assert start_of(pid) is None


async def test_a_record_of_another_process_with_that_number_is_not_believed(
    tmp_path: Path, port: int
) -> None:
    mine = program(port)
    (tmp_path / "child.process").write_text(
        f'{{"pid": {os.getpid()}, "started": "another boot:1", "digest": "{mine.digest}"}}'
    )
    async with supervised(tmp_path, mine) as supervisor:
        await supervisor.wait_ready()
        assert supervisor.pids["child"] != os.getpid()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"pid": "x"}', "\x00"])
async def test_a_damaged_record_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "child.process").write_text(text)
    assert read_record(tmp_path / "child.process") is None


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, port: int) -> None:
    async with supervised(tmp_path, program(port, "stubborn")) as supervisor:
        await supervisor.wait_ready()
        pid = supervisor.pids["child"]
    assert start_of(pid) is None


async def test_one_that_lets_calls_end_is_waited_for_and_can_be_hurried(
    tmp_path: Path, port: int
) -> None:
    slow = dataclasses.replace(program(port, "slow"), drain_s=60)
    async with supervised(tmp_path, slow, stop=False) as supervisor:
        await supervisor.wait_ready()
        pid = supervisor.pids["child"]
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.wait((stopping,), timeout=PACE.stop + 0.5)
    assert not stopping.done()
    assert start_of(pid) is not None
    supervisor.hurry()
    async with asyncio.timeout(10):
        await stopping
    assert start_of(pid) is None
    supervisor.hurry()


async def test_one_with_other_settings_is_not_waited_for(tmp_path: Path, port: int) -> None:
    slow = dataclasses.replace(program(port, "slow"), drain_s=60)
    async with supervised(tmp_path, slow, stop=False) as first:
        await first.wait_ready()
        pid = first.pids["child"]
    async with supervised(tmp_path, program(port, "other")) as second:
        await second.wait_ready(10)
        assert second.pids["child"] != pid


async def test_one_that_cannot_start_is_reported_with_its_last_words(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        async with supervised(tmp_path, program(port)) as supervisor:
            with pytest.raises(ProgramsDown, match=f"child: port {port} is taken"):
                await supervisor.wait_ready(timeout_s=1.5)
    assert f"port {port} is taken" in caplog.text


async def test_the_secret_is_in_no_command_line_file_or_log(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with supervised(tmp_path, program(port)) as supervisor:
        await supervisor.wait_ready()
        pid = supervisor.pids["child"]
        environment, command_line = _seen_by_others(pid)
        assert SECRET in environment
        assert SECRET not in command_line
        assert SECRET not in repr(program(port))
        assert not [file for file in _texts(tmp_path) if SECRET in file]
    assert SECRET not in caplog.text


def _seen_by_others(pid: int) -> tuple[str, str]:
    process = Path(f"/proc/{pid}")
    return (process / "environ").read_text(), (process / "cmdline").read_text()


def _texts(folder: Path) -> list[str]:
    return [file.read_text() for file in folder.iterdir()]


async def test_metrics_count_starts(tmp_path: Path, port: int) -> None:
    registry = CollectorRegistry()
    supervisor = Supervisor([program(port)], tmp_path, registry=registry, pace=PACE)
    task = asyncio.create_task(supervisor.run())
    await supervisor.wait_ready()
    assert registry.get_sample_value("colloque_process_up", {"process": "child"}) == 1
    assert registry.get_sample_value("colloque_process_starts_total", {"process": "child"}) == 1
    await supervisor.stop()
    await task  # run() ends by itself once stopped
    assert registry.get_sample_value("colloque_process_up", {"process": "child"}) == 0


async def test_stop_during_the_pause_starts_nothing_more(tmp_path: Path) -> None:
    dead = Program(name="child", argv=(sys.executable, "-c", "1"), healthy=_never)
    supervisor = Supervisor(
        [dead],
        tmp_path,
        registry=CollectorRegistry(),
        pace=dataclasses.replace(PACE, first_pause=30),
    )
    task = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.states["child"] == "down" and (tmp_path / "child.log").exists())
    await supervisor.stop()
    async with asyncio.timeout(2):
        await task


async def _never() -> bool:
    return False


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert last_line(log) == ""
    log.write_text("one\n" * 5000 + "two\n\n  \n")
    assert last_line(log) == "two"


async def test_health_of_a_local_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not await answers_socket(path)
    server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), path)
    assert await answers_socket(path)
    server.close()


def test_the_programs_of_a_bridge(tmp_path: Path) -> None:
    settings = dataclasses.replace(
        Settings(base=tmp_path),
        media=Media(
            api_url="http://127.0.0.1:7890",
            bind=["127.0.0.1"],
            advertised_addresses=["192.0.2.1"],
            stun_server="stun.example.org:3478",
            turn_urls=["turn:relay.example.org"],
            turn_secret_file="turn.secret",
        ),
    )
    key = ApiKey("k", SECRET)
    sfu = sfu_program(settings, key)
    line = " ".join(sfu.argv)
    assert "-m sfu --port 7890 --bind 127.0.0.1 --advertise 192.0.2.1" in line
    assert "--stun-server stun.example.org:3478 --udp-port" in line
    assert "--udp-port 7882 --tcp-port 7881 --turn-url turn:relay.example.org" in line
    assert f"--turn-secret-file {tmp_path / 'turn.secret'} --turn-ttl 14400" in line
    assert "--webhook http://127.0.0.1:29332/media/webhook" in line
    assert "--drain-s 0" in line
    assert SECRET not in line
    assert sfu.secrets == {"LIVEKIT_KEYS": f"k: {SECRET}"}
    scribe = scribe_program(settings)
    assert f"--socket {tmp_path / 'data' / 'scribe.sock'}" in " ".join(scribe.argv)
    assert f"--spool {tmp_path / 'data' / 'scribe.spool'}" in " ".join(scribe.argv)
    assert scribe.secrets == {}


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:1", "http://127.0.0.1:1/media/webhook"),
        ("0.0.0.0:1", "http://127.0.0.1:1/media/webhook"),
        (":1", "http://127.0.0.1:1/media/webhook"),
        ("[::]:1", "http://[::1]:1/media/webhook"),
        ("10.0.0.1:1", "http://10.0.0.1:1/media/webhook"),
    ],
)
def test_where_webhooks_go(listen: str, url: str) -> None:
    from bridge.config import Web

    assert webhook_url(dataclasses.replace(Settings(), web=Web(listen=listen))) == url
