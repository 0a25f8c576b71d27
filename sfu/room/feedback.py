"""RTCP from publishers and subscribers, led to whom it concerns."""

from collections.abc import Hashable

from sfu.room.drops import Drop, DropCounts
from sfu.room.routes import Routes
from sfu.room.totals import Totals
from sfu.rtp import feedback, rtcp
from sfu.rtp.packet import Malformed
from sfu.rtp.rtcp import Block, SenderReport


class Feedback:
    """Takes compounds apart. BYE and SDES say nothing that signalling does not say better."""

    def __init__(self, routes: Routes, drops: DropCounts, totals: Totals) -> None:
        self._totals = totals
        self._routes = routes
        self._drops = drops
        self.estimates: dict[Hashable, int] = {}

    def receive(self, peer: Hashable, data: bytes, now: float) -> None:
        """One compound packet; what follows a broken part is dropped."""
        self._totals.rtcp_in += 1
        try:
            for block in rtcp.walk(data):
                self._block(peer, block, now)
        except Malformed:
            self._drops[Drop.MALFORMED] += 1

    def _block(self, peer: Hashable, block: Block, now: float) -> None:
        if block.packet_type == rtcp.SR:
            self._sender_report(peer, rtcp.parse_sender_report(block), now)
            self._reception_reports(peer, block, now)
        elif block.packet_type == rtcp.RR:
            self._reception_reports(peer, block, now)
        elif block.packet_type == rtcp.RTPFB and block.subtype == feedback.NACK:
            subscription = self._routes.by_ssrc.get((peer, feedback.media_ssrc(block)))
            if subscription is not None:
                asked = list(feedback.nacked(block))
                self._totals.nacks_in += len(asked)
                subscription.retransmit(asked, now)
        elif block.packet_type == rtcp.RTPFB and block.subtype == feedback.TRANSPORT_CC:
            link = self._routes.links.get(peer)
            if link is not None:
                link.feedback(block, now)
        elif block.packet_type == rtcp.PSFB:
            self._payload_feedback(peer, block, now)

    def _payload_feedback(self, peer: Hashable, block: Block, now: float) -> None:
        if block.subtype == feedback.PLI:
            self._key_frame(peer, feedback.media_ssrc(block), now)
        elif block.subtype == feedback.FIR:
            for source in feedback.fir_sources(block):
                self._key_frame(peer, source, now)
        elif block.subtype == feedback.REMB:
            bitrate = feedback.remb_bitrate(block)
            if bitrate is not None:
                self.estimates[peer] = bitrate

    def _sender_report(self, peer: Hashable, report: SenderReport, now: float) -> None:
        receiver = self._routes.receivers.get(peer)
        stream = receiver.streams.get(report.ssrc) if receiver is not None else None
        if stream is None or stream.repair:
            return
        stream.layer.sender_report(report, now)
        for subscription in self._routes.subscriptions[stream.publication.sid]:
            if subscription.current == stream.layer.index and subscription.flows:
                subscription.send_report(report, now)

    def _reception_reports(self, peer: Hashable, block: Block, now: float) -> None:
        for report in rtcp.reception_reports(block):
            subscription = self._routes.by_ssrc.get((peer, report.ssrc))
            if subscription is not None:
                subscription.received_report(report, now)

    def _key_frame(self, peer: Hashable, ssrc: int, now: float) -> None:
        self._totals.plis_in += 1
        subscription = self._routes.by_ssrc.get((peer, ssrc))
        if subscription is not None and subscription.flows:
            subscription.request_key_frame(now)
