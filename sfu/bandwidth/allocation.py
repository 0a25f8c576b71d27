"""What each video of one subscriber may take of a limit: arithmetic only.

Audio is served before anything is shared out here. Everybody gets a picture before anybody gets a
better one: all at their lowest layer, then those of the highest priority, layer by layer upwards
and in the order of their size on screen. What does not fit even at its lowest layer is paused, the
least important first.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby

PAUSED = -1
TOP = 99
"""Whatever quality there is."""
HEADROOM = 1.15
"""To go up, so much more room than the better layer takes: or it would go down again at once."""


@dataclass(frozen=True, slots=True)
class Want:
    """One video that a subscriber wants to see.

    `bitrates`: bit/s of each quality, lowest first, up to the one that is wanted. `current`: the
    quality it may have now. `area`: of the picture on screen, in pixels (0: unknown).
    """

    key: Hashable
    bitrates: tuple[float, ...]
    current: int
    priority: int = 0
    area: int = 0


def allocate(limit: float | None, wants: Sequence[Want]) -> dict[Hashable, int]:
    """The highest quality each may have, PAUSED for none. `limit`: bit/s, None for no limit."""
    if limit is None:
        return {want.key: TOP for want in wants}
    granted: dict[Hashable, int] = {want.key: PAUSED for want in wants}
    order = sorted(wants, key=lambda want: (-want.priority, -want.area))
    left = _raise(order, 0, granted, limit)
    for _, group in groupby(order, key=lambda want: want.priority):
        rivals = list(group)
        for quality in range(1, max(len(want.bitrates) for want in rivals)):
            left = _raise(rivals, quality, granted, left)
    return granted


def _raise(wants: Sequence[Want], quality: int, granted: dict[Hashable, int], left: float) -> float:
    """Let those who have the quality below have this one, as far as it goes. What is left."""
    for want in wants:
        if granted[want.key] != quality - 1 or quality >= len(want.bitrates):
            continue
        more = want.bitrates[quality] - (want.bitrates[quality - 1] if quality else 0.0)
        needed = more if quality <= want.current else more * HEADROOM
        if needed <= left:
            granted[want.key] = quality
            left -= more
    return left
