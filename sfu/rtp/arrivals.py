"""Transport-wide feedback as a sender reads it: which packets arrived, and when.

draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1. What a receiver writes is in
sfu.rtp.twcc.
"""

from collections.abc import Iterator
from struct import Struct

from sfu.rtp.packet import Malformed
from sfu.rtp.rtcp import Block

TICKS = 4000
"""Ticks of arrival times a second; times count from a moment of the receiver's choice."""
WRAP_BITS = 32
"""A 24 bit reference time of 256 ticks: arrival times wrap after twelve days."""

_HEAD = Struct("!IIHH")
_FIRST_CHUNK = 16
_SMALL, _LARGE = 1, 2


def arrivals(block: Block) -> list[tuple[int, int | None]]:
    """(transport-wide number, arrival in ticks or None for a packet that did not arrive).

    In the order they were sent. Raises Malformed where the packet is cut.
    """
    body = block.body
    if len(body) < _FIRST_CHUNK:
        raise Malformed("transport feedback is cut")
    _, _, base, count = _HEAD.unpack_from(body)
    clock = int.from_bytes(body[12:15], "big") * 256
    statuses, position = _statuses(body, count)
    found: list[tuple[int, int | None]] = []
    for index, status in enumerate(statuses):
        number = base + index & 0xFFFF
        if status in (_SMALL, _LARGE):  # their numbers are the octets of the time, too
            if position + status > len(body):
                raise Malformed("transport feedback lacks arrival times")
            delta = body[position : position + status]
            clock += int.from_bytes(delta, "big", signed=status == _LARGE)
            position += status
            found.append((number, clock % (1 << WRAP_BITS)))
        else:
            found.append((number, None))
    return found


def _statuses(body: bytes, count: int) -> tuple[list[int], int]:
    statuses: list[int] = []
    position = _FIRST_CHUNK
    while len(statuses) < count:
        if position + 2 > len(body):
            raise Malformed("transport feedback lacks statuses")
        statuses += _chunk(body[position] << 8 | body[position + 1], count - len(statuses))
        position += 2
    return statuses[:count], position


def _chunk(chunk: int, left: int) -> Iterator[int]:
    if not chunk & 0x8000:  # one status, so many times
        return iter([chunk >> 13 & 3] * min(chunk & 0x1FFF, left))
    if chunk & 0x4000:
        return (chunk >> shift & 3 for shift in range(12, -1, -2))
    return (chunk >> shift & 1 for shift in range(13, -1, -1))
