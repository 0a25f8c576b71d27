"""A WebRTC client without a browser: real STUN, DTLS, SRTP and SCTP, over UDP or ICE-TCP."""

import asyncio
from typing import Any

from aioice import stun
from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)

from sfu.rtp.packet import is_rtcp
from sfu.transport.endpoint import Endpoint
from sfu.transport.peer import Peer


class Wire:
    """Datagrams or frames to the endpoint; what comes back is sorted by first byte."""

    role = "controlling"

    def __init__(self) -> None:
        self.stun: asyncio.Queue[bytes] = asyncio.Queue()
        self.dtls: asyncio.Queue[bytes] = asyncio.Queue()
        self.media: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended = asyncio.Event()

    def sort(self, data: bytes) -> None:
        first = data[0]
        queue = self.stun if first < 4 else self.dtls if first < 64 else self.media
        queue.put_nowait(data)

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    async def _recv(self) -> bytes:
        return await self.dtls.get()

    async def _send(self, data: bytes) -> None:
        self.write(data)


class UdpWire(Wire, asyncio.DatagramProtocol):
    transport: asyncio.DatagramTransport

    @classmethod
    async def open(cls, port: int) -> "UdpWire":
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_datagram_endpoint(cls, remote_addr=("127.0.0.1", port))
        return wire

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.sort(data)

    def write(self, data: bytes) -> None:
        self.transport.sendto(data)

    def close(self) -> None:
        self.transport.close()


class TcpWire(Wire, asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        super().__init__()
        self.buffer = b""

    @classmethod
    async def open(cls, port: int) -> "TcpWire":
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(cls, "127.0.0.1", port)
        return wire

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 2:
            end = 2 + int.from_bytes(self.buffer[:2], "big")
            if len(self.buffer) < end:
                break
            self.sort(self.buffer[2:end])
            self.buffer = self.buffer[end:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def write(self, data: bytes) -> None:
        self.transport.write(len(data).to_bytes(2, "big") + data)

    def close(self) -> None:
        self.transport.abort()


def binding_request(ufrag: str, pwd: str, *, use_candidate: bool = True) -> stun.Message:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{ufrag}:client"
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 1
    if use_candidate:
        request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(pwd.encode())
    return request


class ClientPeer:
    """The client's half of one association with a `Peer`."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.certificate = RTCCertificate.generateCertificate()
        self.dtls = RTCDtlsTransport(wire, [self.certificate])  # type: ignore[arg-type]
        self.dtls._set_role("client")
        self.sctp: RTCSctpTransport | None = None
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.channels: dict[str, RTCDataChannel] = {}
        self.opened: asyncio.Queue[str] = asyncio.Queue()

    @classmethod
    async def udp(cls, endpoint: Endpoint) -> "ClientPeer":
        return cls(await UdpWire.open(port_of(endpoint, "udp")))

    @classmethod
    async def tcp(cls, endpoint: Endpoint) -> "ClientPeer":
        return cls(await TcpWire.open(port_of(endpoint, "tcp")))

    @property
    def fingerprint(self) -> str:
        return f"sha-256 {self.certificate.getFingerprints()[0].value}"

    async def check(self, peer: Peer, *, use_candidate: bool = True) -> stun.Message:
        """One connectivity check; the verified answer."""
        request = binding_request(peer.ufrag, peer.pwd, use_candidate=use_candidate)
        self.wire.write(bytes(request))
        answer = stun.parse_message(await asyncio.wait_for(self.wire.stun.get(), 5))
        assert answer.transaction_id == request.transaction_id
        assert answer.check_message_integrity(peer.pwd.encode())
        return answer

    async def connect(self, peer: Peer, endpoint: Endpoint) -> None:
        """ICE, then DTLS with the endpoint's fingerprint checked."""
        await peer.start(self.fingerprint)
        await self.check(peer)
        await self.handshake(endpoint)

    async def handshake(self, endpoint: Endpoint) -> None:
        algorithm, value = endpoint.fingerprint.split(" ")
        await asyncio.wait_for(
            self.dtls.start(RTCDtlsParameters([RTCDtlsFingerprint(algorithm, value)])), 10
        )
        assert self.dtls.state == "connected"

    async def start_sctp(self) -> None:
        self.sctp = RTCSctpTransport(self.dtls, 5000)
        self.sctp.on("datachannel", self._accept)
        await self.sctp.start(RTCSctpCapabilities(maxMessageSize=65536), 5000)

    def _accept(self, channel: RTCDataChannel) -> None:
        self._listen(channel)
        self.opened.put_nowait(channel.label)

    def _listen(self, channel: RTCDataChannel) -> None:
        self.channels[channel.label] = channel
        channel.on("message", lambda data: self.messages.put_nowait((channel.label, data)))

    async def open(self, label: str, **parameters: Any) -> RTCDataChannel:
        assert self.sctp is not None
        channel = RTCDataChannel(self.sctp, RTCDataChannelParameters(label=label, **parameters))
        opened = asyncio.Event()
        channel.on("open", opened.set)
        self._listen(channel)
        await asyncio.wait_for(opened.wait(), 5)
        return channel

    def send_rtp(self, packet: bytes) -> None:
        self.wire.write(self.dtls._tx_srtp.protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        self.wire.write(self.dtls._tx_srtp.protect_rtcp(packet))

    async def media(self) -> bytes:
        """The next RTP or RTCP packet, decrypted."""
        data = await asyncio.wait_for(self.wire.media.get(), 5)
        session = self.dtls._rx_srtp
        packet: bytes = session.unprotect_rtcp(data) if is_rtcp(data) else session.unprotect(data)
        return packet

    async def close(self) -> None:
        if self.sctp is not None:
            await self.sctp.stop()
        await self.dtls.stop()
        self.wire.close()


def port_of(endpoint: Endpoint, transport: str) -> int:
    """The port of the first candidate of a transport."""
    for candidate in endpoint.candidates:
        fields = candidate.split(" ")
        if fields[2] == transport:
            return int(fields[5])
    raise LookupError(transport)


class Observer:
    """Records what a Peer tells, each kind in a queue of its own."""

    def __init__(self) -> None:
        self.connected: asyncio.Queue[Peer] = asyncio.Queue()
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.rtp: asyncio.Queue[bytes] = asyncio.Queue()
        self.rtcp: asyncio.Queue[bytes] = asyncio.Queue()
        self.opened: asyncio.Queue[str] = asyncio.Queue()
        self.data: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def peer_connected(self, peer: Peer) -> None:
        self.connected.put_nowait(peer)

    def peer_closed(self, peer: Peer, reason: str) -> None:
        self.closed.put_nowait(reason)

    def rtp_received(self, peer: Peer, packet: bytes, now: float) -> None:
        self.rtp.put_nowait(packet)

    def rtcp_received(self, peer: Peer, packet: bytes, now: float) -> None:
        self.rtcp.put_nowait(packet)

    def channel_opened(self, peer: Peer, label: str) -> None:
        self.opened.put_nowait(label)

    def data_received(self, peer: Peer, label: str, payload: bytes) -> None:
        self.data.put_nowait((label, payload))
