"""The VP8 payload descriptor (RFC 7741 section 4.2) and the size in a key frame (RFC 6386)."""

from typing import NamedTuple

from sfu.rtp.packet import Malformed


class Descriptor(NamedTuple):
    """`picture_id_bits` is 0 (absent), 7 or 15; offsets are into the payload, 0 for absent."""

    length: int
    key_frame: bool
    picture_id: int
    picture_id_bits: int
    picture_id_offset: int
    tl0: int
    tl0_offset: int
    temporal: int


def parse_descriptor(payload: bytes) -> Descriptor:
    """Read the descriptor; raises Malformed if it is cut."""
    try:
        return _parse(payload)
    except IndexError:
        raise Malformed("VP8 payload descriptor is cut") from None


def _parse(payload: bytes) -> Descriptor:
    first = payload[0]
    position = 1
    picture_id = bits = picture_offset = tl0 = tl0_offset = temporal = 0
    if first & 0x80:
        flags = payload[1]
        position = 2
        if flags & 0x80:
            picture_offset = position
            picture_id, bits = _picture_id(payload, position)
            position += 1 if bits == 7 else 2
        if flags & 0x40:
            tl0_offset = position
            tl0 = payload[position]
            position += 1
        if flags & 0x30:
            temporal = payload[position] >> 6
            position += 1
    # S bit, partition 0, and P bit 0 of the frame tag: the start of a key frame.
    key_frame = first & 0x1F == 0x10 and payload[position] & 0x01 == 0
    return Descriptor(
        position, key_frame, picture_id, bits, picture_offset, tl0, tl0_offset, temporal
    )


def _picture_id(payload: bytes, position: int) -> tuple[int, int]:
    head = payload[position]
    if head & 0x80:
        return (head & 0x7F) << 8 | payload[position + 1], 15
    return head, 7


def rewrite(descriptor: Descriptor, raw: bytes, *, picture_offset: int, tl0_offset: int) -> bytes:
    """The descriptor bytes with its counters moved; `raw` begins with the descriptor."""
    out = bytearray(raw[: descriptor.length])
    at = descriptor.picture_id_offset
    if descriptor.picture_id_bits == 15:
        moved = descriptor.picture_id + picture_offset & 0x7FFF
        out[at] = 0x80 | moved >> 8
        out[at + 1] = moved & 0xFF
    elif descriptor.picture_id_bits == 7:
        out[at] = descriptor.picture_id + picture_offset & 0x7F
    if descriptor.tl0_offset:
        out[descriptor.tl0_offset] = descriptor.tl0 + tl0_offset & 0xFF
    return bytes(out)


def frame_size(frame: bytes) -> tuple[int, int] | None:
    """(width, height) told by the first bytes of a key frame, None if they are not there.

    LiveKit's end-to-end encryption leaves these ten bytes clear.
    """
    if len(frame) < 10 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    return (
        int.from_bytes(frame[6:8], "little") & 0x3FFF,
        int.from_bytes(frame[8:10], "little") & 0x3FFF,
    )
