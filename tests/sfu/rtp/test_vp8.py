"""VP8 payload descriptors, by tables and by properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.packet import Malformed
from sfu.rtp.vp8 import Descriptor, frame_size, parse_descriptor, rewrite


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("10 00", Descriptor(1, True, 0, 0, 0, 0, 0, 0)),
        ("10 01", Descriptor(1, False, 0, 0, 0, 0, 0, 0)),  # P bit: a delta frame
        ("00 00", Descriptor(1, False, 0, 0, 0, 0, 0, 0)),  # not the start of a partition
        ("11 00", Descriptor(1, False, 0, 0, 0, 0, 0, 0)),  # partition 1
        ("90 80 85 01 00", Descriptor(4, True, 0x501, 15, 2, 0, 0, 0)),
        ("90 80 05 00", Descriptor(3, True, 5, 7, 2, 0, 0, 0)),
        ("90 e0 8123 07 a0 00", Descriptor(6, True, 0x123, 15, 2, 7, 4, 2)),
        ("90 10 1f 00", Descriptor(3, True, 0, 0, 0, 0, 0, 0)),  # KEYIDX alone
        ("80 00 01", Descriptor(2, False, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_descriptors(payload: str, expected: Descriptor) -> None:
    assert parse_descriptor(bytes.fromhex(payload)) == expected


@pytest.mark.parametrize("payload", ["", "90", "90 80", "90 80 80", "90 40", "90 20", "10"])
def test_cut_descriptors(payload: str) -> None:
    with pytest.raises(Malformed):
        parse_descriptor(bytes.fromhex(payload))


def test_counters_move_within_their_width() -> None:
    wide = bytes.fromhex("90 e0 ffff ff a0 00")
    moved = rewrite(parse_descriptor(wide), wide, picture_offset=1, tl0_offset=1)
    assert moved == bytes.fromhex("90 e0 8000 00 a0")
    narrow = bytes.fromhex("90 80 7f 00")
    assert rewrite(parse_descriptor(narrow), narrow, picture_offset=2, tl0_offset=9) == (
        bytes.fromhex("90 80 01")
    )
    bare = bytes.fromhex("10 00")
    assert rewrite(parse_descriptor(bare), bare, picture_offset=2, tl0_offset=9) == b"\x10"


def test_frame_size() -> None:
    frame = bytes.fromhex("50 01 00 9d012a 0005 d002")
    assert frame_size(frame) == (1280, 720)
    assert frame_size(frame[:9]) is None
    assert frame_size(b"\0" * 10) is None


@given(st.binary(min_size=1, max_size=12), st.integers(-40000, 40000), st.integers(-300, 300))
def test_any_bytes_parse_or_are_malformed(data: bytes, picture: int, tl0: int) -> None:
    try:
        descriptor = parse_descriptor(data)
    except Malformed:
        return
    moved = rewrite(descriptor, data, picture_offset=picture, tl0_offset=tl0)
    back = rewrite(descriptor, data, picture_offset=0, tl0_offset=0)
    assert len(moved) == descriptor.length
    assert back == data[: descriptor.length]
    read = parse_descriptor(moved + data[descriptor.length :])
    assert read.picture_id_bits == descriptor.picture_id_bits
    assert read.length == descriptor.length
