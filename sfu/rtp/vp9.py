"""The VP9 payload descriptor (RFC 9628 section 4.2)."""

from __future__ import annotations

from typing import NamedTuple

from sfu.rtp.packet import Malformed

_REFERENCES = 3


class Descriptor(NamedTuple):
    """`predicted`: from earlier pictures. `begins` and `ends`: of a frame of one spatial layer.

    `sizes`: width and height of the layers, from a scalability structure that tells them.
    """

    predicted: bool
    begins: bool
    ends: bool
    spatial: int
    sizes: tuple[tuple[int, int], ...] = ()


def parse_descriptor(payload: bytes) -> Descriptor:
    """Read the descriptor; raises Malformed if it is cut."""
    try:
        return _parse(payload)
    except IndexError:
        raise Malformed("VP9 payload descriptor is cut") from None


def _parse(payload: bytes) -> Descriptor:
    first, at = payload[0], 1
    if first & 0x80:  # I: picture id, of 15 bits if M
        at += 2 if payload[at] & 0x80 else 1
    spatial = 0
    if first & 0x20:  # L: layer indices, and TL0PICIDX where the mode is not flexible
        spatial = payload[at] >> 1 & 0x07
        at += 1 if first & 0x10 else 2
    if first & 0x50 == 0x50:  # P and F: what it refers to
        at = _past_references(payload, at)
    sizes = _sizes(payload, at) if first & 0x02 else ()
    return Descriptor(bool(first & 0x40), bool(first & 0x08), bool(first & 0x04), spatial, sizes)


def _past_references(payload: bytes, at: int) -> int:
    for _ in range(_REFERENCES):
        at += 1
        if not payload[at - 1] & 0x01:
            break
    return at


def _sizes(payload: bytes, at: int) -> tuple[tuple[int, int], ...]:
    head = payload[at]
    if not head & 0x10:
        return ()
    at += 1
    layers = range((head >> 5) + 1)
    return tuple(
        (
            payload[at + 4 * layer] << 8 | payload[at + 4 * layer + 1],
            payload[at + 4 * layer + 2] << 8 | payload[at + 4 * layer + 3],
        )
        for layer in layers
    )
