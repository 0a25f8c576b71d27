"""VP8 simulcast through the routing table: layers, switches, key frames, demand, repairs."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.room.drops import Drop
from sfu.room.forwarding import LayerActive, QualityDemand, Subscription
from sfu.room.munger import MAX_SKIPPED
from sfu.rtp import feedback, rtcp
from sfu.rtp.packet import parse_header
from sfu.rtp.rtcp import SenderReport
from sfu.rtp.vp8 import parse_descriptor
from tests.sfu.room_media.streams import VP8, Room, packet, sequences, vp8

Q, H, F = 11, 22, 33
RIDS = {Q: b"q", H: b"h", F: b"f"}
SIZES = {Q: (320, 180), H: (640, 360), F: (1280, 720)}


class Simulcast(Room):
    """A publisher of three layers whose counters all differ."""

    def __init__(self, *rids: str) -> None:
        super().__init__()
        self.video(*(rids or ("q", "h", "f")))
        self.next = {Q: 100, H: 5000, F: 65530}

    def frame(self, *ssrcs: int, key: bool = False) -> None:
        for ssrc in ssrcs:
            self.next[ssrc] += 1
            number = self.next[ssrc]
            self.send(
                packet(
                    number,
                    ssrc=ssrc,
                    payload_type=96,
                    timestamp=number * 3000,
                    payload=vp8(number, key=key, size=SIZES[ssrc]),
                    mid=b"1",
                    rid=RIDS[ssrc],
                )
            )

    def received(self) -> list[tuple[int, int, int, bool]]:
        """(sequence, picture id, TL0PICIDX, key frame) of what was forwarded."""
        out = []
        for data in self.drain()[0]:
            header = parse_header(data)
            descriptor = parse_descriptor(data[header.payload_start :])
            out.append(
                (header.sequence, descriptor.picture_id, descriptor.tl0, descriptor.key_frame)
            )
        return out

    def key_frames_asked(self) -> list[int]:
        return [
            feedback.media_ssrc(block)
            for data in self.drain()[1]
            for block in rtcp.walk(data)
            if (block.packet_type, block.subtype) == (rtcp.PSFB, feedback.PLI)
        ]

    def demands(self) -> list[tuple[bool, ...]]:
        events = self.forwarding.drain().events
        return [event.enabled for event in events if isinstance(event, QualityDemand)]


@pytest.fixture
def room() -> Simulcast:
    return Simulcast()


def contiguous(received: list[tuple[int, int, int, bool]]) -> bool:
    """Whether sequence, picture id and TL0PICIDX rise by one from packet to packet."""
    return all(
        (after[0] - before[0]) % 65536 == 1
        and (after[1] - before[1]) % 32768 == 1
        and (after[2] - before[2]) % 256 == 1
        for before, after in pairwise(received)
    )


def test_nothing_flows_before_a_key_frame_and_one_is_asked_for(room: Simulcast) -> None:
    room.subscribe("TR_V")
    room.frame(F)
    assert room.key_frames_asked() == [F]
    room.frame(F)
    assert room.received() == []
    assert room.forwarding.drops == {Drop.AWAITS_KEY_FRAME: 2}
    room.frame(F, key=True)
    room.frame(F)
    assert contiguous(room.received())


def test_the_highest_flowing_layer_is_chosen_and_switches_are_seamless(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    room.frame(Q, key=True)
    room.frame(Q)
    room.tick()
    received = room.received()
    assert len(received) == 2  # the low layer serves until a better one flows
    room.frame(Q, F)
    room.tick()
    room.frame(Q, F, key=True)
    room.frame(Q, F)
    assert subscription.current == 2
    received += room.received()
    assert contiguous(received)
    assert [key for *_, key in received] == [True, False, False, True, True, False]


def test_the_subscriber_chooses_by_quality_and_by_size(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    room.frame(Q, H, F, key=True)
    got = room.received()
    for wish, layer in (
        ({"quality": 0}, 0),
        ({"quality": 1}, 1),
        ({"quality": 2}, 2),
        ({"width": 300, "height": 170}, 0),
        ({"width": 360, "height": 640}, 1),  # portrait: the area counts
        ({"width": 1900, "height": 1000}, 2),
        ({"quality": 0, "width": 1900, "height": 1000}, 0),
        ({}, 2),
    ):
        subscription.want(enabled=True, **wish)  # type: ignore[arg-type]
        room.tick()
        room.frame(Q, H, F, key=True)
        got += room.received()
        assert subscription.current == layer, wish
    assert contiguous(got)


def test_sizes_told_at_publishing_hold_before_the_first_key_frame() -> None:
    room = Room()
    publication = room.forwarding.publish(
        "TR_V",
        kind="video",
        codec=VP8,
        upstream="p",
        rids=("q", "h"),
        sizes=((320, 180),),
    )
    subscription = room.subscribe("TR_V")
    subscription.want(enabled=True, width=100, height=100)
    room.tick()
    assert [layer.size for layer in publication.layers] == [(320, 180), (0, 0)]
    assert subscription.desired == 0


def test_a_layer_that_begins_with_its_key_frame_is_not_asked_for_one(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    room.frame(F, key=True)
    assert subscription.current == 2
    room.tick()
    assert room.key_frames_asked() == []
    other = room.subscribe("TR_V", "t")
    room.frame(F)
    assert other.current is None
    assert room.key_frames_asked() == [F]


def test_a_layer_that_stops_is_replaced_and_taken_up_again(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    room.frame(Q, F, key=True)
    for _ in range(11):
        room.frame(Q)
        room.tick()
    assert LayerActive("TR_V", 2, False) in room.forwarding.drain().events
    assert subscription.target == 0
    room.frame(Q, key=True)
    assert subscription.current == 0
    assert subscription.desired == 2
    room.frame(F)
    assert LayerActive("TR_V", 2, True) in room.forwarding.drain().events
    room.tick()
    room.frame(F, key=True)
    assert subscription.current == 2


def test_key_frame_requests_are_coalesced_and_throttled(room: Simulcast) -> None:
    for ssrc in (1000, 1001, 1002):
        room.subscribe("TR_V", "s", ssrc)
    room.frame(F, key=True)
    room.key_frames_asked()
    room.tick(0.4)
    for ssrc in (1000, 1001, 1002, 4000):
        room.forwarding.rtcp("s", feedback.build_pli(1, ssrc), room.now)
    assert room.key_frames_asked() == [F]
    fir = rtcp.build(rtcp.PSFB, feedback.FIR, bytes(8) + (1000).to_bytes(4, "big") + bytes(4))
    room.forwarding.rtcp("s", fir, room.now)
    assert room.key_frames_asked() == []
    room.frame(F)
    room.tick(0.35)
    assert room.key_frames_asked() == [F]  # the one put off
    room.frame(F, key=True)
    room.tick(0.4)
    assert room.key_frames_asked() == []


def test_a_request_before_any_packet_goes_out_when_the_layer_appears(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    subscription.request_key_frame(room.now)
    assert room.key_frames_asked() == []  # no SSRC is known
    subscription.want(enabled=False)
    room.forwarding.rtcp("s", feedback.build_pli(1, 1000), room.now)
    assert room.key_frames_asked() == []


def test_a_pause_resumes_with_a_key_frame_and_without_a_gap(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    room.frame(F, key=True)
    subscription.want(enabled=False)
    room.frame(F, F)
    subscription.want(enabled=True)
    room.tick()
    room.frame(F)
    room.frame(F, key=True)
    room.frame(F)
    assert contiguous(room.received())
    assert room.forwarding.drops[Drop.AWAITS_KEY_FRAME] == 1


def test_the_demand_is_the_union_of_the_wishes(room: Simulcast) -> None:
    room.tick()
    assert room.demands() == [(False, False, False)]
    first, second = room.subscribe("TR_V", "s"), room.subscribe("TR_V", "t")
    first.want(enabled=True, quality=0)
    second.want(enabled=True, quality=1)
    room.tick()
    assert room.demands() == [(True, True, False)]
    second.want(enabled=False)
    room.tick()
    room.tick()
    assert room.demands() == []  # not at once
    second.want(enabled=True, quality=1)
    room.tick(1.9)
    second.want(enabled=False)
    room.tick()
    room.tick(1.9)
    assert room.demands() == []
    room.tick(0.2)
    assert room.demands() == [(True, False, False)]
    first.want(enabled=True, quality=2)
    room.tick()
    assert room.demands() == [(True, True, True)]


def report(ssrc: int, seconds: float, timestamp: int) -> bytes:
    return rtcp.build_sender_report(
        SenderReport(ssrc, int(seconds * 2**32), timestamp & 0xFFFFFFFF, 0, 0)
    )


def timestamps(room: Simulcast) -> list[int]:
    return [header.timestamp for header in room.media()]


def switched(room: Simulcast, subscription: Subscription) -> tuple[int, int]:
    """Timestamps before and after a switch from q to f, 0.5 s apart by arrival."""
    subscription.want(enabled=True, quality=0)
    room.frame(Q, F, key=True)
    (before,) = timestamps(room)
    subscription.want(enabled=True, quality=2)
    room.now += 0.5
    room.tick(0.0)
    room.drain()
    room.frame(F, key=True)
    (after,) = timestamps(room)
    return before, after


def test_the_clock_goes_on_by_arrival_without_reports(room: Simulcast) -> None:
    before, after = switched(room, room.subscribe("TR_V"))
    assert after - before == 45000


@pytest.mark.parametrize(
    ("skew", "expected"),
    [
        (0.1, 9000),  # the publisher's clock says 0.1 s, whatever the network did
        (-0.3, 1),  # never backwards
        (30.0, 45000),  # nonsense: arrival counts
    ],
)
def test_the_clock_goes_on_by_the_publishers_reports(
    room: Simulcast, skew: float, expected: int
) -> None:
    subscription = room.subscribe("TR_V")
    room.frame(Q, F)
    at_q, at_f = (room.next[Q] + 1) * 3000, (room.next[F] + 2) * 3000
    for data in (report(Q, 1000.0, at_q), report(F, 1000.0 + skew, at_f)):
        room.forwarding.rtcp("p", data, room.now)
    room.drain()
    before, after = switched(room, subscription)
    assert after - before == expected


def test_a_switch_tells_the_new_clock_at_once(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    subscription.want(enabled=True, quality=0)
    room.frame(Q, F, key=True)
    for ssrc in (Q, F):
        room.forwarding.rtcp("p", report(ssrc, 1000.0, room.next[ssrc] * 3000), room.now)
    room.drain()
    subscription.want(enabled=True)
    room.tick()
    room.drain()
    room.frame(F, key=True)
    media, feedbacks = room.drain()
    (own,) = (
        rtcp.parse_sender_report(block)
        for data in feedbacks
        for block in rtcp.walk(data)
        if block.packet_type == rtcp.SR
    )
    header = parse_header(media[0])
    assert own.ssrc == header.ssrc
    assert header.timestamp - own.timestamp == 3000


def rtx(number: int, *, ssrc: int = 99, payload_type: int = 97, **values: bytes) -> bytes:
    payload = (number & 0xFFFF).to_bytes(2, "big") + vp8(number)
    return packet(
        7, ssrc=ssrc, payload_type=payload_type, timestamp=3000, payload=payload, **values
    )


def test_repairs_come_in_a_stream_of_their_own(room: Simulcast) -> None:
    room.subscribe("TR_V")
    room.frame(H, F, key=True)
    room.next[F] += 1  # lost
    lost = room.next[F]
    room.frame(F)
    first = [sequence for sequence, *_ in room.received()]
    room.send(rtx(lost, mid=b"1", repaired=b"f"), rtx(lost))
    recovered = room.received()
    assert [sequence for sequence, *_ in recovered] == [first[-1] - 1 & 0xFFFF]
    assert room.forwarding.drops == {Drop.DUPLICATE: 1}
    room.send(packet(8, ssrc=99, payload_type=97, payload=b""))
    assert room.forwarding.drops[Drop.PADDING] == 1
    room.send(packet(8, ssrc=99, payload_type=96, payload=b"abc"))
    assert room.forwarding.drops[Drop.PADDING] == 2
    room.tick(1.0)
    (told,) = (b for data in room.drain()[1] for b in rtcp.walk(data) if b.packet_type == rtcp.RR)
    assert {found.ssrc for found in rtcp.reception_reports(told)} == {H, F}
    room.forwarding.rtcp("p", report(99, 1.0, 1), room.now)  # an SR of the repair stream
    assert room.drain()[1] == []


def test_a_repair_that_names_no_layer_or_comes_first_is_dropped(room: Simulcast) -> None:
    room.subscribe("TR_V")
    room.send(rtx(5, mid=b"1"), rtx(5, mid=b"1", repaired=b"f"), rtx(5, payload_type=98))
    assert room.forwarding.drops == {Drop.UNKNOWN_STREAM: 1, Drop.PADDING: 2}
    assert room.received() == []


def test_a_key_frame_whose_beginning_comes_late_is_whole(room: Simulcast) -> None:
    room.subscribe("TR_V")
    parts = [
        packet(
            number,
            ssrc=F,
            payload_type=96,
            timestamp=9000,
            payload=vp8(7, key=True) if number == 11 else b"\x80\x80\x87rest",
            mid=b"1",
            rid=b"f",
        )
        for number in (10, 11, 12, 13, 14)
    ]
    room.send(parts[0], parts[2], parts[4], parts[3])
    assert room.media() == []
    room.send(parts[1])
    assert sequences(room.media()) == [11, 12, 13, 14]


def padding(sequence: int) -> bytes:
    return b"\xa0" + packet(sequence, ssrc=5, payload_type=96, payload=b"\0\0\0\4")[1:]


def frame(sequence: int, *, key: bool = False) -> bytes:
    return packet(sequence, ssrc=5, payload_type=96, payload=vp8(sequence, key=key), mid=b"1")


def test_padding_is_left_out_without_a_gap() -> None:
    room = Simulcast("")
    room.subscribe("TR_V")
    room.send(frame(1, key=True), padding(2), padding(3), frame(4), padding(6), frame(7))
    assert sequences(room.media()) == [1, 2, 4]
    room.send(frame(5))  # late: its place was kept
    assert sequences(room.media()) == [3]
    assert room.forwarding.drops == {Drop.PADDING: 3}


def test_late_padding_goes_out_empty_for_its_number_is_taken() -> None:
    room = Simulcast("")
    room.subscribe("TR_V")
    room.send(frame(1, key=True), frame(3), padding(2))
    media, _ = room.drain()
    assert [parse_header(data).sequence for data in media] == [1, 3, 2]
    assert len(media[2]) == 12
    assert media[2][0] == 0x80


def test_what_is_left_out_is_remembered_within_bounds() -> None:
    room = Simulcast("")
    room.subscribe("TR_V")
    room.send(frame(1, key=True))
    for sequence in range(3, 3 + MAX_SKIPPED + 1):
        room.send(padding(sequence))
    room.send(frame(2), frame(4 + MAX_SKIPPED))
    assert sequences(room.media()) == [1, 3]
    assert room.forwarding.drops == {Drop.PADDING: MAX_SKIPPED + 1, Drop.BEFORE_SWITCH: 1}


@given(st.lists(st.sampled_from(["frame", "padding", "late frame"]), max_size=80))
def test_numbers_stay_one_row_whatever_is_left_out(steps: list[str]) -> None:
    room = Simulcast("")
    room.subscribe("TR_V")
    room.send(frame(65530, key=True))
    number = 65530
    for step in steps:
        number += 1
        if step == "late frame":
            room.send(padding(number + 1), frame(number + 2), frame(number))
            number += 2
        else:
            room.send(frame(number) if step == "frame" else padding(number))
    sent = [(value - 65530) % 65536 for value in sequences(room.media())]
    assert sorted(sent) == list(range(len(sent)))


def test_a_cut_vp8_packet_is_malformed(room: Simulcast) -> None:
    room.subscribe("TR_V")
    room.send(packet(1, ssrc=F, payload_type=96, payload=b"\x90", mid=b"1", rid=b"f"))
    assert room.forwarding.drops == {Drop.MALFORMED: 1}


def test_a_source_is_known_again_after_its_publication_was_replaced(room: Simulcast) -> None:
    room.frame(Q, F, key=True)
    room.forwarding.unpublish("TR_V")
    room.video("q", "h", "f")
    subscription = room.subscribe("TR_V")
    room.next[F] += 1
    number = room.next[F]
    room.send(packet(number, ssrc=F, payload_type=96, payload=vp8(number, key=True)))
    assert subscription.current == 2


def test_a_layer_without_a_good_packet_is_not_reported(room: Simulcast) -> None:
    room.send(packet(1, ssrc=F, payload_type=96, payload=b"\x90", mid=b"1", rid=b"f"))
    room.tick()
    assert all(
        block.packet_type != rtcp.RR for data in room.drain()[1] for block in rtcp.walk(data)
    )


def test_a_key_frame_without_its_size_is_one_all_the_same(room: Simulcast) -> None:
    subscription = room.subscribe("TR_V")
    cut = vp8(1, key=True)[:9]
    room.send(packet(1, ssrc=F, payload_type=96, payload=cut, mid=b"1", rid=b"f"))
    assert len(room.received()) == 1
    assert subscription.publication.layers[2].size == (0, 0)


def test_unknown_rids_and_foreign_extension_values_are_dropped(room: Simulcast) -> None:
    room.subscribe("TR_V")
    room.send(packet(1, ssrc=5, payload_type=96, payload=vp8(1), mid=b"1", rid=b"zz"))
    room.send(packet(1, ssrc=6, payload_type=96, payload=vp8(1), mid=b"\xff\xfe", rid=b"q"))
    room.send(packet(1, ssrc=7, payload_type=96, payload=vp8(1), rid=b"q"))
    assert room.forwarding.drops == {Drop.UNKNOWN_STREAM: 3}


def test_two_encoder_restarts_in_a_row_need_key_frames(room: Simulcast) -> None:
    room.subscribe("TR_V")
    room.frame(F, key=True)
    room.next[F] += 20000
    room.frame(F)
    room.frame(F)
    assert len(room.received()) == 1
    room.frame(F, key=True)
    room.frame(F)
    assert contiguous(room.received())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["frame", "key", "wish", "pause", "stop", "report", "tick"]),
            st.integers(0, 2),
        ),
        max_size=60,
    )
)
def test_whatever_the_wishes_the_stream_is_one(steps: list[tuple[str, int]]) -> None:
    room = Simulcast()
    subscription = room.subscribe("TR_V")
    got: list[tuple[int, int, int, bool]] = []
    last: int | None = None
    for step, layer in steps:
        ssrc = (Q, H, F)[layer]
        room.now += 0.033
        if step == "frame":
            room.frame(*(s for s in (Q, H, F) if s != ssrc))
        elif step == "key":
            room.frame(Q, H, F, key=True)
        elif step == "wish":
            subscription.want(enabled=True, quality=layer)  # type: ignore[arg-type]
        elif step == "pause":
            subscription.want(enabled=False)
        elif step == "stop":
            for _ in range(12):
                room.frame(ssrc)
                room.tick()
        elif step == "report":
            room.forwarding.rtcp("p", report(ssrc, room.now, room.next[ssrc] * 3000), room.now)
        else:
            room.tick()
        for data in room.drain()[0]:
            header = parse_header(data)
            descriptor = parse_descriptor(data[header.payload_start :])
            if last is not None:
                assert 0 < (header.timestamp - last) % 2**32 < 2**31
            last = header.timestamp
            if descriptor.key_frame or got:
                got.append(
                    (header.sequence, descriptor.picture_id, descriptor.tl0, descriptor.key_frame)
                )
    assert all(
        (after[0] - before[0]) % 65536 == 1 and (after[1] - before[1]) % 32768 >= 1
        for before, after in pairwise(got)
    )
    if got:
        assert got[0][3]
