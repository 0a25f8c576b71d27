"""What was sent and what became of it; what is delivered, and what is lost."""

from __future__ import annotations

from sfu.bandwidth.delivered import Delivered
from sfu.bandwidth.sent import REMEMBERED, Result, SentLog
from sfu.bandwidth.trend import Trend, Usage


def test_an_arrival_is_told_once_and_a_loss_until_it_arrives() -> None:
    log = SentLog()
    assert [log.number(100, 1.0), log.number(200, 1.1)] == [0, 1]
    told = log.results([(0, 4000), (1, None), (7, 4004)])
    assert told == [Result(1.0, told[0].arrived, 100), Result(1.1, None, 200)]
    (late,) = log.results([(0, 4000), (1, 8000)])
    assert late.arrived is not None
    assert told[0].arrived is not None
    assert late.arrived - told[0].arrived == 1.0


def test_the_log_is_bounded_and_numbers_wrap() -> None:
    log = SentLog()
    numbers = [log.number(1, 0.0) for _ in range(70_000)]
    assert (numbers[65_535], numbers[65_536]) == (65_535, 0)
    assert len(log.results([(n, None) for n in range(65_536)])) == REMEMBERED


def test_a_bitrate_needs_some_time() -> None:
    delivered = Delivered()
    assert delivered.bitrate is None
    delivered.add(1.0, 1000, 5.0)
    delivered.add(1.1, 1000, 5.0)
    assert delivered.bitrate is None
    for step in range(2, 12):
        delivered.add(1.0 + step / 10, 1000, 5.0)
    assert delivered.bitrate is not None
    assert abs(delivered.bitrate - 80_000) < 1


def test_losses_are_forgotten_after_a_second() -> None:
    delivered = Delivered()
    for step in range(100):
        delivered.add(None if step % 4 == 0 else step / 100, 100, step / 100)
    assert delivered.loss == 0.25
    for step in range(100):
        delivered.add(1 + step / 100, 100, 1.5 + step / 100)
    assert delivered.loss == 0


def feed(trend: Trend, packets: int, growth: float, *, start: float = 0.0) -> None:
    for number in range(packets):
        sent = start + number * 0.02
        trend.add(sent, sent + 0.03 + number * growth)


def test_a_growing_delay_is_overuse_and_a_shrinking_one_the_opposite() -> None:
    for growth, usage in ((0.0, Usage.NORMAL), (0.004, Usage.OVER), (-0.004, Usage.UNDER)):
        trend = Trend()
        feed(trend, 60, growth)
        assert trend.usage is usage


def test_packets_of_one_burst_are_one_group() -> None:
    trend = Trend()
    for number in range(60):
        sent = number * 0.04
        for part in range(3):
            trend.add(sent + part * 0.001, sent + 0.03 + part * 0.01)
    assert trend.usage is Usage.NORMAL


def test_who_was_overtaken_and_who_comes_after_a_pause() -> None:
    trend = Trend()
    feed(trend, 60, 0.004)
    trend.add(0.5, 1.5)  # sent long before
    assert trend.usage is Usage.OVER
    feed(trend, 5, 0.0, start=60.0)
    assert trend.usage is Usage.NORMAL


def test_a_leap_of_the_route_does_not_move_the_threshold() -> None:
    trend = Trend()
    feed(trend, 40, 0.0)
    for number in range(40, 44):
        trend.add(number * 0.02, number * 0.02 + 0.4)
    for number in range(44, 120):
        trend.add(number * 0.02, number * 0.02 + 0.4)
    assert trend.usage is not Usage.OVER


def test_what_comes_all_at_once_says_nothing() -> None:
    trend = Trend()
    for number in range(60):
        trend.add(number * 0.02, 5.0)
    assert trend.usage is Usage.NORMAL
