"""A server that speaks the realtime WebSocket of vLLM or OpenAI, in the toy language of tones."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from aiohttp import WSMsgType, web

from bridge.scribe.engines.realtime import Dialect
from tests.support import tones

KEY = "sk-realtime"
DELAY = 6
"""Frames of 80 ms that a word comes late."""
ITEM = "conversation.item.input_audio_transcription."


@dataclass
class Faults:
    status: int = 0
    close_after: deque[int] = field(default_factory=deque)
    """The next connections are closed, each after so many audio messages."""
    text_at_the_end: bool = False
    """No deltas: the text comes whole, as from a model that does not stream."""
    silent: bool = False
    instead: deque[str] = field(default_factory=deque)
    """Sent as they are instead of the next answers."""


class _Ear:
    """Words of one utterance from the audio that comes, 80 ms at a time."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.text = ""
        self._samples = np.zeros(0, np.float32)
        self._last: str | None = None
        self._late: deque[str] = deque([""] * DELAY)

    def whole(self) -> str:
        """The text of all the audio."""
        return self.text + "".join(self._late)

    def hear(self, pcm: bytes) -> str:
        """What this audio adds to the text, `DELAY` frames later."""
        more = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        self._samples = np.concatenate([self._samples, more])
        frame, before = self.rate * 8 // 100, self.text
        while len(self._samples) >= frame:
            word = tones.heard(self._samples[:frame], self.rate)
            self._samples = self._samples[frame:]
            self._late.append(f" {word}" if word is not None and word != self._last else "")
            self.text += self._late.popleft()
            self._last = word
        return self.text[len(before) :]


class RealtimeServer:
    """`async with RealtimeServer("vllm") as server`: then `server.url`."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.faults = Faults()
        self.connections = 0
        self.sessions: list[dict[str, Any]] = []
        self._port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/v1/realtime", self._socket)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        wrong = request.headers.get("Authorization") != f"Bearer {KEY}"
        if self.dialect == "openai" and request.query.get("intent") != "transcription":
            return web.Response(status=400)
        if self.faults.status or wrong:
            return web.Response(status=self.faults.status or 401)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.connections += 1
        await self._send(ws, {"type": "session.created", "id": "sess-1"})
        left = self.faults.close_after.popleft() if self.faults.close_after else None
        ear: _Ear | None = None
        async for message in ws:
            if message.type is not WSMsgType.TEXT:
                break
            content = json.loads(message.data)
            ear = await self._event(ws, content, ear)
            if left is not None and content["type"] == "input_audio_buffer.append":
                left -= 1
                if left <= 0:
                    await ws.close()
        return ws

    async def _event(
        self, ws: web.WebSocketResponse, content: dict[str, Any], ear: _Ear | None
    ) -> _Ear | None:
        kind = content["type"]
        if kind == "session.update":
            self.sessions.append(content)
        elif kind == "input_audio_buffer.append":
            return await self._audio(ws, base64.b64decode(content["audio"]), ear)
        elif kind == "input_audio_buffer.commit":
            return await self._commit(ws, bool(content.get("final")), ear)
        return ear

    async def _audio(self, ws: web.WebSocketResponse, pcm: bytes, ear: _Ear | None) -> _Ear | None:
        if ear is None and self.dialect == "openai":
            ear = _Ear(24_000)
        if ear is None:  # vLLM queues it for nobody: the utterance was not begun
            return None
        more = ear.hear(pcm)
        if more and not self.faults.text_at_the_end:
            kind = "transcription.delta" if self.dialect == "vllm" else f"{ITEM}delta"
            # Tokens are parts of words.
            for part in (more[:3], more[3:]):
                await self._send(ws, {"type": kind, "delta": part, "item_id": "item-1"})
        return ear

    async def _commit(
        self, ws: web.WebSocketResponse, final: bool, ear: _Ear | None
    ) -> _Ear | None:
        if self.dialect == "vllm":
            if not final:
                return ear or _Ear(16_000)
            text = ear.whole() if ear is not None else ""
            await self._send(ws, {"type": "transcription.done", "text": text, "usage": {}})
        elif ear is None:
            error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty"}
            await self._send(ws, {"type": "error", "error": error})
        else:
            await self._send(ws, {"type": "input_audio_buffer.committed", "item_id": "item-1"})
            done = {"type": f"{ITEM}completed", "item_id": "item-1", "transcript": ear.whole()}
            await self._send(ws, done)
        return None

    async def _send(self, ws: web.WebSocketResponse, content: dict[str, Any]) -> None:
        if self.faults.silent or ws.closed:
            return
        instead = self.faults.instead.popleft() if self.faults.instead else None
        await asyncio.sleep(0)
        await ws.send_str(json.dumps(content) if instead is None else instead)
