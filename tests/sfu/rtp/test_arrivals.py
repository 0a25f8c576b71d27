"""Transport-wide feedback as the sender reads it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.arrivals import arrivals
from sfu.rtp.packet import Malformed
from sfu.rtp.rtcp import Block, walk
from sfu.rtp.twcc import Recorder


def feedback(*words: int, count: int, deltas: bytes = b"", base: int = 65534) -> Block:
    head = struct.pack("!IIHH", 1, 2, base, count) + (4).to_bytes(3, "big") + b"\0"
    return Block(205, 15, head + b"".join(word.to_bytes(2, "big") for word in words) + deltas)


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 3000)), min_size=1, max_size=200))
def test_what_a_receiver_writes_is_read(steps: list[tuple[int, int]]) -> None:
    recorder, number, at, told = Recorder(), 65000, 1000.0, {}
    for step, ticks in steps:
        number, at = number + step, at + ticks / 4000
        recorder.record(number & 0xFFFF, at)
        told[number & 0xFFFF] = int(at * 4000) % 2**32
    read: dict[int, int] = {}
    for packet in recorder.feedback(1, 2):
        (block,) = walk(packet)
        read |= {n: ticks for n, ticks in arrivals(block) if ticks is not None}
    assert read == told


def test_every_form_of_status() -> None:
    one_bit = feedback(0x8000 | 0b10_1000_0000_0000, count=4, deltas=bytes((8, 4)))
    assert arrivals(one_bit) == [(65534, 1032), (65535, None), (0, 1036), (1, None)]
    run = feedback(0x2000 | 3, count=3, deltas=bytes((1, 1, 1)))
    assert [at for _, at in arrivals(run)] == [1025, 1026, 1027]
    late = feedback(0xC000 | 2 << 12 | 3 << 10, count=2, deltas=b"\xff\xff")
    assert arrivals(late) == [(65534, 1023), (65535, None)]  # 3 is reserved


@pytest.mark.parametrize(
    "block",
    [
        Block(205, 15, bytes(15)),
        feedback(count=1),
        feedback(0x2000 | 1, count=1),
        feedback(0xC000 | 2 << 12, count=1, deltas=b"\x01"),
    ],
)
def test_what_is_cut_is_malformed(block: Block) -> None:
    with pytest.raises(Malformed):
        arrivals(block)


@given(st.binary(min_size=0, max_size=80))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        read = arrivals(Block(205, 15, body))
    except Malformed:
        return
    assert len(read) <= 65535
