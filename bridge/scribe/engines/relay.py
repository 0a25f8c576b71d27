"""One track's stream over several engines: whichever writes now, nothing said is lost between two.

What is spoken is kept until it is answered. When the engine that has it falls, the next one gets it
again; when none is there it is kept for a while, and what must be let go is told as a Gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bridge.scribe.engines import (
    RATE,
    EngineDown,
    Event,
    Final,
    Gap,
    Interim,
    Recognizer,
    Stream,
    UnknownLanguage,
)

log = logging.getLogger(__name__)

KEPT = 20 * RATE
"""Samples of one track that are kept for an engine to come, or for the one after it."""
TRIM = RATE
"""Samples let go at once."""
TOLD = 15 * RATE
"""A hole this long is told although it goes on."""
OPEN_S = 5.0
ATTEMPTS = 4
"""Engines that may fall over one utterance before it is given up."""


class Option(Protocol):
    """One engine as the choice sees it."""

    @property
    def recognizer(self) -> Recognizer: ...


class Chooser(Protocol):
    """What a relay asks of bridge.scribe.engines.choice.Choice."""

    def understands(self, language: str) -> bool: ...
    def pick(self, language: str, current: Any = None) -> Any: ...
    def began(self, option: Any, relay: Relay) -> None: ...
    def left(self, option: Any, relay: Relay) -> None: ...
    def fell(self, option: Any, reason: str) -> None: ...
    def well(self, option: Any) -> None: ...
    def cannot(self, option: Any, language: str) -> None: ...
    def rest_s(self, language: str) -> float: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


@dataclass(slots=True, eq=False)
class Spoken:
    """An utterance that is not answered yet, from the sample `start` on.

    `pcm` lacks the first `forgotten` samples: an engine has them, and they are kept no more.
    `sent`: bytes of `pcm` that the engine has.
    """

    start: int
    language: str
    pcm: bytearray = field(default_factory=bytearray)
    forgotten: int = 0
    sent: int = 0
    begun: bool = False
    ended: bool = False
    closed: bool = False
    attempts: int = 0

    @property
    def end(self) -> int:
        return self.start + self.forgotten + len(self.pcm) // 2

    def answered(self, until: int) -> None:
        """What was said before the sample `until` is answered."""
        done = min(until, self.end) - self.start
        if done <= 0:
            return
        self.start += done
        cut = max(0, done - self.forgotten) * 2
        self.forgotten = max(0, self.forgotten - done)
        del self.pcm[:cut]
        self.sent = max(0, self.sent - cut)

    def anew(self) -> int:
        """To be given to another engine; the samples at its beginning that nobody has any more."""
        gone, self.forgotten = self.forgotten, 0
        self.start += gone
        self.sent, self.begun, self.closed = 0, False, False
        return gone


class Relay:
    """A `Stream`; `run()` belongs to the choice that made it."""

    def __init__(self, choice: Chooser, language: str) -> None:
        self._choice = choice
        self._language = language
        self._owed: deque[Spoken] = deque()
        self._events: deque[Event] = deque()
        self._hole: tuple[int, int] | None = None
        self._inner: Stream | None = None
        self._option: Option | None = None
        self._inner_language = ""
        self._leaving = False
        self._closing = False
        self._deaf = False
        self._done = False
        self._changed = asyncio.Event()
        self._heard = asyncio.Event()

    # ---- the track's side

    def speaks(self, language: str) -> None:
        """From the next utterance on, this is the language."""
        self._language = language

    def push(self, pcm: bytes, start: int) -> None:
        if not self._owed or self._owed[-1].ended:
            if self._deaf or not self._choice.understands(self._language):
                return
            self._owed.append(Spoken(start, self._language))
        self._owed[-1].pcm += pcm
        self._forward()
        self._let_go()
        self._changed.set()

    def end(self) -> None:
        if self._owed:
            self._owed[-1].ended = True
            self._forward()
            self._changed.set()

    def forget(self) -> None:
        """Drop what is not answered, and do not answer it: nobody is to hear it any more."""
        self._owed.clear()
        self._events.clear()
        self._hole = None
        self._deaf = True
        self._leave()
        self._changed.set()

    async def close(self) -> None:
        self.end()
        self._closing = True
        self._leave()
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._done:
                return
            self._heard.clear()
            await self._heard.wait()

    @property
    def owed_since(self) -> int | None:
        """Where the oldest speech begins that is not answered; None where all is."""
        return self._owed[0].start if self._owed else None

    def give_up(self) -> None:
        """Nobody waits any longer: what is not answered is told as lost, and nothing after it."""
        self._give_up()
        self._tell_hole()
        self._deaf = self._done = True
        self._leave()
        self._heard.set()

    # ---- the engines' side

    async def run(self) -> None:
        """Have everything answered that is said, until the track is closed."""
        try:
            while self._owed or not self._closing:
                await self._step()
        except Exception:  # a task's top level: one broken relay must not end the others
            log.exception("a relay between engines broke")
            self._give_up()
        finally:
            self._tell_hole()
            self._done = True
            self._heard.set()

    async def _step(self) -> None:
        self._changed.clear()
        if not self._owed:
            self._tell_hole()
            await self._changed.wait()
            return
        language = self._owed[0].language
        option = self._choice.pick(language)
        if option is not None:
            await self._with(option, language)
        elif self._closing:
            self._give_up()
        else:
            await self._wait(self._choice.rest_s(language))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _with(self, option: Option, language: str) -> None:
        """Let one engine write until it falls, or another one is to."""
        self._choice.began(option, self)
        try:
            async with asyncio.timeout(OPEN_S):
                inner = await option.recognizer.open(language)
            self._option, self._inner, self._inner_language = option, inner, language
            self._leaving = False
            self._forward()
            if self._closing:
                self._leave()
            async for event in inner:
                self._take(event, option)
            if self._owed and self._owed[0].begun:  # it ended and has not answered all
                self._owed[0].attempts += 1
        except EngineDown as error:
            self._fell(option, str(error))
        except TimeoutError:
            self._fell(option, "timeout")
        except UnknownLanguage:
            self._choice.cannot(option, language)
        finally:
            self._inner = self._option = None
            self._choice.left(option, self)
            self._anew()

    def _fell(self, option: Option, reason: str) -> None:
        self._choice.fell(option, reason)
        if self._owed:
            self._owed[0].attempts += 1

    def _forward(self) -> None:
        """Give the engine what it has not got; see whether the next utterance is another's."""
        if self._inner is None or self._leaving:
            return
        for spoken in self._owed:
            if not spoken.begun and not self._fits(spoken):
                self._leave()
                return
            spoken.begun = True
            if len(spoken.pcm) > spoken.sent:
                at = spoken.start + spoken.forgotten + spoken.sent // 2
                self._inner.push(bytes(spoken.pcm[spoken.sent :]), at)
                spoken.sent = len(spoken.pcm)
            if spoken.ended and not spoken.closed:
                spoken.closed = True
                self._inner.end()

    def _fits(self, spoken: Spoken) -> bool:
        best = self._choice.pick(spoken.language, self._option)
        return best is self._option and spoken.language == self._inner_language

    def _leave(self) -> None:
        if self._inner is not None and not self._leaving:
            self._leaving = True
            self._choice.spawn(self._inner.close())

    def _take(self, event: Event, option: Option) -> None:
        if isinstance(event, Gap):
            self._lost(event.start, event.end)
            if self._owed:
                self._owed[0].answered(event.end)
            return
        self._choice.well(option)
        language = self._owed[0].language if self._owed else self._inner_language
        if isinstance(event, Interim):
            self._emit(replace(event, language=language))
            return
        self._settle(event)
        name = option.recognizer.capability.name
        self._emit(replace(event, engine=event.engine or name, language=language))

    def _settle(self, final: Final) -> None:
        if not self._owed:
            return
        head = self._owed[0]
        if not final.last:
            head.answered(final.words[-1].end if final.words else final.start)
        elif head.closed:
            self._owed.popleft()

    # ---- what is lost

    def _anew(self) -> None:
        """The engine that had it is gone: what is unanswered is for another one."""
        for spoken in list(self._owed):
            at = spoken.start
            gone = spoken.anew()
            if gone:
                self._lost(at, at + gone)
            given_up = spoken.attempts >= ATTEMPTS
            if given_up:
                self._lost(spoken.start, spoken.end)
            if given_up or (spoken.ended and not spoken.pcm):
                self._owed.remove(spoken)

    def _let_go(self) -> None:
        while sum(len(spoken.pcm) for spoken in self._owed) // 2 > KEPT:
            spoken = next(one for one in self._owed if one.pcm)
            if spoken.sent:
                cut = min(TRIM * 2, spoken.sent)
                spoken.forgotten += cut // 2
                spoken.sent -= cut
            else:
                cut = min(TRIM * 2, len(spoken.pcm))
                self._lost(spoken.start, spoken.start + cut // 2)
                spoken.start += cut // 2
            del spoken.pcm[:cut]
            if spoken.ended and not spoken.pcm and not spoken.begun:
                self._owed.remove(spoken)

    def _give_up(self) -> None:
        for spoken in self._owed:
            self._lost(spoken.start, spoken.end)
        self._owed.clear()

    def _lost(self, start: int, end: int) -> None:
        """One long hole is told as one, not as fifty; it does not wait for ever."""
        if self._hole is not None and start - self._hole[1] > TOLD:
            self._tell_hole()
        self._hole = (start if self._hole is None else self._hole[0], end)
        if self._inner is not None or self._hole[1] - self._hole[0] >= TOLD:
            self._tell_hole()

    def _tell_hole(self) -> None:
        if self._hole is not None:
            gap, self._hole = Gap(*self._hole), None
            self._emit(gap)

    def _emit(self, event: Event) -> None:
        if self._deaf:
            return
        self._tell_hole()
        # Interims are worth something only while they are news: the newest replaces the last.
        if isinstance(event, Interim) and self._events and isinstance(self._events[-1], Interim):
            self._events.pop()
        self._events.append(event)
        self._heard.set()
