"""Continuity for one subscriber: numbers, clock and VP8 counters across switches and pauses."""

from bisect import bisect_left

from sfu.room.publication import Layer
from sfu.room.view import View
from sfu.rtp import vp8
from sfu.rtp.sequence import forward_distance

MAX_SKIPPED = 512  # left-out packets remembered for the sake of late ones
MAX_CLOCK_DISAGREEMENT = 1.0  # seconds between what SR clocks and arrival times say


class Munger:
    """Rewrites sequence, timestamp, picture id and TL0PICIDX of one outgoing stream.

    Offsets change at `rebase`, and by one at each packet left out by `skip`; a packet that comes
    late finds its place by counting what was left out after it.
    """

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._started = False
        self._base = 0
        self._epoch = -1
        self._offset = 0
        self._newest = 0
        self._skipped: list[int] = []
        self._padded: list[int] = []
        self._picture_offset = 0
        self._tl0_offset = 0
        self.timestamp_offset = 0
        self.last_sequence = -1
        self._last_timestamp = 0
        self._last_time = 0.0
        self._last_picture = 0
        self._last_tl0 = 0

    def follows(self, view: View) -> bool:
        """Whether the packet belongs to the stream since the last rebase."""
        return view.epoch == self._epoch and view.number >= self._base

    def precedes(self, view: View) -> bool:
        """Whether the packet is of the same stream, from before the last rebase."""
        return view.epoch == self._epoch and view.number < self._base

    def restarted(self, view: View) -> bool:
        """Whether the source began its numbers anew since the last rebase."""
        return view.epoch != self._epoch

    def rebase(self, view: View, before: Layer | None, after: Layer, *, keep_clock: bool) -> None:
        """Continue with `view` as the next packet. `keep_clock`: the same layer after a pause."""
        if not self._started:
            self._started = True
            self._set_base(view, view.header.sequence)
            return
        self._set_base(view, self.last_sequence + 1)
        if not keep_clock:
            timestamp = self._next_timestamp(view, before, after)
            self.timestamp_offset = timestamp - view.header.timestamp & 0xFFFFFFFF
        self._rebase_picture(view)

    def _set_base(self, view: View, sequence: int) -> None:
        self._base, self._epoch = view.number, view.epoch
        self._offset = sequence - view.number
        self._newest = view.number - 1
        self._skipped.clear()
        self._padded.clear()

    def _rebase_picture(self, view: View) -> None:
        descriptor = view.descriptor
        if descriptor is not None:
            self._picture_offset = self._last_picture + 1 - descriptor.picture_id
            self._tl0_offset = self._last_tl0 + 1 - descriptor.tl0

    def _next_timestamp(self, view: View, before: Layer | None, after: Layer) -> int:
        elapsed = max(0.0, view.now - self._last_time)
        by_arrival = self._last_timestamp + max(1, round(elapsed * self._clock_rate))
        by_report = self._timestamp_by_report(view, before, after)
        if by_report is None:
            return by_arrival
        # An SR that disagrees by a second is wrong, or the publisher's clock was set.
        disagreement = abs(forward_distance(by_arrival, by_report, 32))
        if disagreement > MAX_CLOCK_DISAGREEMENT * self._clock_rate:
            return by_arrival
        if forward_distance(self._last_timestamp, by_report, 32) <= 0:
            return self._last_timestamp + 1
        return by_report

    def _timestamp_by_report(self, view: View, before: Layer | None, after: Layer) -> int | None:
        """The packet's time on the old layer's clock: both map to the publisher's NTP time."""
        if before is None or before.report is None or after.report is None or before is after:
            return None
        since = forward_distance(after.report.timestamp, view.header.timestamp, 32)
        between = (after.report.ntp - before.report.ntp) / 2**32
        on_old = before.report.timestamp + since + round(between * self._clock_rate)
        return on_old + self.timestamp_offset & 0xFFFFFFFF

    def skip(self, view: View) -> bool:
        """Leave a packet out without a gap. False: it came late, and its number must be used."""
        if view.number <= self._newest:
            return False
        self._newest = view.number
        self._offset -= 1
        self._skipped.append(view.number)
        if len(self._skipped) > MAX_SKIPPED:
            del self._skipped[: MAX_SKIPPED // 2]
            # What came before cannot be placed any more.
            self._base = max(self._base, self._skipped[0])
        return True

    def pad(self) -> tuple[int, int]:
        """(sequence, timestamp) of a packet of our own behind the newest one."""
        self._offset += 1
        self._padded.append(self._newest)
        del self._padded[:-MAX_SKIPPED]
        self.last_sequence += 1
        return self.last_sequence & 0xFFFF, self._last_timestamp

    def apply(self, view: View) -> tuple[int, int, bytes]:
        """(sequence, timestamp, descriptor bytes) of the packet as it goes out."""
        sequence = view.number + self._offset
        if view.number > self._newest:
            self._newest = view.number
        else:
            sequence += len(self._skipped) - bisect_left(self._skipped, view.number)
            sequence -= len(self._padded) - bisect_left(self._padded, view.number)
        timestamp = view.header.timestamp + self.timestamp_offset & 0xFFFFFFFF
        if sequence > self.last_sequence:
            self._advance(view, sequence, timestamp)
        return sequence & 0xFFFF, timestamp, self._descriptor(view)

    def _advance(self, view: View, sequence: int, timestamp: int) -> None:
        self.last_sequence = sequence
        self._last_timestamp, self._last_time = timestamp, view.now
        if view.descriptor is not None:
            self._last_picture = view.descriptor.picture_id + self._picture_offset
            self._last_tl0 = view.descriptor.tl0 + self._tl0_offset

    def _descriptor(self, view: View) -> bytes:
        if view.descriptor is None or not (self._picture_offset or self._tl0_offset):
            return view.raw_descriptor
        return vp8.rewrite(
            view.descriptor,
            view.raw_descriptor,
            picture_offset=self._picture_offset,
            tl0_offset=self._tl0_offset,
        )
