"""Streams of engines that take whole utterances: each is one question, and they answer in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from bridge.scribe.engines import Capability, EngineDown, Event, Final, Gap, UnknownLanguage, Word
from bridge.scribe.engines.backlog import Backlog

log = logging.getLogger(__name__)


class Unheard(Exception):
    """The engine works, and cannot make anything of this audio: a gap."""


class Asked(Protocol):
    """What answers."""

    @property
    def capability(self) -> Capability: ...

    @property
    def live_s(self) -> float:
        """Seconds one utterance may take."""

    async def ask(self, pcm: bytes, language: str, seconds: float) -> list[Word]:
        """The words, from the first sample on. Raises Unheard, EngineDown, UnknownLanguage."""


class Utterances:
    """A `Stream`; `run()` is its one task."""

    def __init__(self, engine: Asked, language: str) -> None:
        self._engine = engine
        self._language = language
        self._wake = asyncio.Event()
        self._backlog = Backlog(self._wake.set)
        self._failure: EngineDown | UnknownLanguage | None = None

    def push(self, pcm: bytes, start: int) -> None:
        self._backlog.push(pcm, start)

    def end(self) -> None:
        self._backlog.end()

    async def close(self) -> None:
        await self._backlog.close()
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for event in self._backlog:
            yield event
        if self._failure is not None:
            raise self._failure

    async def run(self) -> None:
        """Ask until closed and answered, or until the engine is down."""
        try:
            while not self._backlog.finished:
                self._wake.clear()
                head = self._backlog.head
                if head is not None and head.waiting:
                    # Nothing is too slow as long as it is still being said.
                    self._backlog.take(len(head.waiting))
                elif head is not None and head.ended:
                    self._backlog.answered(await self._ask(head.start, bytes(head.sent)))
                else:
                    await self._wake.wait()
        except (EngineDown, UnknownLanguage) as error:
            self._failure = error
        except Exception:  # a task's top level: one broken stream must not end the others
            log.exception("%s: a stream broke", self._engine.capability.name)
            self._failure = EngineDown("protocol")
        finally:
            self._backlog.abandon()

    async def _ask(self, start: int, pcm: bytes) -> Final:
        try:
            words = await self._engine.ask(pcm, self._language, self._engine.live_s)
        except Unheard:
            self._backlog.gap(Gap(start, start + len(pcm) // 2))
            words = []
        at = tuple(Word(w.text, start + w.start, start + w.end) for w in words)
        return Final(start, at)
