"""Whether packets spend more and more time on their way: a queue is filling somewhere.

The delay gradient of draft-ietf-rmcat-gcc-02, section 5, with the line fitted through smoothed
delays that libwebrtc uses instead of the draft's Kalman filter (trendline_estimator.cc).
"""

from collections import deque
from enum import Enum

BURST = 0.005
"""Packets sent within 5 ms are one group: they queue behind each other, not behind others."""
WINDOW = 20
SMOOTHING = 0.9
GAIN = 4.0
MOST_SAMPLES = 60
FIRST_THRESHOLD, LEAST_THRESHOLD, MOST_THRESHOLD = 12.5, 10.0, 600.0
"""Milliseconds, as the detector's own measure has them. libwebrtc goes down to 6; its packets are
paced, ours come in the bursts of their pictures."""
RISE, FALL = 0.0087, 0.039
"""How the threshold follows the measure, per millisecond: slowly up, quickly down."""
LEAP = 15.0
PERSISTENCE = 0.010
"""So long, and in two groups at least, the measure must be too high to be believed."""
STALE = 2.0
HELD_UP = 0.005
"""What arrives within so long although it took longer to send was held up together (by a busy
machine, a radio): one group, or every stall would look like a queue (libwebrtc has the same)."""
STANDING, SPAN = 0.02, 0.2
"""A queue is one that does not empty for so long; those of single pictures do."""
GREW_MS = 300.0
BASE_S = 30
"""The least delay of so many seconds is that of the empty link."""


class Usage(Enum):
    """Of the link, as the delay shows it."""

    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


class _Group:
    __slots__ = ("first_arrived", "first_sent", "last_arrived", "last_sent")

    def __init__(self, sent: float, arrived: float) -> None:
        self.first_sent = self.last_sent = sent
        self.first_arrived = self.last_arrived = arrived

    def holds(self, sent: float, arrived: float) -> bool:
        """Whether a packet belongs to it: sent with it, or held up with it."""
        if sent - self.first_sent <= BURST:
            return True
        sooner = arrived - self.last_arrived < sent - self.last_sent
        return sooner and arrived - self.first_arrived <= HELD_UP


class Queue:
    """What waits before the narrowest place of the way, in seconds."""

    def __init__(self) -> None:
        self._latest: deque[tuple[float, float]] = deque()
        self._least: deque[tuple[int, float]] = deque(maxlen=BASE_S)

    def add(self, arrived: float, delay: float) -> None:
        """A packet's time on the way; clocks need not agree."""
        self._latest.append((arrived, delay))
        while self._latest[0][0] < arrived - SPAN:
            self._latest.popleft()
        if not self._least or self._least[-1][0] < int(arrived):
            self._least.append((int(arrived), delay))
        elif delay < self._least[-1][1]:
            self._least[-1] = (self._least[-1][0], delay)

    @property
    def standing(self) -> float:
        """The least that waited at any moment of the last 0.3 s; 0 where that is not known."""
        if not self._latest or self._latest[-1][0] - self._latest[0][0] < SPAN / 2:
            return 0.0
        return min(delay for _, delay in self._latest) - min(delay for _, delay in self._least)


class Trend:
    """`usage` is what the packets added so far say."""

    def __init__(self) -> None:
        self._start()

    @property
    def congested(self) -> bool:
        """Whether a queue stands, and grew just now: a short one is full as soon as it is seen."""
        grew = self._last_update is not None and self._last_update - self._over_at <= GREW_MS
        return grew and self.usage is not Usage.UNDER and self._queue.standing >= STANDING

    def _start(self) -> None:
        self.usage = Usage.NORMAL
        self._queue = Queue()
        self._previous: _Group | None = None
        self._current: _Group | None = None
        self._samples: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._count = 0
        self._delay = self._smoothed = 0.0
        self._threshold = FIRST_THRESHOLD
        self._last_update: float | None = None
        self._over_for = 0.0
        self._over_groups = 0
        self._over_at = float("-inf")
        self._measure = 0.0

    def add(self, sent: float, arrived: float) -> None:
        """A packet's times in seconds, in the order of sending; clocks need not agree."""
        current = self._current
        if current is None:
            self._begin(sent, arrived)
            return
        if arrived - current.last_arrived > STALE:  # another call, in effect
            self._start()
            self._begin(sent, arrived)
            return
        self._queue.add(arrived, arrived - sent)
        if sent < current.first_sent:
            return  # it was overtaken: says nothing of the queue now
        if current.holds(sent, arrived):
            current.last_sent = max(current.last_sent, sent)
            current.last_arrived = max(current.last_arrived, arrived)
            return
        if self._previous is not None:
            self._compare(self._previous, current)
        self._previous, self._current = current, _Group(sent, arrived)

    def _begin(self, sent: float, arrived: float) -> None:
        self._queue.add(arrived, arrived - sent)
        self._current = _Group(sent, arrived)

    def _compare(self, before: _Group, after: _Group) -> None:
        sent = after.last_sent - before.last_sent
        arrived = after.last_arrived - before.last_arrived
        self._delay += (arrived - sent) * 1000
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._delay
        self._samples.append((after.last_arrived * 1000, self._smoothed))
        self._count = min(self._count + 1, MOST_SAMPLES)
        if len(self._samples) == WINDOW:
            self._judge(self._count * _slope(self._samples) * GAIN, sent, after.last_arrived)

    def _judge(self, measure: float, sent: float, arrived: float) -> None:
        if measure > self._threshold:
            self._over_for += sent if self._over_groups else sent / 2
            self._over_groups += 1
            lasting = self._over_for > PERSISTENCE and self._over_groups > 1
            if lasting and measure >= self._measure:
                self._over_for, self._over_groups = 0.0, 0
                self.usage, self._over_at = Usage.OVER, arrived * 1000
        else:
            self._over_for, self._over_groups = 0.0, 0
            self.usage = Usage.UNDER if measure < -self._threshold else Usage.NORMAL
        self._measure = measure
        self._follow(abs(measure), arrived * 1000)

    def _follow(self, measure: float, at_ms: float) -> None:
        elapsed = 0.0 if self._last_update is None else min(at_ms - self._last_update, 100.0)
        self._last_update = at_ms
        if measure > self._threshold + LEAP:
            return  # a leap: of a route, not of a queue
        rate = RISE if measure >= self._threshold else FALL
        threshold = self._threshold + rate * (measure - self._threshold) * elapsed
        self._threshold = min(max(threshold, LEAST_THRESHOLD), MOST_THRESHOLD)


def _slope(samples: deque[tuple[float, float]]) -> float:
    """Of the line of least squares; 0 where all came at once."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / (spread or 1.0)
