"""How long what was said is kept. Pure."""

from __future__ import annotations

DAY_MS = 24 * 3_600_000


def keep_ms(*, wished_days: int | None, days: int, most_days: int, lifetime_ms: int) -> int | None:
    """Milliseconds from a meeting's end to its deletion, None for ever.

    The room's wish stands above the administrator's `days`, and below their `most_days` (0: none).
    `lifetime_ms`: of the room's messages (m.room.retention, MSC1763; 0: none). The shortest counts.
    """
    wanted = wished_days if wished_days is not None else days
    limits = [wanted * DAY_MS, most_days * DAY_MS, lifetime_ms]
    return min((limit for limit in limits if limit > 0), default=None)
