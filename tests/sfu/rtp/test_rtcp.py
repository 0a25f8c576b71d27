"""RTCP: reports, feedback, and the compound walk; read back by aiortc where it knows them."""

import pytest
from aiortc import rtp as aiortc_rtp
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp import feedback, rtcp
from sfu.rtp.packet import Malformed
from sfu.rtp.rtcp import ReceptionReport, SenderReport

REPORT = ReceptionReport(9, 64, -2, 70000, 33, 0x11112222, 0x33334444)
SENDER = SenderReport(7, 0xE0000000_80000000, 1000, 5, 600)


def only(packet: bytes) -> rtcp.Block:
    (block,) = rtcp.walk(packet)
    return block


def test_reports_round_trip() -> None:
    built = rtcp.build_receiver_report(1, [REPORT])
    assert list(rtcp.reception_reports(only(built))) == [REPORT]
    (theirs,) = aiortc_rtp.RtcpPacket.parse(built)
    assert isinstance(theirs, aiortc_rtp.RtcpRrPacket)
    assert theirs.reports[0].packets_lost == -2
    sent = rtcp.build_sender_report(SENDER)
    assert rtcp.parse_sender_report(only(sent)) == SENDER
    assert list(rtcp.reception_reports(only(sent))) == []
    assert rtcp.compact_ntp(SENDER.ntp) == 0x00008000


def test_reports_of_an_sr_follow_the_sender() -> None:
    body = rtcp.build_sender_report(SENDER)[4:] + rtcp.build_receiver_report(1, [REPORT])[8:]
    block = only(rtcp.build(rtcp.SR, 1, body))
    assert list(rtcp.reception_reports(block)) == [REPORT]


def test_a_receiver_report_holds_31_blocks() -> None:
    built = rtcp.build_receiver_report(1, [REPORT] * 40)
    assert len(list(rtcp.reception_reports(only(built)))) == 31


@pytest.mark.parametrize(("lost", "kept"), [(5, 5), (1 << 30, 0x7FFFFF), (-(1 << 30), -0x800000)])
def test_cumulative_loss_is_clamped(lost: int, kept: int) -> None:
    built = rtcp.build_receiver_report(1, [REPORT._replace(lost=lost)])
    assert next(rtcp.reception_reports(only(built))).lost == kept


def test_sdes_and_bye_are_as_others_read_them() -> None:
    sdes, bye = aiortc_rtp.RtcpPacket.parse(rtcp.build_sdes(3, "colloque") + rtcp.build_bye(3))
    assert isinstance(sdes, aiortc_rtp.RtcpSdesPacket)
    assert sdes.chunks[0].items == [(1, b"colloque")]
    assert isinstance(bye, aiortc_rtp.RtcpByePacket)
    assert bye.sources == [3]


def test_padding_ends_a_block() -> None:
    block = only(b"\xa0\xc9\x00\x02" + bytes(4) + b"\0\0\0\4")
    assert block.body == bytes(4)


@pytest.mark.parametrize(
    "packet",
    [
        b"\x80\xc9",
        b"\x40\xc9\x00\x00",
        b"\x80\xc9\x00\x02" + bytes(4),
        b"\xa0\xc9\x00\x00",
        b"\xa0\xc9\x00\x01" + bytes(4),
        b"\xa0\xc9\x00\x01\x00\x00\x00\x09",
    ],
)
def test_broken_compounds(packet: bytes) -> None:
    with pytest.raises(Malformed):
        list(rtcp.walk(packet))


def test_cut_bodies() -> None:
    with pytest.raises(Malformed, match="SR"):
        rtcp.parse_sender_report(rtcp.Block(rtcp.SR, 0, bytes(20)))
    with pytest.raises(Malformed, match="report blocks"):
        list(rtcp.reception_reports(rtcp.Block(rtcp.RR, 1, bytes(20))))
    with pytest.raises(Malformed, match="feedback"):
        feedback.media_ssrc(rtcp.Block(rtcp.PSFB, 1, bytes(4)))


@given(st.binary(max_size=120))
def test_any_bytes_walk_or_are_malformed(data: bytes) -> None:
    for candidate in (data, b"\x81\xce\x00\x04" + data, b"\xa1\xc8\x00\x08" + data):
        try:
            for block in rtcp.walk(candidate):
                list(feedback.nacked(block))
                list(feedback.fir_sources(block))
                feedback.remb_bitrate(block)
                list(rtcp.reception_reports(block))
                rtcp.parse_sender_report(block)
        except Malformed:
            continue


@given(st.sets(st.integers(0, 600), min_size=1), st.integers(0, 0xFFFF))
def test_nacks_round_trip_across_the_wrap(offsets: set[int], start: int) -> None:
    asked = [start + offset & 0xFFFF for offset in sorted(offsets)]
    block = only(feedback.build_nack(1, 2, asked))
    assert list(feedback.nacked(block)) == asked
    assert feedback.media_ssrc(block) == 2


def test_key_frame_requests_and_estimates() -> None:
    pli = only(feedback.build_pli(1, 2))
    assert (pli.packet_type, pli.subtype, feedback.media_ssrc(pli)) == (rtcp.PSFB, 1, 2)
    fir = rtcp.Block(rtcp.PSFB, 4, bytes(8) + (5).to_bytes(4, "big") + bytes(4))
    assert list(feedback.fir_sources(fir)) == [5]
    for bitrate in (0, 1000, 262143, 5_000_000):
        remb = only(feedback.build_remb(1, bitrate, (2, 3)))
        read = feedback.remb_bitrate(remb)
        assert read is not None
        assert bitrate * 0.99 <= read <= bitrate
        assert aiortc_rtp.unpack_remb_fci(remb.body[8:]) == (read, [2, 3])
    assert feedback.remb_bitrate(rtcp.Block(rtcp.PSFB, 15, bytes(16))) is None
