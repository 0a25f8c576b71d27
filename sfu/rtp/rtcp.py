"""RTCP: the compound walk, and the reports of RFC 3550."""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from sfu.rtp.packet import Malformed

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
MAX_REPORTS = 31

_HEAD = Struct("!BBH")
_SENDER = Struct("!IQIII")
_REPORT = Struct("!IIIIII")
_WORD = Struct("!I")


class Block(NamedTuple):
    """One packet of a compound; `subtype` is the report count or the feedback format."""

    packet_type: int
    subtype: int
    body: bytes


class ReceptionReport(NamedTuple):
    """`fraction` in 1/256; `jitter` in clock ticks; `lsr`, `dlsr` as on the wire (16.16)."""

    ssrc: int
    fraction: int
    lost: int
    highest: int
    jitter: int
    lsr: int
    dlsr: int


class SenderReport(NamedTuple):
    """`ntp` is the 64 bit NTP time of the sender's clock."""

    ssrc: int
    ntp: int
    timestamp: int
    packets: int
    octets: int


def walk(packet: bytes) -> Iterator[Block]:
    """Each packet of the compound; raises Malformed where the lengths break."""
    position = 0
    while position < len(packet):
        if len(packet) - position < 4:
            raise Malformed("RTCP header is cut")
        first, packet_type, words = _HEAD.unpack_from(packet, position)
        end = position + 4 + 4 * words
        if first >> 6 != 2 or end > len(packet):
            raise Malformed("RTCP version or length is wrong")
        body = packet[position + 4 : end]
        if first & 0x20:
            body = _unpadded(body)
        yield Block(packet_type, first & 0x1F, body)
        position = end


def _unpadded(body: bytes) -> bytes:
    if not body or not 0 < body[-1] <= len(body):
        raise Malformed("RTCP padding is wrong")
    return body[: -body[-1]]


def build(packet_type: int, count: int, body: bytes) -> bytes:
    """One RTCP packet; the body is padded to words with zeros where needed."""
    body += bytes(-len(body) % 4)
    return _HEAD.pack(0x80 | count, packet_type, len(body) // 4) + body


def parse_sender_report(block: Block) -> SenderReport:
    """The sender's part of an SR; raises Malformed."""
    if len(block.body) < _SENDER.size:
        raise Malformed("SR is cut")
    return SenderReport(*_SENDER.unpack_from(block.body))


def reception_reports(block: Block) -> Iterator[ReceptionReport]:
    """The report blocks of an SR or RR; raises Malformed."""
    start = _SENDER.size if block.packet_type == SR else 4
    if len(block.body) < start + _REPORT.size * block.subtype:
        raise Malformed("report blocks are cut")
    for index in range(block.subtype):
        ssrc, loss, highest, jitter, lsr, dlsr = _REPORT.unpack_from(
            block.body, start + _REPORT.size * index
        )
        lost = loss & 0xFFFFFF
        if lost >= 0x800000:  # cumulative loss is signed: duplicates make it negative
            lost -= 0x1000000
        yield ReceptionReport(ssrc, loss >> 24, lost, highest, jitter, lsr, dlsr)


def _report(report: ReceptionReport) -> bytes:
    lost = max(-0x800000, min(0x7FFFFF, report.lost)) & 0xFFFFFF
    return _REPORT.pack(
        report.ssrc,
        report.fraction << 24 | lost,
        report.highest & 0xFFFFFFFF,
        report.jitter & 0xFFFFFFFF,
        report.lsr,
        report.dlsr,
    )


def build_sender_report(report: SenderReport) -> bytes:
    """An SR without report blocks."""
    return build(SR, 0, _SENDER.pack(*report))


def build_receiver_report(ssrc: int, reports: Sequence[ReceptionReport]) -> bytes:
    """An RR of at most 31 blocks; more are left out (send another)."""
    used = reports[:MAX_REPORTS]
    return build(RR, len(used), _WORD.pack(ssrc) + b"".join(map(_report, used)))


def build_sdes(ssrc: int, cname: str) -> bytes:
    """An SDES with one CNAME chunk."""
    name = cname.encode()[:255]
    chunk = _WORD.pack(ssrc) + bytes((1, len(name))) + name + b"\0"
    return build(SDES, 1, chunk)


def build_bye(ssrc: int) -> bytes:
    """A BYE for one source."""
    return build(BYE, 1, _WORD.pack(ssrc))


def compact_ntp(ntp: int) -> int:
    """The middle 32 bits: what a receiver echoes as LSR."""
    return ntp >> 16 & 0xFFFFFFFF
