"""Who publishes and who receives in one room: the lookups of the forwarding core."""

from collections.abc import Hashable, Iterator

from sfu.room.link import Link
from sfu.room.ports import Codec
from sfu.room.publication import Publication
from sfu.room.receiver import Receiver
from sfu.room.subscription import Subscription


class Routes:
    """Publications by sid, subscriptions by sid and by (peer, SSRC), receivers by peer."""

    def __init__(self) -> None:
        self.publications: dict[str, Publication] = {}
        self.subscriptions: dict[str, list[Subscription]] = {}
        self.by_ssrc: dict[tuple[Hashable, int], Subscription] = {}
        self.receivers: dict[Hashable, Receiver] = {}
        self.links: dict[Hashable, Link] = {}
        self._received: dict[Hashable, list[Subscription]] = {}

    def add_publication(self, publication: Publication) -> None:
        """Raises ValueError if the sid is taken."""
        if publication.sid in self.publications:
            raise ValueError(f"publication {publication.sid} exists")
        self.publications[publication.sid] = publication
        self.subscriptions[publication.sid] = []

    def remove_publication(self, sid: str) -> bool:
        """Forget a publication and its subscriptions; False if it was unknown."""
        publication = self.publications.pop(sid, None)
        if publication is None:
            return False
        for subscription in self.subscriptions.pop(sid):
            self._drop(subscription)
        receiver = self.receivers.get(publication.upstream)
        if receiver is not None:
            receiver.forget(publication)
        return True

    def add_subscription(self, subscription: Subscription) -> None:
        """Raises ValueError if the SSRC is taken at this peer."""
        key = (subscription.downstream, subscription.ssrc)
        if key in self.by_ssrc:
            raise ValueError(f"SSRC {subscription.ssrc} is taken")
        self.by_ssrc[key] = subscription
        self.subscriptions[subscription.publication.sid].append(subscription)
        self._received.setdefault(subscription.downstream, []).append(subscription)

    def remove_subscription(self, subscription: Subscription) -> None:
        """Unknown subscriptions are ignored."""
        key = (subscription.downstream, subscription.ssrc)
        if self.by_ssrc.get(key) is subscription:
            self._drop(subscription)
            self.subscriptions[subscription.publication.sid].remove(subscription)

    def published_by(self, upstream: Hashable) -> list[str]:
        """The sids of one peer's publications."""
        return [p.sid for p in self.publications.values() if p.upstream == upstream]

    def received_by(self, downstream: Hashable) -> list[Subscription]:
        """The subscriptions of one peer."""
        return list(self._received.get(downstream, ()))

    def _drop(self, subscription: Subscription) -> None:
        del self.by_ssrc[subscription.downstream, subscription.ssrc]
        theirs = self._received[subscription.downstream]
        theirs.remove(subscription)
        if not theirs:
            del self._received[subscription.downstream]

    def candidates(self, upstream: Hashable, codec: Codec) -> Iterator[Publication]:
        """The publications of a peer a packet of this codec could belong to."""
        for publication in self.publications.values():
            if publication.upstream == upstream and publication.codec.mime == codec.mime:
                yield publication
