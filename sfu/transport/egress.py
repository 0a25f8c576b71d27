"""Batches of packets out of the process.

The seam for a native implementation: it gets whole batches, and nothing above knows how packets
are protected or sent.
"""

from collections import Counter
from collections.abc import Iterable

from sfu.transport.peer import Peer

Outbound = tuple[Peer, bytes | bytearray, bool]
"""(peer, plain RTP or RTCP packet, is_rtcp)"""


class Egress:
    """Protects and sends, in Python. What cannot be sent is dropped under a named reason."""

    def __init__(self, stats: Counter[str]) -> None:
        self._stats = stats

    def send_many(self, batch: Iterable[Outbound]) -> None:
        """Send all, in order. Never blocks, never raises for one packet's sake."""
        sent = 0
        for peer, packet, is_rtcp in batch:
            path = peer.path
            if path is None:
                self._stats["egress_no_path"] += 1
                continue
            protected = peer.protect(bytes(packet), rtcp=is_rtcp)
            if protected is None:
                continue
            if path.send(protected):
                sent += 1
            else:
                self._stats["egress_network_full"] += 1
        self._stats["packets_sent"] += sent
