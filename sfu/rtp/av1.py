"""AV1 in RTP: the aggregation header and the dependency descriptor extension.

https://aomediacodec.github.io/av1-rtp-spec/v1.0.0.html, section 4.4 and appendix A. Of the
descriptor's structure only layers and sizes are kept; what lies between is read past.
"""

from __future__ import annotations

from typing import NamedTuple

from sfu.rtp.packet import Malformed

_TEMPLATES = 64


class Structure(NamedTuple):
    """The templates' spatial layers, from `offset`; `sizes` by spatial layer, where told."""

    offset: int
    spatial: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...] = ()

    def layer(self, template: int) -> int | None:
        """The spatial layer of a frame's template id; None if it is of another structure."""
        index = (template - self.offset) % _TEMPLATES
        return self.spatial[index] if index < len(self.spatial) else None


class Descriptor(NamedTuple):
    """One packet. `begins` and `ends`: of a frame. `structure`: where the packet brings one."""

    begins: bool
    ends: bool
    spatial: int
    structure: Structure | None = None


def starts_sequence(payload: bytes) -> bool:
    """The N bit of the aggregation header: the first packet of a coded video sequence."""
    return bool(payload[0] & 0x08)


def parse_descriptor(raw: bytes, known: Structure | None) -> Descriptor:
    """Read an extension's value; `known` is the structure that came before. Raises Malformed."""
    if len(raw) < 3:
        raise Malformed("dependency descriptor is cut")
    template = raw[0] & 0x3F
    structure = None
    # After the three mandatory bytes: five flags, the first tells of a structure.
    if len(raw) > 3 and raw[3] & 0x80:
        structure = _structure(_Bits(raw, 24))
    used = structure or known
    layer = used.layer(template) if used is not None else None
    return Descriptor(bool(raw[0] & 0x80), bool(raw[0] & 0x40), layer or 0, structure)


def _structure(bits: _Bits) -> Structure:
    bits.take(5)  # the flags
    offset, targets = bits.take(6), bits.take(5) + 1
    spatial = _layers(bits)
    bits.skip(2 * targets * len(spatial))  # indications of each template for each target
    for _ in spatial:  # differences of frame numbers
        while bits.take(1):
            bits.take(4)
    chains = bits.non_symmetric(targets + 1)
    if chains:
        for _ in range(targets):
            bits.non_symmetric(chains)
        bits.skip(4 * chains * len(spatial))
    sizes: tuple[tuple[int, int], ...] = ()
    if bits.take(1):
        sizes = tuple((bits.take(16) + 1, bits.take(16) + 1) for _ in range(max(spatial) + 1))
    return Structure(offset, spatial, sizes)


def _layers(bits: _Bits) -> tuple[int, ...]:
    """The spatial layer of each template, told by steps (`next_layer_idc`)."""
    layers = [0]
    while (step := bits.take(2)) != 3:
        if len(layers) >= _TEMPLATES:
            raise Malformed("dependency descriptor has too many templates")
        layers.append(layers[-1] + (step == 2))
    return tuple(layers)


class _Bits:
    def __init__(self, raw: bytes, at: int) -> None:
        self._value = int.from_bytes(raw, "big")
        self._left = 8 * len(raw) - at

    def take(self, count: int) -> int:
        self.skip(count)
        return self._value >> self._left & (1 << count) - 1

    def skip(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Malformed("dependency descriptor is cut")

    def non_symmetric(self, count: int) -> int:
        """A number below `count`, as ns(n) of the AV1 specification (section 4.10.7) writes it."""
        width = count.bit_length()
        short = (1 << width) - count
        value = self.take(width - 1)
        return value if value < short else (value << 1) - short + self.take(1)
