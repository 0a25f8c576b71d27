"""Packets as publishers send them, and a room to send them into."""

from collections.abc import Hashable

from sfu.room.forwarding import Codec, Forwarding, Subscription
from sfu.rtp import extension
from sfu.rtp.packet import (
    Header,
    build_extensions,
    build_header,
    extensions,
    is_rtcp,
    parse_header,
)

OPUS = Codec("audio/opus", 111, 48000, "minptime=10", None)
VP8 = Codec("video/vp8", 96, 90000, "", 97)
EXTENSIONS = {
    1: extension.AUDIO_LEVEL,
    2: extension.ABS_SEND_TIME,
    3: extension.TRANSPORT_CC,
    4: extension.MID,
    10: extension.RID,
    11: extension.REPAIRED_RID,
    13: "urn:3gpp:video-orientation",
}
IDS = {uri: identifier for identifier, uri in EXTENSIONS.items()}


def packet(
    sequence: int,
    *,
    ssrc: int = 1,
    payload_type: int = 111,
    timestamp: int | None = None,
    payload: bytes = b"opus",
    marker: bool = False,
    **values: bytes,
) -> bytes:
    """An RTP packet; `values` are extensions by the last names of `NAMES`."""
    names = {
        "level": extension.AUDIO_LEVEL,
        "mid": extension.MID,
        "rid": extension.RID,
        "repaired": extension.REPAIRED_RID,
        "counter": extension.TRANSPORT_CC,
        "orientation": "urn:3gpp:video-orientation",
    }
    block = build_extensions((IDS[names[name]], value) for name, value in values.items())
    header = build_header(
        marker=marker,
        payload_type=payload_type,
        sequence=sequence & 0xFFFF,
        timestamp=(sequence * 960 if timestamp is None else timestamp) & 0xFFFFFFFF,
        ssrc=ssrc,
        extension=block,
    )
    return header + payload


def vp8(picture: int, *, key: bool = False, size: tuple[int, int] = (1280, 720)) -> bytes:
    """A VP8 payload with a 15 bit picture id and TL0PICIDX."""
    descriptor = bytes((0x90, 0xE0, 0x80 | picture >> 8 & 0x7F, picture & 0xFF, picture & 0xFF, 0))
    tag = bytes((0x10 if key else 0x11, 0, 0))
    if key:
        tag += b"\x9d\x01\x2a" + size[0].to_bytes(2, "little") + size[1].to_bytes(2, "little")
    return descriptor + tag + b"frame"


class Room:
    """A Forwarding with publisher "p" and what it sent, sorted."""

    def __init__(self) -> None:
        self.forwarding = Forwarding()
        self.now = 100.0

    def audio(self) -> None:
        self.forwarding.publish("TR_A", kind="audio", codec=OPUS, upstream="p")
        self.bind()

    def video(self, *rids: str) -> None:
        self.forwarding.publish("TR_V", kind="video", codec=VP8, upstream="p", rids=rids)
        self.bind()

    def bind(self, video: Codec = VP8) -> None:
        self.forwarding.bind_receive(
            "p",
            extensions=EXTENSIONS,
            mids={"0": "TR_A", "1": "TR_V"},
            ssrcs={1: "TR_A"},
            payload_types={111: OPUS, video.payload_type: video},
        )

    def subscribe(
        self, sid: str, peer: Hashable = "s", ssrc: int = 1000, **ids: int
    ) -> Subscription:
        return self.forwarding.subscribe(
            sid,
            peer,
            payload_type=120,
            ssrc=ssrc,
            mid="0",
            extensions={
                {"level": extension.AUDIO_LEVEL, "time": extension.ABS_SEND_TIME}.get(n, n): i
                for n, i in ids.items()
            },
        )

    def send(self, *packets: bytes, peer: Hashable = "p") -> None:
        for data in packets:
            self.forwarding.rtp(peer, data, self.now)

    def drain(self) -> tuple[list[bytes], list[bytes]]:
        """(media, feedback) packets, to whomever."""
        batch = self.forwarding.drain().packets
        return (
            [data for _, data, rtcp in batch if not rtcp],
            [data for _, data, rtcp in batch if rtcp],
        )

    def media(self) -> list[Header]:
        """The headers of the media packets since the last drain."""
        return [parse_header(data) for data in self.drain()[0]]

    def tick(self, seconds: float = 0.1) -> None:
        self.now += seconds
        self.forwarding.tick(self.now)


def sequences(headers: list[Header]) -> list[int]:
    return [header.sequence for header in headers]


__all__ = ["EXTENSIONS", "OPUS", "VP8", "Room", "extensions", "is_rtcp", "packet", "vp8"]
