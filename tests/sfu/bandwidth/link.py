"""A link in virtual time: a rate, a delay, a queue that drops at its end, and random loss."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from sfu.bandwidth.estimator import Estimator
from sfu.bandwidth.sent import SentLog
from sfu.rtp.arrivals import arrivals
from sfu.rtp.rtcp import walk
from sfu.rtp.twcc import Recorder

STEP = 0.005
FEEDBACK_S = 0.1
PACKET = 1200


@dataclass
class Link:
    """`rate` in bit/s, None for a link without a bottleneck; `queue_s`: how much it holds."""

    rate: float | None
    delay: float = 0.03
    queue_s: float = 0.3
    loss: float = 0.0
    jitter: float = 0.0
    seed: int = 1
    now: float = 100.0
    free_at: float = 0.0
    sent: int = 0
    lost: int = 0
    worst_queue: float = 0.0
    log: SentLog = field(default_factory=SentLog)
    estimator: Estimator = field(default_factory=Estimator)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._recorder = Recorder()
        self._way: list[tuple[float, int]] = []
        self._back: list[tuple[float, bytes]] = []
        self._feedback_at = self.now

    def send(self, size: int) -> None:
        """One packet, now."""
        number = self.log.number(size, self.now)
        self.sent += 1
        queued = max(0.0, self.free_at - self.now)
        self.worst_queue = max(self.worst_queue, queued)
        if self._random.random() < self.loss or (self.rate and queued > self.queue_s):
            self.lost += 1
            return
        if self.rate:
            self.free_at = max(self.free_at, self.now) + size * 8 / self.rate
        out = (self.free_at if self.rate else self.now) + self.delay
        self._way.append((out + self._random.random() * self.jitter, number))

    def step(self) -> None:
        """Five milliseconds pass: packets arrive, feedback comes back."""
        self.now += STEP
        for at, number in sorted(one for one in self._way if one[0] <= self.now):
            self._recorder.record(number, at)
        self._way = [one for one in self._way if one[0] > self.now]
        if self.now >= self._feedback_at:
            self._feedback_at = self.now + FEEDBACK_S
            for packet in self._recorder.feedback(1, 2):
                self._back.append((self.now + self.delay, packet))
        for _, packet in [one for one in self._back if one[0] <= self.now]:
            for block in walk(packet):
                self.estimator.feedback(self.log.results(arrivals(block)), self.now)
        self._back = [one for one in self._back if one[0] > self.now]
