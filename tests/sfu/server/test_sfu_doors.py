"""What strangers and broken clients meet: refusals, limits, and a server that goes on."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType
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
    running,
    token,
)

pytestmark = pytest.mark.livekit


def access(key: str = KEY, secret: str = SECRET, ttl_s: int = 60, **grants: object) -> str:
    video = api.VideoGrants(**{"room_join": True, "room": "doors", **grants})  # type: ignore[arg-type]
    made = api.AccessToken(key, secret).with_identity("stranger").with_grants(video)
    return made.with_ttl(datetime.timedelta(seconds=ttl_s)).to_jwt()


def altered() -> str:
    head, body, signature = access().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["sub"] = "minister"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{head}.{forged}.{signature}"


REFUSED = {
    "expired": access(ttl_s=-1),
    "altered": altered(),
    "foreign": access(secret="some other secret of thirty-two bytes"),
    "unknown key": access(key="unknown"),
    "no join": access(room_join=False),
    "garbage": "garbage",
    "none": "",
}


@pytest.mark.parametrize("path", ["/rtc", "/rtc/v1"])
@pytest.mark.parametrize("kind", REFUSED)
async def test_a_bad_token_is_refused_with_401(sfu: Sfu, path: str, kind: str) -> None:
    given = REFUSED[kind]
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as failure:
            await client.ws_connect(f"{sfu.ws}{path}", params={"access_token": given})
        assert failure.value.status == 401
        url = f"{sfu.http}{path}/validate"
        async with client.get(url, headers={"Authorization": f"Bearer {given}"}) as got:
            assert got.status == 401
            assert got.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_sdk_is_refused_as_well(sfu: Sfu) -> None:
    with pytest.raises(rtc.ConnectError):
        await rtc.Room().connect(sfu.ws, REFUSED["expired"])


async def test_validate_and_health(sfu: Sfu) -> None:
    async with aiohttp.ClientSession() as client:
        for path in ("/rtc/validate", "/rtc/v1/validate"):
            async with client.get(sfu.http + path, params={"access_token": access()}) as got:
                assert (got.status, await got.text()) == (200, "success")
        async with client.get(
            f"{sfu.http}/rtc/v1/validate",
            params={"access_token": access(), "join_request": "%%%"},
        ) as got:
            assert got.status == 400
        async with client.get(sfu.http) as got:
            assert await got.text() == "OK"
        async with client.get(f"{sfu.http}/rtc", params={"access_token": access()}) as got:
            assert got.status == 404
        async with client.get(f"{sfu.http}/metrics") as got:
            text = await got.text()
    assert "sfu_rooms" in text
    assert 'sfu_signal_total{reason="join_refused"}' in text


async def test_a_broken_join_request_is_refused(sfu: Sfu) -> None:
    async with aiohttp.ClientSession() as client:
        query = {"access_token": access(), "join_request": "%%%"}
        with pytest.raises(aiohttp.WSServerHandshakeError) as failure:
            await client.ws_connect(f"{sfu.ws}/rtc/v1", params=query)
        assert failure.value.status == 400


async def joined(
    client: aiohttp.ClientSession, sfu: Sfu, room: str, **query: str
) -> aiohttp.ClientWebSocketResponse:
    params = {"access_token": access(room=room), **query}
    return await client.ws_connect(f"{sfu.ws}/rtc", params=params)


async def told(socket: aiohttp.ClientWebSocketResponse) -> protocol.SignalResponse:
    async with asyncio.timeout(10):
        message = await socket.receive()
    assert message.type == WSMsgType.BINARY, message
    return protocol.SignalResponse.FromString(message.data)


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Read until the server closes; the close code."""
    async with asyncio.timeout(10):
        while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED):
            pass
    return socket.close_code or 0


async def test_garbage_is_survived_and_much_garbage_ends_the_connection(
    sfu: Sfu, room: str
) -> None:
    async with aiohttp.ClientSession() as client:
        socket = await joined(client, sfu, room)
        assert (await told(socket)).WhichOneof("message") == "join"
        for _ in range(5):
            await socket.send_bytes(os.urandom(64) + b"\xff")
            await socket.send_str("{garbage")
        await socket.send_bytes(protocol.SignalRequest(ping=1).SerializeToString())
        while (await told(socket)).WhichOneof("message") != "pong":
            pass
        for _ in range(20):
            await socket.send_bytes(b"\xff" * 10)
        assert await closed(socket) == aiohttp.WSCloseCode.UNSUPPORTED_DATA


async def test_an_oversized_frame_ends_the_connection(sfu: Sfu, room: str) -> None:
    async with aiohttp.ClientSession() as client:
        socket = await joined(client, sfu, room)
        await socket.send_bytes(b"\0" * ((1 << 20) + 1))
        assert await closed(socket) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_a_flood_of_messages_ends_the_connection(sfu: Sfu, room: str) -> None:
    ping = protocol.SignalRequest(ping=1).SerializeToString()
    async with aiohttp.ClientSession() as client:
        socket = await joined(client, sfu, room)
        for _ in range(3000):
            try:
                await socket.send_bytes(ping)
            except ConnectionError:
                break
        assert await closed(socket) in (aiohttp.WSCloseCode.POLICY_VIOLATION, 1006)


async def test_text_frames_are_answered_with_text(sfu: Sfu, room: str) -> None:
    async with aiohttp.ClientSession() as client:
        socket = await joined(client, sfu, room)
        await told(socket)
        await socket.send_str('{"ping": "1"}')
        async with asyncio.timeout(10):
            while (message := await socket.receive()).type != WSMsgType.TEXT:
                pass
        assert "pong" in json.loads(message.data)
        await socket.close()


async def test_a_session_is_resumed_by_its_sid_alone(sfu: Sfu, room: str) -> None:
    async with aiohttp.ClientSession() as client:
        first = await joined(client, sfu, room)
        sid = (await told(first)).join.participant.sid
        await first.close()
        again = await joined(client, sfu, room, reconnect="1", sid=sid)
        assert (await told(again)).WhichOneof("message") == "reconnect"
        update = (await told(again)).update
        assert [p.sid for p in update.participants] == [sid]
        third = await joined(client, sfu, room, reconnect="1", sid=sid)
        assert (await told(third)).WhichOneof("message") == "reconnect"
        await closed(again)
        unknown = await joined(client, sfu, room, reconnect="1", sid="PA_unknown")
        leave = (await told(unknown)).leave
        assert leave.action == protocol.LeaveRequest.Action.RECONNECT
        assert leave.reason == models.DisconnectReason.STATE_MISMATCH
        await third.send_bytes(
            protocol.SignalRequest(leave=protocol.LeaveRequest()).SerializeToString()
        )
        await closed(third)


async def test_without_single_connections_clients_use_two(room: str, tmp_path: Path) -> None:
    file = tmp_path / "sfu.yaml"
    file.write_text("single_connection: false\n")
    with running("--config", str(file)) as sfu:
        alice = await connected(sfu, "alice", room, single=True)
        assert alice.isconnected()
        await alice.disconnect()


async def test_a_room_may_have_to_exist(room: str, tmp_path: Path) -> None:
    file = tmp_path / "sfu.yaml"
    file.write_text("room:\n  auto_create: false\n")
    with running("--config", str(file)) as sfu:
        with pytest.raises(rtc.ConnectError):
            await connected(sfu, "alice", room)
        client = sfu.api()
        await client.room.create_room(api.CreateRoomRequest(name=room))
        await client.aclose()  # type: ignore[no-untyped-call]
        alice = await connected(sfu, "alice", room)
        await alice.disconnect()


async def test_the_end_of_the_server_is_told_and_tokens_are_never_printed(
    room: str, tmp_path: Path
) -> None:
    given = token("alice", room)
    log = tmp_path / "log"
    ports = free_port(), free_port(), free_port()
    with log.open("w") as output:
        flags = ["--keys", f"{KEY}: {SECRET}", "--log-level", "DEBUG"]
        process = await asyncio.create_subprocess_exec(
            *command(*ports, flags), stdout=output, stderr=output
        )
    alice = rtc.Room()
    for _ in range(100):
        if "listening" in log.read_text():
            break
        await asyncio.sleep(0.1)
    await alice.connect(f"ws://127.0.0.1:{ports[0]}", given)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    alice.on("disconnected", ended.set_result)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await ended == models.DisconnectReason.SERVER_SHUTDOWN
        assert await process.wait() == 0
    text = log.read_text()
    assert given not in text
    assert SECRET not in text
    assert "Traceback" not in text


def attempt(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "LIVEKIT_KEYS"}
    return subprocess.run(
        [sys.executable, "-m", "sfu", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_taken_port_is_one_clear_line(sfu: Sfu) -> None:
    free = [str(free_port()) for _ in range(3)]
    for flag, port in (
        ("--port", sfu.port),
        ("--udp-port", sfu.udp_port),
        ("--tcp-port", sfu.tcp_port),
    ):
        ports = ["--port", free[0], "--udp-port", free[1], "--tcp-port", free[2]]
        ended = attempt("--dev", *ports, flag, str(port))
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert str(port) in ended.stderr


def test_without_keys_it_says_what_is_missing() -> None:
    ended = attempt()
    assert ended.returncode == 2
    assert ended.stderr.startswith("sfu: no API key")
