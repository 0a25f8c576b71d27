"""When a link is tried with more than the media need, and how far the trial goes.

A probe that fills the link delays and loses speech too, so probes are short, end at the first sign
of a full link, and come ever more seldom while they find it full.
"""

from dataclasses import dataclass

TIME = 0.5
AFTERMATH = 0.6
"""After a probe, until what it sent has arrived and its queue is empty."""
FIRST, LONGEST, NEXT = 3.0, 15.0, 1.0
"""Seconds from a congestion to the first probe, between two at most, after one that succeeded."""
FACTOR, GENTLE = 2.0, 1.3
LEAST_MORE = 150_000.0
ENOUGH = 1.4
"""Of what is wanted: what is acknowledged is always a little less than what was sent."""
LOST, LEAST_TOLD = 0.04, 10


@dataclass(frozen=True, slots=True)
class Probe:
    """Padding that brings what is sent up to `rate` bit/s, until `ends`."""

    rate: float
    ends: float


class Probing:
    """The probes of one link."""

    def __init__(self) -> None:
        self.probe: Probe | None = None
        self.full = False
        """The last probe found the link full."""
        self.until = float("-inf")
        self._began = float("inf")
        self._next = float("-inf")
        self._pause = FIRST
        self._factor = FACTOR
        self._told = self._lost = 0

    def reset(self) -> None:
        """Nothing is limited any more."""
        self.probe = None
        self._pause, self._factor = FIRST, FACTOR

    def speaks(self, now: float) -> bool:
        """Whether what is told now may be of a probe."""
        return now < self.until + AFTERMATH

    @property
    def lossy(self) -> bool:
        """Whether the probe loses packets."""
        return self._told >= LEAST_TOLD and self._lost > LOST * self._told

    def told(self, sent: float, *, lost: bool) -> None:
        """What became of a packet."""
        if self._began <= sent <= self.until:
            self._told += 1
            self._lost += lost

    def tick(self, now: float) -> None:
        """Let what is over be over."""
        if self.probe is not None and now >= self.probe.ends:
            self.probe = None

    def begin(self, limit: float, wanted: float, now: float) -> bool:
        """Begin a probe if it is time for one."""
        if self.probe is not None or now < self._next:
            return False
        most = max(limit * self._factor, limit + LEAST_MORE)
        self.probe = Probe(min(most, wanted * ENOUGH), now + TIME)
        self.full = False
        self._began, self.until = now, now + TIME
        self._told = self._lost = 0
        self._next = now + self._pause
        return True

    def fill(self, now: float) -> None:
        """The link is full: no more of this."""
        self.probe, self.full = None, True
        self.until = now
        self._factor = GENTLE
        self._pause = min(self._pause * 2, LONGEST)
        self._next = now + self._pause

    def succeed(self) -> None:
        """More went through than was known to: try yet more, soon."""
        self._pause, self._factor = FIRST, FACTOR
        self._next = self.until + AFTERMATH + NEXT

    def postpone(self, now: float) -> None:
        """There is congestion without a probe."""
        self._next = max(self._next, now + self._pause)
