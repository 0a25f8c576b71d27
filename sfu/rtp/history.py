"""What was sent lately, for retransmission."""

from typing import NamedTuple


class Sent(NamedTuple):
    """`prefix` is the subscriber's own header; `payload` is shared by all subscribers."""

    sequence: int
    prefix: bytes
    payload: bytes


class History:
    """A ring of the last `size` packets (a power of two) by 16 bit sequence number.

    Packets are kept exactly as they were sent: SRTP's AES-GCM must never see two different
    packets under one sequence number (RFC 7714 section 8.1).
    """

    __slots__ = ("_mask", "_resent", "_ring")

    def __init__(self, size: int) -> None:
        if size & (size - 1):
            raise ValueError("history size must be a power of two")
        self._mask = size - 1
        self._ring: list[Sent | None] = [None] * size
        self._resent: list[float] = [float("-inf")] * size

    def store(self, sequence: int, prefix: bytes, payload: bytes) -> None:
        """Remember one packet in place of the oldest."""
        slot = sequence & self._mask
        self._ring[slot] = Sent(sequence, prefix, payload)
        self._resent[slot] = float("-inf")

    def find(self, sequence: int) -> Sent | None:
        """The packet, if it is still there."""
        sent = self._ring[sequence & self._mask]
        return sent if sent is not None and sent.sequence == sequence else None

    def may_resend(self, sequence: int, now: float, interval: float) -> bool:
        """Whether the last resend of a stored packet is `interval` seconds ago; notes this one."""
        slot = sequence & self._mask
        if now - self._resent[slot] < interval:
            return False
        self._resent[slot] = now
        return True
