"""What is read of video packets: H.264, VP9 and AV1, by tables and by properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp import av1, extension, h264, vp9
from sfu.rtp.packet import Malformed
from sfu.rtp.picture import CODECS, SCALABLE, Picture, reader_for
from tests.sfu.rtp.dependency import descriptor, structure


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("67 42c01f", True),  # a parameter set alone
        ("65 88", False),  # an IDR slice without one
        ("41 9a", False),
        ("78 0003 67aabb 0002 68cc", True),  # aggregated: SPS, PPS
        ("78 0002 09f0 0002 67aa", True),  # an access unit delimiter first
        ("78 0002 68cc 0002 65aa", False),
        ("78 ffff 41", False),  # a length beyond the packet
        ("78", False),
        ("7c 87 00", True),  # the first fragment of a large parameter set
        ("7c 07 00", False),
        ("7c 85 00", False),
        ("7c", False),
    ],
)
def test_where_h264_begins(payload: str, expected: bool) -> None:
    assert h264.starts_sequence(hexed(payload)) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("0c", vp9.Descriptor(False, True, True, 0)),
        ("48", vp9.Descriptor(True, True, False, 0)),
        ("8c 05", vp9.Descriptor(False, True, True, 0)),  # picture id of 7 bits
        ("8c 8105", vp9.Descriptor(False, True, True, 0)),  # of 15
        ("ac 8105 04 07", vp9.Descriptor(False, True, True, 2)),  # layers, with TL0PICIDX
        ("bc 8105 02", vp9.Descriptor(False, True, True, 1)),  # flexible: without
        ("fc 8105 02 03 02", vp9.Descriptor(True, True, True, 1)),  # two references
        ("fc 8105 02 03 03 03", vp9.Descriptor(True, True, True, 1)),  # at most three
        ("0e 08", vp9.Descriptor(False, True, True, 0)),  # a structure without sizes
        (
            "ae 8105 00 07 30 0140 00b4 0280 0168",
            vp9.Descriptor(False, True, True, 0, ((320, 180), (640, 360))),
        ),
    ],
)
def test_vp9_descriptors(payload: str, expected: vp9.Descriptor) -> None:
    assert vp9.parse_descriptor(hexed(payload)) == expected


@pytest.mark.parametrize("payload", ["", "8c", "ac 05", "fc 05 02 03", "02", "02 10 0140 00"])
def test_cut_vp9_descriptors(payload: str) -> None:
    with pytest.raises(Malformed):
        vp9.parse_descriptor(hexed(payload))


SIZES = ((320, 180), (640, 360), (1280, 720))


@pytest.mark.parametrize("chains", [0, 1, 3])
@pytest.mark.parametrize("sizes", [(), SIZES])
def test_a_dependency_structure_tells_layers_and_sizes(
    chains: int, sizes: tuple[tuple[int, int], ...]
) -> None:
    spatial = (0, 0, 0, 1, 1, 1, 2, 2, 2)
    raw = structure(offset=60, spatial=spatial, targets=9, chains=chains, sizes=sizes)
    found = av1.parse_descriptor(descriptor(60, extra=raw), None)
    assert found.structure == av1.Structure(60, spatial, sizes)
    assert found.structure is not None
    # Ids go on after 63 with 0.
    assert [found.structure.layer(template) for template in (60, 63, 2, 4, 5)] == [0, 1, 2, 2, None]


def test_later_packets_are_read_by_the_structure_before() -> None:
    known = av1.Structure(4, (0, 1))
    begins = av1.parse_descriptor(descriptor(5, begins=True, ends=False), known)
    assert begins == av1.Descriptor(True, False, 1)
    assert av1.parse_descriptor(descriptor(9), known).spatial == 0  # of another structure
    assert av1.parse_descriptor(descriptor(5), None).spatial == 0
    assert av1.parse_descriptor(descriptor(5, extra="0" * 8), known).structure is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc0\0",
        b"\xc0\0\1\x80",
        descriptor(0, extra="10000" + "000000" + "00000" + "01" * 70),
    ],
)
def test_cut_and_endless_dependency_descriptors(raw: bytes) -> None:
    with pytest.raises(Malformed):
        av1.parse_descriptor(raw, None)


@given(st.sampled_from(CODECS), st.binary(min_size=1, max_size=40), st.binary(max_size=40))
def test_any_bytes_are_read_or_malformed(mime: str, payload: bytes, raw: bytes) -> None:
    reader = reader_for(mime)
    try:
        found = reader.read(payload, {extension.DEPENDENCY_DESCRIPTOR: raw})
    except Malformed:
        return
    assert found.spatial >= 0


def test_readers_say_where_a_decoder_can_begin() -> None:
    assert set(CODECS) > SCALABLE
    vp8 = reader_for("video/vp8").read(hexed("10 500100 9d012a 0005 d002"), {})
    assert (vp8.key_frame, vp8.sizes) == (True, ((1280, 720),))
    assert reader_for("video/vp8").read(hexed("10 01"), {}).sizes == ()
    assert reader_for("video/h264").read(hexed("67 42"), {}) == Picture(True)
    nine = reader_for("video/vp9")
    assert nine.read(hexed("ac 8105 00 07"), {}) == Picture(True, 0, True, True)
    assert nine.read(hexed("ac 8105 04 07"), {}) == Picture(False, 2, False, True)
    assert nine.read(hexed("ec 8105 00 07"), {}) == Picture(False, 0, True, True)


def test_av1_with_and_without_a_dependency_descriptor() -> None:
    reader = reader_for("video/av1")
    assert reader.read(b"\x08", {}).key_frame
    assert not reader.read(b"\x00", {}).key_frame
    raw = structure(offset=0, spatial=(0, 1), targets=2, chains=0, sizes=SIZES[:2])
    first = {extension.DEPENDENCY_DESCRIPTOR: descriptor(0, extra=raw)}
    later = {extension.DEPENDENCY_DESCRIPTOR: descriptor(1, begins=False)}
    assert reader.read(b"\0", first) == Picture(True, 0, True, True, SIZES[:2])
    assert reader.read(b"\0", later) == Picture(False, 1, False, True)
