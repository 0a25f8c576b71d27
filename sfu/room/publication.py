"""A published track: its layers, what they deliver, and what is asked of the source."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from sfu.bandwidth.meter import Meter, usual_bitrate
from sfu.room.drops import Drop, DropCounts
from sfu.room.events import LayerActive, TrackActive
from sfu.room.ports import Codec, Kind, Outbox, Source
from sfu.room.selector import LayerState
from sfu.room.view import View
from sfu.rtp.picture import SCALABLE, Reader, Size, reader_for
from sfu.rtp.reception import Reception
from sfu.rtp.rtcp import ReceptionReport, SenderReport, compact_ntp

FLOW_TIMEOUT = 1.0  # without a packet for so long a video layer does not flow
KEY_FRAME_INTERVAL = 0.3  # at most one PLI per layer in this time
KEY_FRAME_RETRY = 1.0  # to a layer that does not flow
MOST_QUALITIES = 8  # a spatial layer has three bits in VP9 (RFC 9628); rids are three
RECENT = 64  # packets of a video layer kept for a key frame whose beginning comes late
DEMAND_DROP_DELAY = 2.0  # a layer stays wanted so long after its last viewer left


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Counters of one layer since it began; `jitter` in seconds."""

    packets: int
    octets: int
    lost: int
    recovered: int
    jitter: float


class Layer:
    """One simulcast layer (or the only stream) as it arrives. `reader`: for video."""

    def __init__(self, index: int, rid: str, codec: Codec, size: Size) -> None:
        self.index = index
        self.rid = rid
        self.clock_rate = codec.clock_rate
        self.size = size
        self._mime = codec.mime
        self.reader = self._new_reader()
        self.ssrc: int | None = None
        self.reception = Reception(codec.clock_rate)
        self._recent: deque[View] = deque(maxlen=RECENT)
        self.report: SenderReport | None = None
        self.flowing = False
        self.last_packet = float("-inf")
        self.needs_key_frame = False
        self.asked_key_frame = float("-inf")
        self._reported_at = 0.0

    def bind(self, ssrc: int) -> None:
        """A source for this layer; another SSRC than before begins a new stream."""
        if self.ssrc not in (None, ssrc):
            epoch = self.reception.epoch
            self.reader = self._new_reader()
            self.reception = Reception(self.clock_rate)
            self.reception.epoch = epoch + 1
            self.report = None
        self.ssrc = ssrc

    def _new_reader(self) -> Reader | None:
        return reader_for(self._mime) if self._mime.startswith("video/") else None

    def remember(self, view: View) -> None:
        """Keep a packet for `after`."""
        self._recent.append(view)

    def after(self, view: View) -> Iterator[View]:
        """What arrived before `view` although it was sent after it, in order."""
        later = (v for v in self._recent if v.epoch == view.epoch and v.number > view.number)
        return iter(sorted(later, key=lambda v: v.number))

    def sender_report(self, report: SenderReport, now: float) -> None:
        """Keep the publisher's clock mapping."""
        self.report = report
        self._reported_at = now

    def receiver_report(self, now: float) -> ReceptionReport | None:
        """The report block for this layer; None before its first packet."""
        if self.ssrc is None or not self.reception.packets:
            return None
        lsr = dlsr = 0
        if self.report is not None:
            lsr = compact_ntp(self.report.ntp)
            dlsr = min(0xFFFFFFFF, int((now - self._reported_at) * 65536))
        return self.reception.report(self.ssrc, lsr, dlsr)

    @property
    def stats(self) -> LayerStats:
        """What arrived so far."""
        reception = self.reception
        return LayerStats(
            reception.packets,
            reception.octets,
            reception.lost,
            reception.recovered,
            reception.jitter / self.clock_rate,
        )


class Publication:
    """A published track. `muted`: nothing of it is forwarded (the server's own mute holds)."""

    def __init__(
        self,
        sid: str,
        *,
        kind: Kind,
        codec: Codec,
        upstream: Hashable,
        rids: tuple[str, ...],
        sizes: tuple[tuple[int, int], ...],
        source: Source,
        outbox: Outbox,
        drops: DropCounts,
    ) -> None:
        self.sid = sid
        self.kind = kind
        self.codec = codec
        self.upstream = upstream
        self.muted = False
        self.active = False
        self.heard = True
        """Audio: whether it is among the loudest, and passed on."""
        self.flow_changes = 0  # grows when a layer begins or ceases to flow
        self.scalable = codec.mime in SCALABLE and len(rids) < 2
        self.layers = tuple(
            Layer(index, rid, codec, sizes[index] if index < len(sizes) else (0, 0))
            for index, rid in enumerate(rids or ("",))
        )
        self._spatial = sizes or ((0, 0),)
        self._meters = tuple(Meter() for _ in range(MOST_QUALITIES))
        self.source = source
        self._outbox = outbox
        self._drops = drops
        self._demand: tuple[bool, ...] | None = None
        self._lowered_since: float | None = None

    @property
    def stats(self) -> tuple[LayerStats, ...]:
        """Counters per layer, lowest first."""
        return tuple(layer.stats for layer in self.layers)

    @property
    def states(self) -> tuple[LayerState, ...]:
        """What the selection needs to know of each quality: a simulcast layer, or a spatial one."""
        if self.scalable:
            return tuple(LayerState(self.layers[0].flowing, *size) for size in self._spatial)
        return tuple(LayerState(layer.flowing, *layer.size) for layer in self.layers)

    def bitrate(self, quality: int) -> float:
        """Bit/s of a quality, as measured, else as usual for its size; with what it builds on."""
        if self.kind == "audio":
            return self._meters[0].bitrate
        first = 0 if self.scalable else quality
        measured = sum(meter.bitrate for meter in self._meters[first : quality + 1])
        state = self.states[quality]
        return measured or usual_bitrate(state.width, state.height)

    def stream_of(self, quality: int) -> int:
        """The layer whose stream carries a quality."""
        return 0 if self.scalable else quality

    def layer_of(self, rid: str) -> Layer | None:
        """The layer announced under `rid`."""
        return next((layer for layer in self.layers if layer.rid == rid), None)

    def accept(self, view: View, size: int, *, repaired: bool) -> bool:
        """Account for a packet; False: dropped, and counted why. True: forward it."""
        layer = self.layers[view.layer]
        header = view.header
        number = layer.reception.arrive(header.sequence, size, view.now, repaired=repaired)
        if number is None:
            self._drops[Drop.DUPLICATE] += 1
            return False
        view.number, view.epoch = number, layer.reception.epoch
        if not repaired:
            layer.reception.time(header.timestamp, view.now)
        quality = view.picture.spatial if self.scalable else view.layer
        self._meters[quality].add(size, view.now)
        self._flows(layer, view.now)
        if self.kind == "video":
            layer.remember(view)
        if view.key_frame:
            self._key_frame(layer, view)
        return True

    def _flows(self, layer: Layer, now: float) -> None:
        layer.last_packet = now
        if not self.active:
            self.active = True
            self._outbox.event(TrackActive(self.sid))
        if not layer.flowing:
            layer.flowing = True
            self.flow_changes += 1
            self._outbox.event(LayerActive(self.sid, layer.index, True))

    def _key_frame(self, layer: Layer, view: View) -> None:
        layer.needs_key_frame = False
        measured = view.picture.sizes
        if self.scalable and measured and measured != self._spatial:
            self._spatial = measured
            self.flow_changes += 1  # subscribers choose anew
        elif measured:
            layer.size = measured[-1]

    def keyframe(self, quality: int, now: float) -> None:
        """Ask the source for a key frame: at once if allowed, otherwise at a later tick."""
        index = self.stream_of(quality)
        layer = self.layers[index]
        layer.needs_key_frame = True
        pause = KEY_FRAME_INTERVAL if layer.flowing else KEY_FRAME_RETRY
        if self.kind == "video" and now - layer.asked_key_frame >= pause:
            layer.asked_key_frame = now
            self.source.keyframe(index)

    def repair(self, index: int, now: float) -> None:
        """Ask the source for missing packets whose time has come."""
        reception = self.layers[index].reception
        if reception.missing and not self.muted:
            due = reception.due(now)
            if due:
                self.source.nack(index, due)

    def repair_all(self, now: float) -> bool:
        """The same for all layers; whether anything is still missing."""
        for layer in self.layers:
            self.repair(layer.index, now)
        return not self.muted and any(layer.reception.missing for layer in self.layers)

    def tick(self, now: float) -> None:
        """Repairs, key frames put off, and layers that ceased to flow."""
        self.repair_all(now)
        for layer in self.layers:
            if layer.needs_key_frame:
                self.keyframe(layer.index, now)
            if layer.flowing and self.kind == "video" and now - layer.last_packet > FLOW_TIMEOUT:
                layer.flowing = False
                self.flow_changes += 1
                self._outbox.event(LayerActive(self.sid, layer.index, False))

    def update_demand(self, wanted: Iterable[int], now: float) -> None:
        """Tell the source which layers anybody wants; `wanted`: the desired layer of each viewer.

        Every layer below a wanted one is wanted too: it is what a viewer falls back to.
        """
        top = max(wanted, default=-1)
        demand = tuple(layer.index <= top for layer in self.layers)
        if demand == self._demand:
            self._lowered_since = None
        elif self._may_change(demand, now):
            self._demand, self._lowered_since = demand, None
            self.source.demand(demand)

    def _may_change(self, demand: tuple[bool, ...], now: float) -> bool:
        """Up at once; down later, as viewers come and go and a layer is slow to start again."""
        if self._demand is None or sum(demand) > sum(self._demand):
            return True
        if self._lowered_since is None:
            self._lowered_since = now
        return now - self._lowered_since >= DEMAND_DROP_DELAY
