"""H.264 in RTP (RFC 6184): where a sequence begins."""

from __future__ import annotations

_SPS = 7
_STAP_A = 24
_FU_A = 28


def starts_sequence(payload: bytes) -> bool:
    """Whether the packet holds a sequence parameter set: encoders send one before each IDR.

    An IDR slice alone is no place to begin: a decoder that switches here lacks its parameters.
    """
    kind = payload[0] & 0x1F
    if kind == _STAP_A:
        return any(unit & 0x1F == _SPS for unit in _aggregated(payload))
    if kind == _FU_A:
        return len(payload) > 1 and payload[1] & 0x9F == 0x80 | _SPS
    return kind == _SPS


def _aggregated(payload: bytes) -> list[int]:
    """The headers of the units in a STAP-A (section 5.7.1)."""
    headers, at = [], 1
    while at + 2 < len(payload):
        headers.append(payload[at + 2])
        at += 2 + int.from_bytes(payload[at : at + 2], "big")
    return headers
