"""A server with `/v1/audio/transcriptions`, as OpenAI, vLLM and La Suite have it; faults on demand.

It reads the multipart form as such servers do, refuses a wrong key, and understands every
second of sound as one word.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import wave
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bridge.scribe.engines import RATE


@dataclass
class Asked:
    """One request."""

    model: str
    language: str
    response_format: str
    granularities: list[str]
    samples: int
    key: str


@dataclass
class Transcriptions:
    """`faults`: for the next requests, in order: an HTTP status, or a coroutine function."""

    key: str = "secret"
    asked: list[Asked] = field(default_factory=list)
    faults: deque[int | Callable[[], Any]] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    answer: Callable[[Asked], Any] | None = None
    url: str = ""
    status: int = 0
    """Answered to whatever is no transcription."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "multipart/form-data":  # as the doctor asks
            ours = request.headers.get("Authorization", "") == f"Bearer {self.key}"
            return web.json_response({}, status=self.status or (400 if ours else 401))
        asked = await _read(request)
        self.asked.append(asked)
        if asked.key != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "Incorrect API key"}}, status=401)
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, int):
            return web.json_response({"error": {}}, status=fault, headers=self.headers)
        if fault is not None:
            return await fault()  # type: ignore[no-any-return]
        if self.answer is not None:
            made = self.answer(asked)
            return web.Response(body=made) if isinstance(made, bytes) else web.json_response(made)
        lasuite = asked.response_format == "diarized_json"
        return web.json_response(diarized(asked) if lasuite else verbose(asked))


def verbose(asked: Asked) -> dict[str, Any]:
    """OpenAI's `verbose_json`: words beside the segments."""
    seconds = asked.samples / RATE
    words = [{"word": f"word{n}", "start": n + 0.1, "end": n + 0.6} for n in range(int(seconds))]
    text = " ".join(str(word["word"]) for word in words)
    segment = {"id": 0, "start": 0.0, "end": seconds, "text": text, "no_speech_prob": 0.01}
    return {
        "task": "transcribe",
        "language": "french",
        "duration": seconds,
        "text": text,
        "segments": [segment],
        "words": words,
    }


def diarized(asked: Asked) -> dict[str, Any]:
    """La Suite's `diarized_json` (WhisperX): words within the segments."""
    whole = verbose(asked)
    words = [{**word, "score": 0.9, "speaker": "SPEAKER_00"} for word in whole["words"]]
    segment = {**whole["segments"][0], "speaker": "SPEAKER_00", "words": words}
    return {"segments": [segment], "word_segments": words}


async def _read(request: web.Request) -> Asked:
    form = await request.post()
    upload = form["file"]
    assert isinstance(upload, web.FileField)
    with wave.open(io.BytesIO(upload.file.read())) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE, 1, 2)
        samples = sound.getnframes()
    grains = [
        str(value) for name, value in form.items() if name.startswith("timestamp_granularities")
    ]
    return Asked(
        model=str(form["model"]),
        language=str(form["language"]),
        response_format=str(form["response_format"]),
        granularities=grains,
        samples=samples,
        key=request.headers.get("Authorization", ""),
    )


@contextlib.asynccontextmanager
async def serving(server: Transcriptions, port: int = 0) -> AsyncIterator[Transcriptions]:
    """At a loopback port; `server.url` is the base address."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/audio/transcriptions", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


async def silence() -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
