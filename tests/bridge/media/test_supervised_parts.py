"""The real media server and the real scribe under supervision."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bridge.config import Media, Scribe, Settings, Web
from bridge.media.keys import api_key
from bridge.media.process import start_of
from bridge.media.programs import scribe_program, sfu_program
from bridge.media.server import MediaServer
from bridge.media.supervisor import ProgramsDown, Supervisor
from bridge.recognition import Engine
from tests.support.synapse import free_ports


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port, udp, tcp, web_port = free_ports(4)
    return dataclasses.replace(
        Settings(base=tmp_path),
        web=Web(listen=f"127.0.0.1:{web_port}"),
        media=Media(
            api_url=f"http://127.0.0.1:{port}",
            public_url=f"ws://127.0.0.1:{port}",
            rtc_udp_port=udp,
            rtc_tcp_port=tcp,
            bind=["127.0.0.1"],
        ),
        scribe=Scribe(socket="s.sock"),
    )


@contextlib.asynccontextmanager
async def bridge(settings: Settings, *, stop: bool) -> AsyncIterator[Supervisor]:
    programs = [sfu_program(settings, api_key(settings)), scribe_program(settings)]
    data_dir = settings.path(settings.data_dir)
    supervisor = Supervisor(programs, data_dir, registry=CollectorRegistry())
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if stop:
            await supervisor.stop()


async def test_both_start_outlive_a_bridge_and_end_with_the_next(settings: Settings) -> None:
    async with bridge(settings, stop=False) as first:
        await first.wait_ready(60)
        pids = first.pids
        media = MediaServer(settings.media.api_url, api_key(settings))
        assert await media.reachable(), "it takes the key that was made for it"
    assert await media.reachable()
    async with bridge(settings, stop=True) as second:
        await second.wait_ready(60)
        assert second.pids == pids
    assert [start_of(pid) for pid in pids.values()] == [None, None]
    assert not await media.reachable()
    await media.close()


async def test_a_taken_port_is_named(settings: Settings) -> None:
    port = int(settings.media.api_url.rpartition(":")[2])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        async with bridge(settings, stop=True) as supervisor:
            with pytest.raises(ProgramsDown, match=rf"sfu: .*{port}"):
                await supervisor.wait_ready(8)


async def test_the_scribe_is_told_its_engines_by_a_file_of_its_owner(settings: Settings) -> None:
    program = scribe_program(settings)
    (path,) = program.files
    assert str(path) in program.argv
    assert "pocketsphinx" not in " ".join(program.argv)
    supervisor = Supervisor(
        [program], settings.path(settings.data_dir), registry=CollectorRegistry()
    )
    task = asyncio.create_task(supervisor.run())
    await supervisor.wait_ready(60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await supervisor.stop()
    assert path.stat().st_mode & 0o777 == 0o600
    other = Engine(engine="openai", url="https://speech.example/v1", model="whisper-1")
    scribe = dataclasses.replace(settings.scribe, engines=[other])
    changed = scribe_program(dataclasses.replace(settings, scribe=scribe))
    assert changed.digest != program.digest, "another list: the scribe is started anew"
