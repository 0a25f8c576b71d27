"""What one peer's link carries: nothing is limited until delay or loss says that it is too little.

An SFU's packets are seldom as many as the link would bear, so what was acknowledged proves a lower
bound only. While nothing is wrong there is no limit; from the first congestion on there is one, and
it rises by what probes prove (`tick`), until everything wanted fits with room to spare.
Delay by sfu.bandwidth.trend; the rules are those of draft-ietf-rmcat-gcc-02, section 5.5 and 6.
"""

from collections.abc import Iterable

from sfu.bandwidth.delivered import Delivered
from sfu.bandwidth.probe import Probe, Probing
from sfu.bandwidth.sent import Result
from sfu.bandwidth.trend import Trend

DECREASE = 0.85
INCREASE_PER_S = 1.08
BEYOND_PROVEN = 1.2
LOSSY = 0.12
"""Share of lost packets that means congestion; radio links lose a few per cent of themselves."""
LEAST = 60_000.0
"""Bit/s below which no limit falls: speech and what is said about it."""
DECREASE_PAUSE, LOSS_PAUSE = 0.3, 1.0
QUIET = 2.0
"""After a congestion, so long without another one before anything rises."""
ROOM = 1.2
"""How much more than is wanted must have been proven for the limit to go."""
BELOW_FULL = 0.95
"""Of what a full link delivers."""


class Estimator:
    """`limit`: bit/s for one peer, None for no limit."""

    def __init__(self) -> None:
        self.limit: float | None = None
        self._probing = Probing()
        self._trend = Trend()
        self._delivered = Delivered()
        self._ceiling = float("inf")
        self._told = self._ticked = 0.0
        self._congested = self._decreased = self._lost = float("-inf")
        self._blameless_until = float("-inf")

    @property
    def bitrate(self) -> float | None:
        """Bit/s acknowledged over the last half second."""
        return self._delivered.bitrate

    @property
    def probe(self) -> Probe | None:
        """What is to be tried now."""
        return self._probing.probe

    def feedback(self, results: Iterable[Result], now: float) -> None:
        """What the peer has told."""
        for result in results:
            self._take(result, now)
        over = self._trend.congested
        if self._probing.speaks(now):
            self._learn(over, now)
        elif over:
            self._over(now)
        elif self._delivered.loss > LOSSY:
            self._lossy(self._delivered.loss, now)
        elif self.limit is not None:
            self._rise(self.limit, now)
        self._told = now

    def _take(self, result: Result, now: float) -> None:
        arrived = result.arrived
        self._probing.told(result.sent, lost=arrived is None)
        if arrived is not None or result.sent >= self._blameless_until:
            self._delivered.add(arrived, result.size, now)
        if arrived is not None:
            self._trend.add(result.sent, arrived)

    def tick(self, wanted: float, now: float, *, silent: bool = False) -> None:
        """A few times a second. `wanted`: bit/s of all that the peer would be sent.

        `silent`: nothing can be probed with; the limit then rises by itself, a little at a time.
        """
        self._probing.tick(now)
        elapsed, self._ticked = min(1.0, now - self._ticked), now
        if self.limit is None or now - self._congested < QUIET:
            return
        if self.limit >= wanted * ROOM:
            self.limit, self._ceiling = None, float("inf")
            self._probing.reset()
        elif silent:
            self.limit *= INCREASE_PER_S**elapsed
        elif self._probing.begin(self.limit, wanted, now):
            # What is lost of a probe is no news of what else is sent.
            self._blameless_until = self._probing.until

    def _learn(self, over: bool, now: float) -> None:
        """During a probe and just after it: what arrives was proven, and congestion is its own."""
        if self._probing.probe is not None and (over or self._probing.lossy):
            self._probing.fill(now)
            self._congested = now
        proven = self._delivered.bitrate or 0.0
        if self._probing.full:
            proven *= BELOW_FULL
        if self.limit is not None and proven > self.limit:
            self.limit = self._ceiling = proven
            if not self._probing.full:
                self._ceiling = float("inf")
                self._probing.succeed()

    def _over(self, now: float) -> None:
        proven = self._delivered.bitrate
        if now - self._decreased >= DECREASE_PAUSE and proven is not None:
            self._decreased = now
            self._lower(proven, DECREASE * proven, now)

    def _lossy(self, loss: float, now: float) -> None:
        base = self.limit or self._delivered.bitrate
        if now - self._lost >= LOSS_PAUSE and base is not None:
            self._lost = now
            self._lower(base, base * (1 - 0.5 * loss), now)

    def _lower(self, carried: float, limit: float, now: float) -> None:
        self._congested = now
        self._blameless_until = now  # what is lost of before was of another rate
        self._delivered.forget_loss()
        self._probing.postpone(now)
        if self.limit is None or limit < self.limit:
            self.limit, self._ceiling = max(LEAST, limit), max(LEAST, carried)

    def _rise(self, limit: float, now: float) -> None:
        proven = self._delivered.bitrate
        if proven is not None and now - self._congested >= QUIET:
            slowly = limit * INCREASE_PER_S ** min(1.0, now - self._told)
            if slowly < min(BEYOND_PROVEN * proven, BELOW_FULL * self._ceiling):
                self.limit = slowly
