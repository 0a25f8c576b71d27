"""What is a queue, and what only looks like one: virtual time, one packet each 20 ms."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from sfu.bandwidth.trend import Trend

EVERY = 0.02
WAY = 0.03


def judged(delays: Iterable[float]) -> list[bool]:
    """After each packet: whether there is congestion. Nothing overtakes."""
    trend, found, last = Trend(), [], 0.0
    for index, delay in enumerate(delays):
        sent = index * EVERY
        last = max(last, sent + WAY + delay)
        trend.add(sent, last)
        found.append(trend.congested)
    return found


def stalls(at: int) -> float:
    """The receiver is busy for 300 ms of every two seconds."""
    place = at * EVERY % 2.0
    return 0.3 - place if place < 0.3 else 0.0


def pictures(at: int) -> float:
    """A large picture each second: a queue of 150 ms that empties at once."""
    place = at * EVERY % 1.0
    return max(0.0, 0.15 - place)


def filling(at: int) -> float:
    """After four seconds 30 ms more each second."""
    return max(0.0, at * EVERY - 4.0) * 0.1


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (stalls, False),
        (pictures, False),
        (lambda at: 0.0, False),
        (filling, True),
        (lambda at: min(0.05, filling(at)), True),
    ],
    ids=["stalls", "pictures", "idle", "filling", "short queue"],
)
def test_only_a_queue_that_stands_is_congestion(
    delay: Callable[[int], float], expected: bool
) -> None:
    assert any(judged(delay(at) for at in range(600))) == expected


def test_a_queue_that_empties_is_none_any_more() -> None:
    full = [filling(at) for at in range(300)]
    drained = [max(0.0, full[-1] - 0.015 * at) for at in range(100)]
    found = judged(full + drained)
    assert found[299]
    assert not found[320]
    assert not any(found[-60:])


def test_a_long_call_forgets_a_shorter_way() -> None:
    """A route that became longer is no queue, once it has been so for half a minute."""
    trend = Trend()
    for index in range(100):
        trend.add(index * EVERY, index * EVERY + WAY)
    for index in range(100, 1900):
        trend.add(index * EVERY, index * EVERY + WAY + 0.2)
    assert trend._queue.standing == pytest.approx(0.0)
