"""Who may have which layer."""

from __future__ import annotations

import pytest

from sfu.bandwidth.allocation import PAUSED, TOP, Want, allocate
from sfu.bandwidth.meter import Meter, usual_bitrate

LAYERS = (150.0, 500.0, 1700.0)


def want(key: str, *, current: int = 2, priority: int = 0, area: int = 0, top: int = 2) -> Want:
    return Want(key, LAYERS[: top + 1], current, priority, area)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, {"a": TOP, "b": TOP}),
        (3400, {"a": 2, "b": 2}),
        (3399, {"a": 2, "b": 1}),
        (2200, {"a": 2, "b": 1}),
        (2199, {"a": 1, "b": 1}),
        (1000, {"a": 1, "b": 1}),
        (999, {"a": 1, "b": 0}),
        (300, {"a": 0, "b": 0}),
        (299, {"a": 0, "b": PAUSED}),
        (149, {"a": PAUSED, "b": PAUSED}),
    ],
)
def test_lower_before_pausing_and_the_larger_first(
    limit: float | None, expected: dict[str, int]
) -> None:
    assert allocate(limit, [want("b", area=100), want("a", area=400)]) == expected


def test_priority_comes_before_size() -> None:
    wants = [want("large", area=900), want("first", priority=1, area=10)]
    assert allocate(1850, wants) == {"first": 2, "large": 0}


def test_what_is_not_wanted_is_not_given() -> None:
    assert allocate(None, [want("a", top=0)]) == {"a": TOP}
    assert allocate(9000, [want("a", top=0), want("b", top=1)]) == {"a": 0, "b": 1}
    assert allocate(9000, []) == {}


def test_up_takes_more_room_than_staying() -> None:
    assert allocate(500, [want("a", current=1)]) == {"a": 1}
    assert allocate(500, [want("a", current=0)]) == {"a": 0}
    assert allocate(560, [want("a", current=0)]) == {"a": 1}
    assert allocate(160, [want("a", current=PAUSED)]) == {"a": PAUSED}


def test_one_that_does_not_fit_does_not_stop_a_smaller_one() -> None:
    wants = [Want("big", (900.0,), 0, area=9), Want("small", (100.0,), 0, area=1)]
    assert allocate(500, wants) == {"big": PAUSED, "small": 0}


def test_a_meter_smooths_and_keeps_its_last_word() -> None:
    meter = Meter()
    for step in range(100):
        meter.add(1250, step / 10)  # 100 kbit/s
    assert 99_000 <= meter.bitrate <= 101_000
    meter.add(1250, 60.0)  # after a pause
    assert 99_000 <= meter.bitrate <= 101_000


def test_a_layer_never_seen_is_as_large_as_usual() -> None:
    assert usual_bitrate(0, 0) == 160_000
    assert usual_bitrate(640, 360) == 450_000
    assert usual_bitrate(1280, 720) == 1_700_000
    assert usual_bitrate(2560, 1440) == 6_800_000
