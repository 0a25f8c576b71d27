"""The routing table of one room: publications, subscriptions, and the feedback between them."""

from collections import Counter, defaultdict
from collections.abc import Hashable

from sfu.room.drops import Drop, DropCounts
from sfu.room.events import (
    Event,
    LayerActive,
    QualityDemand,
    Speaker,
    SpeakersChanged,
    TrackActive,
)
from sfu.room.feedback import Feedback
from sfu.room.floor import Floor, FloorLimits
from sfu.room.link import Link
from sfu.room.ports import FEEDBACK_SSRC, Batches, ClientSource, Codec, Kind, Outbox
from sfu.room.publication import Publication
from sfu.room.quality import Traffic
from sfu.room.receiver import Receiver, Stream, StreamLimit
from sfu.room.routes import Routes
from sfu.room.speakers import Speakers
from sfu.room.subscription import Subscription
from sfu.room.totals import Totals
from sfu.room.view import ExtensionPlan, View
from sfu.rtp import extension, packet, rtcp, rtx
from sfu.rtp.packet import Header, Malformed

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

REPORT_INTERVAL = 1.0


class Forwarding:
    """The routing table of one room. Pure: packets and time come in, `drain` gives what goes out.

    Peers are named by any hashable key of the caller's. `drops` and `totals`: shared by all rooms.
    """

    def __init__(
        self,
        floor: FloorLimits | None = None,
        *,
        drops: DropCounts | None = None,
        totals: Totals | None = None,
    ) -> None:
        self.drops: DropCounts = Counter() if drops is None else drops
        self.totals = totals or Totals()
        self._floor = Floor(floor or FloorLimits(), self.drops)
        self.repairing = False
        """Packets of publishers are missing: `repair` is to be called every few milliseconds."""
        self._outbox = Outbox(self.drops, self.totals)
        self._routes = Routes()
        self._feedback = Feedback(self._routes, self.drops, self.totals)
        self._speakers = Speakers()
        self._next_report = float("-inf")

    # -- the table

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
        """A new publication; `rids` lowest layer first, `sizes` (width, height) in that order.

        Raises ValueError if the sid is taken.
        """
        publication = Publication(
            sid,
            kind=kind,
            codec=codec,
            upstream=upstream,
            rids=rids,
            sizes=sizes,
            source=ClientSource(self._outbox, upstream, sid, len(rids) or 1),
            outbox=self._outbox,
            drops=self.drops,
        )
        self._routes.add_publication(publication)
        if kind == "audio":
            self._floor.enter(sid)
        return publication

    def bind_receive(
        self,
        upstream: Hashable,
        *,
        extensions: dict[int, str],
        mids: dict[str, str],
        ssrcs: dict[int, str],
        payload_types: dict[int, Codec],
    ) -> None:
        """After each negotiation; idempotent. `extensions`: id -> uri of a=extmap.

        `mids` and `ssrcs` give the publication's sid; `ssrcs` may name RTX sources too.
        """
        self._routes.receivers.setdefault(upstream, Receiver()).bind(
            extensions=extensions, mids=mids, ssrcs=ssrcs, payload_types=payload_types
        )

    def unpublish(self, sid: str) -> None:
        """Forget the publication and every subscription to it; unknown sids are ignored."""
        if not self._routes.remove_publication(sid):
            return
        self._floor.leave(sid)
        last_word = self._speakers.forget(sid)
        if last_word is not None:
            self._outbox.event(SpeakersChanged((last_word,)))

    def subscribe(
        self,
        sid: str,
        downstream: Hashable,
        *,
        payload_type: int,
        ssrc: int,
        mid: str,
        extensions: dict[str, int],
        hears_all: bool = False,
    ) -> Subscription:
        """Forward a publication to a peer. `extensions`: uri -> id agreed with the subscriber.

        `hears_all`: who only listens for others (a recorder, a scribe) gets every voice, also where
        the room's floor is limited to the loudest.

        KeyError: no such publication. ValueError: the SSRC is taken at this peer.
        """
        link = None
        if extension.TRANSPORT_CC in extensions:
            link = self._routes.links.setdefault(downstream, Link())
        subscription = Subscription(
            self._routes.publications[sid],
            downstream,
            payload_type=payload_type,
            ssrc=ssrc,
            mid=mid,
            plan=_plan(extensions),
            outbox=self._outbox,
            drops=self.drops,
            number=link.number if link else None,
        )
        subscription.hears_all = hears_all
        self._routes.add_subscription(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop forwarding; unknown subscriptions are ignored."""
        self._routes.remove_subscription(subscription)

    def remove_peer(self, peer_key: Hashable) -> None:
        """Forget all that the peer published and received."""
        for sid in self._routes.published_by(peer_key):
            self.unpublish(sid)
        for subscription in self._routes.received_by(peer_key):
            self._routes.remove_subscription(subscription)
        self._routes.receivers.pop(peer_key, None)
        self._routes.links.pop(peer_key, None)
        self._feedback.estimates.pop(peer_key, None)

    def traffic(self) -> dict[Hashable, Traffic]:
        """What each peer sends and receives."""
        found: defaultdict[Hashable, Traffic] = defaultdict(Traffic)
        for publication in self._routes.publications.values():
            own = found[publication.upstream]
            for layer in publication.stats:
                own.received += layer.packets
                own.lost += layer.lost
                own.jitter = max(own.jitter, layer.jitter)
        for (downstream, _), subscription in self._routes.by_ssrc.items():
            if subscription.flows:
                own = found[downstream]
                own.losses += subscription.stats.loss
                own.subscriptions += 1
                own.rtt = max(own.rtt, subscription.stats.rtt)
        return found

    def limits(self) -> list[float]:
        """Bit/s of the links that are known to be limited."""
        limits = (link.limit for link in self._routes.links.values())
        return [limit for limit in limits if limit is not None]

    def bitrate_estimate(self, peer_key: Hashable) -> int | None:
        """The last REMB of a subscriber, bit/s. One input among others: it is often too low."""
        return self._feedback.estimates.get(peer_key)

    # -- media

    def rtp(self, upstream: Hashable, data: bytes, now: float) -> None:
        """A decrypted RTP packet from a publisher. Hot path."""
        self.totals.packets_in += 1
        self.totals.octets_in += len(data)
        receiver = self._routes.receivers.get(upstream)
        if receiver is None:
            self.drops[Drop.UNKNOWN_PEER] += 1
            return
        try:
            header = packet.parse_header(data)
            values = _values(receiver, data, header, now)
            stream = receiver.streams.get(header.ssrc)
            if stream is None:
                stream = self._learn(upstream, receiver, header, values)
            if stream is not None:
                self._dispatch(receiver, stream, data, header, values, now)
        except Malformed:
            self.drops[Drop.MALFORMED] += 1
        except StreamLimit:
            self.drops[Drop.STREAM_LIMIT] += 1

    def _learn(
        self, upstream: Hashable, receiver: Receiver, header: Header, values: dict[str, bytes]
    ) -> Stream | None:
        payload_type = receiver.repairs.get(header.payload_type, header.payload_type)
        codec = receiver.payload_types.get(payload_type)
        if codec is None:
            self.drops[Drop.UNKNOWN_PAYLOAD_TYPE] += 1
            return None
        stream = receiver.learn(
            header.ssrc,
            header.payload_type,
            values,
            self._routes.publications.get,
            self._routes.candidates(upstream, codec),
        )
        if stream is None:
            self.drops[Drop.UNKNOWN_STREAM] += 1
        elif not stream.repair:
            self._bind_layer(receiver, stream, header.ssrc)
        return stream

    @staticmethod
    def _bind_layer(receiver: Receiver, stream: Stream, ssrc: int) -> None:
        stream.layer.bind(ssrc)
        stream.publication.source.bind(stream.layer.index, ssrc)
        receiver.feedback_source = ssrc

    def _dispatch(
        self,
        receiver: Receiver,
        stream: Stream,
        data: bytes,
        header: Header,
        values: dict[str, bytes],
        now: float,
    ) -> None:
        if stream.repair:
            unwrapped = _unwrap(receiver, stream, data, header)
            if unwrapped is None:
                self.drops[Drop.PADDING] += 1
                return
            data, header = unwrapped, packet.parse_header(unwrapped)
        if header.payload_type not in receiver.payload_types:
            self.drops[Drop.UNKNOWN_PAYLOAD_TYPE] += 1
            return
        publication = stream.publication
        view = View(
            data,
            header,
            layer=stream.layer.index,
            reader=stream.layer.reader,
            extensions=values,
            now=now,
        )
        if publication.accept(view, len(data), repaired=stream.repair):
            self._forward(publication, view)
            publication.repair(view.layer, now)
            if stream.layer.reception.missing:
                self.repairing = True

    def _forward(self, publication: Publication, view: View) -> None:
        if publication.muted:
            self.drops[Drop.PUBLICATION_MUTED] += 1
            for subscription in self._routes.subscriptions[publication.sid]:
                subscription.interrupt()
            return
        if publication.kind == "audio":
            self._forward_voice(publication, view)
            return
        for subscription in self._routes.subscriptions[publication.sid]:
            subscription.forward(view)

    def _forward_voice(self, publication: Publication, view: View) -> None:
        """Audio goes to all while the room is small, else by the floor."""
        value = view.extensions.get(extension.AUDIO_LEVEL)
        level = None if value is None else extension.audio_level(value)[1]
        if level is not None:
            self._speakers.observe(publication.sid, level)
        turn = self._floor.hear(publication.sid, level, view)
        publication.heard = bool(turn.views)
        for subscription in self._routes.subscriptions[publication.sid]:
            if subscription.hears_all:
                subscription.forward(view)
                continue
            if turn.begins:
                subscription.interrupt()
            for heard in turn.views:
                subscription.forward(heard)

    def rtcp(self, peer_key: Hashable, data: bytes, now: float) -> None:
        """A decrypted compound RTCP packet from anyone; what is broken in it is dropped."""
        self._feedback.receive(peer_key, data, now)

    # -- time

    def tick(self, now: float) -> None:
        """Every 100 ms: transport feedback, repairs, selection, key frames, demand, speakers."""
        for publication in self._routes.publications.values():
            self._tick_publication(publication, now)
        for upstream, receiver in self._routes.receivers.items():
            if receiver.uses_transport_cc:
                source = receiver.feedback_source
                for report in receiver.recorder.feedback(FEEDBACK_SSRC, source):
                    self._outbox.packet(upstream, report, rtcp=True)
        for peer, link in self._routes.links.items():
            link.share(self._routes.received_by(peer), now)
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            self._send_reports(now)
        changed = self._speakers.tick(now)
        if changed is not None:
            self._outbox.event(changed)

    def _tick_publication(self, publication: Publication, now: float) -> None:
        subscriptions = self._routes.subscriptions[publication.sid]
        publication.tick(now)
        wanted = []
        for subscription in subscriptions:
            if publication.kind == "video":
                subscription.select(now)
            if subscription.wanted:  # one that is paused must find it when there is room again
                wanted.append(subscription.desired)
        publication.update_demand(wanted, now)

    def _send_reports(self, now: float) -> None:
        for upstream, receiver in self._routes.receivers.items():
            reports = [
                report
                for stream in receiver.streams.values()
                if not stream.repair and (report := stream.layer.receiver_report(now)) is not None
            ]
            for start in range(0, len(reports), rtcp.MAX_REPORTS):
                part = reports[start : start + rtcp.MAX_REPORTS]
                compound = rtcp.build_receiver_report(FEEDBACK_SSRC, part)
                self._outbox.packet(upstream, compound, rtcp=True)

    def repair(self, now: float) -> None:
        """Ask publishers for what is missing. A picture is over before its last packet is missed:
        the next one may be far away, and what is asked for with it comes too late to be shown."""
        publications = self._routes.publications.values()
        missing = [publication.repair_all(now) for publication in publications]  # all are asked
        self.repairing = any(missing)

    @property
    def probing(self) -> bool:
        """Whether `probe` is to be called every few milliseconds."""
        return any(link.probe is not None for link in self._routes.links.values())

    def probe(self, now: float) -> None:
        """Send the padding of the links that are tried."""
        for peer, link in self._routes.links.items():
            if link.probe is not None:
                link.pad(self._routes.received_by(peer), link.probe, now)

    def drain(self) -> Batches:
        """Take what is to be sent and told since the last call."""
        return self._outbox.drain()


def _plan(extensions: dict[str, int]) -> ExtensionPlan:
    """What is copied end to end, and what is stamped here; the transport-wide number first."""
    copied = extensions.keys() - extension.HOP_BY_HOP | (
        extensions.keys() & {extension.ABS_SEND_TIME, extension.TRANSPORT_CC}
    )
    first = extension.TRANSPORT_CC
    return tuple(
        (uri, extensions[uri]) for uri in sorted(copied, key=lambda uri: (uri != first, uri))
    )


def _values(receiver: Receiver, data: bytes, header: Header, now: float) -> dict[str, bytes]:
    """The extension values by uri; notes the arrival for transport-wide feedback."""
    known = receiver.extensions
    values = {
        known[identifier]: value
        for identifier, value in packet.extensions(data, header).items()
        if identifier in known
    }
    counter = values.get(extension.TRANSPORT_CC)
    if counter is not None and len(counter) == 2:
        receiver.recorder.record(counter[0] << 8 | counter[1], now)
    return values


def _unwrap(receiver: Receiver, stream: Stream, data: bytes, header: Header) -> bytes | None:
    """The repaired packet; None for a padding probe, or before the layer's own SSRC is known."""
    payload_type = receiver.repairs.get(header.payload_type)
    if payload_type is None or stream.layer.ssrc is None:
        return None
    return rtx.original(data, header, ssrc=stream.layer.ssrc, payload_type=payload_type)
