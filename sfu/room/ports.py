"""The two seams of the core: where a track comes from, and where packets go."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sfu.room.drops import Drop, DropCounts
from sfu.room.events import Event, QualityDemand
from sfu.room.totals import Totals
from sfu.rtp import feedback

Kind = Literal["audio", "video"]
Outgoing = tuple[Hashable, bytes, bool]

MEDIA_TYPES = ("audio/opus", "video/VP8", "video/H264", "video/VP9", "video/AV1")
"""What is forwarded, each under the name its registration gives it."""

MAX_PACKETS = 32768  # between two drains; more means that nobody drains
MAX_EVENTS = 4096
FEEDBACK_SSRC = 1  # a receive-only endpoint has no source of its own; libwebrtc uses 1 too


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec as negotiated with one peer; `mime` is lower case."""

    mime: str
    payload_type: int
    clock_rate: int
    fmtp: str = ""
    rtx_payload_type: int | None = None


@dataclass(slots=True)
class Batches:
    """What is to be sent since the last drain, (peer key, packet, is_rtcp), and what happened."""

    packets: list[Outgoing] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Outbox:
    """Collects the packets and events of one room until they are drained; bounded."""

    def __init__(self, drops: DropCounts, totals: Totals | None = None) -> None:
        self.totals = totals or Totals()
        self._drops = drops
        self._batches = Batches()

    def packet(self, peer: Hashable, packet: bytes, *, rtcp: bool) -> None:
        """Queue one packet; beyond the bound it is dropped."""
        packets = self._batches.packets
        if len(packets) < MAX_PACKETS:
            packets.append((peer, packet, rtcp))
            if rtcp:
                self.totals.rtcp_out += 1
            else:
                self.totals.packets_out += 1
                self.totals.octets_out += len(packet)
        else:
            self._drops[Drop.BATCH_FULL] += 1

    def event(self, event: Event) -> None:
        """Queue one event; beyond the bound it is dropped."""
        if len(self._batches.events) < MAX_EVENTS:
            self._batches.events.append(event)
        else:
            self._drops[Drop.BATCH_FULL] += 1

    def drain(self) -> Batches:
        """Take everything."""
        taken, self._batches = self._batches, Batches()
        return taken


class Source(Protocol):
    """Where a publication comes from: a client's transport now, a peer SFU's trunk later.

    Exactly three verbs go upstream; `bind` tells the source which SSRC a layer turned out to have.
    """

    def bind(self, layer: int, ssrc: int) -> None: ...
    def keyframe(self, layer: int) -> None: ...
    def nack(self, layer: int, sequences: Sequence[int]) -> None: ...
    def demand(self, layers: tuple[bool, ...]) -> None: ...


class ClientSource:
    """A client: RTCP for key frames and repairs, a signalling message for the demand."""

    def __init__(self, outbox: Outbox, upstream: Hashable, sid: str, layers: int) -> None:
        self._outbox = outbox
        self._upstream = upstream
        self._sid = sid
        self._ssrcs: list[int | None] = [None] * layers

    def bind(self, layer: int, ssrc: int) -> None:
        """A layer's SSRC became known."""
        self._ssrcs[layer] = ssrc

    def keyframe(self, layer: int) -> None:
        """Send a PLI, if the layer's SSRC is known yet."""
        ssrc = self._ssrcs[layer]
        if ssrc is not None:
            self._outbox.totals.plis_out += 1
            self._send(feedback.build_pli(FEEDBACK_SSRC, ssrc))

    def nack(self, layer: int, sequences: Sequence[int]) -> None:
        """Ask for packets of a layer again; only a layer with packets can miss some."""
        self._outbox.totals.nacks_out += len(sequences)
        self._send(feedback.build_nack(FEEDBACK_SSRC, self._ssrcs[layer] or 0, sequences))

    def demand(self, layers: tuple[bool, ...]) -> None:
        """Tell the room which layers anybody wants."""
        self._outbox.event(QualityDemand(self._sid, layers))

    def _send(self, packet: bytes) -> None:
        self._outbox.packet(self._upstream, packet, rtcp=True)
