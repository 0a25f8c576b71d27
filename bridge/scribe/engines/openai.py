"""Any server with `POST …/audio/transcriptions`: OpenAI's shape, or La Suite's `diarized_json`.

During a call each utterance is one request; after it, a track is asked for in parts. A server that
refuses, breaks off or stays silent is asked again a few times, then it is down. What it calls
broken (400) is a gap: another attempt would not mend it.
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
from yarl import URL

from bridge.scribe.engines import (
    RATE,
    Capability,
    EngineDown,
    Stream,
    Word,
    primary,
)
from bridge.scribe.engines.parts import parts
from bridge.scribe.engines.verbose import Unreadable, words_of
from bridge.scribe.engines.whole import Unheard, Utterances

log = logging.getLogger(__name__)

Dialect = Literal["openai", "lasuite"]

AT_ONCE = 4
"""Requests to one server at once."""
TRIES = 3
MOST_BYTES = 8 << 20
"""Of an answer."""
MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses worth another attempt."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. La Suite's own worker waits 60 for a connection and 600 for an answer."""

    connect_s: float = 5.0
    live_s: float = 15.0
    """For the answer to one utterance."""
    after_s: float = 600.0
    pause_s: float = 0.5
    """Before the second attempt; doubled each time, and up to half as much again by chance."""
    longest_pause_s: float = 20.0


class OpenAi:
    """A `Recognizer` and a `Transcriber` at an address such as `https://host/v1`."""

    def __init__(
        self,
        url: str,
        api_key: str | Path,
        *,
        model: str,
        dialect: Dialect = "openai",
        patience: Patience | None = None,
    ) -> None:
        self.capability = Capability(model, frozenset(), interim=False, words=True)
        self._url = URL(url.rstrip("/") + "/audio/transcriptions")
        self._key = api_key
        self._model = model
        self._dialect = dialect
        self._patience = patience or Patience()
        self._some = asyncio.Semaphore(AT_ONCE)
        self._http: aiohttp.ClientSession | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._started = asyncio.Event()

    async def run(self) -> None:
        async with aiohttp.ClientSession() as self._http, asyncio.TaskGroup() as self._tasks:
            self._started.set()
            await asyncio.get_running_loop().create_future()

    async def ready(self) -> None:
        await self._started.wait()

    async def open(self, language: str) -> Stream:
        await self._started.wait()
        if self._tasks is None:
            raise RuntimeError("a stream was opened outside of run()")
        stream = Utterances(self, language)
        self._tasks.create_task(stream.run())
        return stream

    async def transcribe(self, pcm: bytes, language: str) -> list[Word]:
        await self._started.wait()
        heard: list[Word] = []
        for start, part in parts(pcm):
            try:
                words = await self.ask(part, language, self._patience.after_s)
            except Unheard:
                log.warning("%s cannot read a part of a recording", self.capability.name)
                continue
            heard += [Word(w.text, start + w.start, start + w.end) for w in words]
        return heard

    async def ask(self, pcm: bytes, language: str, seconds: float) -> list[Word]:
        """One request, and the attempts it takes. Raises EngineDown and Unheard."""
        pause = self._patience.pause_s
        for attempt in range(1, TRIES + 1):
            try:
                async with self._some:
                    return await self._attempt(pcm, language, seconds)
            except _Again as again:
                if attempt == TRIES:
                    raise EngineDown(again.reason) from None
                wait = again.after_s or pause * random.uniform(1.0, 1.5)  # noqa: S311 - no secret
            await asyncio.sleep(min(wait, self._patience.longest_pause_s))
            pause *= 2
        raise AssertionError("unreachable")

    async def _attempt(self, pcm: bytes, language: str, seconds: float) -> list[Word]:
        if self._http is None:
            raise RuntimeError("a request outside of run()")
        key = await self._read_key()
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=self._patience.connect_s)
        try:
            async with self._http.post(
                self._url,
                data=self._form(pcm, language),
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=limits,
                # An address that somebody else names gets neither the voices nor the key.
                allow_redirects=False,
            ) as answer:
                return self._read(answer.status, answer.headers, await _body(answer), pcm)
        except aiohttp.ClientConnectorError:
            raise _Again("refused") from None
        except TimeoutError:
            raise _Again("timeout") from None
        except (aiohttp.ClientError, OSError):
            raise _Again("lost") from None

    def _form(self, pcm: bytes, language: str) -> aiohttp.FormData:
        form = aiohttp.FormData()
        form.add_field("file", _wav(pcm), filename="audio.wav", content_type="audio/wav")
        form.add_field("model", self._model)
        form.add_field("language", primary(language))
        lasuite = self._dialect == "lasuite"
        form.add_field("response_format", "diarized_json" if lasuite else "verbose_json")
        # La Suite's worker repeats the name without brackets, OpenAI's clients with them.
        name = "timestamp_granularities" if lasuite else "timestamp_granularities[]"
        for grain in ("word", "segment"):
            form.add_field(name, grain)
        return form

    def _read(self, status: int, headers: Any, body: bytes, pcm: bytes) -> list[Word]:
        if status == 200:
            try:
                return words_of(body, samples=len(pcm) // 2)
            except Unreadable as error:
                log.warning("%s: %s", self.capability.name, error)
                raise EngineDown("protocol") from None
        if status in {401, 403}:
            raise EngineDown("key")
        if status in {400, 413, 422}:
            raise Unheard
        if status in MAY_PASS:
            busy = status in {429, 503}
            raise _Again("busy" if busy else "lost", _seconds(headers.get("Retry-After")))
        log.warning("%s answered %d", self.capability.name, status)
        raise EngineDown("protocol")

    async def _read_key(self) -> str:
        if isinstance(self._key, str):
            return self._key
        try:
            return (await asyncio.to_thread(self._key.read_text, encoding="utf-8")).strip()
        except (OSError, UnicodeDecodeError):
            log.error("%s: %s cannot be read", self.capability.name, self._key)
            raise EngineDown("key") from None

    @property
    def live_s(self) -> float:
        """Seconds one utterance may take."""
        return self._patience.live_s


class _Again(Exception):
    """It may pass. `after_s`: when the server wants to be asked again, 0 where it does not say."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = await answer.content.read(MOST_BYTES + 1)
    while len(body) <= MOST_BYTES and not answer.content.at_eof():
        body += await answer.content.read(MOST_BYTES + 1 - len(body))
    return body


def _seconds(value: str | None) -> float:
    """Of a Retry-After in seconds; one with a date counts as none (RFC 9110, 10.2.3)."""
    return float(value) if value and value.isascii() and value.isdigit() else 0.0


def _wav(pcm: bytes) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return out.getvalue()
