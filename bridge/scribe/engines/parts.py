"""A recording in parts that an engine can be given at once, cut where it is quiet. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bridge.scribe.engines import RATE

LONGEST = 600 * RATE
"""Samples of one part: 19 MB of PCM. OpenAI takes 25 MB."""
SEEK = 20 * RATE
"""How far before the end of a part a quiet place is looked for."""
WINDOW = RATE // 5


def parts(pcm: bytes, longest: int = LONGEST) -> Iterator[tuple[int, bytes]]:
    """Each part with its first sample. Nothing is lost and nothing comes twice."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype=np.int16)
    start = 0
    while len(samples) - start > longest:
        end = start + longest
        cut = _quietest(samples[max(start + WINDOW, end - SEEK) : end]) + max(
            start + WINDOW, end - SEEK
        )
        yield start, samples[start:cut].tobytes()
        start = cut
    if start < len(samples):
        yield start, samples[start:].tobytes()


def _quietest(samples: np.ndarray) -> int:
    """The middle of the fifth of a second with the least energy."""
    count = len(samples) // WINDOW
    if count == 0:
        return len(samples)
    energy = np.square(samples[: count * WINDOW].astype(np.float64)).reshape(count, WINDOW).sum(1)
    # The last of equally quiet places: parts are as long as they may be.
    quietest = count - 1 - int(np.argmin(energy[::-1]))
    return quietest * WINDOW + WINDOW // 2
