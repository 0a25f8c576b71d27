"""The RTP header view, by tables and by properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp import extension
from sfu.rtp.packet import (
    Header,
    Malformed,
    build_extensions,
    build_header,
    extensions,
    is_rtcp,
    parse_header,
)

PLAIN = bytes.fromhex("80 e0 0001 00000002 00000003") + b"body"


def test_a_plain_packet() -> None:
    assert parse_header(PLAIN) == Header(True, 0x60, 1, 2, 3, 0, 0, 12, 16)


def test_csrc_extension_and_padding_are_left_out_of_the_payload() -> None:
    packet = (
        bytes.fromhex("b1 60 0001 00000002 00000003")
        + bytes(4)  # one CSRC
        + bytes.fromhex("bede 0001 10 aa 0000")
        + b"body"
        + b"\0\0\3"
    )
    header = parse_header(packet)
    assert packet[header.payload_start : header.payload_end] == b"body"
    assert extensions(packet, header) == {1: b"\xaa"}
    assert not header.marker


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"", "shorter"),
        (PLAIN[:11], "shorter"),
        (b"\x40" + PLAIN[1:], "version"),
        (b"\x90" + PLAIN[1:14], "cut"),
        (b"\x90" + PLAIN[1:12] + b"\xbe\xde\x00\x02" + bytes(4), "add up"),
        (b"\x8f" + PLAIN[1:], "add up"),
        (b"\xa0" + PLAIN[1:12] + b"\x00", "add up"),
        (b"\xa0" + PLAIN[1:12] + b"\x09", "add up"),
    ],
)
def test_broken_packets(packet: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_header(packet)


@pytest.mark.parametrize(
    ("block", "found"),
    [
        ("bede 0001 00 10 aa 00", {1: b"\xaa"}),  # padding before and after
        ("bede 0001 10 aa f0 bb", {1: b"\xaa"}),  # id 15 ends the reading
        ("bede 0001 10 aa 23 bb", {1: b"\xaa"}),  # cut
        ("1000 0002 01 00 02 02 aabb 00 00", {1: b"", 2: b"\xaa\xbb"}),
        ("100f 0001 07 01 cc 00", {7: b"\xcc"}),  # the low bits are the application's
        ("1000 0001 07 03 cc cc", {}),  # cut
        ("1000 0001 00 00 00 07", {}),  # cut before its length
        ("abcd 0001 10 aa 0000", {}),  # another profile
    ],
)
def test_extension_forms(block: str, found: dict[int, bytes]) -> None:
    packet = b"\x90" + PLAIN[1:12] + bytes.fromhex(block) + b"body"
    assert extensions(packet, parse_header(packet)) == found


@given(st.binary(max_size=80))
def test_any_bytes_parse_or_are_malformed(data: bytes) -> None:
    for candidate in (data, b"\x90\x60" + data, b"\xb0\x60" + data):
        try:
            header = parse_header(candidate)
        except Malformed:
            continue
        assert 12 <= header.payload_start <= header.payload_end <= len(candidate)
        for value in extensions(candidate, header).values():
            assert value in candidate


@given(
    st.dictionaries(st.integers(1, 255), st.binary(max_size=40), max_size=6),
    st.booleans(),
    st.integers(0, 127),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
)
def test_what_is_built_is_read(
    elements: dict[int, bytes], marker: bool, payload_type: int, sequence: int, word: int
) -> None:
    block = build_extensions(elements.items())
    packet = build_header(
        marker=marker,
        payload_type=payload_type,
        sequence=sequence,
        timestamp=word,
        ssrc=word ^ 1,
        extension=block,
    )
    header = parse_header(packet + b"x")
    assert header[:5] == (marker, payload_type, sequence, word, word ^ 1)
    assert extensions(packet, header) == elements
    assert header.payload_start == len(packet)


def test_the_one_byte_form_is_preferred_and_padding_can_be_flagged() -> None:
    assert build_extensions([]) == b""
    assert build_extensions([(1, b"a")])[:2] == b"\xbe\xde"
    assert build_extensions([(15, b"a")])[:2] == b"\x10\x00"
    assert build_extensions([(1, b"")])[:2] == b"\x10\x00"
    padded = build_header(
        marker=False, payload_type=0, sequence=0, timestamp=0, ssrc=0, padding=True
    )
    assert padded[0] & 0x20


@pytest.mark.parametrize(
    ("second", "rtcp"), [(191, False), (192, True), (223, True), (224, False), (96, False)]
)
def test_rtcp_is_told_by_its_second_byte(second: int, rtcp: bool) -> None:
    assert is_rtcp(bytes((0x80, second))) is rtcp
    assert not is_rtcp(b"\x80")


def test_extension_values() -> None:
    assert extension.audio_level(b"\x94") == (True, 20)
    assert extension.audio_level(b"\x7f") == (False, 127)
    assert extension.abs_send_time(1.5) == (int(1.5 * 2**18)).to_bytes(3, "big")
    assert extension.abs_send_time(64.0) == bytes(3)
