"""SIGTERM: calls may end first, new rooms are refused, clients are told to come back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest
from aiohttp import ClientResponse
from livekit import api, rtc
from livekit.protocol import models
from livekit.protocol import rtc as protocol

from tests.sfu.server.server_process import (
    KEY,
    SECRET,
    Sfu,
    command,
    connected,
    free_port,
    token,
)

pytestmark = pytest.mark.livekit


@contextmanager
def ending(*more: str) -> Iterator[Sfu]:
    """A server that the test itself ends."""
    ports = free_port(), free_port(), free_port()
    process = subprocess.Popen(
        command(*ports, more),
        env={**os.environ, "LIVEKIT_KEYS": f"{KEY}: {SECRET}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        yield Sfu(process, ports[0], ports[2], ports[1])
    finally:
        process.kill()
        process.communicate()


async def ended(sfu: Sfu) -> int:
    async with asyncio.timeout(20):
        return await asyncio.to_thread(sfu.process.wait)


async def draining(http: aiohttp.ClientSession, sfu: Sfu) -> None:
    async with asyncio.timeout(20):
        while True:
            async with http.get(f"{sfu.http}/") as answer:
                if await answer.text() == "draining":
                    return
            await asyncio.sleep(0.05)


async def said(answer: ClientResponse) -> tuple[int, str]:
    return answer.status, await answer.text()


async def test_calls_go_on_new_rooms_are_refused_and_the_last_one_ends_it(room: str) -> None:
    with ending("--drain-s", "60") as sfu:
        anne = await connected(sfu, "anne", room)
        sfu.process.send_signal(signal.SIGTERM)
        async with aiohttp.ClientSession() as http:
            await draining(http, sfu)
            async with http.get(f"{sfu.http}/ready") as answer:
                assert answer.status == 503
            async with http.get(f"{sfu.http}/metrics") as answer:
                assert "sfu_draining 1.0" in await answer.text()
            query = {"access_token": token("bob", "another")}
            async with http.get(f"{sfu.http}/rtc/validate", params=query) as answer:
                assert await said(answer) == (
                    503,
                    "the server is draining: it takes no new rooms",
                )
        client = sfu.api()
        with pytest.raises(api.TwirpError) as refused:
            await client.room.create_room(api.CreateRoomRequest(name="another"))
        assert refused.value.code == "unavailable"
        assert (await client.room.create_room(api.CreateRoomRequest(name=room))).name == room
        await client.aclose()  # type: ignore[no-untyped-call]
        bob = await connected(sfu, "bob", room)
        await anne.disconnect()
        assert sfu.process.poll() is None
        await bob.disconnect()
        assert await ended(sfu) == 0


async def leave_of(ws: aiohttp.ClientWebSocketResponse) -> protocol.LeaveRequest:
    async with asyncio.timeout(20):
        async for message in ws:
            response = protocol.SignalResponse.FromString(message.data)
            if response.HasField("leave"):
                return response.leave
    raise AssertionError("the server said no goodbye")


@pytest.mark.parametrize("how", ["the time is over", "asked again"])
async def test_those_still_there_are_told_to_come_back(room: str, how: str) -> None:
    with ending("--drain-s", "1" if how == "the time is over" else "60") as sfu:
        async with aiohttp.ClientSession() as http:
            headers = {"Authorization": f"Bearer {token('anne', room)}"}
            async with http.ws_connect(f"{sfu.ws}/rtc?protocol=16", headers=headers) as ws:
                sfu.process.send_signal(signal.SIGTERM)
                await draining(http, sfu)
                if how == "asked again":
                    sfu.process.send_signal(signal.SIGTERM)
                leave = await leave_of(ws)
        assert leave.reason == models.DisconnectReason.SERVER_SHUTDOWN
        assert leave.action == protocol.LeaveRequest.Action.RECONNECT
        assert leave.can_reconnect
        assert await ended(sfu) == 0


async def test_a_client_is_back_by_itself_once_the_server_runs_again(room: str) -> None:
    with ending() as sfu:
        ports = sfu.port, sfu.udp_port, sfu.tcp_port
        anne = await connected(sfu, "anne", room)
        back = asyncio.Event()
        anne.on("reconnected", back.set)
        sfu.process.send_signal(signal.SIGTERM)
        assert await ended(sfu) == 0
        flags = ["--keys", f"{KEY}: {SECRET}"]
        again = await asyncio.create_subprocess_exec(*command(*ports, flags))
        try:
            async with asyncio.timeout(30):
                await back.wait()
            assert anne.connection_state == rtc.ConnectionState.CONN_CONNECTED
            await anne.disconnect()
        finally:
            again.terminate()
            async with asyncio.timeout(20):
                assert await again.wait() == 0
