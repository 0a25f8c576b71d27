"""SIGTERM ends the real process in time, and what was said is on disk."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from bridge.scribe import frames
from tests.bridge.scribe.call_stage import ALICE, BOB, MediaServer, Person, Stage, spoken
from tests.bridge.scribe.call_stage import Bridge as Listening
from tests.support.sound import Speak, joined, quiet

LIMIT_S = 20.0
"""The process promises 14 s; the rest is for a slow machine to write a trace."""
STALLS = """
import atexit, socket, sys, time
from bridge.scribe import ending, process
from bridge.scribe.spool import Spool
def stall(*arguments, **more):
    print("stalled", file=sys.stderr, flush=True)
    time.sleep(600)
{}
sys.exit(process.main(sys.argv[1:]))
"""
SOON = "ending.PATIENCE_S = 4; process.END_S = 2"
"""For what is ended by force, lest the tests take long."""
WHERE = {
    "a name server that does not answer": "socket.getaddrinfo = stall; process.END_S = 2",
    "a disk that does not answer": f"Spool._ack = stall; {SOON}",
    "the event loop": f"process.Scribe._stop = stall; {SOON}",
    "the end of the interpreter": "atexit.register(stall)",
}
FRAMES: list[dict[str, Any]] = [
    {
        "type": "start",
        "conference": "c",
        "room_id": "!r:example.org",
        "url": "ws://media.example.org",
        "token": "secret-token",
        "language": "en",
        "captions": True,
        "transcript": True,
        "epoch_ms": 1_795_424_400_000,
    },
    {"type": "ack", "keys": ["x"]},
    {"type": "stop", "conference": "other"},
]


async def scribe(folder: Path, program: str) -> asyncio.subprocess.Process:
    path, spool = str(folder / "scribe.sock"), str(folder / "spool")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "--workers", "1", "--socket", path, "--spool", spool),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        while not (folder / "scribe.sock").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
    return process


async def terminated(process: asyncio.subprocess.Process) -> str:
    """Its log from then on."""
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(LIMIT_S):
            return (await process.communicate())[1].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("where", WHERE)
async def test_whatever_hangs(tmp_path: Path, where: str) -> None:
    process = await scribe(tmp_path, STALLS.format(WHERE[where]))
    assert process.stderr is not None
    _, writer = await asyncio.open_unix_connection(tmp_path / "scribe.sock")
    writer.writelines([frames.encode(frame) for frame in FRAMES])
    if "atexit" not in WHERE[where]:
        async with asyncio.timeout(30):
            while b"stalled" not in await process.stderr.readline():
                pass
    await terminated(process)
    writer.close()


@pytest.mark.livekit
async def test_a_media_server_that_is_gone_and_an_engine_that_stalls(
    tmp_path: Path, speak: Speak
) -> None:
    server = MediaServer()
    await server.start()
    process = await scribe(tmp_path, STALLS.format(""))
    bridge = Listening(tmp_path / "scribe.sock")
    stage = Stage(server, bridge)
    try:
        async with Person.in_call("alice", server) as alice:
            async with bridge.linked() as link:
                await link.start(stage.order())
                await bridge.until("listening")
                await alice.say(joined(spoken(speak(ALICE, "rms"))))
                await bridge.heard("alice", 5)
            # Nobody takes from here on what is said: it is to be on disk.
            await alice.say(joined(spoken(speak(BOB, "rms")), quiet(2)))
            await said(tmp_path / "scribe.sock", 1)
            await alice.say(joined(quiet(0.5), speak(ALICE, "rms")))
            for worker in psutil.Process(process.pid).children():
                worker.suspend()
            await server.kill()
            await terminated(process)
    finally:
        await server.kill()
    assert process.returncode == 0
    with sqlite3.connect(tmp_path / "spool") as database:
        rows = database.execute("SELECT frame FROM segment").fetchall()
    kept = " ".join(json.loads(frame).get("text", "") for (frame,) in rows)
    assert "budget" in kept


async def said(path: Path, segments: int) -> None:
    """Wait until so many wait in the spool; none is acknowledged."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(frames.encode({"type": "ping"}))
    async with asyncio.timeout(40):
        while segments:
            frame = await frames.read(reader)
            segments -= frame is not None and frame["type"] == "segment"
    writer.close()
