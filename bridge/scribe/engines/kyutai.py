"""Kyutai's speech-to-text: moshi-server's WebSocket, word by word, French and English in one model.

Read from rust/moshi-server/src/batched_asr.rs and rust/moshi-core/src/asr.rs of kyutai-labs/moshi
(e6a55d2). What is not obvious there:

- The server takes one message a step and decodes one frame of 80 ms a step: audio goes out in whole
  frames, or a busy server falls behind.
- Times count from the first sample sent on the connection, silence included (`Clock`).
- `Word` comes when its last token is out; `EndWord` comes when the *next* word begins, and tells
  when that was. So a `Word` is final when it comes, its end is an estimate, and between `EndWord`
  and `Word` a word is being decoded that nobody has heard of yet: that is where to begin again
  when the connection breaks.
- A marker comes back after a number of steps of the whole server, not of this connection: with
  others on it, it may come early. `Step` comes once for each frame of ours; where there is a
  `Step`, an utterance is answered when both say so.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import soxr

from bridge.scribe.engines import RATE, Capability, EngineDown, Word
from bridge.scribe.engines.dialogue import Done, Frame, Paused, Quiet, Said
from bridge.scribe.engines.remote import Patience, Remote, address

WIRE_RATE = 24_000
FRAME = 1920
"""Samples of one frame of the model: 80 ms."""
PER_S = WIRE_RATE / FRAME
LEAD = WIRE_RATE
"""Silence a connection begins with: models with a long delay miss the first word without."""
FLUSH = 8
"""Silent frames sent at once after an utterance: the delay of the model and a word's tokens."""
BEYOND = 12
"""Steps after which an utterance counts as answered though its marker never came."""
HEAD, LIKELY = 2, 0.5
"""Of the four predictions in `Step` (pauses of 0.5, 1, 2 and 3 s) the one of 2 s, and from which
probability it is believed (delayed-streams-modeling, scripts/stt_from_mic_rust_server.py)."""
SIGN, LEAST, MOST = RATE * 6 // 100, RATE * 15 // 100, RATE
"""How long a word takes: 60 ms a sign, at least 0.15 s, at most 1 s."""


class Kyutai(Remote):
    """A `Recognizer` at a moshi-server with a `BatchedAsr` module.

    A server has a fixed number of channels (64 by default), and each connection holds one, be it
    silent. So a connection is made when somebody begins to speak and given back `linger_s` after
    they were last heard, at once where the server has none left for another track of ours.
    Taking turns stays without hand-shakes, and who listens holds nothing.
    """

    def __init__(
        self,
        url: str,
        api_key: str | Path = "",
        *,
        model: str = "stt-1b-en_fr",
        languages: frozenset[str] = frozenset({"en", "fr"}),
        delay_s: float = 0.5,
        patience: Patience | None = None,
    ) -> None:
        """`url`: of the server (`ws://host:8080`), or of its path where that is configured
        otherwise than `/api/asr-streaming`. `api_key`: one of the server's `authorized_ids`, or
        the file it is in (read for every connection). `delay_s`: the model's delay, until the
        server has shown it.

        Raises ValueError for an address that is none.
        """
        capability = Capability(
            f"kyutai/{model}", languages, interim=True, streaming=True, words=True
        )
        super().__init__(
            address(url, "/api/asr-streaming"),
            lambda key: {"kyutai-api-key": key},
            api_key,
            capability,
            lambda _language: KyutaiDialogue(delay_s),
            patience or Patience(),
        )


class Clock:
    """From seconds on a connection to positions in the conference.

    What is sent is stretches of speech with silence between them that nobody spoke.
    """

    def __init__(self) -> None:
        self._runs: deque[tuple[int, int, int]] = deque(maxlen=100)

    def run(self, at: int, position: int) -> None:
        """From sample `at` of the connection on, speech that begins at `position` is sent."""
        self._runs.append((at, position, position))

    def reached(self, position: int) -> None:
        """The stretch goes on to `position`."""
        at, start, _ = self._runs.pop()
        self._runs.append((at, start, position))

    def place(self, seconds: float) -> int:
        """Within the stretch that was sent last before then; 0 where nothing was sent."""
        sample = int(seconds * WIRE_RATE)
        for at, start, end in reversed(self._runs):
            if at <= sample:
                return min(end, start + (sample - at) * RATE // WIRE_RATE)
        return self._runs[0][1] if self._runs else 0


class KyutaiDialogue:
    """One connection; see `Dialogue`."""

    ready = True
    slack = 0

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._clock = Clock()
        self._resampler = _resampler()
        self._buffer = np.zeros(LEAD, np.float32)
        self._made = LEAD
        self._next: int | None = None
        self._frames = 0
        self._steps = 0
        self._markers: deque[int] = deque()
        self._number = self._echoed = 0
        self._last: Word | None = None
        self._begun: float | None = None
        self._paused: float | None = None
        self._pause_told = True

    @property
    def owes(self) -> bool:
        return self._next is not None or bool(self._markers)

    @property
    def due(self) -> bool:
        behind = self._steps and self._frames - self._steps
        return bool(self._markers) or bool(behind)

    @property
    def answered(self) -> int:
        if self._last is None:
            return 0
        if self._begun is not None:
            return self._clock.place(self._begun)
        horizon = self._clock.place(self._horizon)
        return horizon if horizon > self._last.start + MOST else self._last.start

    def greeting(self) -> list[Frame]:
        return self._whole_frames()

    def speech(self, pcm: bytes, start: int) -> list[Frame]:
        if start != self._next:
            self._end_run()
            self._clock.run(self._made, start)
        self._next = start + len(pcm) // 2
        self._clock.reached(self._next)
        samples = np.frombuffer(pcm, np.int16).astype(np.float32) / 32768.0
        self._append(self._resampler.resample_chunk(samples))
        return self._whole_frames()

    def over(self) -> list[Frame]:
        self._end_run()
        self._next = None
        self._append(np.zeros(-len(self._buffer) % FRAME, np.float32))
        frames = self._whole_frames()
        self._number += 1
        self._markers.append(self._frames)
        frames.append(_packed({"type": "Marker", "id": self._number}))
        return frames + [self._silence() for _ in range(FLUSH)]

    def idle(self) -> list[Frame]:
        # The delay is flushed out by frames, so they go on until the answer is there; but never
        # more than the server takes, or they would stand before the next word.
        flushed = self._steps and self._frames - self._steps >= FLUSH
        if self._next is not None or not self._markers or flushed:
            return []
        return [self._silence()]

    def heard(self, message: Frame) -> list[Said]:
        content = _unpacked(message)
        try:
            return self._said(content) + self._done()
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise EngineDown("protocol") from error

    def _said(self, content: dict[str, Any]) -> list[Said]:
        kind = content["type"]
        if kind == "Word":
            return self._word(str(content["text"]).strip(), float(content["start_time"]))
        if kind == "EndWord":
            self._begun = float(content["stop_time"])
            if self._steps:
                self._delay_s = max(0.0, self._steps / PER_S - self._begun)
        elif kind == "Step":
            return self._step([float(pr) for pr in content["prs"]])
        elif kind == "Marker":
            self._echoed = max(self._echoed, int(content["id"]))
        elif kind == "Error":
            raise EngineDown("busy" if "channel" in str(content["message"]) else "lost")
        return []

    def _word(self, text: str, start_s: float) -> list[Said]:
        self._begun, self._pause_told = None, False
        start = self._clock.place(start_s)
        if not text:
            return []
        length = min(MOST, max(LEAST, SIGN * len(text)))
        end = self._clock.place(start_s + length / RATE)
        if self._steps:  # the next word has not begun before this
            end = min(end, self._clock.place(self._horizon))
        end = max(start, min(start + length, end))
        self._last = Word(text, start, end)
        return [self._last]

    def _step(self, predictions: list[float]) -> list[Said]:
        self._steps += 1
        said: list[Said] = []
        if self._begun is None:
            said.append(Quiet(self._clock.place(self._horizon)))
        likely = len(predictions) > HEAD and predictions[HEAD] > LIKELY
        if likely and self._paused is None and not self._pause_told:
            self._paused = self._steps / PER_S
        if self._paused is not None and self._horizon >= self._paused:
            said.append(Paused(self._clock.place(self._paused)))
            self._paused, self._pause_told = None, True
        return said

    def _done(self) -> list[Said]:
        done: list[Said] = []
        while self._markers:
            missing = self._markers[0] + self._delay_s * PER_S - self._steps
            echoed = self._echoed > self._number - len(self._markers)
            if missing > -BEYOND and not (echoed and (missing <= 0 or not self._steps)):
                break
            self._markers.popleft()
            done.append(Done())
        return done

    @property
    def _horizon(self) -> float:
        """Seconds on the connection up to which the model has decided whether a word begins."""
        return max(0.0, self._steps / PER_S - self._delay_s)

    def _end_run(self) -> None:
        if self._next is not None:
            self._append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resampler = _resampler()

    def _append(self, samples: Any) -> None:
        self._buffer = np.concatenate([self._buffer, samples])
        self._made += len(samples)

    def _whole_frames(self) -> list[Frame]:
        frames: list[Frame] = []
        while len(self._buffer) >= FRAME:
            frames.append(_audio(self._buffer[:FRAME]))
            self._buffer = self._buffer[FRAME:]
            self._frames += 1
        return frames

    def _silence(self) -> Frame:
        self._made += FRAME
        self._frames += 1
        return _SILENCE


def _resampler() -> Any:
    # "MQ" holds 22 ms back, "HQ" 31 ms.
    return soxr.ResampleStream(RATE, WIRE_RATE, 1, dtype="float32", quality="MQ")


def _packed(content: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(content, use_single_float=True)
    return packed


def _audio(samples: Any) -> bytes:
    return _packed({"type": "Audio", "pcm": samples.tolist()})


_SILENCE = _audio(np.zeros(FRAME, np.float32))


def _unpacked(message: Frame) -> dict[str, Any]:
    if not isinstance(message, bytes):
        raise EngineDown("protocol")
    try:
        content = msgpack.unpackb(message, raw=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise EngineDown("protocol") from error
    if not isinstance(content, dict):
        raise EngineDown("protocol")
    return content
