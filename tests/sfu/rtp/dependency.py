"""Writes AV1 dependency descriptors bit by bit, as appendix A of the AV1 RTP specification says."""

from __future__ import annotations

from itertools import pairwise


def descriptor(template: int, *, begins: bool = True, ends: bool = True, extra: str = "") -> bytes:
    """The extension's value; `extra`: the bits after the mandatory fields, flags first."""
    bits = f"{begins:b}{ends:b}{template:06b}" + f"{7:016b}" + extra
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def structure(
    *,
    offset: int,
    spatial: tuple[int, ...],
    targets: int,
    chains: int,
    sizes: tuple[tuple[int, int], ...],
) -> str:
    """Flags and a template dependency structure; `spatial`: the layer of each template."""
    bits = "10000" + f"{offset:06b}" + f"{targets - 1:05b}"
    bits += "".join("10" if after > before else "01" for before, after in pairwise(spatial)) + "11"
    bits += "10" * targets * len(spatial)  # indications
    bits += "".join("1" + "0001" + "0" for _ in spatial)  # one frame difference each
    bits += number(chains, targets + 1)
    if chains:
        bits += "".join(number(target % chains, chains) for target in range(targets))
        bits += "0010" * chains * len(spatial)
    bits += "1" if sizes else "0"
    return bits + "".join(f"{width - 1:016b}{height - 1:016b}" for width, height in sizes)


def number(value: int, count: int) -> str:
    """ns(n) of the AV1 specification, section 4.10.7."""
    width = count.bit_length()
    short = (1 << width) - count
    if value < short:
        return f"{value:0{width - 1}b}" if width > 1 else ""
    return f"{value + short:0{width}b}"
