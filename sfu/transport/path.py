"""The two ways to a client: a datagram to an address, or a frame on a TCP connection."""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

MAX_FRAME = 2048  # an RTP packet over Ethernet has at most 1500 bytes
MAX_TCP_BACKLOG = 512 * 1024  # bytes waiting on one connection before packets are dropped
RECEIVE_BUFFER = 4 * 1024 * 1024


class Path(Protocol):
    """Where a client is reached."""

    @property
    def source(self) -> str: ...

    @property
    def address(self) -> tuple[str, int]: ...

    def send(self, data: bytes) -> bool:
        """False: dropped, as a full network would."""
        ...


class UdpPath:
    """One remote address at one of our UDP sockets."""

    __slots__ = ("_remote", "_socket")

    def __init__(self, udp: socket.socket, remote: tuple[str, int]) -> None:
        self._socket = udp
        self._remote = remote

    @property
    def source(self) -> str:
        """The IP address, for limits."""
        return self._remote[0]

    @property
    def address(self) -> tuple[str, int]:
        """IP and port; IPv6 tuples have four items, STUN wants two."""
        return self._remote[0], self._remote[1]

    def send(self, data: bytes) -> bool:
        """Write to the socket at once; a full socket buffer or an ICMP error is a loss."""
        try:
            self._socket.sendto(data, self._remote)
        except OSError:
            return False
        return True


class TcpPath(asyncio.Protocol):
    """One accepted ICE-TCP connection: frames with a length of two bytes (RFC 4571)."""

    def __init__(
        self,
        accept: "Callable[[TcpPath], bool]",
        received: "Callable[[TcpPath, bytes], None]",
        lost: "Callable[[TcpPath], None]",
    ) -> None:
        self._accept = accept
        self._received = received
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._remote = ("", 0)
        self.accepted_at = 0.0
        self.refused = ""

    @property
    def source(self) -> str:
        """The IP address, for limits."""
        return self._remote[0]

    @property
    def address(self) -> tuple[str, int]:
        """IP and port of the client."""
        return self._remote

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; it may be one too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP servers make these
        self._transport = transport
        remote = transport.get_extra_info("peername") or ("", 0)
        self._remote = (remote[0], remote[1])
        if not self._accept(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take the frames apart; a frame no WebRTC client sends ends the connection."""
        buffer = self._buffer
        buffer += data
        position = 0
        while len(buffer) - position >= 2:
            length = buffer[position] << 8 | buffer[position + 1]
            if length > MAX_FRAME:
                self.refused = "tcp_frame_too_long"
                self.close()
                return
            end = position + 2 + length
            if len(buffer) < end:
                break
            if length:
                self._received(self, bytes(buffer[position + 2 : end]))
            position = end
        del buffer[:position]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        self._transport = None
        self._lost(self)

    def send(self, data: bytes) -> bool:
        """Queue a frame, unless the client does not keep up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MAX_TCP_BACKLOG:
            return False
        transport.write(len(data).to_bytes(2, "big") + data)
        return True

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def bind_udp(host: str, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket; OSError says which port could not be had."""
    return _bind(socket.SOCK_DGRAM, host, port, "UDP")


def bind_tcp(host: str, port: int) -> socket.socket:
    """A bound, non-blocking TCP socket; OSError says which port could not be had."""
    return _bind(socket.SOCK_STREAM, host, port, "TCP")


def _bind(kind: socket.SocketKind, host: str, port: int, name: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, kind)
    try:
        bound.setblocking(False)
        if family == socket.AF_INET6:  # 0.0.0.0 has a socket of its own
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_BUFFER)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        reason = f"cannot listen on {name} port {port} of {host}: {error.strerror or error}"
        raise OSError(error.errno, reason) from error
    return bound
