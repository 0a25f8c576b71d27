"""Transport-wide congestion control feedback to a publisher.

draft-holmer-rmcat-transport-wide-cc-extensions-01: the arrival time of every packet the publisher
sent, in units of 250 us, every 100 ms.
"""

from itertools import groupby
from struct import Struct

from sfu.rtp.feedback import TRANSPORT_CC
from sfu.rtp.rtcp import RTPFB, build
from sfu.rtp.sequence import Unwrapper

MAX_GAP = 1000  # statuses: a larger jump is not loss
MAX_STATUSES = 400  # keeps one feedback packet under a usual MTU
KEEP = 500  # arrivals remembered, so that late packets can be reported again
TICKS = 4000  # per second
REFERENCE = 256  # ticks in the 64 ms of the reference time

_HEAD = Struct("!IIHH")
_ABSENT, _SMALL, _LARGE = 0, 1, 2


class Recorder:
    """Arrival times of one transport, turned into feedback packets."""

    def __init__(self) -> None:
        self._unwrapper = Unwrapper()
        self._arrivals: dict[int, int] = {}
        self._start: int | None = None
        self._end = 0
        self._count = 0

    def record(self, sequence: int, now: float) -> None:
        """A packet with transport-wide number `sequence` arrived."""
        number = self._unwrapper.unwrap(sequence)
        if self._start is None or abs(number - self._end) > MAX_GAP:
            self._start, self._end = number, number
            self._arrivals.clear()
            self._unwrapper.highest = number
        if number < self._end - KEEP:
            return
        self._start = min(self._start, number)
        self._end = max(self._end, number + 1)
        self._arrivals.setdefault(number, int(now * TICKS))
        if len(self._arrivals) > 2 * MAX_GAP:
            self._forget()

    def feedback(self, sender: int, source: int) -> list[bytes]:
        """The feedback packets for all that is not yet reported; empty without news."""
        packets = []
        while self._start is not None and self._start < self._end:
            packets.append(self._packet(sender, source, self._start))
        self._forget()
        return packets

    def _forget(self) -> None:
        floor = self._end - KEEP
        self._arrivals = {n: at for n, at in self._arrivals.items() if n >= floor}
        if self._start is not None:
            self._start = max(self._start, floor)

    def _packet(self, sender: int, source: int, start: int) -> bytes:
        statuses, deltas, reference = self._statuses(start)
        self._start = start + len(statuses)
        self._count = self._count + 1 & 0xFF
        head = _HEAD.pack(sender, source, start & 0xFFFF, len(statuses))
        stamp = (reference & 0xFFFFFF).to_bytes(3, "big") + bytes((self._count - 1 & 0xFF,))
        body = head + stamp + _chunks(statuses) + bytes(deltas)
        return build(RTPFB, TRANSPORT_CC, body)

    def _statuses(self, start: int) -> tuple[list[int], bytearray, int]:
        statuses: list[int] = []
        deltas = bytearray()
        # If nothing of this part arrived, the time of the newest packet is the best reference.
        reference = self._arrivals[self._end - 1] // REFERENCE
        clock = 0
        for number in range(start, min(self._end, start + MAX_STATUSES)):
            at = self._arrivals.get(number)
            if at is None:
                statuses.append(_ABSENT)
                continue
            if not deltas:
                reference = at // REFERENCE
                clock = reference * REFERENCE
            delta = at - clock
            if not -32768 <= delta <= 32767:  # needs a new reference time: the next packet
                break
            clock = at
            small = 0 <= delta <= 255
            statuses.append(_SMALL if small else _LARGE)
            deltas += delta.to_bytes(1 if small else 2, "big", signed=not small)
        return statuses, deltas, reference


def _chunks(statuses: list[int]) -> bytes:
    """Run-length chunks for runs of 7 and more, two-bit vectors for the rest."""
    runs = [(status, len(list(group))) for status, group in groupby(statuses)]
    out = bytearray()
    pending: list[int] = []
    for status, length in runs:
        if pending:
            moved = min(length, 7 - len(pending))
            pending += [status] * moved
            length -= moved
            if len(pending) == 7:
                out += _vector(pending)
                pending = []
        if length >= 7:
            out += (status << 13 | length).to_bytes(2, "big")
        else:
            pending += [status] * length
    return bytes(out + _vector(pending)) if pending else bytes(out)


def _vector(statuses: list[int]) -> bytes:
    word = 0xC000
    for index, status in enumerate(statuses):
        word |= status << 12 - 2 * index
    return word.to_bytes(2, "big")
