"""What goes to a subscriber whose feedback is transport-wide: numbers, limits, padding."""

from __future__ import annotations

import pytest

from sfu.bandwidth.allocation import PAUSED, TOP
from sfu.room.drops import Drop
from sfu.room.events import QualityDemand, StreamPaused
from sfu.room.forwarding import Subscription
from sfu.rtp import extension, packet, rtcp
from sfu.rtp.feedback import build_nack
from sfu.rtp.packet import parse_header
from sfu.rtp.twcc import Recorder
from tests.sfu.room_media.streams import Room, sequences, vp8
from tests.sfu.room_media.streams import packet as rtp

CC = extension.TRANSPORT_CC


def number_of(data: bytes, identifier: int) -> int:
    return int.from_bytes(packet.extensions(data, parse_header(data))[identifier], "big")


class Viewing(Room):
    """A publisher's video of two layers at one subscriber with transport-wide feedback."""

    def __init__(self, *rids: str, identifier: int = 3) -> None:
        super().__init__()
        self.identifier = identifier
        self.recorder = Recorder()
        self.sequence = 0
        self.audio()
        self.video(*rids)
        self.down = self.subscribe("TR_V", **{CC: identifier})
        self.heard = self.subscribe("TR_A", ssrc=2000, **{CC: identifier})

    def frame(self, rid: str = "", *, key: bool = False, ends: bool = True) -> None:
        self.sequence += 1
        names = {"rid": rid.encode(), "mid": b"1"} if rid else {"mid": b"1"}
        self.send(
            rtp(
                self.sequence,
                ssrc=500 + len(rid) + (ord(rid) if rid else 0),
                payload_type=96,
                payload=vp8(self.sequence, key=key) + bytes(1200 if rid == "h" else 300),
                marker=ends,
                **names,
            )
        )

    def told(self, numbers: range, *, late: float = 0.0) -> None:
        """Feedback for these numbers; each 20 ms behind the one before, and `late` more."""
        for index, number in enumerate(numbers):
            self.recorder.record(number, 500.0 + index * (0.02 + late))
        for block in self.recorder.feedback(1, 2):
            self.forwarding.rtcp("s", block, self.now)


@pytest.mark.parametrize("identifier", [3, 15])
def test_numbers_are_of_the_peer_and_count_all_it_is_sent(identifier: int) -> None:
    room = Viewing(identifier=identifier)
    room.frame(key=True)
    room.send(rtp(1))
    room.frame()
    sent = room.drain()[0]
    assert [number_of(data, identifier) for data in sent] == [0, 1, 2]
    other = room.subscribe("TR_V", peer="t", **{CC: identifier})
    assert isinstance(other, Subscription)
    room.frame(key=True)
    assert [number_of(data, identifier) for data in room.drain()[0]] == [3, 0]


def test_a_retransmission_is_the_same_packet() -> None:
    room = Viewing()
    room.frame(key=True)
    (first,) = room.drain()[0]
    room.now += 1
    room.forwarding.rtcp("s", build_nack(9, 1000, [parse_header(first).sequence]), room.now)
    assert room.drain()[0] == [first]


def test_a_limit_takes_the_lower_layer_and_is_over_with_it() -> None:
    room = Viewing("q", "h")
    for rid in "qh":
        room.frame(rid, key=True)
    room.tick()
    room.drain()
    assert room.down.current == 1
    room.down.allow(0, room.now)
    room.frame("q", key=True)
    assert room.down.current == 0
    room.down.allow(TOP, room.now)
    room.frame("h", key=True)
    assert room.down.current == 1


def test_what_the_link_has_no_room_for_is_not_sent_again() -> None:
    room = Viewing("q", "h")
    for rid in "qh":
        room.frame(rid, key=True)
    room.tick()
    room.frame("h")
    sent = before = sequences(room.media())
    room.down.allow(0, room.now)

    def resent() -> int:
        room.now += 1
        room.drain()
        room.forwarding.rtcp("s", build_nack(9, 1000, sent), room.now)
        return len(room.drain()[0])

    assert resent() == 0  # the lower layer's key frame is still to come
    room.frame("q", key=True)
    assert room.down.current == 0
    assert resent() == 0
    room.frame("q")
    sent = sequences(room.media())
    assert resent() == 1
    assert room.forwarding.drops[Drop.NACK_UNKNOWN] == len(before)
    assert room.forwarding.drops[Drop.NACK_THROTTLED] == 1


def test_limits_are_told() -> None:
    room = Viewing()
    assert room.forwarding.limits() == []
    link = room.forwarding._routes.links["s"]
    link._estimator.limit = 500_000.0
    assert room.forwarding.limits() == [500_000.0]


def test_what_is_paused_for_room_stays_wanted_of_its_publisher() -> None:
    room = Viewing("q", "h")
    for rid in "qh":
        room.frame(rid, key=True)
    room.tick()
    room.forwarding.drain()
    room.down.allow(PAUSED, room.now)
    events = []
    for _ in range(40):
        room.down.allow(PAUSED, room.now)
        room.tick()
        room.down.allow(PAUSED, room.now)
        events += room.forwarding.drain().events
    assert not any(isinstance(event, QualityDemand) for event in events)


def test_what_has_no_room_is_paused_and_said() -> None:
    room = Viewing()
    room.frame(key=True)
    room.drain()
    room.down.allow(PAUSED, room.now)
    assert not room.down.flows
    assert room.down.bitrate == 0
    room.frame()
    batch = room.forwarding.drain()
    assert batch.packets == []
    assert [e for e in batch.events if isinstance(e, StreamPaused)] == [
        StreamPaused("TR_V", "s", True)
    ]
    assert room.forwarding.drops[Drop.NO_BANDWIDTH] == 1
    room.down.allow(0, room.now)
    room.down.allow(0, room.now)
    room.frame(key=True)
    batch = room.forwarding.drain()
    assert [e for e in batch.events if isinstance(e, StreamPaused)] == [
        StreamPaused("TR_V", "s", False)
    ]
    assert len([p for p in batch.packets if not p[2]]) == 1


def test_congestion_limits_and_deafness_forgets() -> None:
    room = Viewing("q", "h")
    for number in range(200):
        room.now += 0.02
        room.frame("h" if number % 2 else "q", key=number < 2)
        room.send(rtp(number))
    room.drain()
    link = room.forwarding._routes.links["s"]
    room.told(range(60), late=0.01)
    room.tick()
    assert link.limit is not None
    assert room.down.allowed in (PAUSED, 0)
    room.tick(6.0)
    assert link.limit is None
    assert room.down.allowed == TOP


def test_padding_keeps_the_row_of_numbers_whole() -> None:
    room = Viewing()
    for number in range(3):
        room.frame(key=number == 0)
    room.drain()
    assert room.down.pad(600, room.now) == 2 * (12 + 8 + 255)
    room.frame(ends=False)
    assert room.down.pad(600, room.now) == 0  # in the middle of a picture
    room.frame()
    sent = room.drain()[0]
    assert sequences([parse_header(data) for data in sent]) == [4, 5, 6, 7]
    assert [number_of(data, 3) for data in sent] == [3, 4, 5, 6]
    padding = parse_header(sent[0])
    assert padding.payload_end == padding.payload_start  # nothing but padding
    room.forwarding.rtcp("s", build_nack(9, 1000, [5]), room.now)
    assert room.drain()[0] == [sent[1]]


def test_what_comes_late_finds_its_place_between_padding() -> None:
    room = Viewing()
    room.frame(key=True)
    room.sequence += 1  # number 2 comes late
    room.frame()
    room.down.pad(300, room.now)
    room.frame()
    room.sequence = 1
    room.frame()
    assert sequences(room.media()) == [1, 3, 4, 5, 2]


def test_without_numbers_there_is_no_padding() -> None:
    room = Room()
    room.video()
    down = room.subscribe("TR_V")
    assert not down.pads
    assert down.pad(5000, room.now) == 0
    room.forwarding.rtcp("s", rtcp.build(205, 15, bytes(20)), room.now)  # of nobody's link
    assert not room.forwarding.probing


def test_a_probe_is_sent_in_portions_until_it_ends() -> None:
    room = Viewing("q", "h")
    for number in range(200):
        room.now += 0.02
        room.frame("h" if number % 2 else "q", key=number < 2)
    room.told(range(60), late=0.05)
    room.tick()
    for number in range(60, 160):
        if room.forwarding.probing:
            break
        room.told(range(number, number + 1))
        room.frame("q", key=True)
        room.tick()
    room.drain()
    assert room.forwarding._routes.links["s"].probe
    room.frame("q", key=True)
    octets = 0
    for _ in range(30):
        room.now += 0.01
        room.forwarding.probe(room.now)
        octets += sum(map(len, room.drain()[0]))
    assert octets > 3_000
    for _ in range(3):
        room.tick(0.3)
    assert not room.forwarding.probing
    room.forwarding.probe(room.now)
    room.forwarding.remove_peer("s")
    assert not room.forwarding.probing
