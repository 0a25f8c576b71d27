"""The RTP header as a view: offsets and numbers, never a packet object (RFC 3550, RFC 8285)."""

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

_FIXED = Struct("!BBHII")
_EXTENSION = Struct("!HH")
_ONE_BYTE = 0xBEDE
_TWO_BYTE = 0x1000
FIXED_LENGTH = 12
MARKER = 0x80


class Malformed(ValueError):
    """The bytes are not the packet they should be."""


class Header(NamedTuple):
    """Offsets are into the packet; `payload_end` leaves the padding out."""

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    extension_profile: int
    extension_start: int
    payload_start: int
    payload_end: int


def is_rtcp(packet: bytes) -> bool:
    """Tell RTCP from RTP on one port: packet types 192..223 (RFC 5761 section 4)."""
    return len(packet) > 1 and 192 <= packet[1] <= 223


def parse_header(packet: bytes) -> Header:
    """Read the header; raises Malformed."""
    if len(packet) < FIXED_LENGTH:
        raise Malformed("RTP packet shorter than its fixed header")
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(packet)
    if first >> 6 != 2:
        raise Malformed("RTP version is not 2")
    start = FIXED_LENGTH + 4 * (first & 0x0F)
    profile = extension_start = 0
    if first & 0x10:
        if len(packet) < start + 4:
            raise Malformed("RTP header extension is cut")
        profile, words = _EXTENSION.unpack_from(packet, start)
        extension_start = start + 4
        start = extension_start + 4 * words
    end = len(packet)
    if first & 0x20:
        end -= packet[-1]
    if start > end or (first & 0x20 and packet[-1] == 0):
        raise Malformed("RTP lengths do not add up")
    return Header(
        second >= MARKER,
        second & 0x7F,
        sequence,
        timestamp,
        ssrc,
        profile,
        extension_start,
        start,
        end,
    )


def extensions(packet: bytes, header: Header) -> dict[int, bytes]:
    """The header extension elements by id; what is cut or reserved is left out (RFC 8285)."""
    if header.extension_profile == _ONE_BYTE:
        return _one_byte(packet, header.extension_start, header.payload_start)
    if header.extension_profile & 0xFFF0 == _TWO_BYTE:
        return _two_byte(packet, header.extension_start, header.payload_start)
    return {}


def _one_byte(packet: bytes, position: int, end: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while position < end:
        head = packet[position]
        position += 1
        if head == 0:  # padding
            continue
        if head >> 4 == 15:  # reserved: stop reading (section 4.2)
            break
        length = (head & 0x0F) + 1
        if position + length > end:
            break
        found[head >> 4] = packet[position : position + length]
        position += length
    return found


def _two_byte(packet: bytes, position: int, end: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while position < end:
        identifier = packet[position]
        position += 1
        if identifier == 0:  # padding
            continue
        if position >= end or position + 1 + packet[position] > end:
            break
        length = packet[position]
        found[identifier] = packet[position + 1 : position + 1 + length]
        position += 1 + length
    return found


def build_extensions(elements: Iterable[tuple[int, bytes]]) -> bytes:
    """The extension block with its profile and length, or b"" for no element.

    The one-byte form is used whenever it can carry every element: not every receiver has agreed
    to mixed forms.
    """
    pairs = list(elements)
    if not pairs:
        return b""
    if all(1 <= identifier <= 14 and 1 <= len(value) <= 16 for identifier, value in pairs):
        profile = _ONE_BYTE
        body = b"".join(
            bytes(((identifier << 4) | (len(value) - 1),)) + value for identifier, value in pairs
        )
    else:
        profile = _TWO_BYTE
        body = b"".join(bytes((identifier, len(value))) + value for identifier, value in pairs)
    body += bytes(-len(body) % 4)
    return _EXTENSION.pack(profile, len(body) // 4) + body


def build_header(
    *,
    marker: bool,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    extension: bytes = b"",
    padding: bool = False,
) -> bytes:
    """A header without CSRC; `extension` as `build_extensions` gives it."""
    first = 0x80 | (0x10 if extension else 0) | (0x20 if padding else 0)
    second = payload_type | MARKER if marker else payload_type
    return _FIXED.pack(first, second, sequence, timestamp, ssrc) + extension
