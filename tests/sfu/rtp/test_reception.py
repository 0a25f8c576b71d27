"""Sequence numbers, loss, the NACK rule, history and RTX."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp import rtx
from sfu.rtp.history import History, Sent
from sfu.rtp.packet import build_header, parse_header
from sfu.rtp.reception import GIVE_UP, MAX_MISSING, NACK_TRIES, Reception
from sfu.rtp.sequence import Unwrapper, forward_distance


def feed(reception: Reception, *sequences: int, now: float = 0.0) -> list[int | None]:
    return [reception.arrive(sequence & 0xFFFF, 100, now) for sequence in sequences]


@pytest.mark.parametrize(
    ("older", "newer", "distance"),
    [(0, 1, 1), (1, 0, -1), (65535, 0, 1), (0, 65535, -1), (0, 32767, 32767), (5, 5, 0)],
)
def test_distances(older: int, newer: int, distance: int) -> None:
    assert forward_distance(older, newer) == distance


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-1000, 2000), max_size=50))
def test_unwrapping_follows_any_walk(start: int, steps: list[int]) -> None:
    unwrapper = Unwrapper()
    base = unwrapper.unwrap(start)
    position = highest = 0
    for step in steps:
        position = max(highest + step, highest - 1000)
        assert unwrapper.unwrap(start + position & 0xFFFF) - base == position
        highest = max(highest, position)


def test_numbers_go_on_over_the_wrap_and_duplicates_are_refused() -> None:
    reception = Reception(90000)
    assert reception.lost == 0
    numbers = feed(reception, 65534, 65535, 0, 1, 1, 65535)
    first = numbers[0]
    assert first is not None
    assert numbers == [first, first + 1, first + 2, first + 3, None, None]
    assert (reception.packets, reception.octets, reception.lost) == (4, 400, 0)


def test_late_packets_fill_their_gap_once() -> None:
    reception = Reception(90000)
    feed(reception, 10, 13)
    assert (reception.missing, reception.lost) == (2, 2)
    first, again = feed(reception, 11, 11)
    assert first is not None
    assert again is None
    assert reception.arrive(12, 100, 0.0, repaired=True) is not None
    assert (reception.lost, reception.recovered, reception.missing) == (0, 1, 0)


def test_the_nack_rule_waits_for_reordering_then_asks_with_growing_pauses() -> None:
    reception = Reception(90000)
    feed(reception, 1, 3)
    assert reception.due(0.004) == []
    assert reception.due(0.006) == [2]
    assert reception.due(0.03) == []
    assert reception.due(0.037) == [2]
    assert reception.due(0.09) == []
    assert reception.due(0.1, rtt=0.5) == [2]
    assert reception.due(1.0) == []
    assert reception.due(GIVE_UP + 0.1) == []
    assert reception.missing == 0


def test_many_later_packets_make_a_loss_at_once() -> None:
    reception = Reception(90000)
    feed(reception, 1, *range(3, 3 + 24))
    assert reception.due(0.001) == [2]
    assert reception.due(0.002) == []


def test_asking_ends_after_some_tries_but_a_late_packet_is_welcome() -> None:
    reception = Reception(90000)
    feed(reception, 1, 3)
    asked = sum(len(reception.due(0.01 * step)) for step in range(149))
    assert asked == NACK_TRIES
    assert feed(reception, 2, now=1.49) != [None]


def test_what_is_missing_is_bounded() -> None:
    reception = Reception(90000)
    feed(reception, 0, 2000)
    assert reception.missing == MAX_MISSING
    feed(reception, 2010)
    assert reception.missing == MAX_MISSING
    assert feed(reception, 1) == [None]


@pytest.mark.parametrize("jump", [20000, -5000])
def test_a_restart_needs_two_packets_in_a_row(jump: int) -> None:
    reception = Reception(90000)
    feed(reception, 30000)
    assert feed(reception, 30000 + jump) == [None]
    assert feed(reception, 30001) != [None]  # one stray packet changes nothing
    assert reception.epoch == 0
    refused, accepted = feed(reception, 30000 + jump, 30001 + jump)
    assert refused is None
    assert accepted is not None
    assert reception.epoch == 1
    assert reception.lost == 0


def test_a_repair_never_restarts() -> None:
    reception = Reception(90000)
    feed(reception, 10)
    assert reception.arrive(30000, 1, 0.0, repaired=True) is None
    assert reception.arrive(30001, 1, 0.0, repaired=True) is None


def test_reports_tell_the_loss_since_the_last() -> None:
    reception = Reception(48000)
    feed(reception, 1, 2, 4)
    report = reception.report(5, 7, 8)
    assert (report.ssrc, report.fraction, report.lost, report.lsr, report.dlsr) == (5, 64, 1, 7, 8)
    assert report.highest & 0xFFFF == 4
    assert reception.report(5).fraction == 0
    feed(reception, 5)
    assert reception.report(5).fraction == 0


def test_jitter_follows_the_interarrival_times() -> None:
    reception = Reception(1000)
    for step in range(100):
        reception.time(step * 20, step * 0.020 + (0.010 if step % 2 else 0.0))
    assert 8 < reception.jitter < 10.1
    before = reception.jitter
    reception.time(1 << 31, 3.0)  # a jump of the clock is no jitter
    assert reception.jitter == before


@given(st.lists(st.integers(0, 0xFFFF), max_size=100))
def test_any_numbers_are_accepted_at_most_once(sequences: list[int]) -> None:
    reception = Reception(90000)
    seen = set()
    for step, sequence in enumerate(sequences):
        number = reception.arrive(sequence, 1, step * 0.01)
        if number is not None:
            assert number & 0xFFFF == sequence
            assert (reception.epoch, number) not in seen
            seen.add((reception.epoch, number))
        assert reception.missing <= MAX_MISSING
        assert len(reception.due(step * 0.01)) <= MAX_MISSING
        assert reception.lost >= 0


def test_history_finds_what_is_still_there() -> None:
    history = History(4)
    for sequence in range(65534, 65540):
        history.store(sequence & 0xFFFF, b"h", bytes((sequence & 0xFF,)))
    assert history.find(65534) is None
    assert history.find(0) == Sent(0, b"h", b"\x00")
    assert history.find(7) is None
    assert History(2).find(0) is None
    assert history.may_resend(0, 1.0, 0.1)
    assert not history.may_resend(0, 1.05, 0.1)
    assert history.may_resend(0, 1.11, 0.1)
    with pytest.raises(ValueError, match="power of two"):
        History(3)


def test_rtx_gives_the_packet_as_first_sent() -> None:
    packet = (
        build_header(marker=True, payload_type=97, sequence=900, timestamp=5, ssrc=2)
        + b"\x12\x34"
        + b"body"
    )
    restored = rtx.original(packet, parse_header(packet), ssrc=1, payload_type=96)
    assert restored is not None
    header = parse_header(restored)
    assert header[:5] == (True, 96, 0x1234, 5, 1)
    assert restored[header.payload_start :] == b"body"
    probe = packet[:12] + b"\x00"
    assert rtx.original(probe, parse_header(probe), ssrc=1, payload_type=96) is None
