"""How much arrives: the bitrate a peer has acknowledged, and the share it has lost."""

from collections import deque

RATE_WINDOW = 0.5
LEAST_SPAN = 0.15
LOSS_WINDOW = 1.0
LEAST_PACKETS = 20


class Delivered:
    """The last moments of a link. Times in seconds."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[float, int]] = deque()
        self._octets = 0
        self._told: deque[tuple[float, bool]] = deque()
        self._lost = 0

    def add(self, arrived: float | None, size: int, now: float) -> None:
        """A packet that arrived (on the receiver's clock), or was lost; told now."""
        self._told.append((now, arrived is None))
        self._lost += arrived is None
        while self._told[0][0] < now - LOSS_WINDOW:
            self._lost -= self._told.popleft()[1]
        if arrived is not None:
            self._arrived.append((arrived, size))
            self._octets += size
            while self._arrived[0][0] < arrived - RATE_WINDOW:
                self._octets -= self._arrived.popleft()[1]

    def forget_loss(self) -> None:
        """Count losses anew."""
        self._told.clear()
        self._lost = 0

    @property
    def bitrate(self) -> float | None:
        """Bit/s over the last half second; None where too little is known."""
        if len(self._arrived) < 2:
            return None
        span = self._arrived[-1][0] - self._arrived[0][0]
        # The first packet's octets came before the span they would be divided by.
        return (self._octets - self._arrived[0][1]) * 8 / span if span >= LEAST_SPAN else None

    @property
    def loss(self) -> float:
        """Share of the packets told of in the last second, 0 to 1; 0 where they are few."""
        return self._lost / len(self._told) if len(self._told) >= LEAST_PACKETS else 0.0
