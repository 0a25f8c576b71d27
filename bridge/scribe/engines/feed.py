"""Audio of one track on its way to a server that answers later, or breaks off and is asked again.

What was taken is kept until it is answered, so that it can be sent again; when more than `LIMIT`
waits, the oldest is dropped and what was lost stands in its place. Pure; positions are samples.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bridge.scribe.engines import RATE

LIMIT = 20 * RATE
"""Samples that may wait, and samples of what was sent that are kept for sending again."""
TRIM = RATE
"""Samples dropped at once, so that one gap is heard of instead of fifty."""


@dataclass(slots=True)
class Speech:
    """Audio from `start` on, mono, signed 16 bit, without a hole."""

    start: int
    pcm: bytearray

    @property
    def end(self) -> int:
        return self.start + len(self.pcm) // 2


@dataclass(frozen=True, slots=True)
class Over:
    """An utterance ended at `end`."""

    end: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Audio that was dropped because too much waited."""

    start: int
    end: int


Item = Speech | Over | Lost


@dataclass(slots=True)
class Feed:
    """Pushed at one end, taken at the other; `sent` is what was taken and is not answered."""

    waiting: deque[Item] = field(default_factory=deque)
    sent: deque[Item] = field(default_factory=deque)
    _end: int = 0
    _open: bool = False

    def push(self, pcm: bytes, start: int) -> None:
        """More of the utterance that is being spoken; the first after `end` begins a new one."""
        last = self.waiting[-1] if self.waiting else None
        if isinstance(last, Speech) and last.end == start:
            last.pcm += pcm
        else:
            self.waiting.append(Speech(start, bytearray(pcm)))
        self._open, self._end = True, start + len(pcm) // 2
        _shorten(self.waiting)

    def end(self) -> None:
        """The utterance is over."""
        if self._open:
            self._open = False
            self.waiting.append(Over(self._end))

    def take(self, most: int) -> Item | None:
        """The next to send, of audio at most `most` samples; None: nothing waits."""
        if not self.waiting:
            return None
        item = self.waiting.popleft()
        if isinstance(item, Speech) and len(item.pcm) > most * 2:
            self.waiting.appendleft(_from(item, item.start + most))
            item = Speech(item.start, item.pcm[: most * 2])
        if not isinstance(item, Lost):
            # A copy: what is kept grows together, what is returned is the caller's.
            kept = Speech(item.start, item.pcm[:]) if isinstance(item, Speech) else item
            self.sent.append(kept)
            _shorten(self.sent)
        return item

    def answered(self, position: int) -> None:
        """Whatever was said before `position` has been told."""
        while self.sent and not isinstance(first := self.sent[0], Over):
            if first.end > position:
                self.sent[0] = _from(first, position)
                return
            self.sent.popleft()

    def utterance_answered(self) -> None:
        """The first utterance sent is done, to its end."""
        while self.sent and not isinstance(self.sent.popleft(), Over):
            pass

    def again(self) -> None:
        """What was sent and not answered is to be sent again, before all that waits."""
        self.waiting.extendleft(reversed(self.sent))
        self.sent.clear()
        _shorten(self.waiting)

    def give_up(self) -> None:
        """As `again`, but the first stretch of speech sent is lost: it was sent too often."""
        at = next((i for i, item in enumerate(self.sent) if isinstance(item, Speech)), None)
        if at is not None:
            speech = self.sent[at]
            self.sent[at] = Lost(speech.start, speech.end) if isinstance(speech, Speech) else speech
        self.again()


def _shorten(items: deque[Item]) -> None:
    """Keep at most `LIMIT` samples; one stretch, heard or lost, is one item."""
    excess = sum(len(item.pcm) // 2 for item in items if isinstance(item, Speech)) - LIMIT
    old = list(items)
    items.clear()
    for item in old:
        rest: Item = item
        while excess > 0 and isinstance(rest, Speech) and rest.pcm:
            end = min(rest.end, rest.start + TRIM)
            excess -= end - rest.start
            _append(items, Lost(rest.start, end))
            rest = _from(rest, end)
        if isinstance(rest, Over) or rest.end > rest.start:
            _append(items, rest)


def _append(items: deque[Item], item: Item) -> None:
    last = items[-1] if items else None
    if isinstance(item, Lost) and isinstance(last, Lost) and last.end == item.start:
        items[-1] = Lost(last.start, item.end)
    elif isinstance(item, Speech) and isinstance(last, Speech) and last.end == item.start:
        last.pcm += item.pcm
    else:
        items.append(item)


def _from(part: Speech | Lost, position: int) -> Speech | Lost:
    start = max(part.start, position)
    if isinstance(part, Lost):
        return Lost(start, part.end)
    return Speech(start, part.pcm[(start - part.start) * 2 :])
