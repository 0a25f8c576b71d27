"""H.264 simulcast and scalable VP9 through the routing table."""

from __future__ import annotations

import pytest

from sfu.room.drops import Drop
from sfu.room.forwarding import Codec, Subscription
from sfu.rtp import feedback, rtcp
from sfu.rtp.packet import Header, parse_header
from tests.sfu.room_media.streams import Room, packet

VP9 = Codec("video/vp9", 98, 90000)
H264 = Codec("video/h264", 102, 90000)
SIZES = ((320, 180), (640, 360), (1280, 720))


class Scalable(Room):
    """A publisher of one VP9 stream of three spatial layers, two packets a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.publication = self.forwarding.publish(
            "TR_V", kind="video", codec=VP9, upstream="p", sizes=SIZES
        )
        self.bind(VP9)
        self.sequence = 65500
        self.pictures = 0

    def picture(self, *, key: bool = False, structure: bytes = b"", layers: int = 3) -> None:
        self.pictures += 1
        for layer in range(layers):
            for last in (False, True):
                self.sequence += 1
                flags = 0xA0 | (not key and 0x40) | (not last and 0x08) | (last and 0x04)
                told = structure if key and layer == 0 and not last else b""
                descriptor = bytes([flags | (0x02 if told else 0), 5, layer << 1, 0]) + told
                top = layer == layers - 1
                data = packet(
                    self.sequence,
                    ssrc=7,
                    payload_type=98,
                    timestamp=self.pictures * 3000,
                    payload=descriptor + bytes([layer]),
                    marker=top and last,
                    mid=b"1",
                )
                self.send(data)

    def received(self) -> list[tuple[Header, int]]:
        """Header and spatial layer of what was forwarded."""
        return [(parse_header(data), data[-1]) for data in self.drain()[0]]

    def key_frames_asked(self) -> int:
        return sum(
            (block.packet_type, block.subtype) == (rtcp.PSFB, feedback.PLI)
            for data in self.drain()[1]
            for block in rtcp.walk(data)
        )


@pytest.fixture
def room() -> Scalable:
    return Scalable()


def check(got: list[tuple[Header, int]], pictures: list[int]) -> None:
    """`pictures`: how many layers of each were forwarded; numbers rise by one, the last packet of
    each picture carries the marker."""
    layers = [layer for count in pictures for layer in range(count) for _ in range(2)]
    assert [layer for _, layer in got] == layers
    first = got[0][0].sequence
    assert [h.sequence for h, _ in got] == [(first + i) % 65536 for i in range(len(got))]
    marks = [last for count in pictures for last in [False] * (2 * count - 1) + [True]]
    assert [header.marker for header, _ in got] == marks


def test_every_layer_is_forwarded_from_a_key_frame_on(room: Scalable) -> None:
    room.subscribe("TR_V")
    room.picture()
    assert room.key_frames_asked() == 1
    room.picture(key=True)
    room.picture()
    check(room.received(), [3, 3])


def test_layers_go_down_at_any_picture_and_up_at_a_key_frame(room: Scalable) -> None:
    subscription = room.subscribe("TR_V")
    room.picture(key=True)
    subscription.want(enabled=True, quality=0)
    room.picture()
    room.tick()
    subscription.want(enabled=True, width=600, height=340)
    room.picture()
    room.tick()
    assert room.forwarding.drops[Drop.OTHER_LAYER] == 8
    room.picture(key=True)
    room.picture()
    check(room.received(), [3, 1, 1, 2, 2])


def test_going_up_asks_for_a_key_frame(room: Scalable) -> None:
    subscription = room.subscribe("TR_V")
    subscription.want(enabled=True, quality=0)
    room.picture(key=True)
    room.tick(1.0)
    assert room.key_frames_asked() == 0
    subscription.want(enabled=True, quality=2)
    room.tick()
    assert room.key_frames_asked() == 1
    assert subscription.awaits_key_frame
    room.picture(key=True)
    assert not subscription.awaits_key_frame


def test_sizes_in_the_stream_replace_those_announced(room: Scalable) -> None:
    subscription = room.subscribe("TR_V")
    subscription.want(enabled=True, width=600, height=340)
    two = bytes([1 << 5 | 0x10]) + b"".join(
        n.to_bytes(2, "big") for n in (160, 90, 320, 180)
    )  # N_S 1, Y
    room.picture(key=True, structure=two, layers=2)
    assert [state.width for state in room.publication.states] == [160, 320]
    room.tick()
    assert subscription.target == 1
    room.drain()
    room.picture(layers=2)
    check(room.received(), [2])


def test_a_stream_without_announced_sizes_is_forwarded_whole() -> None:
    room = Room()
    room.forwarding.publish("TR_V", kind="video", codec=VP9, upstream="p")
    room.bind(VP9)
    subscription = room.subscribe("TR_V")
    room.send(packet(1, ssrc=7, payload_type=98, payload=b"\x0c", marker=True, mid=b"1"))
    assert len(room.media()) == 1
    assert (subscription.current, subscription.target) == (0, 0)


def h264_room() -> tuple[Room, Subscription]:
    room = Room()
    room.forwarding.publish("TR_V", kind="video", codec=H264, upstream="p", rids=("q", "f"))
    room.bind(H264)
    return room, room.subscribe("TR_V")


def test_h264_layers_switch_where_a_parameter_set_is() -> None:
    room, subscription = h264_room()
    rids = {11: b"q", 33: b"f"}

    def send(ssrc: int, sequence: int, payload: bytes) -> None:
        room.send(
            packet(sequence, ssrc=ssrc, payload_type=102, payload=payload, mid=b"1", rid=rids[ssrc])
        )

    send(11, 1, b"\x67sps")
    send(11, 2, b"\x65idr")
    assert len(room.media()) == 2
    send(33, 500, b"\x41delta")
    room.tick()
    send(33, 501, b"\x65idr")  # no place to begin
    assert room.media() == []
    send(33, 502, b"\x67sps")
    assert subscription.current == 1
    assert len(room.media()) == 1
