"""One ICE/DTLS/SRTP/SCTP association (first version: the signatures)."""

from typing import Protocol


class PeerObserver(Protocol):
    """Told of everything one peer does; all called on the loop, none may block."""

    def peer_connected(self, peer: "Peer") -> None: ...
    def peer_closed(self, peer: "Peer", reason: str) -> None: ...
    def rtp_received(self, peer: "Peer", packet: bytes, now: float) -> None: ...
    def rtcp_received(self, peer: "Peer", packet: bytes, now: float) -> None: ...
    def channel_opened(self, peer: "Peer", label: str) -> None: ...
    def data_received(self, peer: "Peer", label: str, payload: bytes) -> None: ...


class Peer:
    """One ICE/DTLS/SRTP/SCTP association."""

    ufrag: str
    pwd: str
    connected: bool

    def restart_ice(self) -> None:
        """New ufrag and pwd, valid beside the old until the new pair is used."""
        raise NotImplementedError

    def open_channel(self, label: str, *, ordered: bool, max_retransmits: int | None) -> None:
        """Open a data channel from our side, as soon as SCTP is up."""
        raise NotImplementedError

    def send_data(self, label: str, payload: bytes) -> bool:
        """False: the channel is not open, or its buffer (1 MiB) is full."""
        raise NotImplementedError

    async def start(self, remote_fingerprint: str) -> None:
        """Begin DTLS as server; returns at once, `peer_connected` tells when it is up."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the association; `peer_closed` is not called for it."""
        raise NotImplementedError
