"""The routing table of one room (first version: the signatures)."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from sfu.room.events import (
    Event,
    LayerActive,
    QualityDemand,
    Speaker,
    SpeakersChanged,
    TrackActive,
)

__all__ = [
    "Batches",
    "Codec",
    "Event",
    "Forwarding",
    "LayerActive",
    "Publication",
    "QualityDemand",
    "Speaker",
    "SpeakersChanged",
    "Subscription",
    "TrackActive",
]

Kind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec as negotiated with one peer."""

    mime: str
    payload_type: int
    clock_rate: int
    fmtp: str = ""
    rtx_payload_type: int | None = None


@dataclass(slots=True)
class Batches:
    """What is to be sent since the last drain, and what happened."""

    packets: list[tuple[Hashable, bytes, bool]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Publication:
    """A published track."""

    sid: str
    muted: bool


class Subscription:
    """One track on its way to one peer."""

    ssrc: int
    muted: bool

    def want(
        self,
        *,
        enabled: bool,
        quality: Literal[0, 1, 2] | None = None,
        width: int = 0,
        height: int = 0,
    ) -> None:
        """What the subscriber asks for (track_setting)."""
        raise NotImplementedError


class Forwarding:
    """The routing table of one room."""

    def publish(
        self,
        sid: str,
        *,
        kind: Kind,
        codec: Codec,
        upstream: Hashable,
        rids: tuple[str, ...] = (),
        sizes: tuple[tuple[int, int], ...] = (),
    ) -> Publication:
        """`sizes`: (width, height) of each layer, lowest first, where the client told them."""
        raise NotImplementedError

    def bind_receive(
        self,
        upstream: Hashable,
        *,
        extensions: dict[int, str],
        mids: dict[str, str],
        ssrcs: dict[int, str],
        payload_types: dict[int, Codec],
    ) -> None:
        """After each negotiation; idempotent. `extensions`: id -> uri of a=extmap."""
        raise NotImplementedError

    def unpublish(self, sid: str) -> None:
        """Forget the publication and every subscription to it."""
        raise NotImplementedError

    def subscribe(
        self,
        sid: str,
        downstream: Hashable,
        *,
        payload_type: int,
        ssrc: int,
        mid: str,
        extensions: dict[str, int],
    ) -> Subscription:
        """`extensions`: uri -> id as negotiated with the subscriber."""
        raise NotImplementedError

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop forwarding; unknown subscriptions are ignored."""
        raise NotImplementedError

    def remove_peer(self, peer_key: Hashable) -> None:
        """Forget all that the peer published and received."""
        raise NotImplementedError

    def rtp(self, upstream: Hashable, packet: bytes, now: float) -> None:
        """A decrypted RTP packet from a publisher. Hot path."""
        raise NotImplementedError

    def rtcp(self, peer_key: Hashable, packet: bytes, now: float) -> None:
        """A decrypted compound RTCP packet from anyone."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Every 100 ms."""
        raise NotImplementedError

    def drain(self) -> Batches:
        """Take what is to be sent and told."""
        raise NotImplementedError
