"""Rate limits and memories stay within their bounds."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request

from bridge.matrix.limits import Rate, RateLimit, Recent
from bridge.web.addresses import client_address


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


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("93.184.215.14", "1.2.3.4", "93.184.215.14"),  # not our proxy: anybody can write that
        ("127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.1.2.3", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("::1", "garbage", "::"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("::ffff:93.184.215.14", None, "93.184.215.14"),
        ("2a01:4f8:1:2:3:4:5:6", None, "2a01:4f8:1:2::"),
        ("127.0.0.1", "2a01:4f8:1:2:aaaa::", "2a01:4f8:1:2::"),
        ("not an address", None, ""),
    ],
)
def test_the_address_that_is_limited(peer: str, forwarded: str | None, expected: str) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    transport = Mock()
    transport.get_extra_info.return_value = (peer, 1)
    request = make_mocked_request("POST", "/sfu/get", headers, transport=transport)
    assert client_address(request).removesuffix("/64") == expected
