"""The two clocks of the scribe, in whole milliseconds."""

from __future__ import annotations

import time


def unix_ms() -> int:
    """What the calendar says: for times that others read."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """What never jumps: for how long something takes."""
    return time.monotonic_ns() // 1_000_000
