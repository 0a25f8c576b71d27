"""The sockets every participant shares: one UDP port and one TCP port for all."""

import asyncio
import errno
import ipaddress
import logging
import socket
from collections import Counter
from dataclasses import dataclass

from aioice.ice import get_host_addresses
from aiortc import RTCCertificate

from sfu.transport.discovery import Server, addresses_seen
from sfu.transport.egress import Egress
from sfu.transport.icelite import Credentials, Gate, Refused, parse_request
from sfu.transport.path import Path, TcpPath, UdpPath, bind_tcp, bind_udp
from sfu.transport.peer import Peer, PeerObserver

__all__ = ["Endpoint", "EndpointSettings", "Peer", "PeerObserver"]

logger = logging.getLogger(__name__)

READS_PER_WAKE = 64  # datagrams taken before others on the loop get their turn
MAX_DATAGRAM = 65535
SWEEP_INTERVAL = 1.0
MAX_HALF_OPEN = 256  # TCP connections that have not authenticated yet
MAX_HALF_OPEN_PER_SOURCE = 16
HALF_OPEN_TIMEOUT = 5.0
WILDCARDS = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Where to listen. `udp_port` 0 takes a free one, `tcp_port` 0 turns ICE-TCP off.

    `advertised`: the addresses told to clients; empty: those of this host, with 127.0.0.1 if only
    loopback is bound, if there is no other, or if `loopback` is set (development).
    `stun_server`: asked at start what address we are seen at; that is told instead of our own.
    `consent_timeout`: seconds without an authenticated check before a peer is given up;
    `unattended_timeout`: the same while the client's signalling is gone too, as after a crash.
    Clients check every 2 (Chromium) to 6 seconds (RFC 7675).
    """

    bind: tuple[str, ...] = ("0.0.0.0",)
    udp_port: int = 7882
    tcp_port: int = 7881
    advertised: tuple[str, ...] = ()
    stun_server: Server | None = None
    loopback: bool = False
    consent_timeout: float = 15.0
    unattended_timeout: float = 10.0


class Endpoint:
    """Owner of the UDP and TCP sockets, the certificate and the address table."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._certificate = RTCCertificate.generateCertificate()
        self.fingerprint = _fingerprint(self._certificate)
        self.candidates: tuple[str, ...] = ()
        self.stats: Counter[str] = Counter()
        self.egress = Egress(self.stats)
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[socket.socket, list[str]] = {}
        """With the addresses that clients are told for each."""
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._gate = Gate()
        self._ufrags: dict[str, Peer] = {}
        self._paths: dict[tuple[int, tuple[str, int]], tuple[Peer, Path]] = {}
        self._connections: dict[TcpPath, Peer | None] = {}
        self._peers: set[Peer] = set()

    @classmethod
    async def open(cls, settings: EndpointSettings) -> "Endpoint":
        """Bind every port; a taken one is an OSError that names it."""
        endpoint = cls(settings)
        try:
            for host in settings.bind:
                endpoint._bind_udp(host)
                if settings.tcp_port:
                    await endpoint._listen_tcp(host)
            await endpoint._discover()
            endpoint.candidates = tuple(endpoint._gather())
        except OSError:
            await endpoint.close()
            raise
        endpoint._listen_udp()
        endpoint._sweeper = asyncio.create_task(endpoint._sweep_forever())
        return endpoint

    def peer(self, observer: PeerObserver) -> Peer:
        """A new association, waiting for its client."""
        peer = Peer(observer, self, self._certificate, self.stats, self._loop.time())
        self._peers.add(peer)
        return peer

    async def close(self) -> None:
        """Close every peer and socket."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await asyncio.gather(*(peer.close() for peer in list(self._peers)))
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.close()
        for udp in self._sockets:
            self._loop.remove_reader(udp.fileno())
            udp.close()
        self._sockets.clear()

    # -- sockets

    def _bind_udp(self, host: str) -> None:
        """A wildcard becomes a socket for each address, where there are several.

        A socket that is bound to no address answers from the one that the route prefers; a client
        that checked another of our addresses takes it for a stranger's (RFC 8445, 7.2.5.2.1).
        """
        found = self._addresses_of(host)
        loopback = _loopback(host)
        if host not in WILDCARDS or len(set(found) - {loopback}) < 2:
            self._sockets[bind_udp(host, self._settings.udp_port)] = found
            return
        # Loopback too: clients on this machine need not be told.
        for address in dict.fromkeys([*found, loopback]):
            told = [address] if address in found else []
            try:
                self._sockets[bind_udp(address, self._settings.udp_port)] = told
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                logger.warning("%s; clients are not told of it", error.strerror)

    def _listen_udp(self) -> None:
        for index, udp in enumerate(self._sockets):
            self._loop.add_reader(udp.fileno(), self._readable, udp, index)

    async def _discover(self) -> None:
        """Ask the STUN server what address each socket is seen at, where one is named."""
        if self._settings.stun_server is None:
            return
        asking = [udp for udp, addresses in self._sockets.items() if addresses]
        seen = await addresses_seen(asking, self._settings.stun_server)
        for udp in asking:
            self._sockets[udp] = [seen[udp]] if udp in seen else []
        logger.info("clients are told of %s", ", ".join(seen.values()))

    async def _listen_tcp(self, host: str) -> None:
        listening = bind_tcp(host, self._settings.tcp_port)
        server = await self._loop.create_server(
            lambda: TcpPath(self._tcp_accepted, self._tcp_received, self._tcp_lost), sock=listening
        )
        self._servers.append(server)

    def _gather(self) -> list[str]:
        told: dict[tuple[str, int], None] = {}  # in order, each once
        for udp, addresses in self._sockets.items():
            port, six = udp.getsockname()[1], udp.family == socket.AF_INET6
            given = [a for a in self._settings.advertised if (":" in a) == six]
            if self._settings.stun_server is not None:
                given += addresses
            elif not self._settings.advertised:
                given = addresses
            told.update(((address, port), None) for address in given)
        missing = set(self._settings.advertised) - {address for address, _ in told}
        if missing:
            family = "IPv6" if ":" in min(missing) else "IPv4"
            raise OSError(f"cannot advertise {min(missing)}: nothing is bound for {family}")
        values = [_udp_candidate(*one, index) for index, one in enumerate(told)]
        if self._settings.tcp_port:
            for index, address in enumerate(dict.fromkeys(address for address, _ in told)):
                values.append(_tcp_candidate(address, self._settings.tcp_port, index))
        return values

    def _addresses_of(self, host: str) -> list[str]:
        if host not in WILDCARDS:
            return [host]
        six = host == "::"
        found = [
            address
            for address in get_host_addresses(use_ipv4=not six, use_ipv6=six)
            if not ipaddress.ip_address(address).is_link_local
        ]
        loopback = _loopback(host)
        if (self._settings.loopback or not found) and loopback not in found:
            found.append(loopback)
        return found

    # -- what comes in

    def _readable(self, udp: socket.socket, index: int) -> None:
        for _ in range(READS_PER_WAKE):
            try:
                data, remote = udp.recvfrom(MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # an ICMP error of an earlier send
                self.stats["udp_error"] += 1
                continue
            self.stats["datagrams"] += 1
            try:
                self._datagram(udp, (index, remote[:2]), data, remote)
            except Exception:  # the top of this callback: one datagram must not end the reader
                logger.exception("datagram failed")
                self.stats["failed"] += 1

    def _datagram(
        self,
        udp: socket.socket,
        key: tuple[int, tuple[str, int]],
        data: bytes,
        remote: tuple[str, int],
    ) -> None:
        if not data:
            self.stats["empty"] += 1
            return
        known = self._paths.get(key)
        if data[0] < 4:
            path = known[1] if known is not None else UdpPath(udp, remote)
            peer = self._stun(data, path, known[0] if known is not None else None)
            if peer is not None:
                self._paths[key] = (peer, path)
        elif known is None:
            self.stats["unknown_source"] += 1
        else:
            self._deliver(known[0], data)

    def _deliver(self, peer: Peer, data: bytes) -> None:
        """Tell the protocols apart by their first byte (RFC 7983)."""
        first = data[0]
        if 128 <= first <= 191:
            peer.media_received(data, self._loop.time())
        elif 20 <= first <= 63:
            peer.dtls_received(data)
        else:
            self.stats["unknown_protocol"] += 1

    def _stun(self, data: bytes, path: Path, owner: Peer | None) -> Peer | None:
        """Answer a binding request; the peer it proves to be from, or None.

        `owner`: the peer that proved this path before.
        """
        now = self._loop.time()
        admitted = self._gate.admit(path.source, now) if owner is None else owner.checks.take(now)
        if not admitted:
            self.stats["stun_rate_limited"] += 1
            return None
        try:
            request = parse_request(data)
            peer = self._ufrags.get(request.ufrag)
            if peer is None:
                raise Refused("stun_unknown_ufrag")
            credentials = peer.binding(request, path, now)
        except Refused as refused:
            self.stats[str(refused)] += 1
            return None
        path.send(request.response(path.address, credentials))
        return peer

    # -- ICE-TCP

    def _tcp_accepted(self, connection: TcpPath) -> bool:
        half_open = [c for c, peer in self._connections.items() if peer is None]
        same = sum(1 for c in half_open if c.source == connection.source)
        self._connections[connection] = None
        connection.accepted_at = self._loop.time()
        if len(half_open) >= MAX_HALF_OPEN or same >= MAX_HALF_OPEN_PER_SOURCE:
            connection.refused = "tcp_too_many_half_open"
            return False
        self.stats["tcp_connections"] += 1
        return True

    def _tcp_received(self, connection: TcpPath, data: bytes) -> None:
        self.stats["frames"] += 1
        peer = self._connections.get(connection)
        if data[0] < 4:
            proven = self._stun(data, connection, peer)
            if proven is not None:
                self._connections[connection] = proven
        elif peer is not None:
            self._deliver(peer, data)
        else:
            connection.refused = "tcp_unauthenticated"
            connection.close()

    def _tcp_lost(self, connection: TcpPath) -> None:
        if connection.refused:
            self.stats[connection.refused] += 1
        peer = self._connections.pop(connection, None)
        if peer is not None:
            peer.lost(connection)

    # -- the tables (Addresses of sfu.transport.peer)

    def register(self, credentials: Credentials, peer: Peer) -> None:
        """Checks to this ufrag are the peer's."""
        self._ufrags[credentials.ufrag] = peer

    def withdraw(self, credentials: Credentials) -> None:
        """The ufrag is used no more."""
        self._ufrags.pop(credentials.ufrag, None)

    def forget(self, peer: Peer) -> None:
        """The peer has ended: no address leads to it any more."""
        self._peers.discard(peer)
        self._paths = {key: entry for key, entry in self._paths.items() if entry[0] is not peer}
        for connection in [c for c, owner in self._connections.items() if owner is peer]:
            connection.close()

    # -- consent

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            try:
                self._sweep(self._loop.time())
            except Exception:  # the top of this task
                logger.exception("sweep failed")

    def _sweep(self, now: float) -> None:
        for peer in list(self._peers):
            # Before DTLS the peer's own set-up timeout holds.
            if peer.connected and now - peer.last_consent > self._patience(peer):
                peer.end("consent_lost")
        for connection, owner in list(self._connections.items()):
            if owner is None and now - connection.accepted_at > HALF_OPEN_TIMEOUT:
                connection.refused = "tcp_half_open_timeout"
                connection.close()
        self._paths = {
            key: (peer, path) for key, (peer, path) in self._paths.items() if peer.uses(path)
        }

    def _patience(self, peer: Peer) -> float:
        settings = self._settings
        return settings.consent_timeout if peer.attended else settings.unattended_timeout


def _fingerprint(certificate: RTCCertificate) -> str:
    for fingerprint in certificate.getFingerprints():
        if fingerprint.algorithm == "sha-256":
            return f"sha-256 {fingerprint.value}"
    raise RuntimeError("the certificate has no sha-256 fingerprint")


def _loopback(wildcard: str) -> str:
    return "::1" if wildcard == "::" else "127.0.0.1"


def _udp_candidate(address: str, port: int, index: int) -> str:
    priority = 126 << 24 | (65535 - index) << 8 | 255
    return f"{index + 1} 1 udp {priority} {address} {port} typ host"


def _tcp_candidate(address: str, port: int, index: int) -> str:
    # RFC 6544 section 4.2: passive host candidates, below every UDP one.
    priority = 126 << 24 | (4 << 13 | 8191 - index) << 8 | 255
    return f"{index + 101} 1 tcp {priority} {address} {port} typ host tcptype passive"
