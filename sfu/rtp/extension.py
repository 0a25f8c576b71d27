"""Header extensions the core reads or writes itself."""

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

HOP_BY_HOP = frozenset({MID, RID, REPAIRED_RID, TRANSPORT_CC, ABS_SEND_TIME})
"""Extensions that speak of one hop only: never copied from publisher to subscriber."""


def audio_level(value: bytes) -> tuple[bool, int]:
    """(voice activity, level in -dBov: 0 loudest, 127 silence) of RFC 6464."""
    return bool(value[0] & 0x80), value[0] & 0x7F


def abs_send_time(now: float) -> bytes:
    """Seconds as 6.18 bit fixed point; wraps every 64 s."""
    return (int(now * 262144) & 0xFFFFFF).to_bytes(3, "big")
