"""A server that speaks moshi-server's WebSocket as rust/moshi-server/src/batched_asr.rs does.

One loop takes one message of each channel a step, decodes one frame of 80 ms a step, and answers
`delay` steps later. What it understands is decided by a `Hearing`, from the audio it really gets.
Faults on demand: see `Faults`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import msgpack
import numpy as np
from aiohttp import WSMsgType, web

from tests.support import tones

RATE, FRAME = 24_000, 1920
PER_S = RATE / FRAME
KEY = "public_token"


@dataclass(frozen=True)
class Heard:
    """A word that begins in frame `start` and ends in `end`: told when the delay is over.

    The model itself may tell a word before it has ended; here it never does, which is later.
    """

    text: str
    start: int
    end: int


class Hearing(Protocol):
    """Understands one connection, frame by frame."""

    def frame(self, number: int, samples: Any) -> list[Heard]:
        """Words that are understood with this frame."""


class Tones:
    """The toy language: a word begins where a tone begins."""

    def __init__(self) -> None:
        self._last: str | None = None

    def frame(self, number: int, samples: Any) -> list[Heard]:
        word, last = tones.heard(samples, RATE), self._last
        self._last = word
        begins = word is not None and word != last
        return [Heard(word, number, number + 2)] if word is not None and begins else []


@dataclass
class Faults:
    """What goes wrong; each may be set at any time."""

    close_at: deque[int] = field(default_factory=deque)
    """The next connections are closed, each after so many of its steps."""
    stalled: bool = False
    """Nothing is decoded and nothing is answered."""
    garbage: deque[bytes] = field(default_factory=deque)
    """Sent as they are instead of the next messages."""
    status: int = 0
    """The handshake is answered so."""
    no_markers: bool = False
    early_markers: bool = False
    """Markers come back at once: the server's steps are counted, and others make many."""


@dataclass(eq=False)
class Channel:
    """One connection: what `Channel` and `ItemState` are there."""

    ws: web.WebSocketResponse
    hearing: Hearing
    inbox: deque[dict[str, Any]] = field(default_factory=lambda: deque([{"type": "Init"}]))
    data: Any = field(default_factory=lambda: np.zeros(0, np.float32))
    steps: int = 0
    words: deque[Heard] = field(default_factory=deque)
    begun: Heard | None = None
    unended: bool = False
    last_stop: float = 0.0
    close_at: int | None = None


class MoshiServer:
    """`async with MoshiServer() as server`: then `server.url`."""

    def __init__(
        self,
        hearing: Callable[[], Hearing] = Tones,
        *,
        delay: int = 6,
        channels: int = 64,
        step_s: float = 0.002,
        heads: bool = True,
        port: int = 0,
    ) -> None:
        self.faults = Faults()
        self.connections = 0
        self.keys: list[str] = []
        self.told: list[tuple[float, str]] = []
        """When each word was told, on the monotonic clock."""
        self.channels: list[Channel] = []
        self._hearing = hearing
        self._delay = delay
        self._most = channels
        self._step_s = step_s
        self._heads = heads
        self._port = port
        self._steps = 0
        self._markers: list[tuple[int, Channel, int]] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.listen()
        self._loop = asyncio.create_task(self._model_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        await self.refuse()

    async def listen(self) -> None:
        """Take connections, after `refuse` at the same port."""
        application = web.Application()
        application.router.add_get("/api/asr-streaming", self._socket)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Close the port and every connection."""
        for channel in list(self.channels):
            await channel.ws.close()
        await self._runner.cleanup()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("kyutai-api-key", request.query.get("auth_id", ""))
        self.keys.append(key)
        if self.faults.status or key != KEY:
            return web.Response(status=self.faults.status or 401)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.connections += 1
        if len(self.channels) >= self._most:
            await ws.send_bytes(packed({"type": "Error", "message": "no free channels"}))
            await ws.close()
            return ws
        channel = Channel(ws, self._hearing())
        channel.close_at = self.faults.close_at.popleft() if self.faults.close_at else None
        self.channels.append(channel)
        try:
            await self._receive(channel)
        finally:
            self.channels.remove(channel)
        return ws

    async def _receive(self, channel: Channel) -> None:
        async for message in channel.ws:
            if message.type is WSMsgType.BINARY:
                content = msgpack.unpackb(message.data)
                if content["type"] not in ("Init", "Marker", "Audio", "OggOpus"):
                    return  # serde refuses it, and the loop ends
                channel.inbox.append(content)

    async def _model_loop(self) -> None:
        while True:
            await asyncio.sleep(self._step_s)
            if self.faults.stalled:
                continue
            active = [await self._advance(channel) for channel in list(self.channels)]
            if any(active):
                self._steps += 1
            await self._return_markers()

    async def _advance(self, channel: Channel) -> bool:
        """One message of a channel, and one frame where there is one."""
        message = channel.inbox.popleft() if channel.inbox else {"type": "Audio", "pcm": []}
        if message["type"] == "Init":
            await self._send(channel, {"type": "Ready"})
            return False
        if message["type"] == "Marker":
            due = self._steps + self._delay + len(channel.data) // FRAME
            due = 0 if self.faults.early_markers else due
            self._markers.append((due, channel, message["id"]))
            return False
        pcm = np.asarray(message["pcm"], np.float32)
        channel.data = np.concatenate([channel.data, pcm])
        if len(channel.data) < FRAME:
            return False
        frame, channel.data = channel.data[:FRAME], channel.data[FRAME:]
        await self._decode(channel, frame)
        return True

    async def _decode(self, channel: Channel, frame: Any) -> None:
        channel.words += channel.hearing.frame(channel.steps, frame)
        channel.steps += 1
        if self._heads:
            pause = 0.9 if not channel.words and channel.begun is None else 0.1
            content = {"type": "Step", "step_idx": self._steps, "prs": [pause, pause, 0.1, 0.1]}
            await self._send(channel, {**content, "buffered_pcm": len(channel.data)})
        await self._tokens(channel)
        if channel.close_at is not None and channel.steps >= channel.close_at:
            await channel.ws.close()

    async def _tokens(self, channel: Channel) -> None:
        """The text token of this step, about the frame `delay` steps ago."""
        at = channel.steps - self._delay
        begins = bool(channel.words) and channel.words[0].start <= at
        if channel.begun is not None and (begins or channel.begun.end <= at):
            word = {"type": "Word", "text": channel.begun.text, "start_time": channel.last_stop}
            self.told.append((time.monotonic(), channel.begun.text))
            await self._send(channel, word)
            channel.begun, channel.unended = None, True
        if begins and channel.begun is None:
            stop = max(0, at) / PER_S
            if channel.unended:
                await self._send(channel, {"type": "EndWord", "stop_time": stop})
                channel.unended = False
            channel.begun, channel.last_stop = channel.words.popleft(), stop

    async def _return_markers(self) -> None:
        waiting, self._markers = self._markers, []
        for due, channel, number in waiting:
            if due > self._steps:
                self._markers.append((due, channel, number))
            elif not self.faults.no_markers:
                await self._send(channel, {"type": "Marker", "id": number})

    async def _send(self, channel: Channel, content: dict[str, Any]) -> None:
        if channel.ws.closed:
            return
        garbage = self.faults.garbage.popleft() if self.faults.garbage else None
        try:
            await channel.ws.send_bytes(packed(content) if garbage is None else garbage)
        except ConnectionError:
            await channel.ws.close()


def packed(content: dict[str, Any]) -> bytes:
    made: bytes = msgpack.packb(content)
    return made
