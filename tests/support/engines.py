"""Engines that say what a test tells them to, and fall when it wants."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from bridge.scribe.engines import RATE, Capability, EngineDown, Event, Final, Stream, Word

SECOND = b"\x01\x00" * RATE


class ToldStream:
    """A `Stream`: answers each utterance with its length in words, unless the engine is mute."""

    def __init__(self, engine: ToldEngine) -> None:
        self.engine = engine
        self.pushed: list[tuple[int, int]] = []
        self._utterance: tuple[int, int] | None = None
        self._events: deque[Event | EngineDown | None] = deque()
        self._heard = asyncio.Event()

    def push(self, pcm: bytes, start: int) -> None:
        self.pushed.append((start, len(pcm) // 2))
        at, length = self._utterance or (start, 0)
        self._utterance = at, length + len(pcm) // 2

    def end(self) -> None:
        if self._utterance is None:
            return
        start, length = self._utterance
        self._utterance = None
        self.engine.ends += 1
        if not self.engine.mute:
            self.tell(Final(start, (Word(self.engine.word, start, start + length),)))

    def tell(self, event: Event | EngineDown | None) -> None:
        self._events.append(event)
        self._heard.set()

    async def close(self) -> None:
        self.end()
        self.tell(None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                event = self._events.popleft()
                if event is None:
                    return
                if isinstance(event, EngineDown):
                    raise event
                yield event
            self._heard.clear()
            await self._heard.wait()


class ToldEngine:
    """A `Recognizer`. `word` is what it understands of everything; `down` refuses new streams."""

    def __init__(self, word: str, *languages: str) -> None:
        self.capability = Capability(word, frozenset(languages), interim=False, words=True)
        self.word = word
        self.mute = False
        self.down = ""
        self.breaks = 0
        self.streams: list[ToldStream] = []
        self.opened: list[str] = []
        self.ends = 0

    async def run(self) -> None:
        if self.breaks:
            self.breaks -= 1
            raise RuntimeError("broken")
        await asyncio.Event().wait()

    async def ready(self) -> None:
        if self.down:
            await asyncio.Event().wait()

    async def open(self, language: str) -> Stream:
        self.opened.append(language)
        if self.down:
            raise EngineDown(self.down)
        self.streams.append(ToldStream(self))
        return self.streams[-1]

    def fall(self, reason: str = "lost") -> None:
        """Every stream breaks, and none is opened any more."""
        self.down = reason
        for stream in self.streams:
            stream.tell(EngineDown(reason))
        self.streams.clear()

    def rise(self) -> None:
        self.down = ""
