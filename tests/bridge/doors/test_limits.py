"""Rate limits and memories stay within their bounds."""

from __future__ import annotations

import pytest

from bridge.matrix.limits import Rate, RateLimit, Recent


def test_a_burst_then_the_rate() -> None:
    limit = RateLimit(Rate(per_second=2.0, burst=3))
    assert [limit.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limit.take("a", 0.0) == pytest.approx(0.5)
    assert limit.take("a", 0.25) == pytest.approx(0.25), "asking too early costs nothing more"
    assert limit.take("a", 0.5) == 0.0
    assert limit.take("b", 0.5) == 0.0
    assert [limit.take("a", 1000.0) for _ in range(4)][:3] == [0.0] * 3, "never more than a burst"


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    limit = RateLimit(Rate(per_second=1.0, burst=1))
    assert limit.take("a", 100.0) == 0.0
    assert limit.take("a", 50.0) == pytest.approx(1.0)


def test_a_million_strangers_do_not_fill_the_memory() -> None:
    limit = RateLimit(Rate(per_second=1.0, burst=1), capacity=100)
    for number in range(10_000):
        limit.take(number, 0.0)
    assert len(limit) == 100
    assert limit.take(9_999, 0.0) > 0, "the last ones are remembered"


def test_what_is_remembered_expires_and_is_bounded() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1, until=10.0)
    assert recent.get("a", 9.9) == (True, 1)
    assert recent.get("a", 10.0) == (False, None)
    for name in "abc":
        recent.put(name, 1, until=10.0)
    assert (len(recent), recent.get("a", 0.0)) == (2, (False, None))
    recent.put("b", 2, until=10.0)
    recent.put("d", 1, until=10.0)
    assert recent.get("b", 0.0) == (True, 2), "put again counts as new"
