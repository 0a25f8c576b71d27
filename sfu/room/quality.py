"""How good a participant's connection is: one rule for what goes up and what comes down.

The E-model of ITU-T G.107, simplified as usual for packet networks: delay and loss lower a factor R
of at most 93.2; what remains is a grade for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Grade = Literal["excellent", "good", "poor"]

_BEST = 93.2
_CODEC_DELAY_MS = 10.0
_R_PER_PERCENT_LOST = 2.5
_EXCELLENT, _GOOD = 80.0, 60.0


@dataclass(slots=True)
class Traffic:
    """What one peer sends and receives: counters since it began, and what was last reported.

    `jitter` and `rtt` in seconds, `loss` of what it receives as a fraction.
    """

    received: int = 0
    lost: int = 0
    jitter: float = 0.0
    rtt: float = 0.0
    losses: float = 0.0
    subscriptions: int = 0

    @property
    def loss(self) -> float:
        """Mean over its subscriptions."""
        return self.losses / self.subscriptions if self.subscriptions else 0.0


class Verdict(NamedTuple):
    """`score` is a mean opinion, 1 (bad) to 4.4."""

    grade: Grade
    score: float


def judge(traffic: Traffic, before: Traffic) -> Verdict:
    """The verdict on the time between two looks at a peer's traffic; the worse direction counts."""
    received, lost = traffic.received - before.received, traffic.lost - before.lost
    up = max(0, lost) / max(1, received + max(0, lost))
    delay = traffic.rtt * 500 + traffic.jitter * 2000 + _CODEC_DELAY_MS
    rating = _BEST - (delay / 40 if delay < 160 else (delay - 120) / 10)
    rating = max(0.0, rating - _R_PER_PERCENT_LOST * 100 * max(up, traffic.loss))
    grade: Grade = "poor"
    if rating >= _GOOD:
        grade = "excellent" if rating >= _EXCELLENT else "good"
    opinion = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating)
    return Verdict(grade, max(1.0, opinion))
