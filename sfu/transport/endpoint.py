"""The sockets every participant shares (first version: the signatures)."""

from collections import Counter
from dataclasses import dataclass

from sfu.transport.egress import Egress
from sfu.transport.peer import Peer, PeerObserver

__all__ = ["Endpoint", "EndpointSettings", "Peer", "PeerObserver"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Where to listen; `tcp_port` 0 turns ICE-TCP off."""

    bind: tuple[str, ...] = ("0.0.0.0",)
    udp_port: int = 7882
    tcp_port: int = 7881
    advertised: tuple[str, ...] = ()


class Endpoint:
    """Owner of the UDP and TCP sockets, the certificate and the address table."""

    candidates: tuple[str, ...]
    fingerprint: str
    stats: Counter[str]
    egress: Egress

    @classmethod
    async def open(cls, settings: EndpointSettings) -> "Endpoint":
        """Bind; a taken port is an OSError with a clear message."""
        raise NotImplementedError

    def peer(self, observer: PeerObserver) -> Peer:
        """A new association waiting for its client."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every peer and socket."""
        raise NotImplementedError
