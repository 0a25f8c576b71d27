"""How clients reach us: both families, several interfaces, addresses told or found out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from aioice import stun

from sfu.transport import endpoint as module
from sfu.transport.discovery import addresses_seen
from sfu.transport.endpoint import Endpoint, EndpointSettings
from sfu.transport.path import bind_udp
from tests.sfu.transport.client_peer import Observer
from tests.sfu.transport.conftest import free_tcp_port


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def opened(**settings: object) -> AsyncIterator[Endpoint]:
    endpoint = await Endpoint.open(EndpointSettings(**{"tcp_port": 0, **settings}))  # type: ignore[arg-type]
    try:
        yield endpoint
    finally:
        await endpoint.close()


def told(endpoint: Endpoint, transport: str = "udp") -> list[tuple[str, str]]:
    split = [candidate.split(" ") for candidate in endpoint.candidates]
    return [(words[4], words[5]) for words in split if words[2] == transport]


async def check(endpoint: Endpoint, address: str, port: int) -> str:
    """Where the answer to an ICE check comes from."""
    peer = endpoint.peer(Observer())
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{peer.ufrag}:client"
    request.attributes["PRIORITY"] = 1
    request.add_message_integrity(peer.pwd.encode())
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(client, bytes(request), (address, port))
        async with asyncio.timeout(10):
            data, remote = await loop.sock_recvfrom(client, 2048)
    answer = stun.parse_message(data)
    assert answer.check_message_integrity(peer.pwd.encode())
    assert answer.attributes["XOR-MAPPED-ADDRESS"][1] > 0
    await peer.close()
    found: str = remote[0]
    return found


@pytest.mark.parametrize("together", [False, True])
async def test_each_interface_answers_from_its_own_address(
    monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """Of 127.0.0.2 and .3 the system would answer from 127.0.0.1, and no client would know us."""
    addresses = ["127.0.0.2", "127.0.0.3"]
    monkeypatch.setattr(module, "get_host_addresses", lambda **_: list(addresses))
    port = udp_port()
    async with opened(udp_port=port, tcp_port=free_tcp_port(), loopback=together) as endpoint:
        expected = [*addresses, "127.0.0.1"] if together else addresses
        assert told(endpoint) == [(address, str(port)) for address in expected]
        assert [address for address, _ in told(endpoint, "tcp")] == expected
        for address in ("127.0.0.2", "127.0.0.3", "127.0.0.1"):
            assert await check(endpoint, address, port) == address


async def test_both_families_are_told_and_answer() -> None:
    async with opened(bind=("127.0.0.1", "::1"), udp_port=0) as endpoint:
        (four, four_port), (six, six_port) = told(endpoint)
        assert (four, six) == ("127.0.0.1", "::1")
        assert await check(endpoint, four, int(four_port)) == four
        assert await check(endpoint, six, int(six_port)) == six


async def test_addresses_are_advertised_with_the_port_of_their_family() -> None:
    given = ("192.0.2.1", "2001:db8::1")
    async with opened(bind=("0.0.0.0", "::"), udp_port=0, advertised=given) as endpoint:
        ports = dict(told(endpoint))
        assert set(ports) == set(given)
        assert len(set(ports.values())) == 2
    with pytest.raises(OSError, match="nothing is bound for IPv6"):
        await Endpoint.open(EndpointSettings(udp_port=0, tcp_port=0, advertised=given))


async def test_an_address_that_is_gone_again_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = ["127.0.0.2", "192.0.2.1"]
    monkeypatch.setattr(module, "get_host_addresses", lambda **_: list(addresses))
    port = udp_port()
    async with opened(udp_port=port) as endpoint:
        assert told(endpoint) == [("127.0.0.2", str(port))]
    assert f"UDP port {port} of 192.0.2.1" in caplog.text


# asking a STUN server


class StunServer(asyncio.DatagramProtocol):
    """Answers as one behind a router would see us; the first request is lost."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests += 1
        if self.requests == 1:
            return
        request = stun.parse_message(data)
        answer = stun.Message(
            stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=request.transaction_id
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = (self.address, addr[1] + self.requests - 2)
        stranger = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)
        for noise in (b"no STUN", bytes(stranger), bytes(answer)):
            self._transport.sendto(noise, addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def stun_server(address: str = "198.51.100.7") -> AsyncIterator[tuple[StunServer, int]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: StunServer(address), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def test_clients_are_told_the_address_that_the_named_server_sees() -> None:
    async with stun_server() as (_, port):
        settings = {"bind": ("127.0.0.1",), "udp_port": 0, "tcp_port": free_tcp_port()}
        async with opened(**settings, stun_server=("127.0.0.1", port)) as endpoint:
            ((address, own),) = told(endpoint)
            assert address == "198.51.100.7"
            assert [one for one, _ in told(endpoint, "tcp")] == ["198.51.100.7"]
            assert await check(endpoint, "127.0.0.1", int(own)) == "127.0.0.1"


async def test_what_is_told_by_hand_comes_first() -> None:
    async with stun_server() as (_, port), opened(
        bind=("127.0.0.1", "::1"),
        udp_port=0,
        stun_server=("127.0.0.1", port),
        advertised=("192.0.2.1",),
    ) as endpoint:  # fmt: skip
        assert [address for address, _ in told(endpoint)] == ["192.0.2.1", "198.51.100.7"]


async def test_a_router_that_changes_ports_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async with stun_server() as (server, port):
        server.requests = 2
        with contextlib.closing(bind_udp("127.0.0.1", 0)) as udp:
            assert await addresses_seen([udp], ("127.0.0.1", port)) == {udp: "198.51.100.7"}
    assert "must forward port" in caplog.text


async def test_a_server_that_does_not_answer_is_one_clear_line() -> None:
    with (
        contextlib.closing(bind_udp("127.0.0.1", 0)) as quiet,
        contextlib.closing(bind_udp("127.0.0.1", 0)) as udp,
    ):
        server = "127.0.0.1", quiet.getsockname()[1]
        with pytest.raises(OSError, match="did not answer in 0 s; name the addresses"):
            await addresses_seen([udp], server, patience_s=0.2)


async def test_nobody_is_asked_unless_named() -> None:
    async with stun_server() as (server, _):
        async with opened(bind=("127.0.0.1",), udp_port=0):
            pass
        assert server.requests == 0
