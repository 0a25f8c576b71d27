"""The real process: its socket, its spool, and what kill -9 does not take away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bridge.scribe import frames
from bridge.scribe.link import ScribeLink
from bridge.scribe.process import bind
from bridge.scribe.spool import Spool

START = "import sys; from bridge.scribe.process import main; sys.exit(main(sys.argv[1:]))"


async def started(path: Path, spool: Path) -> asyncio.subprocess.Process:
    """A scribe process; returns when it listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, "--workers", "1"),
        *("--socket", str(path), "--spool", str(spool)),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        while not await answers(path):
            assert process.returncode is None, (await process.communicate())[1].decode()
            await asyncio.sleep(0.05)
    return process


async def answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def ended(process: asyncio.subprocess.Process, number: int) -> str:
    """End it by a signal; its log."""
    if process.returncode is None:
        process.send_signal(number)
    async with asyncio.timeout(20):
        return (await process.communicate())[1].decode()


class Bridge:
    """A link and what came through it."""

    def __init__(self, path: Path) -> None:
        self.keys: list[str] = []
        self.states: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.link = ScribeLink(path, self._segments, self._session)
        self.got = asyncio.Condition()

    async def _segments(self, segments: list[dict[str, Any]]) -> None:
        async with self.got:
            self.keys += [segment["key"] for segment in segments]
            self.got.notify_all()

    async def _session(self, frame: dict[str, Any]) -> None:
        self.states.put_nowait(frame)

    async def until(self, conference: str, state: str, detail: str = "") -> None:
        async with asyncio.timeout(20):
            while True:
                frame = await self.states.get()
                if (frame["conference"], frame["state"], frame["detail"]) == (
                    conference,
                    state,
                    detail,
                ):
                    return

    async def has(self, count: int) -> None:
        async with asyncio.timeout(20), self.got:
            await self.got.wait_for(lambda: len(self.keys) >= count)


@asynccontextmanager
async def linked(path: Path) -> AsyncIterator[Bridge]:
    bridge = Bridge(path)
    running = asyncio.create_task(bridge.link.run())
    try:
        await asyncio.wait_for(bridge.link.wait_connected(), 20)
        yield bridge
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def order(conference: str, language: str = "en") -> dict[str, Any]:
    return {
        "conference": conference,
        "room_id": "!r:example.org",
        "url": "ws://127.0.0.1:9",  # nobody listens at the discard port
        "token": "secret-token",
        "language": language,
        "captions": True,
        "transcript": True,
        "epoch_ms": 1_795_424_400_000,
    }


def segment(number: int) -> dict[str, Any]:
    return {"type": "segment", "key": f"s-{number}:0", "conference": "c", "segment": f"s-{number}"}


async def test_unsent_finals_are_sent_after_the_scribe_was_killed(
    socket_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "spool"
    spool = await Spool.open(file)
    for number in range(3):
        await spool.put(segment(number))
    await spool.close()
    process = await started(socket_path, file)
    # A bridge that takes them and dies before it can acknowledge:
    reader, writer = await asyncio.open_unix_connection(socket_path)
    writer.write(frames.encode({"type": "ping"}))
    seen = [await asyncio.wait_for(frames.read(reader), 10) for _ in range(4)]
    assert [frame["type"] for frame in seen if frame] == ["hello", *["segment"] * 3]
    await ended(process, signal.SIGKILL)
    writer.close()
    process = await started(socket_path, file)
    async with linked(socket_path) as bridge:
        await bridge.has(3)
        assert bridge.keys == ["s-0:0", "s-1:0", "s-2:0"]
        await bridge.link.stop("c")
        await bridge.until("c", "stopped")  # the acknowledgement went before it
    async with linked(socket_path) as bridge:
        await bridge.link.stop("c")
        await bridge.until("c", "stopped")
        assert bridge.keys == []
    await ended(process, signal.SIGTERM)


async def test_a_killed_scribe_leaves_no_worker_behind(socket_path: Path, tmp_path: Path) -> None:
    process = await started(socket_path, tmp_path / "spool")
    async with linked(socket_path):  # warm
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        await ended(process, signal.SIGKILL)
        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 10)
    assert not alive


async def test_a_session_outlives_the_bridge_and_says_so(socket_path: Path, tmp_path: Path) -> None:
    process = await started(socket_path, tmp_path / "spool")
    async with linked(socket_path) as bridge:
        await bridge.link.start(order("c"))
        await bridge.until("c", "joining", "unreachable")
    async with linked(socket_path) as bridge:
        assert bridge.link.sessions == {"c": "joining"}
        await bridge.until("c", "joining", "unreachable")
        await bridge.until("c", "failed", "unreachable")
        await bridge.link.stop("c")
        await bridge.until("c", "stopped")
    async with linked(socket_path) as bridge:
        assert bridge.link.sessions == {}
    log = await ended(process, signal.SIGTERM)
    assert process.returncode == 0
    assert "cannot join" in log
    assert "secret-token" not in log


async def test_a_language_without_a_model_is_said_and_can_be_changed(
    socket_path: Path, tmp_path: Path
) -> None:
    process = await started(socket_path, tmp_path / "spool")
    async with linked(socket_path) as bridge:
        await bridge.link.start(order("c", language="fr"))
        await bridge.until("c", "failed", "language")
        await bridge.link.update("c", language="en")
        await bridge.until("c", "joining", "unreachable")
        await bridge.link.start({**order("c"), "language": "de"})
        await bridge.until("c", "failed", "language")
        await bridge.link.stop("c")
        await bridge.link.start(order("c"))  # at once, while the first one still ends
        await bridge.until("c", "stopped")
        await bridge.until("c", "joining", "unreachable")
    await ended(process, signal.SIGTERM)


async def test_an_address_that_is_none_is_said(socket_path: Path, tmp_path: Path) -> None:
    process = await started(socket_path, tmp_path / "spool")
    async with linked(socket_path) as bridge:
        for number, url in enumerate(["", "ws://[::1", "ws://127.0.0.1:99999", "nonsense"]):
            await bridge.link.start({**order(f"c{number}"), "url": url})
            await bridge.until(f"c{number}", "joining", "unreachable")
    await ended(process, signal.SIGTERM)
    assert process.returncode == 0


async def test_a_look_at_its_health_does_not_take_the_bridges_place(
    socket_path: Path, tmp_path: Path
) -> None:
    process = await started(socket_path, tmp_path / "spool")
    async with linked(socket_path) as bridge:
        for _ in range(3):
            assert await answers(socket_path)
        await bridge.link.stop("nobody")
        await bridge.until("nobody", "stopped")
        assert bridge.link.connected
    await ended(process, signal.SIGTERM)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frames.encode({"type": "start", "conference": 5}),
        frames.encode({"type": "stop"}),
        frames.encode({"type": "ack", "keys": "all"}),
    ],
)
async def test_nonsense_ends_a_connection_and_not_the_scribe(
    socket_path: Path, tmp_path: Path, garbage: bytes
) -> None:
    process = await started(socket_path, tmp_path / "spool")
    reader, writer = await asyncio.open_unix_connection(socket_path)
    writer.write(garbage)
    async with asyncio.timeout(10):
        while await reader.read(1000):
            pass
    writer.close()
    async with linked(socket_path) as bridge:
        await bridge.link.stop("c")
        await bridge.until("c", "stopped")
    await ended(process, signal.SIGTERM)


async def test_a_second_scribe_gets_one_clear_line(socket_path: Path, tmp_path: Path) -> None:
    process = await started(socket_path, tmp_path / "spool")
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START),
        *("--socket", str(socket_path), "--spool", str(tmp_path / "other")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert said.decode() == f"scribe: another scribe listens at {socket_path}\n"
    assert await answers(socket_path)
    await ended(process, signal.SIGTERM)
    assert not await answers(socket_path)


def test_a_socket_left_behind_is_replaced(socket_path: Path) -> None:
    bind(socket_path).close()
    assert socket_path.exists()
    listening = bind(socket_path)
    assert os.stat(socket_path).st_mode & 0o077 == 0
    listening.close()
