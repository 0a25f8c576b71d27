"""Audio through the routing table: numbers, extensions, mute, pauses, speakers, repairs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.room.drops import Drop
from sfu.room.forwarding import SpeakersChanged, TrackActive
from sfu.room.ports import MAX_EVENTS, MAX_PACKETS, Outbox
from sfu.rtp import extension, feedback, rtcp
from sfu.rtp.packet import extensions, parse_header
from sfu.rtp.rtcp import ReceptionReport, SenderReport
from tests.sfu.room_media.streams import EXTENSIONS, OPUS, VP8, Room, packet, sequences


@pytest.fixture
def room() -> Room:
    made = Room()
    made.audio()
    return made


def test_a_packet_is_rewritten_for_each_subscriber(room: Room) -> None:
    room.subscribe("TR_A", "s", 1000, level=7, time=8)
    room.subscribe("TR_A", "t", 2000)
    room.send(packet(5, payload=b"opus", marker=True, level=b"\x9e", counter=b"\0\1"))
    batch = room.forwarding.drain()
    assert [(peer, is_rtcp) for peer, _, is_rtcp in batch.packets] == [("s", False), ("t", False)]
    first, second = (data for _, data, _ in batch.packets)
    header = parse_header(first)
    assert header[:5] == (True, 120, 5, 4800, 1000)
    assert extensions(first, header) == {7: b"\x9e", 8: extension.abs_send_time(room.now)}
    assert first[header.payload_start :] == b"opus"
    assert parse_header(second)[:5] == (True, 120, 5, 4800, 2000)
    assert extensions(second, parse_header(second)) == {}
    assert TrackActive("TR_A") in batch.events


def test_an_extension_the_publisher_did_not_send_is_left_out(room: Room) -> None:
    room.subscribe("TR_A", level=7)
    room.send(packet(1))
    (data,) = room.drain()[0]
    assert data[:1] == b"\x80"


def test_a_pause_leaves_no_gap_and_keeps_the_clock(room: Room) -> None:
    subscription = room.subscribe("TR_A")
    room.send(packet(1))
    subscription.want(enabled=False)
    room.send(packet(2), packet(3))
    subscription.want(enabled=True)
    room.send(packet(4))
    headers = room.media()
    assert sequences(headers) == [1, 2]
    assert [header.timestamp for header in headers] == [960, 4 * 960]
    assert room.forwarding.drops == {Drop.SUBSCRIPTION_DISABLED: 2}


def test_mutes_of_either_side_hold_packets_back(room: Room) -> None:
    subscription = room.subscribe("TR_A")
    publication = subscription.publication
    room.send(packet(1))
    subscription.muted = True
    room.send(packet(2))
    subscription.muted = False
    publication.muted = True
    room.send(packet(3))
    publication.muted = False
    room.send(packet(4))
    assert sequences(room.media()) == [1, 2]
    assert room.forwarding.drops == {Drop.SUBSCRIPTION_DISABLED: 1, Drop.PUBLICATION_MUTED: 1}


def test_a_restarted_source_continues_in_number_and_time(room: Room) -> None:
    room.subscribe("TR_A")
    room.send(packet(10, timestamp=1000))
    room.now += 0.5
    room.send(packet(40000, timestamp=7), packet(40001, timestamp=967))
    headers = room.media()
    assert sequences(headers) == [10, 11]
    assert headers[1].timestamp == 1000 + 24000
    assert room.forwarding.drops == {Drop.DUPLICATE: 1}


def test_another_ssrc_on_the_same_mid_is_a_restart(room: Room) -> None:
    room.subscribe("TR_A")
    room.send(packet(10, ssrc=1), packet(500, ssrc=77, mid=b"0"), packet(501, ssrc=77))
    assert sequences(room.media()) == [10, 11, 12]


def test_late_packets_keep_their_place_unless_they_are_from_before(room: Room) -> None:
    subscription = room.subscribe("TR_A")
    room.send(packet(1), packet(3), packet(2))
    assert sequences(room.media()) == [1, 3, 2]
    subscription.want(enabled=False)
    room.send(packet(5))
    subscription.want(enabled=True)
    room.send(packet(6), packet(4))
    assert sequences(room.media()) == [4]
    assert room.forwarding.drops[Drop.BEFORE_SWITCH] == 1


@settings(deadline=None)  # a loaded machine is no fault
@given(st.lists(st.sampled_from(["send", "lose", "swap", "pause", "repeat"]), max_size=60))
def test_whatever_happens_numbers_never_repeat_and_never_jump(steps: list[str]) -> None:
    room = Room()
    room.audio()
    subscription = room.subscribe("TR_A")
    sequence, lost, sent = 65500, 0, []
    for step in steps:
        sequence += 1
        subscription.want(enabled=step != "pause")
        if step == "lose":
            lost += 1
        elif step == "swap":
            room.send(packet(sequence + 1), packet(sequence))
            sequence += 1
        else:
            room.send(packet(sequence))
            if step == "repeat":
                room.send(packet(sequence))
        sent += sequences(room.media())
    assert len(set(sent)) == len(sent)
    if sent:
        span = max((number - sent[0] + 32768) % 65536 - 32768 for number in sent) + 1
        assert span - len(sent) <= lost + steps.count("swap")


def test_broken_and_unknown_packets_are_dropped_by_name(room: Room) -> None:
    room.send(b"\x80", packet(1, ssrc=9, payload_type=50), packet(1, ssrc=9, payload_type=96))
    room.send(packet(1), peer="stranger")
    room.send(packet(1), packet(2, payload_type=50))
    assert room.forwarding.drops == {
        Drop.MALFORMED: 1,
        Drop.UNKNOWN_PAYLOAD_TYPE: 2,
        Drop.UNKNOWN_STREAM: 1,
        Drop.UNKNOWN_PEER: 1,
    }


def test_a_single_publication_needs_neither_mid_nor_ssrc(room: Room) -> None:
    room.subscribe("TR_A")
    room.send(packet(1, ssrc=4242))
    assert sequences(room.media()) == [1]
    room.forwarding.publish("TR_B", kind="audio", codec=OPUS, upstream="p")
    room.send(packet(1, ssrc=4243))  # now it could be either
    assert room.forwarding.drops == {Drop.UNKNOWN_STREAM: 1}


def test_the_streams_of_a_publisher_are_bounded(room: Room) -> None:
    for number in range(70):
        sid = f"TR_{number}"
        room.forwarding.publish(sid, kind="audio", codec=OPUS, upstream="p")
    room.forwarding.bind_receive(
        "p",
        extensions=EXTENSIONS,
        mids={str(number): f"TR_{number}" for number in range(70)},
        ssrcs={},
        payload_types={111: OPUS},
    )
    for number in range(70):
        room.send(packet(1, ssrc=100 + number, mid=str(number).encode()))
    assert room.forwarding.drops == {Drop.STREAM_LIMIT: 6}


def test_a_source_that_keeps_changing_its_ssrc_leaves_one_stream(room: Room) -> None:
    for ssrc in range(100, 300):
        room.send(packet(1, ssrc=ssrc, mid=b"0"))
    room.tick()
    (reports,) = room.drain()[1]
    (block,) = rtcp.walk(reports)
    assert [report.ssrc for report in rtcp.reception_reports(block)] == [299]


def test_binding_again_keeps_the_streams(room: Room) -> None:
    room.subscribe("TR_A")
    room.send(packet(1, ssrc=55, mid=b"0"))
    room.bind()
    room.send(packet(2, ssrc=55))
    assert sequences(room.media()) == [1, 2]


def test_the_table_refuses_duplicates_and_forgets_what_ends(room: Room) -> None:
    forwarding = room.forwarding
    with pytest.raises(ValueError, match="TR_A"):
        forwarding.publish("TR_A", kind="audio", codec=OPUS, upstream="p")
    with pytest.raises(KeyError):
        room.subscribe("TR_unknown")
    first = room.subscribe("TR_A", "s", 1)
    with pytest.raises(ValueError, match="taken"):
        room.subscribe("TR_A", "s", 1)
    forwarding.unsubscribe(first)
    forwarding.unsubscribe(first)
    second = room.subscribe("TR_A", "s", 1)
    forwarding.unsubscribe(first)  # not the one that has this SSRC now
    room.send(packet(1))
    assert len(room.media()) == 1
    forwarding.unpublish("TR_A")
    forwarding.unpublish("TR_A")
    forwarding.unsubscribe(second)
    room.send(packet(2))
    assert room.media() == []
    assert forwarding.drops == {Drop.UNKNOWN_STREAM: 1}


def test_a_peer_that_leaves_takes_all_with_it(room: Room) -> None:
    room.subscribe("TR_A", "s")
    room.forwarding.publish("TR_S", kind="audio", codec=OPUS, upstream="s")
    room.subscribe("TR_S", "p", 5)
    room.forwarding.rtcp("s", feedback.build_remb(1, 500_000, ()), room.now)
    estimate = room.forwarding.bitrate_estimate("s")
    assert estimate is not None
    assert 495_000 < estimate <= 500_000
    room.forwarding.remove_peer("s")
    room.send(packet(1))
    assert room.media() == []
    assert room.forwarding.bitrate_estimate("s") is None
    room.forwarding.remove_peer("p")
    room.send(packet(2))
    assert room.forwarding.drops == {Drop.UNKNOWN_PEER: 1}
    room.forwarding.unpublish("TR_S")


def test_speakers_are_told_when_they_begin_and_end(room: Room) -> None:
    told: list[tuple[float, bool]] = []
    for sequence in range(260):
        level = b"\x8a" if sequence < 60 else b"\x7f"
        room.send(packet(sequence, level=level))
        room.tick(0.02)
        for event in room.forwarding.drain().events:
            if isinstance(event, SpeakersChanged):
                (speaker,) = event.speakers
                assert speaker.sid == "TR_A"
                told.append((speaker.level, speaker.active))
    active = [state for _, state in told]
    assert active[0] is True
    assert told[0][0] > 0.05
    assert told[-1] == (0.0, False)
    assert active.count(False) == 1


def test_a_speaker_that_leaves_is_silent(room: Room) -> None:
    for sequence in range(60):
        room.send(packet(sequence, level=b"\x8a"))
        room.tick(0.02)
    room.forwarding.drain()
    room.forwarding.unpublish("TR_A")
    (event,) = room.forwarding.drain().events
    assert isinstance(event, SpeakersChanged)
    assert (event.speakers[0].level, event.speakers[0].active) == (0.0, False)


def test_a_quiet_publication_ends_without_a_word(room: Room) -> None:
    room.send(packet(1, level=b"\x7f"))
    room.tick()
    room.forwarding.drain()
    room.forwarding.unpublish("TR_A")
    assert room.forwarding.drain().events == []


def test_missing_packets_are_asked_for_again_and_again(room: Room) -> None:
    room.send(packet(1), packet(3))
    room.tick(0.03)
    room.tick(0.1)
    asked = [
        (feedback.media_ssrc(block), list(feedback.nacked(block)))
        for data in room.drain()[1]
        for block in rtcp.walk(data)
        if block.packet_type == rtcp.RTPFB and block.subtype == feedback.NACK
    ]
    assert asked == [(1, [2]), (1, [2])]


def test_between_packets_what_is_missing_is_asked_for_until_it_came(room: Room) -> None:
    assert not room.forwarding.repairing
    room.send(packet(1), packet(3))
    room.drain()
    assert room.forwarding.repairing
    room.now += 0.01
    room.forwarding.repair(room.now)
    assert len(room.drain()[1]) == 1
    assert room.forwarding.repairing
    room.send(packet(2))
    room.forwarding.repair(room.now)
    assert not room.forwarding.repairing


def test_a_muted_publication_is_not_repaired(room: Room) -> None:
    room.send(packet(1), packet(3))
    subscription = room.subscribe("TR_A")
    subscription.publication.muted = True
    room.tick(0.03)
    room.forwarding.repair(room.now)
    assert not room.forwarding.repairing
    kinds = {block.packet_type for data in room.drain()[1] for block in rtcp.walk(data)}
    assert rtcp.RTPFB not in kinds


def test_lost_packets_are_sent_again_as_they_were(room: Room) -> None:
    room.subscribe("TR_A", time=3)
    room.send(packet(1), packet(2), packet(3))
    sent, _ = room.drain()
    nack = feedback.build_nack(1, 1000, [2, 3, 4])
    room.now += 0.05
    room.forwarding.rtcp("s", nack, room.now)
    room.forwarding.rtcp("s", nack, room.now + 0.01)
    assert room.drain()[0] == sent[1:]
    assert room.forwarding.drops == {Drop.NACK_UNKNOWN: 2, Drop.NACK_THROTTLED: 2}
    room.forwarding.rtcp("other", nack, room.now)
    assert room.drain()[0] == []


def test_retransmissions_have_a_budget(room: Room) -> None:
    room.subscribe("TR_A")
    room.send(*(packet(n) for n in range(50)))
    room.drain()
    nack = feedback.build_nack(1, 1000, range(50))
    for step in range(20):
        room.forwarding.rtcp("s", nack, room.now + step * 0.031)
    assert 700 < len(room.drain()[0]) < 900


def test_receiver_reports_go_up_and_are_read_from_below(room: Room) -> None:
    subscription = room.subscribe("TR_A")
    room.send(packet(1), packet(3))
    report = SenderReport(1, 0x1234_5678_9ABC_DEF0, 960, 2, 8)
    room.forwarding.rtcp("p", rtcp.build_sender_report(report), room.now)
    room.now += 0.5
    room.tick(0.0)
    media, feedbacks = room.drain()
    assert len(media) == 2
    (own,) = (
        rtcp.parse_sender_report(block)
        for data in feedbacks
        for block in rtcp.walk(data)
        if block.packet_type == rtcp.SR
    )
    assert own == SenderReport(1000, report.ntp, 960, 2, 8)
    (told,) = (
        found
        for data in feedbacks
        for block in rtcp.walk(data)
        if block.packet_type == rtcp.RR
        for found in rtcp.reception_reports(block)
    )
    assert (told.ssrc, told.lost, told.lsr, told.dlsr) == (1, 1, 0x5678_9ABC, 32768)

    back = ReceptionReport(1000, 128, 1, 3, 0, rtcp.compact_ntp(report.ntp), 16384)
    room.forwarding.rtcp("s", rtcp.build_receiver_report(5, [back]), room.now)
    assert subscription.stats.loss == 0.5
    assert subscription.stats.rtt == pytest.approx(0.25)
    unknown = [back._replace(ssrc=9), back._replace(lsr=1, fraction=0)]
    room.forwarding.rtcp("s", rtcp.build_receiver_report(5, unknown), room.now)
    assert (subscription.stats.loss, subscription.stats.rtt) == (0.0, pytest.approx(0.25))


def test_sender_reports_reach_only_those_who_receive(room: Room) -> None:
    flowing, paused = room.subscribe("TR_A", "s"), room.subscribe("TR_A", "t")
    room.send(packet(1))
    paused.want(enabled=False)
    room.drain()
    for step in range(12):
        report = SenderReport(1, (100 + step) << 32, 960, 1, 4)
        room.forwarding.rtcp("p", rtcp.build_sender_report(report), room.now)
    room.forwarding.rtcp("p", rtcp.build_sender_report(SenderReport(9, 0, 0, 0, 0)), room.now)
    room.forwarding.rtcp("x", rtcp.build_sender_report(SenderReport(1, 0, 0, 0, 0)), room.now)
    batch = room.forwarding.drain().packets
    assert [peer for peer, _, _ in batch] == ["s"] * 12
    oldest = ReceptionReport(1000, 0, 0, 0, 0, 100 << 16, 0)
    room.forwarding.rtcp("s", rtcp.build_receiver_report(5, [oldest]), room.now + 1)
    assert flowing.stats.rtt == 0.0  # long forgotten


def test_broken_and_foreign_feedback_is_dropped(room: Room) -> None:
    room.forwarding.rtcp("s", b"\x80\xc9\x00\x09", room.now)
    room.forwarding.rtcp("s", rtcp.build_bye(1) + rtcp.build_sdes(1, "x"), room.now)
    room.forwarding.rtcp("s", rtcp.build(rtcp.RTPFB, 15, bytes(16)), room.now)
    room.forwarding.rtcp("s", rtcp.build(rtcp.PSFB, 15, bytes(16)), room.now)
    room.forwarding.rtcp("s", rtcp.build(rtcp.PSFB, 9, bytes(16)), room.now)
    room.forwarding.rtcp("s", feedback.build_pli(1, 12345), room.now)
    assert room.forwarding.drops == {Drop.MALFORMED: 1}
    assert room.drain() == ([], [])


def test_transport_feedback_goes_to_the_publisher_every_tick(room: Room) -> None:
    room.send(packet(1, counter=b"\x00\x05"), packet(2, counter=b"\x05"))
    room.tick()
    kinds = [
        (block.packet_type, block.subtype) for data in room.drain()[1] for block in rtcp.walk(data)
    ]
    assert (rtcp.RTPFB, feedback.TRANSPORT_CC) in kinds
    room.tick()
    assert room.drain()[1] == []
    room.forwarding.bind_receive(
        "p", extensions={}, mids={}, ssrcs={1: "TR_A"}, payload_types={111: OPUS, 96: VP8}
    )
    room.send(packet(3, counter=b"\x00\x06"))
    room.tick()
    assert room.drain()[1] == []


def test_layers_and_counters_can_be_read(room: Room) -> None:
    room.subscribe("TR_A")
    publication = room.forwarding.publish("TR_X", kind="audio", codec=OPUS, upstream="q")
    assert publication.stats[0].packets == 0
    room.send(packet(1), packet(3))
    subscription = room.forwarding.subscribe(
        "TR_A", "u", payload_type=1, ssrc=3, mid="7", extensions={}
    )
    stats = subscription.publication.stats[0]
    assert (stats.packets, stats.lost, stats.recovered) == (2, 1, 0)
    subscription.reconfigure(payload_type=99, plan=())
    room.drain()
    room.send(packet(4))
    assert [header.payload_type for header in room.media()] == [120, 99]


def test_the_outbox_is_bounded() -> None:
    room = Room()
    outbox = Outbox(room.forwarding.drops)
    for _ in range(MAX_PACKETS + 1):
        outbox.packet("s", b"", rtcp=False)
    for _ in range(MAX_EVENTS + 1):
        outbox.event(TrackActive("x"))
    taken = outbox.drain()
    assert (len(taken.packets), len(taken.events)) == (MAX_PACKETS, MAX_EVENTS)
    assert room.forwarding.drops == {Drop.BATCH_FULL: 2}
    assert outbox.drain().packets == []
