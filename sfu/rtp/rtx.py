"""RTX: a retransmitted packet inside a stream of its own (RFC 4588)."""

from sfu.rtp.packet import Header, build_header


def original(packet: bytes, header: Header, *, ssrc: int, payload_type: int) -> bytes | None:
    """The packet as first sent, without header extensions; None for a padding probe."""
    start, end = header.payload_start, header.payload_end
    if end - start < 2:
        return None
    head = build_header(
        marker=header.marker,
        payload_type=payload_type,
        sequence=packet[start] << 8 | packet[start + 1],
        timestamp=header.timestamp,
        ssrc=ssrc,
    )
    return head + packet[start + 2 : end]
