"""The shortest of what room, administrator and homeserver say."""

from __future__ import annotations

import pytest

from bridge.domain.keeping import DAY_MS, keep_ms


@pytest.mark.parametrize(
    ("wished", "days", "most", "lifetime_ms", "kept_days"),
    [
        (None, 0, 0, 0, None),
        (None, 30, 0, 0, 30),
        (90, 30, 0, 0, 90),
        (90, 30, 60, 0, 60),
        (10, 30, 60, 0, 10),
        (None, 0, 60, 0, 60),
        (90, 0, 0, 7 * DAY_MS, 7),
        (None, 0, 0, 7 * DAY_MS, 7),
        (2, 0, 0, 7 * DAY_MS, 2),
    ],
)
def test_how_long(
    wished: int | None, days: int, most: int, lifetime_ms: int, kept_days: int | None
) -> None:
    kept = keep_ms(wished_days=wished, days=days, most_days=most, lifetime_ms=lifetime_ms)
    assert kept == (None if kept_days is None else kept_days * DAY_MS)
