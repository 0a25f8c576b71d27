"""What a stranger, or a hostile client, can do to the endpoint: be counted, and cost little."""

import asyncio
import os
import socket
import struct

import pytest
from aioice import stun
from aiortc import RTCDataChannel, RTCDataChannelParameters

from sfu.rtp.packet import build_header
from sfu.transport import endpoint as endpoint_module
from sfu.transport.endpoint import Endpoint, EndpointSettings
from sfu.transport.icelite import MAX_SOURCES, SOURCE_BURST, TOTAL_RATE, Gate
from sfu.transport.peer import CHECK_BURST
from tests.sfu.transport.client_peer import (
    ClientPeer,
    Observer,
    TcpWire,
    UdpWire,
    binding_request,
    port_of,
)


async def drained(endpoint: Endpoint, client: ClientPeer, observer: Observer) -> None:
    """All datagrams sent so far have been read: a check by a fresh peer was answered."""
    await client.check(endpoint.peer(observer))


async def counted(endpoint: Endpoint, name: str, count: int) -> None:
    """The endpoint has counted so many; counters have no event to wait for."""
    async with asyncio.timeout(5):
        while endpoint.stats[name] < count:  # noqa: ASYNC110
            await asyncio.sleep(0)


def rtp(ssrc: int, size: int = 20) -> bytes:
    return build_header(marker=False, payload_type=111, sequence=1, timestamp=0, ssrc=ssrc) + bytes(
        size
    )


async def soon(queue: asyncio.Queue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 5)


async def test_garbage_datagrams_are_counted_and_answered_with_silence(
    endpoint: Endpoint, observer: Observer
) -> None:
    stranger = await UdpWire.open(port_of(endpoint, "udp"))
    for first in (0, 1, 3, 20, 63, 64, 127, 128, 191, 192, 255):
        stranger.write(bytes((first,)) + os.urandom(40))
        stranger.write(bytes((first,)))
    with socket.socket(type=socket.SOCK_DGRAM) as raw:
        raw.sendto(b"", ("127.0.0.1", port_of(endpoint, "udp")))
    client = await ClientPeer.udp(endpoint)
    await drained(endpoint, client, observer)
    assert endpoint.stats["stun_malformed"] == 6
    assert endpoint.stats["unknown_source"] == 16
    assert endpoint.stats["empty"] == 1
    assert endpoint.stats["failed"] == 0
    assert stranger.stun.empty()
    stranger.close()
    await client.close()


async def test_stun_that_is_not_ours(endpoint: Endpoint, observer: Observer) -> None:
    peer = endpoint.peer(observer)
    client = await ClientPeer.udp(endpoint)
    wrong_password = binding_request(peer.ufrag, "x" * 48)
    unsigned = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    unsigned.attributes["USERNAME"] = f"{peer.ufrag}:client"
    nameless = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    indication = stun.Message(stun.Method.BINDING, stun.Class.INDICATION)
    allocate = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)
    stranger = binding_request("nobody", peer.pwd)
    # A PRIORITY of two bytes: aioice raises struct.error here.
    odd = struct.pack("!HHI12sHHHH", 1, 8, 0x2112A442, bytes(12), 0x24, 2, 0, 0)
    for message in (wrong_password, unsigned, nameless, indication, allocate, stranger):
        client.wire.write(bytes(message))
    client.wire.write(odd)
    client.wire.write(bytes(2000))
    await drained(endpoint, client, observer)
    assert {name: count for name, count in endpoint.stats.items() if "stun" in name} == {
        "stun_bad_integrity": 2,
        "stun_no_username": 1,
        "stun_not_a_request": 2,
        "stun_unknown_ufrag": 1,
        "stun_malformed": 1,
        "stun_too_long": 1,
    }
    assert peer.path is None
    await client.close()


async def test_a_flood_of_checks_is_cut_off_per_source(
    endpoint: Endpoint, observer: Observer
) -> None:
    peer = endpoint.peer(observer)
    client = await ClientPeer.udp(endpoint)
    flood = bytes(binding_request("nobody", "x"))
    for _ in range(int(SOURCE_BURST) * 2):
        client.wire.write(flood)
    await counted(endpoint, "datagrams", int(SOURCE_BURST) * 2)
    assert endpoint.stats["stun_rate_limited"] > SOURCE_BURST / 2
    assert endpoint.stats["stun_unknown_ufrag"] < SOURCE_BURST * 1.5
    assert peer.path is None
    await client.close()


async def test_a_flood_does_not_cost_a_known_client_its_checks(
    endpoint: Endpoint, observer: Observer
) -> None:
    peer = endpoint.peer(observer)
    known, stranger = await ClientPeer.udp(endpoint), await ClientPeer.udp(endpoint)
    await known.check(peer)
    flood = bytes(binding_request("nobody", "x"))
    for _ in range(int(SOURCE_BURST) * 2):
        stranger.wire.write(flood)
    await counted(endpoint, "stun_rate_limited", 50)
    await known.check(peer)
    limited = endpoint.stats["stun_rate_limited"]
    for _ in range(int(CHECK_BURST) * 2):  # but a client cannot flood either
        known.wire.write(flood)
    await counted(endpoint, "stun_rate_limited", limited + int(CHECK_BURST) // 2)
    await known.close()
    await stranger.close()


def test_the_gate_limits_each_source_and_the_sum_and_remembers_a_bounded_number() -> None:
    gate = Gate()
    admitted = sum(gate.admit("a", 0.0) for _ in range(1000))
    assert admitted == SOURCE_BURST
    assert gate.admit("b", 0.0)
    assert gate.admit("a", 1.0)
    for number in range(MAX_SOURCES + 10):
        gate.admit(f"10.0.{number // 256}.{number % 256}", 1.0)
    assert len(gate._sources) == MAX_SOURCES
    assert not gate.admit("z", 1.0)  # the sum of so many is used up
    assert sum(gate.admit(f"s{n % 4000}", 2.0) for n in range(20000)) == TOTAL_RATE


async def test_media_and_dtls_before_ice_or_keys_are_dropped(
    endpoint: Endpoint, observer: Observer
) -> None:
    peer = endpoint.peer(observer)
    client = await ClientPeer.udp(endpoint)
    await client.check(peer)
    client.wire.write(rtp(1))
    client.wire.write(bytes((70,)) * 30)
    for _ in range(600):
        client.wire.write(bytes((22,)) * 30)
    await counted(endpoint, "dtls_queue_full", 600 - 512)
    assert endpoint.stats["media_before_keys"] == 1
    assert endpoint.stats["unknown_protocol"] == 1
    await peer.close()
    await client.close()


async def test_media_that_is_not_authentic_is_dropped(
    endpoint: Endpoint, observer: Observer
) -> None:
    peer = endpoint.peer(observer)
    client = await ClientPeer.udp(endpoint)
    await client.connect(peer, endpoint)
    await asyncio.wait_for(observer.connected.get(), 5)
    protected = client.dtls._tx_srtp.protect(rtp(1))
    client.wire.write(protected[:-1] + bytes((protected[-1] ^ 1,)))
    client.wire.write(rtp(2))
    client.wire.write(bytes((0x80, 201)) + os.urandom(40))
    client.wire.write(bytes((0x80,)) * 8)
    client.wire.write(bytes((0x80,)) * 1600)
    client.wire.write(protected)
    assert await asyncio.wait_for(observer.rtp.get(), 5) == rtp(1)
    assert endpoint.stats["srtp_rejected"] == 3
    assert endpoint.stats["media_bad_length"] == 2
    client.wire.write(protected)  # a replay
    await drained(endpoint, client, observer)
    assert endpoint.stats["srtp_rejected"] == 4
    endpoint.egress.send_many([(peer, rtp(1, 1500), False)])
    assert endpoint.stats["egress_unprotectable"] == 1
    await client.close()


async def test_the_number_of_sources_of_a_client_is_bounded(
    endpoint: Endpoint, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.transport.peer.MAX_SSRCS", 2)
    client = await ClientPeer.udp(endpoint)
    await client.connect(endpoint.peer(observer), endpoint)
    await asyncio.wait_for(observer.connected.get(), 5)
    for ssrc in (1, 2, 3, 1):
        client.send_rtp(
            build_header(marker=False, payload_type=0, sequence=ssrc, timestamp=0, ssrc=ssrc)
        )
    client.send_rtp(rtp(2, 30))
    for _ in range(3):
        await asyncio.wait_for(observer.rtp.get(), 5)
    assert endpoint.stats["too_many_ssrcs"] == 1
    await client.close()


async def test_the_addresses_of_a_client_are_bounded(
    endpoint: Endpoint, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.transport.peer.MAX_PATHS", 2)
    peer = endpoint.peer(observer)
    clients = [await ClientPeer.udp(endpoint) for _ in range(3)]
    for client in clients:
        await client.check(peer, use_candidate=False)
    endpoint._sweep(asyncio.get_running_loop().time())
    assert len(endpoint._paths) == 2
    for client in clients:
        await client.close()


async def test_tcp_framing_abuse_ends_the_connection(endpoint: Endpoint) -> None:
    port = port_of(endpoint, "tcp")
    too_long = await TcpWire.open(port)
    too_long.transport.write(b"\xff\xff" + bytes(10))
    http = await TcpWire.open(port)
    http.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    unauthenticated = await TcpWire.open(port)
    unauthenticated.write(rtp(1))
    for wire in (too_long, http, unauthenticated):
        await asyncio.wait_for(wire.ended.wait(), 5)
    assert endpoint.stats["tcp_frame_too_long"] == 2
    assert endpoint.stats["tcp_unauthenticated"] == 1
    assert not endpoint._connections


async def test_tcp_frames_may_come_in_pieces_and_be_empty(
    endpoint: Endpoint, observer: Observer
) -> None:
    peer = endpoint.peer(observer)
    client = await ClientPeer.tcp(endpoint)
    request = bytes(binding_request(peer.ufrag, peer.pwd))
    stream = b"\x00\x00" + len(request).to_bytes(2, "big") + request
    assert isinstance(client.wire, TcpWire)
    for position in range(len(stream)):
        client.wire.transport.write(stream[position : position + 1])
        await asyncio.sleep(0)
    assert stun.parse_message(await asyncio.wait_for(client.wire.stun.get(), 5))
    await client.close()


async def test_idle_tcp_connections_are_few_and_short(
    endpoint: Endpoint, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "MAX_HALF_OPEN_PER_SOURCE", 2)
    port = port_of(endpoint, "tcp")
    authentic = await ClientPeer.tcp(endpoint)
    await authentic.check(endpoint.peer(observer))
    idle = [await TcpWire.open(port) for _ in range(3)]
    await asyncio.wait_for(idle[2].ended.wait(), 5)
    assert endpoint.stats["tcp_too_many_half_open"] == 1
    endpoint._sweep(asyncio.get_running_loop().time() + 10)
    await asyncio.wait_for(asyncio.gather(*(wire.ended.wait() for wire in idle)), 5)
    assert endpoint.stats["tcp_half_open_timeout"] == 2
    assert not authentic.wire.ended.is_set()
    await authentic.close()


async def test_a_tcp_client_that_does_not_read_loses_packets_not_our_memory(
    endpoint: Endpoint, observer: Observer
) -> None:
    peer = endpoint.peer(observer)
    client = await ClientPeer.tcp(endpoint)
    await client.connect(peer, endpoint)
    assert isinstance(client.wire, TcpWire)
    client.wire.transport.pause_reading()
    batch = [(peer, rtp(1, 1200), False)] * 100
    for _ in range(200):
        endpoint.egress.send_many(batch)
        await asyncio.sleep(0)
        if endpoint.stats["egress_network_full"]:
            break
    assert endpoint.stats["egress_network_full"] > 0
    await client.close()


async def test_a_client_that_breaks_sctp_ends_its_own_association_only(
    endpoint: Endpoint, observer: Observer
) -> None:
    good, bad = await ClientPeer.udp(endpoint), await ClientPeer.udp(endpoint)
    peer = endpoint.peer(Observer())
    await good.connect(peer, endpoint)
    await bad.connect(endpoint.peer(observer), endpoint)
    await bad.start_sctp()
    assert bad.sctp is not None
    await bad.open("x")
    # DATA_CHANNEL_OPEN twice on one stream violates an assertion of aiortc.
    opening = struct.pack("!BBHLHH", 3, 0, 0, 0, 1, 0) + b"x"
    await bad.sctp._send(0, 50, opening)
    assert await soon(observer.closed) == "sctp_protocol_error"
    await good.start_sctp()
    await good.open("fine")
    await good.close()
    await bad.close()


async def test_a_client_that_never_finishes_a_message_is_cut_off(
    endpoint: Endpoint, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.transport.peer.MAX_UNREAD", 4000)
    client = await ClientPeer.udp(endpoint)
    await client.connect(endpoint.peer(observer), endpoint)
    await client.start_sctp()
    channel = await client.open("x")
    channel.send(bytes(60000))
    assert await soon(observer.closed) == "sctp_window_overrun"
    await client.close()


async def test_channels_and_messages_are_bounded(
    endpoint: Endpoint, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.transport.datachannel.MAX_CHANNELS", 2)
    peer = endpoint.peer(observer)
    client = await ClientPeer.udp(endpoint)
    await client.connect(peer, endpoint)
    await client.start_sctp()
    await client.open("a")
    peer.open_channel("c", ordered=True, max_retransmits=None)
    assert await soon(client.opened) == "c"
    with pytest.raises(ValueError, match="data channels"):
        peer.open_channel("d", ordered=True, max_retransmits=None)
    await client.open("b")
    assert client.sctp is not None
    RTCDataChannel(client.sctp, RTCDataChannelParameters(label="e"))
    assert await soon(observer.closed) == "too_many_channels"
    await client.close()


async def test_a_message_longer_than_announced_ends_the_association(
    endpoint: Endpoint, observer: Observer
) -> None:
    client = await ClientPeer.udp(endpoint)
    await client.connect(endpoint.peer(observer), endpoint)
    await client.start_sctp()
    assert client.sctp is not None
    client.sctp._remote_max_message_size = 0
    channel = await client.open("x")
    channel.send(bytes(70000))
    assert await soon(observer.closed) == "message_too_long"
    await client.close()


async def test_a_failing_datagram_does_not_end_the_reader(
    endpoint: Endpoint, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await ClientPeer.udp(endpoint)
    with monkeypatch.context() as broken:
        broken.setattr(endpoint_module, "parse_request", None)
        client.wire.write(bytes(30))
        await counted(endpoint, "failed", 1)
    await drained(endpoint, client, observer)
    await client.close()


@pytest.mark.parametrize("kind", ["UDP", "TCP"])
async def test_a_taken_port_is_one_clear_error(kind: str) -> None:
    udp = kind == "UDP"
    with socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        if not udp:
            holder.listen()
        port = holder.getsockname()[1]
        settings = EndpointSettings(
            bind=("127.0.0.1",), udp_port=port if udp else 0, tcp_port=0 if udp else port
        )
        with pytest.raises(OSError, match=f"{kind} port {port} of 127.0.0.1.*in use"):
            await Endpoint.open(settings)


async def test_candidates_name_every_address_once() -> None:
    both = await Endpoint.open(EndpointSettings(bind=("127.0.0.1", "::1"), udp_port=0, tcp_port=0))
    addresses = [candidate.split(" ")[4] for candidate in both.candidates]
    assert addresses == ["127.0.0.1", "::1"]
    client = await UdpWire.open(port_of(both, "udp"))
    client.close()
    await both.close()

    told = await Endpoint.open(EndpointSettings(udp_port=0, tcp_port=0, advertised=("192.0.2.7",)))
    assert told.candidates[0].startswith("1 1 udp 2130706431 192.0.2.7 ")
    assert told.candidates[0].endswith(" typ host")
    await told.close()


async def test_a_wildcard_is_told_as_the_addresses_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        endpoint_module,
        "get_host_addresses",
        lambda *, use_ipv4, use_ipv6: ["192.0.2.1"] if use_ipv4 else ["fe80::1"],
    )
    opened = await Endpoint.open(
        EndpointSettings(bind=("0.0.0.0", "::"), udp_port=0, tcp_port=0, loopback=False)
    )
    assert [c.split(" ")[4] for c in opened.candidates] == ["192.0.2.1", "::1"]
    await opened.close()
    opened = await Endpoint.open(EndpointSettings(udp_port=0, tcp_port=0, loopback=True))
    assert [c.split(" ")[4] for c in opened.candidates] == ["192.0.2.1", "127.0.0.1"]
    await opened.close()
