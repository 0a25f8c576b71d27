"""16 bit counters that wrap, made into integers that do not."""


def forward_distance(older: int, newer: int, bits: int = 16) -> int:
    """Signed distance from `older` to `newer` in a counter of `bits` (nearest interpretation)."""
    span = 1 << bits
    half = span >> 1
    return (newer - older + half) % span - half


class Unwrapper:
    """Follows a wrapping counter; `highest` is the largest value seen, or None."""

    __slots__ = ("_bits", "highest")

    def __init__(self, bits: int = 16) -> None:
        self._bits = bits
        self.highest: int | None = None

    def unwrap(self, value: int) -> int:
        """The full number nearest to the highest; older values do not move it."""
        if self.highest is None:
            # Room below, so that packets older than the first have a number too.
            self.highest = value + (1 << self._bits)
            return self.highest
        full = self.highest + forward_distance(self.highest, value, self._bits)
        self.highest = max(self.highest, full)
        return full
