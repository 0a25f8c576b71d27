"""Streaming text from a WebSocket that speaks JSON, in two dialects: vLLM's and OpenAI's.

vLLM (vllm/entrypoints/openai/realtime/connection.py): a commit begins an utterance, a commit with
`final` ends it; `transcription.delta` comes while people speak, `transcription.done` at the end,
and nothing of the next utterance may be sent before. 16 kHz.

OpenAI (guide "Realtime transcription"): a session of type `transcription` without its own turn
detection; a commit ends an utterance, `conversation.item.input_audio_transcription.delta` and
`.completed` answer it. 24 kHz.

Neither tells when a word was spoken: words that come while people speak are placed `delay_s` before
what was sent last, the others spread over what is left of the utterance.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soxr

from bridge.scribe.engines import RATE, Capability, EngineDown, Word
from bridge.scribe.engines.dialogue import Done, Frame, Said
from bridge.scribe.engines.remote import Patience, Remote, address

Dialect = Literal["vllm", "openai"]
OPENAI_RATE = 24_000
SIGN = RATE * 6 // 100
"""How long a word takes: 60 ms a sign."""
MARGIN, SLACK = RATE * 16 // 100, RATE // 2
"""How much earlier to begin again than the estimate, and how far off the estimate may be."""
_ITEM = "conversation.item.input_audio_transcription."
_EMPTY = "input_audio_buffer_commit_empty"


class Realtime(Remote):
    """A `Recognizer` at a realtime WebSocket. What raises what: see `Remote`."""

    def __init__(
        self,
        url: str,
        api_key: str | Path = "",
        *,
        model: str,
        dialect: Dialect = "vllm",
        languages: frozenset[str] = frozenset(),
        delay_s: float = 0.5,
        patience: Patience | None = None,
    ) -> None:
        """`url`: of the server, or of its path where it is not `/v1/realtime`. `api_key`: as it is
        sent, or the file it is in (read for every connection). `delay_s`: how far the model's words
        are behind the audio. Raises ValueError for an address that is none.
        """
        at = address(url, "/v1/realtime")
        if dialect == "openai" and not at.query:
            at = at.with_query(intent="transcription")
        capability = Capability(f"{dialect}/{model}", languages, interim=True, streaming=True)
        super().__init__(
            at,
            lambda key: {"Authorization": f"Bearer {key}"},
            api_key,
            capability,
            lambda language: _DIALECTS[dialect](model, language, delay_s),
            patience or Patience(),
        )


class _Dialogue(ABC):
    """What both dialects have in common; see `Dialogue`."""

    slack = SLACK

    def __init__(self, model: str, language: str, delay_s: float) -> None:
        self._model = model
        self._language = language.replace("_", "-").partition("-")[0].lower()
        self._delay = int(delay_s * RATE)
        self._start: int | None = None
        self._sent = 0
        self._ended = False
        self._text = ""
        self._taken = 0
        self._last: Word | None = None
        self._placed = 0

    @property
    def ready(self) -> bool:
        return not self._ended

    @property
    def owes(self) -> bool:
        return self._start is not None

    @property
    def due(self) -> bool:
        return self._ended

    @property
    def answered(self) -> int:
        # A word is complete when the next one begins, which is `_placed`, as far as it is known.
        return 0 if self._last is None else self._placed - MARGIN

    @abstractmethod
    def greeting(self) -> list[Frame]: ...

    def speech(self, pcm: bytes, start: int) -> list[Frame]:
        frames: list[Frame] = []
        if self._start is None:
            self._start = self._placed = start
            frames += self._begin()
        self._sent = start + len(pcm) // 2
        return frames + self._append(self._wire(pcm, last=False))

    def over(self) -> list[Frame]:
        self._ended = True
        return [*self._append(self._wire(b"", last=True)), self._end()]

    def idle(self) -> list[Frame]:
        return []

    def heard(self, message: Frame) -> list[Said]:
        try:
            content = json.loads(message)
            return self._said(str(content["type"]), content)
        except (ValueError, KeyError, TypeError) as error:
            raise EngineDown("protocol") from error

    def _begin(self) -> list[Frame]:
        return []

    @abstractmethod
    def _end(self) -> Frame: ...

    def _wire(self, pcm: bytes, *, last: bool) -> bytes:
        return pcm

    @abstractmethod
    def _said(self, kind: str, content: dict[str, Any]) -> list[Said]: ...

    def _append(self, pcm: bytes) -> list[Frame]:
        audio = base64.b64encode(pcm).decode("ascii")
        return [_json({"type": "input_audio_buffer.append", "audio": audio})] if pcm else []

    def _delta(self, text: str) -> list[Said]:
        self._text += text
        # After the end everything is known at once: the words are spread over all that is left.
        return [] if self._ended else list(self._words(self._sent - self._delay, whole=False))

    def _finished(self, text: str) -> list[Said]:
        """The utterance is answered; `text`: all of it, as the server has it in the end."""
        if text.startswith(self._text):
            self._text = text
        words = self._words(self._sent, whole=True)
        self._start, self._ended, self._text, self._taken = None, False, "", 0
        return [*words, Done()]

    def _words(self, until: int, *, whole: bool) -> list[Word]:
        """The words that came since the last time, placed before `until`."""
        rest = self._text[self._taken :]
        texts = rest.split()
        if not whole and texts and not rest[-1].isspace():
            texts.pop()  # it may go on
            rest = rest[: rest.rindex(rest.split()[-1])]
        self._taken += len(rest)
        if not texts:
            return []
        until = max(until, self._placed)
        needs = [SIGN * (len(text) + 1) for text in texts]
        room = until - self._placed
        if not whole and sum(needs) < room:
            self._placed, room = until - sum(needs), sum(needs)
        words, at = [], float(self._placed)
        for text, need in zip(texts, needs, strict=True):
            end = at + need * room / sum(needs)
            words.append(Word(text, int(at), int(end)))
            at = end
        self._placed, self._last = int(at), words[-1]
        return words


class VllmDialogue(_Dialogue):
    """16 kHz as it is."""

    def greeting(self) -> list[Frame]:
        return [_json({"type": "session.update", "model": self._model})]

    def _begin(self) -> list[Frame]:
        return [_json({"type": "input_audio_buffer.commit"})]

    def _end(self) -> Frame:
        return _json({"type": "input_audio_buffer.commit", "final": True})

    def _said(self, kind: str, content: dict[str, Any]) -> list[Said]:
        if kind == "transcription.delta":
            return self._delta(str(content["delta"]))
        if kind == "transcription.done":
            return self._finished(str(content["text"])) if self._start is not None else []
        if kind == "error":
            raise EngineDown("lost")
        return []


class OpenaiDialogue(_Dialogue):
    """24 kHz, and turns of our own making."""

    def __init__(self, model: str, language: str, delay_s: float) -> None:
        super().__init__(model, language, delay_s)
        self._resampler = _resampler()

    def greeting(self) -> list[Frame]:
        transcription = {"model": self._model}
        if self._language:
            transcription["language"] = self._language
        audio = {
            "format": {"type": "audio/pcm", "rate": OPENAI_RATE},
            "transcription": transcription,
            "turn_detection": None,
        }
        session = {"type": "transcription", "audio": {"input": audio}}
        return [_json({"type": "session.update", "session": session})]

    def _end(self) -> Frame:
        return _json({"type": "input_audio_buffer.commit"})

    def _wire(self, pcm: bytes, *, last: bool) -> bytes:
        samples = self._resampler.resample_chunk(np.frombuffer(pcm, np.int16), last=last)
        if last:
            self._resampler = _resampler()
        wire: bytes = samples.astype("<i2").tobytes()
        return wire

    def _said(self, kind: str, content: dict[str, Any]) -> list[Said]:
        if kind == f"{_ITEM}delta":
            return self._delta(str(content["delta"]))
        if kind == f"{_ITEM}completed":
            return self._finished(str(content["transcript"])) if self._start is not None else []
        if kind == f"{_ITEM}failed":
            raise EngineDown("lost")
        return self._error(content["error"]) if kind == "error" else []

    def _error(self, error: dict[str, Any]) -> list[Said]:
        code = str(error.get("code"))
        if code == _EMPTY and self._ended:  # too short to be committed: there were no words
            return self._finished(self._text)
        reasons = {"invalid_api_key": "key", "rate_limit_exceeded": "busy"}
        raise EngineDown(reasons.get(code, "lost"))


_DIALECTS: dict[Dialect, type[VllmDialogue | OpenaiDialogue]] = {
    "vllm": VllmDialogue,
    "openai": OpenaiDialogue,
}


def _resampler() -> Any:
    return soxr.ResampleStream(RATE, OPENAI_RATE, 1, dtype="int16", quality="MQ")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))
