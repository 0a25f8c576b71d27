"""RTCP feedback: NACK (RFC 4585), PLI and FIR (RFC 4585, 5104), REMB."""

from collections.abc import Iterable, Iterator
from struct import Struct

from sfu.rtp.packet import Malformed
from sfu.rtp.rtcp import PSFB, RTPFB, Block, build

NACK, TRANSPORT_CC = 1, 15
PLI, FIR, REMB = 1, 4, 15

_SOURCES = Struct("!II")
_PAIR = Struct("!HH")


def media_ssrc(block: Block) -> int:
    """The media source a feedback packet speaks of; raises Malformed."""
    if len(block.body) < _SOURCES.size:
        raise Malformed("feedback is cut")
    source: int = _SOURCES.unpack_from(block.body)[1]
    return source


def nacked(block: Block) -> Iterator[int]:
    """The 16 bit sequence numbers a NACK asks for."""
    fci = block.body[8:]
    for index in range(0, len(fci) - 3, 4):
        first, mask = _PAIR.unpack_from(fci, index)
        yield first
        for bit in range(16):
            if mask >> bit & 1:
                yield first + bit + 1 & 0xFFFF


def build_nack(sender: int, source: int, sequences: Iterable[int]) -> bytes:
    """One NACK for sequence numbers in rising order (a wrap inside is fine)."""
    pairs: list[list[int]] = []
    for sequence in sequences:
        distance = sequence - pairs[-1][0] & 0xFFFF if pairs else 0
        if pairs and 1 <= distance <= 16:
            pairs[-1][1] |= 1 << distance - 1
        else:
            pairs.append([sequence, 0])
    body = b"".join(_PAIR.pack(first, mask) for first, mask in pairs)
    return build(RTPFB, NACK, _SOURCES.pack(sender, source) + body)


def build_pli(sender: int, source: int) -> bytes:
    """Ask for a key frame."""
    return build(PSFB, PLI, _SOURCES.pack(sender, source))


def fir_sources(block: Block) -> Iterator[int]:
    """The sources a FIR asks a key frame of."""
    fci = block.body[8:]
    for index in range(0, len(fci) - 7, 8):
        yield _SOURCES.unpack_from(fci, index)[0]


def remb_bitrate(block: Block) -> int | None:
    """The bitrate (bit/s) of a REMB; None if the application feedback is another."""
    fci = block.body[8:]
    if len(fci) < 8 or fci[:4] != b"REMB":
        return None
    exponent = fci[5] >> 2
    mantissa = (fci[5] & 0x03) << 16 | fci[6] << 8 | fci[7]
    return mantissa << exponent


def build_remb(sender: int, bitrate: int, sources: tuple[int, ...]) -> bytes:
    """A REMB (draft-alvestrand-rmcat-remb) for `sources`."""
    exponent = max(0, bitrate.bit_length() - 18)
    mantissa = bitrate >> exponent
    head = bytes((len(sources), exponent << 2 | mantissa >> 16)) + (mantissa & 0xFFFF).to_bytes(
        2, "big"
    )
    body = _SOURCES.pack(sender, 0) + b"REMB" + head
    return build(PSFB, REMB, body + b"".join(source.to_bytes(4, "big") for source in sources))
