"""Batches of packets out of the process (first version: the signatures)."""

from collections.abc import Sequence

from sfu.transport.peer import Peer

Outbound = tuple[Peer, bytes, bool]
"""(peer, plain RTP or RTCP packet, is_rtcp)"""


class Egress:
    """Protects and sends; a native implementation takes this place later."""

    def send_many(self, batch: Sequence[Outbound]) -> None:
        """Send all; what cannot be sent is dropped under a named reason."""
        raise NotImplementedError
