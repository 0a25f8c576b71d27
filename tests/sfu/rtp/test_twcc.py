"""Transport-wide feedback, read back by an independent decoder written from the draft."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp import rtcp
from sfu.rtp.twcc import KEEP, MAX_GAP, MAX_STATUSES, Recorder


def decode(packet: bytes) -> tuple[int, dict[int, float | None]]:
    """(feedback count, {sequence: arrival in seconds or None})."""
    (block,) = rtcp.walk(packet)
    assert (block.packet_type, block.subtype) == (205, 15)
    _, _, base, count = struct.unpack_from("!IIHH", block.body)
    clock = int.from_bytes(block.body[12:15], "big") * 256
    position, symbols = 16, []
    while len(symbols) < count:
        word = int.from_bytes(block.body[position : position + 2], "big")
        position += 2
        if word & 0x8000:
            assert word & 0x4000
            symbols += [word >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [word >> 13] * (word & 0x1FFF)
    assert not any(symbols[count:])
    arrivals: dict[int, float | None] = {}
    for index, symbol in enumerate(symbols[:count]):
        sequence = base + index & 0xFFFF
        if symbol == 0:
            arrivals[sequence] = None
            continue
        size = 1 if symbol == 1 else 2
        delta = int.from_bytes(block.body[position : position + size], "big", signed=size == 2)
        position += size
        clock += delta
        arrivals[sequence] = clock / 4000
    assert len(block.body) - position < 4
    return block.body[15], arrivals


def decode_all(packets: list[bytes]) -> dict[int, float | None]:
    merged: dict[int, float | None] = {}
    for packet in packets:
        merged |= decode(packet)[1]
    return merged


def test_arrivals_and_losses_are_told_once() -> None:
    recorder = Recorder()
    assert recorder.feedback(1, 2) == []
    for sequence, now in ((65534, 1.0), (65535, 1.01), (1, 1.05), (0, 1.051)):
        recorder.record(sequence, now)
    (packet,) = recorder.feedback(1, 2)
    count, arrivals = decode(packet)
    assert count == 0
    assert list(arrivals) == [65534, 65535, 0, 1]
    assert arrivals[0] is not None
    assert abs(arrivals[0] - 1.051) < 0.001
    assert recorder.feedback(1, 2) == []
    recorder.record(4, 1.2)
    count, arrivals = decode(recorder.feedback(1, 2)[0])
    assert count == 1
    assert (arrivals[2], arrivals[3]) == (None, None)


def test_a_late_packet_is_told_in_the_next_feedback() -> None:
    recorder = Recorder()
    recorder.record(10, 1.0)
    recorder.record(12, 1.0)
    recorder.feedback(1, 2)
    recorder.record(11, 1.1)
    arrivals = decode_all(recorder.feedback(1, 2))
    assert arrivals[11] is not None
    assert arrivals[12] is not None


def test_long_times_and_long_gaps_split_the_feedback() -> None:
    recorder = Recorder()
    recorder.record(1, 1.0)
    recorder.record(2, 20.0)  # more than a delta can say
    packets = recorder.feedback(1, 2)
    assert len(packets) == 2
    assert decode_all(packets) == {1: 1.0, 2: 20.0}
    recorder.record(2 + 900, 21.0)  # a whole feedback without an arrival
    packets = recorder.feedback(1, 2)
    assert len(packets) == 900 // MAX_STATUSES + 1
    assert decode_all(packets)[902] == 21.0


def test_a_jump_is_a_new_beginning_and_what_is_too_late_is_left_out() -> None:
    recorder = Recorder()
    recorder.record(1, 1.0)
    recorder.record(1 + MAX_GAP + 500, 1.0)
    assert list(decode_all(recorder.feedback(1, 2))) == [1501]
    recorder.record(1501 - KEEP - 10, 1.0)
    assert recorder.feedback(1, 2) == []


def test_memory_is_bounded_without_feedback() -> None:
    recorder = Recorder()
    for sequence in range(10000):
        recorder.record(sequence & 0xFFFF, sequence / 1000)
    assert len(recorder._arrivals) <= 2 * MAX_GAP + 1
    assert len(recorder.feedback(1, 2)) < 10


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.tuples(st.integers(1, 30), st.integers(-50, 9000)), min_size=1, max_size=200),
)
def test_every_arrival_is_told(start: int, steps: list[tuple[int, int]]) -> None:
    recorder = Recorder()
    sent: dict[int, float] = {}
    position, ticks = start, 4_000_000
    for step, pause in steps:
        position += step
        ticks += pause
        sent[position & 0xFFFF] = ticks / 4000
        recorder.record(position & 0xFFFF, ticks / 4000)
        if position % 7 == 0:
            for sequence, at in decode_all(recorder.feedback(1, 2)).items():
                if at is not None:
                    assert abs(sent.pop(sequence, at) - at) < 0.0005
    for sequence, at in decode_all(recorder.feedback(1, 2)).items():
        if at is not None:
            assert abs(sent.pop(sequence, at) - at) < 0.0005
    assert not sent
