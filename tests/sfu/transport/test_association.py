"""Real associations between our Peer and a client, in one event loop, on loopback."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from sfu.rtp import rtcp
from sfu.rtp.packet import build_header
from sfu.transport.endpoint import Endpoint, EndpointSettings
from sfu.transport.peer import Peer
from tests.sfu.transport.client_peer import ClientPeer, Observer

T = TypeVar("T")


def rtp(sequence: int, ssrc: int = 7, size: int = 100) -> bytes:
    header = build_header(
        marker=False, payload_type=111, sequence=sequence, timestamp=sequence * 960, ssrc=ssrc
    )
    return header + bytes(size)


async def soon(queue: "asyncio.Queue[T]") -> T:
    return await asyncio.wait_for(queue.get(), 5)


@pytest.fixture(params=["udp", "tcp"])
async def client(request: pytest.FixtureRequest, endpoint: Endpoint) -> AsyncIterator[ClientPeer]:
    make = ClientPeer.udp if request.param == "udp" else ClientPeer.tcp
    made = await make(endpoint)
    yield made
    await made.close()


async def connect(endpoint: Endpoint, observer: Observer, client: ClientPeer) -> Peer:
    peer = endpoint.peer(observer)
    await client.connect(peer, endpoint)
    assert await soon(observer.connected) is peer
    return peer


async def test_media_flows_both_ways(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = await connect(endpoint, observer, client)
    assert peer.connected
    client.send_rtp(rtp(1))
    assert await soon(observer.rtp) == rtp(1)
    report = rtcp.build_receiver_report(1, [])
    client.send_rtcp(report)
    assert await soon(observer.rtcp) == report

    endpoint.egress.send_many([(peer, rtp(5), False), (peer, bytearray(report), True)])
    assert [await client.media(), await client.media()] == [rtp(5), report]
    assert endpoint.stats["packets_sent"] == 2


async def test_the_check_is_answered_with_the_address_it_came_from(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    answer = await client.check(endpoint.peer(observer))
    mapped = answer.attributes["XOR-MAPPED-ADDRESS"]
    assert mapped == client.wire.transport.get_extra_info("sockname")  # type: ignore[attr-defined]


async def test_data_channels_of_both_sides(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = endpoint.peer(observer)
    peer.open_channel("_ours", ordered=False, max_retransmits=0)
    assert not peer.send_data("_ours", b"too early")
    await client.connect(peer, endpoint)
    await client.start_sctp()
    assert await soon(client.opened) == "_ours"
    assert client.channels["_ours"].maxRetransmits == 0
    assert not client.channels["_ours"].ordered
    assert await soon(observer.opened) == "_ours"
    assert peer.send_data("_ours", b"down")
    assert await soon(client.messages) == ("_ours", b"down")

    theirs = await client.open("_theirs")
    assert await soon(observer.opened) == "_theirs"
    theirs.send("up \N{SNOWMAN}")
    assert await soon(observer.data) == ("_theirs", "up \N{SNOWMAN}".encode())
    big = bytes(60000)
    theirs.send(big)
    assert await soon(observer.data) == ("_theirs", big)
    assert peer.send_data("_theirs", big)
    assert await soon(client.messages) == ("_theirs", big)


async def test_send_data_refuses_beyond_its_bound(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = await connect(endpoint, observer, client)
    await client.start_sctp()
    await client.open("_reliable")
    await soon(observer.opened)
    block = bytes(64000)
    accepted = 0
    while peer.send_data("_reliable", block):
        accepted += 1
        assert accepted < 40
    assert accepted * len(block) > 900_000
    assert not peer.send_data("_reliable", bytes(65537))
    assert not peer.send_data("_unknown", b"")
    assert await soon(client.messages) == ("_reliable", block)


async def test_ice_restart_moves_the_client_and_keeps_dtls(
    endpoint: Endpoint, observer: Observer
) -> None:
    client, moved = await ClientPeer.udp(endpoint), await ClientPeer.udp(endpoint)
    peer = await connect(endpoint, observer, client)
    old = (peer.ufrag, peer.pwd)
    peer.restart_ice()
    peer.restart_ice()  # the first restart was never used
    assert (peer.ufrag, peer.pwd) != old
    endpoint.egress.send_many([(peer, rtp(1), False)])
    assert await client.media() == rtp(1)  # the old pair serves until the new one is used

    moved.dtls, client.dtls = client.dtls, moved.dtls  # the same association, another socket
    await moved.check(peer)
    endpoint.egress.send_many([(peer, rtp(2), False)])
    assert await moved.media() == rtp(2)
    moved.send_rtp(rtp(3))
    assert await soon(observer.rtp) == rtp(3)
    peer.restart_ice()
    await moved.check(peer)
    await client.close()
    await moved.close()


async def test_a_tcp_client_that_loses_its_connection_goes_on_over_another(
    endpoint: Endpoint, observer: Observer
) -> None:
    first, second = await ClientPeer.tcp(endpoint), await ClientPeer.tcp(endpoint)
    peer = await connect(endpoint, observer, first)
    second.dtls, first.dtls = first.dtls, second.dtls
    await second.check(peer, use_candidate=False)
    first.wire.close()
    await first.wire.ended.wait()
    second.send_rtp(rtp(9))
    assert await soon(observer.rtp) == rtp(9)
    endpoint.egress.send_many([(peer, rtp(2), False)])
    assert await second.media() == rtp(2)
    await second.close()


async def test_the_client_says_goodbye(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = await connect(endpoint, observer, client)
    await client.dtls.stop()
    assert await soon(observer.closed) == "dtls_closed"
    assert not peer.connected
    endpoint.egress.send_many([(peer, rtp(1), False)])
    assert endpoint.stats["egress_no_path"] == 1


async def test_we_say_goodbye_and_do_not_tell_ourselves(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = await connect(endpoint, observer, client)
    closed = asyncio.Event()
    client.dtls.on("statechange", lambda: client.dtls.state == "closed" and closed.set())
    await peer.close()
    await peer.close()
    await asyncio.wait_for(closed.wait(), 5)
    assert observer.closed.empty()
    peer.restart_ice()
    await peer.start(client.fingerprint)
    assert not peer.connected


async def test_an_association_that_never_started_closes(
    endpoint: Endpoint, observer: Observer
) -> None:
    peer = endpoint.peer(observer)
    await peer.close()
    client = await ClientPeer.udp(endpoint)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.check(peer)
    assert endpoint.stats["stun_unknown_ufrag"] == 1
    await client.close()


async def test_a_foreign_certificate_is_refused(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = endpoint.peer(observer)
    other = ClientPeer(client.wire)
    await peer.start(other.fingerprint)
    await client.check(peer)
    await client.handshake(endpoint)
    assert await soon(observer.closed) == "dtls_failed"
    client.send_rtp(rtp(1))
    assert observer.rtp.empty()
    assert observer.connected.empty()


async def test_start_is_idempotent_and_checks_its_argument(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = endpoint.peer(observer)
    for wrong in ("", "sha-1 AA:BB", "sha-256"):
        with pytest.raises(ValueError, match="fingerprint"):
            await peer.start(wrong)
    assert not peer.started
    await peer.start(client.fingerprint)
    await peer.start(client.fingerprint.lower())
    with pytest.raises(ValueError, match="cannot change"):
        await peer.start("sha-256 00:11")
    assert peer.started


async def test_dtls_that_comes_before_the_answer_waits(
    endpoint: Endpoint, observer: Observer, client: ClientPeer
) -> None:
    peer = endpoint.peer(observer)
    await client.check(peer)
    handshake = asyncio.create_task(client.handshake(endpoint))
    await asyncio.sleep(0.05)
    await peer.start(client.fingerprint)
    await handshake
    assert await soon(observer.connected) is peer


async def test_no_sign_of_life_ends_the_association(observer: Observer) -> None:
    endpoint = await Endpoint.open(
        EndpointSettings(bind=("127.0.0.1",), udp_port=0, tcp_port=0, consent_timeout=0.1)
    )
    client = await ClientPeer.udp(endpoint)
    await connect(endpoint, observer, client)
    assert await soon(observer.closed) == "consent_lost"
    await client.close()
    await endpoint.close()


async def test_without_signalling_silence_ends_the_association_sooner(observer: Observer) -> None:
    endpoint = await Endpoint.open(
        EndpointSettings(bind=("127.0.0.1",), udp_port=0, tcp_port=0, unattended_timeout=0.1)
    )
    client = await ClientPeer.udp(endpoint)
    peer = await connect(endpoint, observer, client)
    peer.attended = False
    assert await soon(observer.closed) == "consent_lost"
    await client.close()
    await endpoint.close()


async def test_an_association_that_is_never_completed_ends(
    endpoint: Endpoint, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.transport.peer.SETUP_TIMEOUT", 0.05)
    client = await ClientPeer.udp(endpoint)
    await endpoint.peer(observer).start(client.fingerprint)
    assert await soon(observer.closed) == "setup_timeout"
    await client.close()


async def test_an_observer_that_fails_does_not_end_the_association(
    endpoint: Endpoint, client: ClientPeer
) -> None:
    class Faulty(Observer):
        def peer_connected(self, peer: Peer) -> None:
            super().peer_connected(peer)
            raise RuntimeError("observer's fault")

        def rtp_received(self, peer: Peer, packet: bytes, now: float) -> None:
            super().rtp_received(peer, packet, now)
            if packet == rtp(1):
                raise RuntimeError("observer's fault")

    observer = Faulty()
    await connect(endpoint, observer, client)
    client.send_rtp(rtp(1))
    client.send_rtp(rtp(2))
    assert [await soon(observer.rtp), await soon(observer.rtp)] == [rtp(1), rtp(2)]
    assert endpoint.stats["observer_failed"] == 2


async def test_closing_the_endpoint_ends_everything(observer: Observer) -> None:
    endpoint = await Endpoint.open(EndpointSettings(bind=("127.0.0.1",), udp_port=0, tcp_port=0))
    clients = [await ClientPeer.udp(endpoint) for _ in range(3)]
    peers = [await connect(endpoint, observer, client) for client in clients]
    await endpoint.close()
    assert not any(peer.connected for peer in peers)
    assert observer.closed.empty()
    for client in clients:
        await client.close()
