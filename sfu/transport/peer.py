"""One ICE/DTLS/SRTP/SCTP association with a client.

The only file that uses names of aiortc that begin with an underscore; they are listed in
AIORTC_PRIVATE, and a test fails if one of them is gone.
"""

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, cast

import pylibsrtp
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)

from sfu.rtp.packet import is_rtcp
from sfu.transport.datachannel import MAX_MESSAGE, DataChannels
from sfu.transport.icelite import BindingRequest, Bucket, Credentials
from sfu.transport.path import Path

logger = logging.getLogger(__name__)

AIORTC_PRIVATE = {
    RTCDtlsTransport: ("_set_role",),
    RTCSctpTransport: ("_handle_data", "_send_chunk", "_data_channel_flush"),
}
AIORTC_PRIVATE_ATTRIBUTES = {
    RTCDtlsTransport: ("_rx_srtp", "_tx_srtp"),
    RTCSctpTransport: ("_advertised_rwnd",),
}

SCTP_PORT = 5000
MAX_PENDING_DTLS = 512  # datagrams waiting for DTLS; a bulk transfer comes in bursts
MAX_UNREAD = 2 * 1024 * 1024  # bytes of unfinished SCTP messages
MAX_PATHS = 16  # addresses one client may write from
MAX_SSRCS = 1024  # libsrtp keeps a context for each
MAX_PACKET = 1500  # the buffer of pylibsrtp
SETUP_TIMEOUT = 30.0
CHECK_RATE, CHECK_BURST = 50.0, 100.0  # STUN checks of one client per second


class PeerObserver(Protocol):
    """Told of everything one peer does; all called on the loop, none may block.

    `now` is the loop's time in seconds. Packets are decrypted.
    """

    def peer_connected(self, peer: "Peer") -> None:
        """DTLS is up."""

    def peer_closed(self, peer: "Peer", reason: str) -> None:
        """The association ended by itself: the client said so, or gave no sign of life."""

    def rtp_received(self, peer: "Peer", packet: bytes, now: float) -> None:
        """Hot path."""

    def rtcp_received(self, peer: "Peer", packet: bytes, now: float) -> None:
        """A compound."""

    def channel_opened(self, peer: "Peer", label: str) -> None:
        """A data channel, whoever opened it, can be used."""

    def data_received(self, peer: "Peer", label: str, payload: bytes) -> None:
        """A message; text arrives as UTF-8."""


class Addresses(Protocol):
    """What a peer needs of the endpoint: the ufrag table."""

    def register(self, credentials: Credentials, peer: "Peer") -> None: ...
    def withdraw(self, credentials: Credentials) -> None: ...
    def forget(self, peer: "Peer") -> None: ...


class _Carrier:
    """What RTCDtlsTransport takes for an ICE transport: three names, by duck typing."""

    role = "controlled"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._deliver = send
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_PENDING_DTLS)
        self._closed = False

    def put(self, data: bytes) -> bool:
        """A DTLS datagram from the network; False if too many wait already."""
        if self._closed or self._incoming.full():
            return False
        self._incoming.put_nowait(data)
        return True

    def close(self) -> None:
        """End the reader with ConnectionError."""
        self._closed = True
        while not self._incoming.empty():
            self._incoming.get_nowait()
        self._incoming.put_nowait(None)

    async def _recv(self) -> bytes:
        data = await self._incoming.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        self._deliver(data)


class _Sctp(RTCSctpTransport):
    """SCTP that a client cannot bring down or make grow without bound."""

    overrun: Callable[[str], None]

    async def _handle_data(self, data: bytes) -> None:
        try:
            await super()._handle_data(data)
        except (
            AssertionError,  # aiortc asserts what a client may violate
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            struct.error,
        ) as error:
            logger.debug("SCTP protocol error: %r", error)
            self.overrun("sctp_protocol_error")
        # The window falls below zero by what is kept although we did not offer room for it.
        if self._advertised_rwnd < 1024 * 1024 - MAX_UNREAD:
            self.overrun("sctp_window_overrun")

    async def _send_chunk(self, chunk: Any) -> None:
        try:
            await super()._send_chunk(chunk)
        except ConnectionError:  # DTLS is gone; aiortc's timers would leave this unseen
            logger.debug("SCTP chunk not sent: DTLS is closed")

    async def _data_channel_flush(self) -> None:
        try:
            await super()._data_channel_flush()
        except ConnectionError:
            logger.debug("data channel not flushed: DTLS is closed")


class Peer:
    """One association. `ufrag` and `pwd` are what our SDP announces now."""

    def __init__(
        self,
        observer: PeerObserver,
        addresses: Addresses,
        certificate: RTCCertificate,
        stats: Counter[str],
        now: float,
    ) -> None:
        self.connected = False
        self.attended = True
        """Whether the client's signalling is there."""
        self.path: Path | None = None
        self.last_consent = now
        self.checks = Bucket(CHECK_RATE, CHECK_BURST, now)
        self._observer = observer
        self._addresses = addresses
        self._stats = stats
        self._credentials = Credentials.generate()
        self._previous: Credentials | None = None
        self._paths: dict[Path, float] = {}
        self._ssrcs: set[bytes] = set()
        self._carrier = _Carrier(self._send_dtls)
        self._dtls = RTCDtlsTransport(cast("Any", self._carrier), [certificate])
        self._dtls._set_role("server")
        self._dtls.on("statechange", self._dtls_changed)
        self._sctp: _Sctp | None = None
        self._channels = DataChannels(
            lambda label: self._tell("channel_opened", label),
            lambda label, payload: self._tell("data_received", label, payload),
            self.end,
        )
        self._fingerprint: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._reason = ""
        self._closing = False
        addresses.register(self._credentials, self)

    # -- signalling's side

    @property
    def ufrag(self) -> str:
        """Our ICE user name fragment."""
        return self._credentials.ufrag

    @property
    def pwd(self) -> str:
        """Our ICE password."""
        return self._credentials.pwd

    @property
    def started(self) -> bool:
        """Whether the client's fingerprint is known."""
        return self._fingerprint is not None

    def restart_ice(self) -> None:
        """New ufrag and pwd, valid beside the old until the new pair is used. DTLS goes on."""
        if self._closing:
            return
        if self._previous is not None:  # the last restart was never used
            self._addresses.withdraw(self._credentials)
        else:
            self._previous = self._credentials
        self._credentials = Credentials.generate()
        self._addresses.register(self._credentials, self)

    def open_channel(self, label: str, *, ordered: bool, max_retransmits: int | None) -> None:
        """Open a data channel from our side, as soon as SCTP is up."""
        self._channels.open(label, ordered=ordered, max_retransmits=max_retransmits)

    def send_data(self, label: str, payload: bytes) -> bool:
        """False: the channel is not open, its buffer (1 MiB) is full, or the message too long."""
        return self.connected and self._channels.send(label, payload)

    async def start(self, remote_fingerprint: str) -> None:
        """Begin DTLS as server; returns at once, `peer_connected` tells when it is up.

        `remote_fingerprint` is the value of a=fingerprint ("sha-256 AB:CD..."). Calling again
        with the same one (a re-offer) does nothing. ValueError: not a fingerprint, or another one.
        """
        algorithm, _, value = remote_fingerprint.strip().partition(" ")
        if algorithm.lower() not in ("sha-256", "sha-384", "sha-512") or not value:
            raise ValueError("fingerprint must be sha-256, sha-384 or sha-512")
        normal = f"{algorithm.lower()} {value.strip().upper()}"
        if self._fingerprint not in (None, normal):
            raise ValueError("the fingerprint of an association cannot change")
        if self._fingerprint is None and not self._closing:
            self._fingerprint = normal
            fingerprint = RTCDtlsFingerprint(algorithm.lower(), value.strip().upper())
            self._task = asyncio.create_task(self._run(RTCDtlsParameters([fingerprint])))

    async def close(self) -> None:
        """End the association and tell the client; `peer_closed` is not called for it."""
        if self._closing:
            return
        self._closing = True
        self.end("closed")
        if self._task is not None:
            await self._task
        else:
            self._release()

    def end(self, reason: str) -> None:
        """Ask the association to end; the first reason counts."""
        self._reason = self._reason or reason
        self._ended.set()

    # -- its task

    async def _run(self, parameters: RTCDtlsParameters) -> None:
        try:
            await self._handshake(parameters)
            await self._ended.wait()
        except Exception:
            logger.exception("association failed")
            self.end("error")
        finally:
            await self._stop()
        if not self._closing:
            self._closing = True
            self._tell("peer_closed", self._reason)

    async def _handshake(self, parameters: RTCDtlsParameters) -> None:
        handshake = asyncio.ensure_future(self._dtls.start(parameters))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait(
                (handshake, ended),
                timeout=SETUP_TIMEOUT,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not handshake.done():
                self.end("setup_timeout")
                return
            handshake.result()
        finally:
            await _cancel(handshake, ended)
        if self._dtls.state != "connected":
            self.end("dtls_failed")
            return
        await self._establish()

    async def _establish(self) -> None:
        self.connected = True
        sctp = self._sctp = _Sctp(self._dtls, SCTP_PORT)
        sctp.overrun = self.end
        self._channels.attach(sctp)
        self._tell("peer_connected")
        await sctp.start(RTCSctpCapabilities(maxMessageSize=MAX_MESSAGE), SCTP_PORT)

    async def _stop(self) -> None:
        self.connected = False
        if self._sctp is not None:
            await self._sctp.stop()
        await self._dtls.stop()
        self._carrier.close()
        self._release()

    def _release(self) -> None:
        self.path = None
        self._addresses.withdraw(self._credentials)
        if self._previous is not None:
            self._addresses.withdraw(self._previous)
        self._addresses.forget(self)
        self._paths.clear()

    def _dtls_changed(self) -> None:
        if self._dtls.state in ("closed", "failed"):
            self.end("dtls_closed" if self.connected else "dtls_failed")

    def _tell(self, event: str, *values: object) -> None:
        """Call the observer; its fault is not the client's."""
        try:
            getattr(self._observer, event)(self, *values)
        except Exception:
            logger.exception("observer failed in %s", event)
            self._stats["observer_failed"] += 1

    # -- the network's side, called by the endpoint

    def binding(self, request: BindingRequest, path: Path, now: float) -> Credentials:
        """An authenticated check from `path`. Raises Refused; returns the credentials used."""
        used = self._used(request.ufrag)
        request.authenticate(used)
        self.last_consent = now
        if path not in self._paths and len(self._paths) >= MAX_PATHS:
            oldest = min(self._paths, key=self._paths.__getitem__)
            del self._paths[oldest]
        self._paths[path] = now
        if used is self._credentials and self._previous is not None:
            self._addresses.withdraw(self._previous)
            self._previous = None
            self.path = path
        if self.path is None or request.use_candidate:
            self.path = path
        return used

    def _used(self, ufrag: str) -> Credentials:
        if self._previous is not None and ufrag == self._previous.ufrag:
            return self._previous
        return self._credentials

    def uses(self, path: Path) -> bool:
        """Whether packets from `path` are still this peer's."""
        return path in self._paths

    def lost(self, path: Path) -> None:
        """A path is gone (its TCP connection ended)."""
        self._paths.pop(path, None)
        if self.path is path:
            self.path = max(self._paths, key=self._paths.__getitem__, default=None)

    def dtls_received(self, data: bytes) -> None:
        """A DTLS datagram; kept until `start` if it comes early."""
        if not self._carrier.put(data):
            self._stats["dtls_queue_full"] += 1

    def media_received(self, data: bytes, now: float) -> None:
        """An SRTP or SRTCP packet: unprotect at once and hand over. Hot path."""
        session = self._dtls._rx_srtp
        if session is None or not self.connected:
            self._stats["media_before_keys"] += 1
            return
        if not 12 <= len(data) <= MAX_PACKET:
            self._stats["media_bad_length"] += 1
            return
        try:
            if is_rtcp(data):
                self._tell("rtcp_received", session.unprotect_rtcp(data), now)
            elif self._may_use_ssrc(data):
                packet = session.unprotect(data)
                self._ssrcs.add(data[8:12])  # only now: a forged packet must not fill the table
                self._tell("rtp_received", packet, now)
        except pylibsrtp.Error:
            self._stats["srtp_rejected"] += 1

    def _may_use_ssrc(self, data: bytes) -> bool:
        if data[8:12] in self._ssrcs or len(self._ssrcs) < MAX_SSRCS:
            return True
        self._stats["too_many_ssrcs"] += 1
        return False

    def protect(self, packet: bytes, *, rtcp: bool) -> bytes | None:
        """The packet as it goes on the wire; None before the keys, or if it is too long."""
        session = self._dtls._tx_srtp
        if session is None or not self.connected:
            self._stats["egress_before_keys"] += 1
            return None
        try:
            protected: bytes = session.protect_rtcp(packet) if rtcp else session.protect(packet)
        except (pylibsrtp.Error, ValueError):
            self._stats["egress_unprotectable"] += 1
            return None
        return protected

    def _send_dtls(self, data: bytes) -> None:
        if self.path is None or not self.path.send(data):
            self._stats["dtls_not_sent"] += 1


async def _cancel(*futures: "asyncio.Future[Any]") -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
