"""One track on its way to one peer: what is wanted, what is forwarded, what is sent again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Literal

from sfu.bandwidth.allocation import PAUSED, TOP
from sfu.bandwidth.meter import Meter
from sfu.room.drops import Drop, DropCounts
from sfu.room.events import StreamPaused
from sfu.room.munger import Munger
from sfu.room.ports import Outbox
from sfu.room.publication import Publication
from sfu.room.selector import desired_layer, target_layer
from sfu.room.view import NUMBER, ExtensionPlan, View, padding_block
from sfu.rtp.history import History
from sfu.rtp.packet import build_header
from sfu.rtp.rtcp import ReceptionReport, SenderReport, build_sender_report, compact_ntp

HISTORY = {"audio": 64, "video": 512}
RESEND_INTERVAL = 0.03  # one loss is often asked for twice before the first repair arrives
RESENDS_PER_SECOND = 500.0
RESEND_BURST = 500.0
REMEMBERED_REPORTS = 8
MOST_PADDING = 255
"""Octets in a packet of padding: its last one says how many (RFC 3550, 5.1)."""

Number = Callable[[int, float], int]
"""Gives a packet of so many octets, sent now, the next transport-wide number of its peer."""


@dataclass(slots=True)
class SubscriptionStats:
    """`loss` is the fraction the subscriber last reported, `rtt` in seconds (0: unknown)."""

    packets: int = 0
    octets: int = 0
    resent: int = 0
    loss: float = 0.0
    rtt: float = 0.0


class Subscription:
    """One track to one peer. `muted`: nothing is forwarded, whatever the subscriber wants.

    `number`: where the peer tells by transport-wide numbers what arrived.
    """

    def __init__(
        self,
        publication: Publication,
        downstream: Hashable,
        *,
        payload_type: int,
        ssrc: int,
        mid: str,
        plan: ExtensionPlan,
        outbox: Outbox,
        drops: DropCounts,
        number: Number | None = None,
    ) -> None:
        self.publication = publication
        self.downstream = downstream
        self.ssrc = ssrc
        self.mid = mid
        self.payload_type = payload_type
        self.muted = False
        self.enabled = True
        self.hears_all = False
        self.current: int | None = None
        """The layer whose stream is forwarded."""
        self.target = self.desired = len(publication.states) - 1
        """Qualities (see Publication.states): to switch to, and wanted if it flows."""
        self.allowed = TOP
        """The highest quality that the peer's link has room for; PAUSED for none."""
        self.priority = 0
        self._spatial = self.target
        """Of a scalable stream, what is above this spatial layer is left out."""
        self.stats = SubscriptionStats()
        self._plan = plan
        self._outbox = outbox
        self._number = number
        self._meter = Meter()
        self._ended = False
        self._drops = drops
        self._wish: tuple[int | None, int, int] = (None, 0, 0)
        self._selected_at = -1  # the publication's flow_changes when the layer was chosen
        self._interrupted = False
        self._munger = Munger(publication.codec.clock_rate)
        self._history = History(HISTORY[publication.kind])
        self._reports: OrderedDict[int, float] = OrderedDict()
        self._budget, self._budget_at = RESEND_BURST, 0.0

    def want(
        self,
        *,
        enabled: bool,
        quality: Literal[0, 1, 2] | None = None,
        width: int = 0,
        height: int = 0,
        priority: int = 0,
    ) -> None:
        """What the subscriber asks for (track_setting); effective with the next packet or tick."""
        self.enabled = enabled
        self.priority = priority
        self._wish = (quality, width, height)
        self._selected_at = -1

    def reconfigure(self, *, payload_type: int, plan: ExtensionPlan) -> None:
        """A later negotiation changed numbers; the stream goes on."""
        self.payload_type = payload_type
        self._plan = plan

    @property
    def wanted(self) -> bool:
        """Whether the subscriber wants it and may have it."""
        return self.enabled and not self.muted

    @property
    def flows(self) -> bool:
        """Whether packets may pass now."""
        return self.wanted and self.allowed != PAUSED

    @property
    def heard(self) -> bool:
        """Audio: whether it reaches the subscriber now, the room's floor being limited or not."""
        return self.hears_all or self.publication.heard

    @property
    def area(self) -> int:
        """Pixels on the subscriber's screen; of the whole picture where it did not say."""
        _, width, height = self._wish
        state = self.publication.states[self.desired]
        return width * height or state.width * state.height

    @property
    def bitrate(self) -> float:
        """Bit/s that were sent of late."""
        return self._meter.bitrate if self.flows else 0.0

    def allow(self, quality: int, now: float) -> None:
        """The highest quality that there is room for; PAUSED for none. The subscriber is told."""
        if quality == self.allowed:
            return
        if PAUSED in (quality, self.allowed):
            paused = quality == PAUSED
            self._interrupted = self._interrupted or paused
            self._outbox.event(StreamPaused(self.publication.sid, self.downstream, paused))
        self.allowed = quality
        self.select(now)

    def select(self, now: float) -> None:
        """Choose the layer anew and ask for the key frame a switch needs."""
        self._choose()
        if self.flows and self.awaits_key_frame:
            self._ask_key_frame(now)

    def _choose(self) -> None:
        self._selected_at = self.publication.flow_changes
        states = self.publication.states
        quality, width, height = self._wish
        self.desired = desired_layer(states, quality=quality, width=width, height=height)
        self.target = target_layer(states, min(self.desired, max(0, self.allowed)))

    def _ask_key_frame(self, now: float) -> None:
        self.publication.keyframe(self.target, now)
        if self.target != self.desired:  # it may begin to flow because of this
            self.publication.keyframe(self.desired, now)

    @property
    def _too_much(self) -> bool:
        """Whether the link has no room for what is forwarded, until a key frame of less comes."""
        if self.allowed == TOP or self.current is None:
            return False
        return self.publication.stream_of(self.target) < self.current

    def request_key_frame(self, now: float) -> None:
        """The subscriber cannot decode: ask the source of what it is sent now."""
        self.publication.keyframe(self.target if self.current is None else self.current, now)

    @property
    def awaits_key_frame(self) -> bool:
        """Whether the stream cannot go on as wanted without a key frame."""
        if self.publication.kind != "video":
            return False
        if self.publication.scalable and self._spatial < self.target:
            return True
        return self.current != self.publication.stream_of(self.target) or self._interrupted

    def interrupt(self) -> None:
        """Packets of the source were left out: the numbers must be joined at the next one."""
        self._interrupted = True

    def forward(self, view: View) -> None:
        """Send a packet of any layer on, or drop it under its name. Hot path."""
        if not self.flows:
            self._interrupted = True
            why = Drop.NO_BANDWIDTH if self.wanted else Drop.SUBSCRIPTION_DISABLED
            self._drops[why] += 1
            return
        if self._selected_at != self.publication.flow_changes:
            self._choose()
            # A layer begins with a key frame: often this packet is what would be asked for.
            wanted = self.publication.stream_of(self.target)
            if self.awaits_key_frame and not (view.key_frame and view.layer == wanted):
                self._ask_key_frame(view.now)
        if view.layer == self.current and not self._interrupted and self._munger.follows(view):
            self._follow(view)
            return
        reason = self._join(view)
        if reason is not None:
            self._drops[reason] += 1
            return
        self._send(view)
        # If the packet is a repair, the rest of its frame was here before it.
        for later in self.publication.layers[view.layer].after(view):
            self._follow(later)

    def _follow(self, view: View) -> None:
        """The next packet of the forwarded stream, or one to leave out without a gap."""
        reason = self._unwanted(view)
        if reason is not None and self._munger.skip(view):
            self._drops[reason] += 1
        else:
            self._send(view)

    def _unwanted(self, view: View) -> Drop | None:
        """Why a packet of the forwarded stream is left out. Spatial layers change between
        pictures: down at any, up at a key frame alone, since only it brings all of them."""
        if view.padding:
            return Drop.PADDING
        if not self.publication.scalable:
            return None
        if view.picture.begins and (view.picture.key_frame or self.target < self._spatial):
            self._spatial = self.target
        return Drop.OTHER_LAYER if view.picture.spatial > self._spatial else None

    def _join(self, view: View) -> Drop | None:
        """Make the packet the next of the stream, or name why it cannot be."""
        same = view.layer == self.current
        if same and not self._interrupted and self._munger.precedes(view):
            return Drop.BEFORE_SWITCH
        if not same and view.layer != self.publication.stream_of(self.target):
            return Drop.OTHER_LAYER
        if self.publication.kind == "video" and not view.key_frame:
            self.publication.keyframe(view.layer, view.now)
            return Drop.AWAITS_KEY_FRAME
        self._rebase(view, same=same)
        return None

    def _rebase(self, view: View, *, same: bool) -> None:
        layers = self.publication.layers
        before = None if self.current is None else layers[self.current]
        after = layers[view.layer]
        if self._too_much:  # with this key frame nobody needs what was lost before it
            self._history = History(HISTORY[self.publication.kind])
        # The same stream after a pause kept its clock; a restarted one has a new clock.
        keep = same and not self._munger.restarted(view)
        self._munger.rebase(view, before, after, keep_clock=keep)
        self.current = view.layer
        self._spatial = self.target
        self._interrupted = False
        if after.report is not None:
            self.send_report(after.report, view.now)

    def _send(self, view: View) -> None:
        header = view.header
        sequence, timestamp, descriptor = self._munger.apply(view)
        self._ended = header.marker or self._ends_picture(view)
        block = view.block(self._plan)
        size = len(block) + len(descriptor) + len(view.payload) + 12
        prefix = (
            build_header(
                marker=self._ended,
                payload_type=self.payload_type,
                sequence=sequence,
                timestamp=timestamp,
                ssrc=self.ssrc,
                extension=self._numbered(block, size, view.now),
            )
            + descriptor
        )
        self._out(sequence, prefix, view.payload)
        self._meter.add(size, view.now)

    def _out(self, sequence: int, prefix: bytes, payload: bytes) -> None:
        self._history.store(sequence, prefix, payload)
        self.stats.packets += 1
        self.stats.octets += len(payload)
        self._outbox.packet(self.downstream, prefix + payload, rtcp=False)

    def _numbered(self, block: bytes, size: int, now: float) -> bytes:
        """The extension block with this packet's own transport-wide number in its place."""
        if self._number is None:
            return block
        number = self._number(size, now)
        at = NUMBER[block[0]]
        return b"".join((block[:at], number.to_bytes(2, "big"), block[at + 2 :]))

    @property
    def pads(self) -> bool:
        """Whether padding can be sent: a video of which a whole picture was sent last."""
        return self.flows and self._number is not None and self.current is not None

    def pad(self, octets: int, now: float) -> int:
        """Send up to so many octets of padding; how many it were.

        Between pictures only: a decoder takes a gap in the middle of one for a loss. Padding has
        numbers of the stream's own, and is sent again like everything else: it would be missed.
        """
        sent = 0
        while self.pads and self._ended and octets - sent >= MOST_PADDING:
            sent += self._pad(now)
        return sent

    def _pad(self, now: float) -> int:
        sequence, timestamp = self._munger.pad()
        block = padding_block(self._plan)
        size = 12 + len(block) + MOST_PADDING
        header = build_header(
            marker=False,
            payload_type=self.payload_type,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=self.ssrc,
            extension=self._numbered(block, size, now),
            padding=True,
        )
        self._out(sequence, header, bytes(MOST_PADDING - 1) + bytes((MOST_PADDING,)))
        return size

    def _ends_picture(self, view: View) -> bool:
        """Whether what follows of this picture is left out: then this packet ends it."""
        picture = view.picture
        return self.publication.scalable and picture.ends and picture.spatial == self._spatial

    def send_report(self, report: SenderReport, now: float) -> None:
        """The publisher's SR on this stream's own clock and counters."""
        self._remember_report(compact_ntp(report.ntp), now)
        own = SenderReport(
            self.ssrc,
            report.ntp,
            report.timestamp + self._munger.timestamp_offset & 0xFFFFFFFF,
            self.stats.packets & 0xFFFFFFFF,
            self.stats.octets & 0xFFFFFFFF,
        )
        self._outbox.packet(self.downstream, build_sender_report(own), rtcp=True)

    def _remember_report(self, compact: int, now: float) -> None:
        self._reports[compact] = now
        if len(self._reports) > REMEMBERED_REPORTS:
            self._reports.popitem(last=False)

    def received_report(self, report: ReceptionReport, now: float) -> None:
        """The subscriber's view of the stream. LSR is the publisher's clock: we look up when
        we sent that report on ours."""
        self.stats.loss = report.fraction / 256
        sent = self._reports.get(report.lsr)
        if sent is not None:
            self.stats.rtt = max(0.0, now - sent - report.dlsr / 65536)

    def retransmit(self, sequences: Iterable[int], now: float) -> None:
        """Send again what the subscriber lost, within its budget; nothing of a layer that the link
        has no room for: it would only be lost again, and the speech beside it."""
        if self._too_much:
            self._drops[Drop.NACK_THROTTLED] += 1
            return
        elapsed = now - self._budget_at
        self._budget = min(RESEND_BURST, self._budget + elapsed * RESENDS_PER_SECOND)
        self._budget_at = now
        interval = max(RESEND_INTERVAL, self.stats.rtt)
        for sequence in sequences:
            sent = self._history.find(sequence)
            if sent is None:
                self._drops[Drop.NACK_UNKNOWN] += 1
            elif self._budget < 1 or not self._history.may_resend(sequence, now, interval):
                self._drops[Drop.NACK_THROTTLED] += 1
            else:
                self._budget -= 1
                self.stats.resent += 1
                self._outbox.totals.resent += 1
                self._outbox.packet(self.downstream, sent.prefix + sent.payload, rtcp=False)
