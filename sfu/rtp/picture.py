"""What forwarding must know of a video packet, read by the codec's own rules.

Nothing is decoded: descriptors and the first bytes of the payload are enough, and LiveKit's
end-to-end encryption leaves those clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from sfu.rtp import av1, h264, vp8, vp9
from sfu.rtp.extension import DEPENDENCY_DESCRIPTOR

Size = tuple[int, int]


class Picture(NamedTuple):
    """One packet. `key_frame`: a decoder can begin with it, all spatial layers included.

    `spatial`: its layer within the stream (SVC), 0 for streams of one layer. `begins`: the first
    packet of a picture; `ends`: the last of its spatial layer's frame. `sizes`: width and height
    of the spatial layers, lowest first, where the packet tells them.
    """

    key_frame: bool
    spatial: int = 0
    begins: bool = False
    ends: bool = False
    sizes: tuple[Size, ...] = ()
    vp8: vp8.Descriptor | None = None


class Reader(Protocol):
    """Reads the packets of one stream, in the order they come. Raises Malformed."""

    def read(self, payload: bytes, extensions: Mapping[str, bytes]) -> Picture: ...


class Vp8Reader:
    """VP8 (RFC 7741)."""

    def read(self, payload: bytes, extensions: Mapping[str, bytes]) -> Picture:
        descriptor = vp8.parse_descriptor(payload)
        size = None
        if descriptor.key_frame:
            size = vp8.frame_size(payload[descriptor.length : descriptor.length + 10])
        sizes = () if size is None else (size,)
        return Picture(descriptor.key_frame, sizes=sizes, vp8=descriptor)


class H264Reader:
    """H.264 (RFC 6184)."""

    def read(self, payload: bytes, extensions: Mapping[str, bytes]) -> Picture:
        return Picture(h264.starts_sequence(payload))


class Vp9Reader:
    """VP9 (RFC 9628), scalable or not."""

    def read(self, payload: bytes, extensions: Mapping[str, bytes]) -> Picture:
        found = vp9.parse_descriptor(payload)
        begins = found.begins and found.spatial == 0
        return Picture(
            begins and not found.predicted, found.spatial, begins, found.ends, found.sizes
        )


class Av1Reader:
    """AV1 by its dependency descriptor; without one, by the aggregation header alone."""

    def __init__(self) -> None:
        self._structure: av1.Structure | None = None

    def read(self, payload: bytes, extensions: Mapping[str, bytes]) -> Picture:
        raw = extensions.get(DEPENDENCY_DESCRIPTOR)
        if raw is None:
            return Picture(av1.starts_sequence(payload))
        found = av1.parse_descriptor(raw, self._structure)
        if found.structure is not None:
            self._structure = found.structure
        begins = found.begins and found.spatial == 0
        sizes = found.structure.sizes if found.structure is not None else ()
        key_frame = begins and found.structure is not None
        return Picture(key_frame, found.spatial, begins, found.ends, sizes)


def reader_for(mime: str) -> Reader:
    """A new reader; `mime` in lower case. KeyError: no video codec this server forwards."""
    return _READERS[mime]()


_READERS: dict[str, type[Reader]] = {
    "video/vp8": Vp8Reader,
    "video/h264": H264Reader,
    "video/vp9": Vp9Reader,
    "video/av1": Av1Reader,
}
CODECS = tuple(_READERS)
SCALABLE = frozenset({"video/vp9", "video/av1"})
"""Codecs whose streams may hold several spatial layers."""
