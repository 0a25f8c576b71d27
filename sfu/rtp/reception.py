"""One received stream: which packets came, which are missing, when to ask again (RFC 3550 A)."""

from sfu.rtp.rtcp import ReceptionReport
from sfu.rtp.sequence import forward_distance

MAX_DROPOUT = 3000  # RFC 3550 A.1: a larger jump forward is a restart
MAX_MISORDER = 1000
MAX_MISSING = 512
REORDER_WAIT = 0.005  # libwebrtc does not wait at all: few ways change the order
REORDER_PACKETS = 24
NACK_TRIES = 8
NACK_INTERVAL = 0.030
GIVE_UP = 1.5


class _Missing:
    __slots__ = ("noticed", "ready", "tries")

    def __init__(self, now: float) -> None:
        self.noticed = now
        self.ready = now + REORDER_WAIT
        self.tries = 0


class Reception:
    """Sequence numbers, loss, jitter and the NACK rule of one SSRC.

    `epoch` counts restarts: numbers of different epochs cannot be compared.
    """

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self.epoch = 0
        self.highest = -1
        self.packets = 0
        self.octets = 0
        self.recovered = 0
        self.jitter = 0.0
        self._first = 0
        self._counted = 0
        self._missing: dict[int, _Missing] = {}
        self._suspect = -1
        self._transit: float | None = None
        self._reported = (0, 0)

    def arrive(self, sequence: int, size: int, now: float, *, repaired: bool = False) -> int | None:
        """The packet's full number, or None for a duplicate or one too old to be of use."""
        if self.highest < 0:
            self._restart(sequence)
        distance = forward_distance(self.highest & 0xFFFF, sequence)
        if distance > MAX_DROPOUT or distance < -MAX_MISORDER:
            if repaired or not self._confirmed(sequence):
                return None
            self._restart(sequence)
            self.epoch += 1
            distance = 1
        full = self.highest + distance
        if not self._accept(full, distance, now):
            return None
        self.recovered += repaired
        self.packets += 1
        self._counted += 1
        self.octets += size
        return full

    def _accept(self, full: int, distance: int, now: float) -> bool:
        if distance <= 0:
            return self._missing.pop(full, None) is not None
        self._note_gap(full, distance, now)
        self.highest = full
        self._suspect = -1
        return True

    def _restart(self, sequence: int) -> None:
        # A whole cycle of room below keeps late numbers positive.
        self.highest = sequence + 0x10000 - 1
        self._first = self.highest + 1
        self._counted = 0
        self._reported = (0, 0)
        self._missing.clear()
        self._transit = None
        self._suspect = -1

    def _confirmed(self, sequence: int) -> bool:
        """RFC 3550 A.1: two packets in a row at the new place make it a restart."""
        confirmed = sequence == self._suspect
        self._suspect = sequence + 1 & 0xFFFF
        return confirmed

    def _note_gap(self, full: int, distance: int, now: float) -> None:
        for number in range(max(full - MAX_MISSING, full - distance + 1), full):
            self._missing[number] = _Missing(now)
        while len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]

    def time(self, timestamp: int, now: float) -> None:
        """Update the interarrival jitter (RFC 3550 A.8) with a packet that came in order."""
        transit = now * self._clock_rate - timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change < self._clock_rate * 10:  # the timestamp wrapped or jumped
                self.jitter += (change - self.jitter) / 16
        self._transit = transit

    def due(self, now: float, rtt: float = 0.0) -> list[int]:
        """The 16 bit numbers to ask for now, in order; counts them as asked."""
        asked = []
        for number, missing in list(self._missing.items()):
            if now - missing.noticed > GIVE_UP:
                del self._missing[number]
                continue
            if missing.tries >= NACK_TRIES:  # asked enough, yet welcome if it comes
                continue
            late = self.highest - number >= REORDER_PACKETS and missing.tries == 0
            if late or now >= missing.ready:
                missing.tries += 1
                missing.ready = now + max(NACK_INTERVAL, rtt) * missing.tries
                asked.append(number)
        return [number & 0xFFFF for number in sorted(asked)]

    @property
    def missing(self) -> int:
        """How many packets may still come."""
        return len(self._missing)

    @property
    def lost(self) -> int:
        """Packets expected and not received; negative is possible by RFC 3550, not here."""
        return self.highest + 1 - self._first - self._counted if self.highest >= 0 else 0

    def report(self, ssrc: int, lsr: int = 0, dlsr: int = 0) -> ReceptionReport:
        """A report block; the fraction covers the time since the last one."""
        expected = self.highest + 1 - self._first
        before_expected, before_counted = self._reported
        self._reported = (expected, self._counted)
        interval = expected - before_expected
        lost = interval - (self._counted - before_counted)
        fraction = min(255, (lost << 8) // interval) if interval > 0 and lost > 0 else 0
        return ReceptionReport(ssrc, fraction, self.lost, self.highest, int(self.jitter), lsr, dlsr)
