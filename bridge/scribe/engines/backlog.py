"""Audio of one track on its way to an engine that may be slower than people speak.

Bounded: when more than `LIMIT` samples wait, the oldest are dropped and a `Gap` says so. What was
handed to the engine is kept until the utterance is answered, so that it can be given again to
another worker when one dies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from bridge.scribe.engines import RATE, Event, Final, Gap, Interim

LIMIT = 20 * RATE
"""Samples that may wait for the engine."""
TRIM = RATE
"""Samples dropped at once, so that one gap is heard of instead of fifty."""
ATTEMPTS = 2
"""How many workers may die of one utterance before it is given up."""


@dataclass(slots=True, eq=False)
class Utterance:
    """One utterance: `sent` bytes are with the engine, `waiting` bytes are not yet."""

    start: int
    sent: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)
    lost: int = 0
    ended: bool = False
    cut: bool = False
    """What came behind it is lost; the rest of what was said then is another one."""
    attempts: int = 0

    @property
    def end(self) -> int:
        return self.start + (len(self.sent) + len(self.waiting)) // 2


class Backlog:
    """A `Stream`: the track pushes at one end, a worker takes at the other."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.memory: str | None = None
        """What the engine wants to remember of this voice between utterances."""
        self._utterances: deque[Utterance] = deque()
        self._wake = wake
        self._events: deque[Event] = deque()
        self._heard = asyncio.Event()
        self._closing = False

    def push(self, pcm: bytes, start: int) -> None:
        if not self._utterances or self._utterances[-1].ended:
            self._utterances.append(Utterance(start))
        self._utterances[-1].waiting += pcm
        if self._waiting() > LIMIT:
            self._drop_oldest()
        self._wake()

    def end(self) -> None:
        if self._utterances:
            self._utterances[-1].ended = True
            self._wake()

    async def close(self) -> None:
        self.end()
        self._closing = True
        self._heard.set()

    @property
    def finished(self) -> bool:
        """Nothing is left to do and nothing will come."""
        return self._closing and not self._utterances

    @property
    def head(self) -> Utterance | None:
        """The utterance to be worked on next."""
        return self._utterances[0] if self._utterances else None

    def take(self, most: int) -> bytes:
        """Up to `most` bytes of the head's waiting audio, now counted as sent."""
        utterance = self._utterances[0]
        self._tell_lost(utterance)
        pcm = bytes(utterance.waiting[:most])
        del utterance.waiting[:most]
        utterance.sent += pcm
        return pcm

    def interim(self, words: tuple[str, ...]) -> None:
        self._emit(Interim(self._utterances[0].start, words))

    def answered(self, final: Final) -> None:
        """The head is done."""
        utterance = self._utterances.popleft()
        self._tell_lost(utterance)
        self._emit(replace(final, last=not utterance.cut))

    def failed(self) -> None:
        """The worker died with the head in its hands: give it to another one, or give it up."""
        utterance = self._utterances[0]
        utterance.attempts += 1
        if utterance.attempts < ATTEMPTS:
            utterance.waiting[:0] = utterance.sent
            utterance.sent.clear()
            return
        self._utterances.popleft()
        self._emit(Gap(utterance.start, utterance.end))
        if utterance.ended:
            self._emit(Final(utterance.end, (), last=not utterance.cut))
        else:
            self._utterances.appendleft(Utterance(utterance.end))

    def gap(self, gap: Gap) -> None:
        """A part of the head was not understood."""
        self._emit(gap)

    def abandon(self) -> None:
        """The engine is gone: the iteration ends, whatever is not answered."""
        self._utterances.clear()
        self._closing = True
        self._heard.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self.finished:
                return
            self._heard.clear()
            await self._heard.wait()

    def _emit(self, event: Event) -> None:
        # Interims are worth something only while they are news: the newest replaces the last.
        if isinstance(event, Interim) and self._events and isinstance(self._events[-1], Interim):
            self._events.pop()
        self._events.append(event)
        self._heard.set()

    def _tell_lost(self, utterance: Utterance) -> None:
        if utterance.lost:
            self._emit(Gap(utterance.start - utterance.lost, utterance.start))
            utterance.lost = 0

    def _waiting(self) -> int:
        return sum(len(utterance.waiting) for utterance in self._utterances) // 2

    def _drop_oldest(self) -> None:
        at = next(i for i, u in enumerate(self._utterances) if u.waiting)
        utterance = self._utterances[at]
        dropped = min(TRIM, len(utterance.waiting) // 2)
        if utterance.sent:
            # The part the engine has heard is answered as it is; the rest is another utterance.
            rest = Utterance(utterance.end - len(utterance.waiting) // 2)
            rest.waiting, rest.ended, rest.cut = utterance.waiting, utterance.ended, utterance.cut
            utterance.waiting, utterance.ended, utterance.cut = bytearray(), True, True
            self._utterances.insert(at + 1, rest)
            utterance = rest
        del utterance.waiting[: dropped * 2]
        utterance.start += dropped
        utterance.lost += dropped
