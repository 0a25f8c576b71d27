"""The way to one subscriber: every packet numbered, the link estimated, its rate shared out."""

from collections.abc import Sequence

from sfu.bandwidth.allocation import Want, allocate
from sfu.bandwidth.estimator import Estimator
from sfu.bandwidth.sent import SentLog
from sfu.room.subscription import Subscription
from sfu.rtp.arrivals import arrivals
from sfu.rtp.rtcp import Block

PORTION = 0.1
"""Seconds of padding that may be sent at once."""
DEAF = 5.0
"""Without feedback for so long an estimate says nothing any more."""


class Link:
    """One for each peer whose feedback is transport-wide."""

    def __init__(self) -> None:
        self._log = SentLog()
        self._estimator = Estimator()
        self._heard = float("-inf")
        self._padded_at = 0.0
        self._padding = 0.0

    @property
    def limit(self) -> float | None:
        """Bit/s that may be sent; None for no limit."""
        return self._estimator.limit

    @property
    def probe(self) -> float | None:
        """Bit/s that are to be tried now."""
        return self._estimator.probe.rate if self._estimator.probe else None

    def number(self, size: int, now: float) -> int:
        """The transport-wide number of a packet of so many octets. Hot path."""
        return self._log.number(size, now)

    def feedback(self, block: Block, now: float) -> None:
        """Which packets arrived, and when. Raises Malformed."""
        self._heard = now
        self._estimator.feedback(self._log.results(arrivals(block)), now)

    def share(self, subscriptions: Sequence[Subscription], now: float) -> None:
        """Let each video have what the link carries beside the audio. A few times a second."""
        videos = [s for s in subscriptions if s.publication.kind == "video" and s.wanted]
        heard = [s.publication for s in subscriptions if s.publication.kind == "audio" and s.heard]
        audio = sum(publication.bitrate(0) for publication in heard)
        wants = [_want(video) for video in videos]
        if now - self._heard > DEAF:
            self._estimator = Estimator()
        else:
            wanted = audio + sum(want.bitrates[-1] for want in wants)
            silent = not any(video.pads for video in videos)
            self._estimator.tick(wanted, now, silent=silent)
        limit = self._estimator.limit
        granted = allocate(None if limit is None else max(0.0, limit - audio), wants)
        for video in videos:
            video.allow(granted[video], now)

    def pad(self, subscriptions: Sequence[Subscription], rate: float, now: float) -> None:
        """Bring what is sent up to `rate` bit/s; every few milliseconds while `probe` says so."""
        elapsed, self._padded_at = now - self._padded_at, now
        if elapsed > PORTION:  # the first of a probe
            elapsed, self._padding = 0.0, 0.0
        media = sum(subscription.bitrate for subscription in subscriptions)
        self._padding += max(0.0, rate - media) * elapsed / 8
        for subscription in subscriptions:
            self._padding -= subscription.pad(int(self._padding), now)


def _want(video: Subscription) -> Want:
    top = video.desired
    return Want(
        key=video,
        bitrates=tuple(video.publication.bitrate(quality) for quality in range(top + 1)),
        current=video.allowed,
        priority=video.priority,
        area=video.area,
    )
