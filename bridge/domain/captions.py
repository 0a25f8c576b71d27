"""Captions on their way to those who watch: what waits for one of them, and what they missed. Pure.

A caption is worth a second. Nothing is kept but the finals of the last minute, for who comes back
after their connection broke; and who cannot keep up loses interims first, then the oldest finals,
and is told how many of those.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

T = TypeVar("T")

LONGEST = 2000
"""Signs of one caption. A segment ends long before."""
RESUME_MS = 60_000
RESUME_MOST = 300
WAITING = 100
"""Captions that wait for one watcher: a minute of a lively meeting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Words on screen. `start_ms`: since the conference's start.

    `user_id`, `name`: of the speaker, '' where the media server has not said yet who it is.
    `number`: of finals, in the order they came; 0: not final, or not numbered yet.
    """

    segment: str
    user_id: str
    name: str
    text: str
    final: bool
    language: str
    start_ms: int
    voice: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A `caption` frame of the scribe: the words, and who said them as the media server knows."""

    conference: str
    segment: str
    identity: str
    text: str
    final: bool
    language: str
    start_ms: int
    voice: str

    def caption(self, user_id: str, name: str) -> Caption:
        """The same with its speaker's account and name."""
        return Caption(
            segment=self.segment,
            user_id=user_id,
            name=name,
            text=self.text,
            final=self.final,
            language=self.language,
            start_ms=self.start_ms,
            voice=self.voice,
        )


def read(frame: Mapping[str, Any]) -> Spoken | None:
    """A `caption` frame; None for what is none."""
    names = ("conference", "segment", "identity", "text", "language")
    texts = {name: frame.get(name) for name in names}
    start_ms, voice = frame.get("start_ms"), frame.get("voice", "")
    if not all(isinstance(value, str) for value in (*texts.values(), voice)):
        return None
    if type(start_ms) is not int or not texts["segment"]:
        return None
    values = {name: str(value) for name, value in texts.items()}
    values["text"] = values["text"][:LONGEST]
    return Spoken(**values, start_ms=start_ms, voice=str(voice), final=frame.get("final") is True)


class Waiting(Generic[T]):
    """Captions of any form that wait to be sent, at most `most`: the newest of each segment."""

    def __init__(self, most: int = WAITING) -> None:
        self._most = most
        self._waiting: OrderedDict[str, tuple[T, bool]] = OrderedDict()
        self._left_out = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, segment: str, caption: T, *, final: bool) -> None:
        """Add one; a final goes to the end, so that finals leave in the order they came."""
        _, ended = self._waiting.get(segment, (None, False))
        if ended:
            return
        if final:
            self._waiting.pop(segment, None)
        self._waiting[segment] = (caption, final)
        if len(self._waiting) > self._most:
            self._drop()

    def take(self) -> tuple[int, list[T]]:
        """Everything that waits, and how many finals were left out before it."""
        taken, left_out = [caption for caption, _ in self._waiting.values()], self._left_out
        self.clear()
        return left_out, taken

    def clear(self) -> None:
        """Forget what waits: it is not to be shown any more."""
        self._waiting.clear()
        self._left_out = 0

    def _drop(self) -> None:
        """The oldest interim goes; where all are finals the oldest of them, and it is counted."""
        interims = (segment for segment, (_, final) in self._waiting.items() if not final)
        interim = next(interims, None)
        if interim is None:
            self._waiting.popitem(last=False)
            self._left_out += 1
        else:
            del self._waiting[interim]


class Latest:
    """The finals of the last minute of a running call, for who was away for a moment."""

    def __init__(self) -> None:
        self._number = 0
        self._finals: deque[tuple[int, Caption]] = deque(maxlen=RESUME_MOST)

    def add(self, caption: Caption, now_ms: int) -> Caption:
        """The caption with its number."""
        self._number += 1
        numbered = replace(caption, number=self._number)
        self._forget(now_ms)
        self._finals.append((now_ms, numbered))
        return numbered

    def after(self, number: int, now_ms: int) -> list[Caption]:
        """Those with a higher number. A number that was never given is followed by nothing."""
        self._forget(now_ms)
        if not 0 < number <= self._number:
            return []
        return [caption for _, caption in self._finals if caption.number > number]

    def missed(self, number: int, now_ms: int) -> int:
        """How many after this one are forgotten already."""
        if not 0 < number <= self._number:
            return 0
        return self._number - number - len(self.after(number, now_ms))

    def _forget(self, now_ms: int) -> None:
        while self._finals and self._finals[0][0] < now_ms - RESUME_MS:
            self._finals.popleft()
