"""How many bits a second pass, for what is sent in bursts: a picture, then nothing for a while."""

WINDOW = 1.0
USUAL = ((320 * 180, 160_000.0), (640 * 360, 450_000.0), (1280 * 720, 1_700_000.0))
"""Pixels and bit/s that clients use for them by default (livekit-client, presets)."""


class Meter:
    """Of one layer; `bitrate` keeps its last value while nothing comes."""

    def __init__(self) -> None:
        self.bitrate = 0.0
        self._octets = 0
        self._since: float | None = None

    def add(self, octets: int, now: float) -> None:
        """So much passed. Hot path."""
        if self._since is None:
            self._since = now
        elapsed = now - self._since
        if elapsed >= WINDOW:
            rate = self._octets * 8 / elapsed
            # After a pause the window is long and says nothing of the rate.
            if elapsed < 2 * WINDOW:
                self.bitrate = rate if not self.bitrate else 0.5 * self.bitrate + 0.5 * rate
            self._octets, self._since = 0, now
        self._octets += octets


def usual_bitrate(width: int, height: int) -> float:
    """Bit/s of a picture of this size, for a layer that has not been seen."""
    pixels = width * height
    for limit, bitrate in USUAL:
        if pixels <= limit:
            return bitrate
    return USUAL[-1][1] * pixels / USUAL[-1][0]
