"""The whole media path: a client's packets through endpoint, routing table and egress to others.

Losses are made on the wire, before SRTP: libsrtp refuses a packet it has already seen.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from sfu.room.forwarding import Codec, Forwarding
from sfu.rtp import extension, feedback, rtcp
from sfu.rtp.packet import build_extensions, build_header, is_rtcp, parse_header
from sfu.transport.endpoint import Endpoint
from sfu.transport.peer import Peer
from tests.sfu.transport.client_peer import ClientPeer

OPUS = Codec("audio/opus", 111, 48000)


class Relay:
    """What the server does around the core: events in, one flush at the end of the turn."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.forwarding = Forwarding()
        self.connected: asyncio.Queue[Peer] = asyncio.Queue()
        self._flushing = False
        self._loop = asyncio.get_running_loop()
        self._ticker = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self.forwarding.tick(self._loop.time())
            self.flush()

    def wake(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._flushing = False
        self.endpoint.egress.send_many(self.forwarding.drain().packets)  # type: ignore[arg-type]

    def rtp_received(self, peer: Peer, packet: bytes, now: float) -> None:
        self.forwarding.rtp(peer, packet, now)
        self.wake()

    def rtcp_received(self, peer: Peer, packet: bytes, now: float) -> None:
        self.forwarding.rtcp(peer, packet, now)
        self.wake()

    def peer_connected(self, peer: Peer) -> None:
        self.connected.put_nowait(peer)

    def peer_closed(self, peer: Peer, reason: str) -> None:
        self.forwarding.remove_peer(peer)

    def channel_opened(self, peer: Peer, label: str) -> None: ...

    def data_received(self, peer: Peer, label: str, payload: bytes) -> None: ...

    async def join(self, client: ClientPeer) -> Peer:
        peer = self.endpoint.peer(self)
        await client.connect(peer, self.endpoint)
        return await asyncio.wait_for(self.connected.get(), 5)

    async def close(self) -> None:
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)


@pytest.fixture
async def relay(endpoint: Endpoint) -> AsyncIterator[Relay]:
    made = Relay(endpoint)
    yield made
    await made.close()


def rtp(sequence: int) -> bytes:
    header = build_header(
        marker=False,
        payload_type=111,
        sequence=sequence,
        timestamp=sequence * 960,
        ssrc=1,
        extension=build_extensions([(1, b"\x9e"), (3, sequence.to_bytes(2, "big"))]),
    )
    return header + sequence.to_bytes(4, "big") * 10


def publish(relay: Relay, peer: Peer) -> None:
    relay.forwarding.publish("TR_A", kind="audio", codec=OPUS, upstream=peer)
    relay.forwarding.bind_receive(
        peer,
        extensions={1: extension.AUDIO_LEVEL, 3: extension.TRANSPORT_CC},
        mids={},
        ssrcs={1: "TR_A"},
        payload_types={111: OPUS},
    )


def subscribe(relay: Relay, peer: Peer, ssrc: int = 9) -> None:
    relay.forwarding.subscribe(
        "TR_A",
        peer,
        payload_type=100,
        ssrc=ssrc,
        mid="0",
        extensions={extension.AUDIO_LEVEL: 5},
    )


async def receive(client: ClientPeer, count: int) -> tuple[dict[int, bytes], Counter[int]]:
    """({sequence: payload}, RTCP packet types) until `count` different packets came."""
    packets: dict[int, bytes] = {}
    kinds: Counter[int] = Counter()
    while len(packets) < count:
        data = await client.media()
        if is_rtcp(data):
            kinds.update(block.packet_type for block in rtcp.walk(data))
            continue
        header = parse_header(data)
        assert (header.payload_type, header.ssrc) == (100, 9)
        packets[header.sequence] = data[header.payload_start :]
    return packets, kinds


async def test_udp_to_tcp_and_tcp_to_udp(endpoint: Endpoint, relay: Relay) -> None:
    sender, near, far = (
        await ClientPeer.udp(endpoint),
        await ClientPeer.udp(endpoint),
        await ClientPeer.tcp(endpoint),
    )
    publish(relay, await relay.join(sender))
    subscribe(relay, await relay.join(near))
    subscribe(relay, await relay.join(far))
    for sequence in range(200):
        sender.send_rtp(rtp(sequence))
    for client in (near, far):
        packets, _ = await receive(client, 200)
        assert packets == {n: n.to_bytes(4, "big") * 10 for n in range(200)}
    assert not relay.forwarding.drops
    for client in (sender, near, far):
        await client.close()


async def test_losses_on_both_hops_are_repaired(endpoint: Endpoint, relay: Relay) -> None:
    sender, receiver = await ClientPeer.udp(endpoint), await ClientPeer.udp(endpoint)
    publish(relay, await relay.join(sender))
    subscribe(relay, await relay.join(receiver))
    history = {}
    for sequence in range(100):
        history[sequence] = protected = sender.dtls._tx_srtp.protect(rtp(sequence))
        if sequence % 10 != 5:  # lost on the way up
            sender.wire.write(protected)

    async def repair() -> None:
        while True:
            data = await sender.media()
            for block in rtcp.walk(data):
                if (block.packet_type, block.subtype) == (rtcp.RTPFB, feedback.NACK):
                    for sequence in feedback.nacked(block):
                        sender.wire.write(history[sequence])

    repairing = asyncio.create_task(repair())
    packets, _ = await receive(receiver, 100)
    repairing.cancel()
    await asyncio.gather(repairing, return_exceptions=True)
    assert sorted(packets) == list(range(100))

    # Asked for again on the way down. Both came before, so libsrtp would refuse the repetition
    # as a replay; the clear header is enough to see what was sent.
    lost = [40, 41]
    receiver.send_rtcp(feedback.build_nack(1, 9, lost))
    again = []
    while len(again) < len(lost):
        data = await asyncio.wait_for(receiver.wire.media.get(), 5)
        if not is_rtcp(data):
            again.append(parse_header(data).sequence)
    assert again == lost
    await sender.close()
    await receiver.close()


async def test_the_publisher_gets_transport_feedback_and_reports(
    endpoint: Endpoint, relay: Relay
) -> None:
    sender = await ClientPeer.udp(endpoint)
    publish(relay, await relay.join(sender))
    for sequence in range(20):
        sender.send_rtp(rtp(sequence))
    seen: set[tuple[int, int]] = set()
    while not {(rtcp.RTPFB, feedback.TRANSPORT_CC), (rtcp.RR, 1)} <= seen:
        data = await sender.media()
        seen |= {(block.packet_type, block.subtype) for block in rtcp.walk(data)}
    await sender.close()
