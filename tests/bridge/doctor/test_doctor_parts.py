"""Pieces of the doctor by themselves: registrations, candidates, answers, certificates, servers."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioice import stun
from ruamel.yaml import YAML

from bridge.config import Federation, Settings
from bridge.dev import certificates
from bridge.dev.certificates import ensure_authority, ensure_server
from bridge.dev.ports import free_ports
from bridge.doctor import room
from bridge.doctor import web as web_probes
from bridge.doctor.configuration import differences, is_here
from bridge.doctor.finding_us import client_url
from bridge.doctor.findings import Remark
from bridge.doctor.http import NoAnswer, ask
from bridge.doctor.room import RoomState
from bridge.doctor.signalling import NoJoin, answer_to, join
from bridge.doctor.stun import Candidate, Credentials, answers, candidates, reaches, request
from bridge.doctor.visit import Visit, reach
from bridge.matrix import registration

SETTINGS = Settings()
BOT = "@visio:example.org"


# registration


def expected() -> dict[str, Any]:
    return dict(YAML(typ="safe").load(registration.generate(SETTINGS)))


def test_a_generated_registration_lacks_nothing() -> None:
    assert differences(expected(), expected(), BOT) == []


def test_each_key_of_a_registration_is_missed() -> None:
    free = {"id", "url", "as_token", "hs_token", "sender_localpart", "namespaces"}
    for key in expected().keys() - free:
        found = expected()
        del found[key]
        (remark,) = differences(expected(), found, BOT)
        assert (remark.outcome, remark.values["key"]) == ("failed", key)


def test_what_an_administrator_may_choose() -> None:
    found = expected() | {"id": "visio", "url": "http://bridge:1", "rate_limited": True}
    found["io.element.msc4512.proxy_url"] = "http://bridge:1"
    (remark,) = differences(expected(), found, BOT)
    assert remark == Remark(
        "warning", "registration.differs", {"key": "rate_limited", "value": "false"}
    )


@pytest.mark.parametrize("users", [[], [{"regex": "@other:.*"}], [{"regex": "("}], [{}]])
def test_the_bot_is_in_the_namespace(users: list[dict[str, str]]) -> None:
    found = expected() | {"namespaces": {"users": users, "aliases": [], "rooms": []}}
    remarks = differences(expected(), found, BOT)
    assert ("failed", "users") in {(one.outcome, one.values["kind"]) for one in remarks}


def test_aliases_are_compared() -> None:
    wanted = expected()
    wanted["namespaces"]["aliases"] = [{"exclusive": True, "regex": "#visio_.*:example\\.org"}]
    found = expected()
    found["namespaces"]["aliases"] = []
    (remark,) = differences(wanted, found, BOT)
    assert (remark.outcome, remark.values["kind"]) == ("warning", "aliases")


# addresses


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("a.fr", False),
    ],
)
def test_is_here(host: str, here: bool) -> None:
    assert is_here(host) is here


def test_reach() -> None:
    assert reach("0.0.0.0:1") == reach(":1") == "http://127.0.0.1:1"
    assert reach("[::]:1") == "http://[::1]:1"
    assert reach("10.0.0.1:1") == "http://10.0.0.1:1"


def test_the_well_known_document_is_at_the_host_of_the_server_name(tmp_path: Path) -> None:
    def url(name: str) -> str:
        homeserver = SETTINGS.homeserver.__class__(server_name=name, address="http://hs:1/")
        visit = Visit(tmp_path)
        visit.found = Settings(homeserver=homeserver)
        return client_url(visit)

    assert url("example.org") == "https://example.org/.well-known/matrix/client"
    assert url("example.org:8448") == "https://example.org/.well-known/matrix/client"
    assert url("[2001:db8::1]:8448") == "https://[2001:db8::1]/.well-known/matrix/client"
    assert url("localhost:1") == "http://hs:1/.well-known/matrix/client"


# STUN and SDP

OFFER = """v=0
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=mid:0
a=ice-ufrag:theirs
a=ice-pwd:password
a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host
a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host
a=candidate:2 1 TCP 1 2001:db8::1 7881 typ host tcptype passive
a=candidate:3 2 udp 1 192.0.2.1 7882 typ host
m=audio 9 UDP/TLS/RTP/SAVPF 111 63
a=mid:1
"""


def test_candidates() -> None:
    found = candidates(OFFER)
    assert found == [Candidate("udp", "192.0.2.1", 7882), Candidate("tcp", "2001:db8::1", 7881)]
    assert [one.shown for one in found] == ["192.0.2.1:7882", "[2001:db8::1]:7881"]
    assert candidates('{"candidate":"candidate:1 1 udp 1 10.0.0.1 5 typ host"}')


def test_the_answer_takes_the_data_channel_and_refuses_the_rest() -> None:
    answer = answer_to(OFFER, "ours")
    assert "a=group:BUNDLE 0\r\n" in answer
    assert "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" in answer
    assert "a=ice-ufrag:ours\r\n" in answer
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n" in answer


def test_an_answer_belongs_to_its_request() -> None:
    asked = request(Credentials("theirs", "password", "ours"))
    reply = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, asked.transaction_id)
    assert answers(bytes(reply), asked)
    assert not answers(bytes(asked), asked)
    assert not answers(b"nonsense", asked)
    assert not answers(bytes(reply), request(Credentials("theirs", "password", "ours")))


async def test_a_port_that_talks_nonsense_is_not_reached() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(struct.pack(">H", 4) + b"talk")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    known = Credentials("theirs", "password", "ours")
    assert not await reaches(Candidate("tcp", "127.0.0.1", port), known, 2.0)
    server.close()
    assert not await reaches(Candidate("tcp", "127.0.0.1", port), known, 2.0)
    assert not await reaches(Candidate("udp", "127.0.0.1", port), known, 0.3)


# HTTP and TLS


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Path, int]]:
    """A web server with TLS for localhost, and the authority that signed its certificate."""
    authority = ensure_authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ensure_server(tmp_path, authority))
    app = web.Application()
    app.add_routes([web.get("/text", _text)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    yield authority, port
    await runner.cleanup()


async def _text(_request: web.Request) -> web.Response:
    return web.Response(text="[1]", headers=[("X-A", "1"), ("X-A", "2")])


async def _silent(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str("good morning")
    await socket.close()
    return socket


async def test_a_certificate_nobody_knows(secure: tuple[Path, int], tmp_path: Path) -> None:
    _, port = secure
    with pytest.raises(NoAnswer) as caught:
        await ask("GET", f"https://localhost:{port}/text")
    assert caught.value.kind == "tls"
    remark = await web_probes._certificate("localhost", port)
    assert (remark.outcome, remark.key) == ("failed", "certificate.invalid")
    remark = await web_probes._certificate("localhost", 1)
    assert (remark.outcome, remark.key) == ("failed", "certificate.unseen")


@pytest.mark.parametrize(("days", "outcome"), [(3000, "ok"), (10, "warning"), (1, "failed")])
async def test_a_certificate_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, outcome: str
) -> None:
    monkeypatch.setattr(certificates, "_YEARS", datetime.timedelta(days=days, minutes=5))
    authority = ensure_authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ensure_server(tmp_path, authority))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server = await asyncio.start_server(_hang_up, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    remark = await web_probes._certificate("localhost", port)
    server.close()
    assert (remark.outcome, remark.values.get("days")) == (outcome, days)


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_replies(secure: tuple[Path, int]) -> None:
    authority, port = secure
    context = ssl.create_default_context(cafile=str(authority))
    reply = await ask("GET", f"https://localhost:{port}/text", tls=context)
    assert (reply.json, reply.object, reply.errcode, reply.shown) == ([1], {}, "", "200")
    assert reply.header("X-A") == ["1", "2"]
    with pytest.raises(NoAnswer) as caught:
        await ask("GET", f"http://localhost:{port}/text")
    assert caught.value.kind == "other"


async def test_signalling_that_is_none() -> None:
    app = web.Application()
    app.add_routes([web.get("/rtc", _silent)])
    async with TestServer(app) as server:
        url = str(server.make_url("")).replace("http", "ws")
        with pytest.raises(NoJoin) as caught:
            await join(url, "token")
        assert caught.value.status == 101
        with pytest.raises(NoJoin) as caught:
            await join(f"{url}/elsewhere", "token")
        assert caught.value.status == 404
    with pytest.raises(NoAnswer):
        await join("ws://127.0.0.1:port", "token")


# the servers of a room's members


async def test_servers_of_members() -> None:
    visit = Visit(Path("x"))
    visit.found = Settings(
        federation=Federation(allow_servers=["*.invalid"], allow_private_addresses=True)
    )
    members = ("@a:example.org", "@b:a.invalid", "@c:a.invalid", "@d:refused.example.net")
    visit.state = RoomState(
        {("m.room.member", user): {"content": {"membership": "join"}} for user in members}
        | {("m.room.member", "@gone:b.invalid"): {"content": {"membership": "leave"}}}
    )
    remarks = await room.servers(visit)
    assert not isinstance(remarks, Remark)
    assert [(one.key, one.values["server"]) for one in remarks] == [
        ("servers.refused", "refused.example.net"),
        ("servers.lost", "a.invalid"),
    ]
