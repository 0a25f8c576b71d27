"""One voice at two microphones: its words are told once, of the track where it is louder. Pure.

Two laptops in a room, or loudspeakers beside a microphone: what one person says arrives on another
person's track too, fainter and a little later. A word of a track is such a copy when another track
has the same word within `NEAR_MS` and is louder by `LOUDER_DB` while it lasts, and when its
neighbours are copies too: people do use the same words. Who is as loud as the other says it
themselves.

A final waits only where it may be a copy: another track was louder then and owes words of that
moment. Where nobody else speaks, or nobody louder, nothing waits. Times are milliseconds.
"""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from bridge.scribe.activity import KEPT_MS, Activity
from bridge.scribe.merge import Piece

NEAR_MS = 500
"""The same word comes on two tracks within this: echo, jitter buffers, an engine's word times."""
LOUDER_DB = 6.0
HOLD_MS = 4000
"""A final waits no longer for a louder track's words: a copy ends when its original does, and an
engine that needs more than this for it is behind by more than anybody wants to wait."""
ROW = 3
"""So many words in a row are no chance; fewer count only where they are all that was said."""
ALIKE = 0.75
"""A copy is understood worse: `budgets` may stand for `budget`."""
REMEMBERED = 500

Track = TypeVar("Track", bound=Hashable)
Word = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class _Held(Generic[Track]):
    track: Track
    piece: Piece
    until_ms: int


class Bleed(Generic[Track]):
    """The tracks of one call. `track` is whatever names one; `now_ms` a clock that never jumps."""

    def __init__(self) -> None:
        self._tracks: dict[Track, Activity] = {}
        self._heard: deque[tuple[Track, Piece]] = deque(maxlen=REMEMBERED)
        self._held: list[_Held[Track]] = []
        self._left: dict[Track, int] = {}
        self._shown: deque[str] = deque(maxlen=REMEMBERED)
        """Segments of which interims were let through."""

    def joined(self, track: Track) -> Activity:
        """A track is heard from now on: where its levels and utterances are noted."""
        return self._tracks.setdefault(track, Activity())

    def left(self, track: Track, now_ms: int) -> None:
        """All of a track is answered. What it said is remembered for a minute."""
        if track in self._tracks:
            self._tracks[track].closed()
            self._left[track] = now_ms
        for gone in [one for one, at in self._left.items() if now_ms - at > KEPT_MS]:
            del self._left[gone], self._tracks[gone]

    def shows(self, track: Track, piece: Piece) -> bool:
        """Whether an interim may be shown: nobody louder speaks meanwhile."""
        if self._louder(track, piece.start_ms, self._tracks[track].newest_ms):
            return False
        if piece.segment not in self._shown:
            self._shown.append(piece.segment)
        return True

    def final(self, track: Track, piece: Piece, now_ms: int) -> list[tuple[Track, Piece]]:
        """A final has come; which may be told now, in order.

        One with an empty text takes back what was shown: all of it was another's.
        """
        self._heard.append((track, piece))
        self._held.append(_Held(track, piece, now_ms + HOLD_MS))
        return self.due(now_ms)

    def due(self, now_ms: int) -> list[tuple[Track, Piece]]:
        """Which may be told now; to be asked a few times a second."""
        told, waiting, blocked = [], [], set()
        for held in self._held:
            # What one person says stays in order.
            if held.track in blocked or (now_ms < held.until_ms and self._waits(held)):
                waiting.append(held)
                blocked.add(held.track)
            elif (own := self._own(held.track, held.piece)) is not None:
                told.append((held.track, own))
        self._held = waiting
        return told

    def rest(self) -> list[tuple[Track, Piece]]:
        """All that waits: nothing more will come."""
        held, self._held = self._held, []
        owned = [(one.track, self._own(one.track, one.piece)) for one in held]
        return [(track, piece) for track, piece in owned if piece is not None]

    def _waits(self, held: _Held[Track]) -> bool:
        start, end = held.piece.start_ms - NEAR_MS, held.piece.end_ms + NEAR_MS
        louder = self._louder(held.track, held.piece.start_ms, held.piece.end_ms)
        louder |= {t for w in held.piece.words for t in self._louder(held.track, w[1], w[2])}
        return any(self._tracks[other].owes(start, end) for other in louder)

    def _louder(self, track: Track, start_ms: int, end_ms: int) -> set[Track]:
        """Who spoke then, and was louder."""
        speaking = {
            other: activity
            for other, activity in self._tracks.items()
            if other != track and activity.spoke(start_ms, max(end_ms, start_ms + 1))
        }
        if not speaking:
            return set()
        own = self._tracks[track].loudness(start_ms, end_ms)
        return {
            other
            for other, activity in speaking.items()
            if activity.loudness(start_ms, end_ms) >= own + LOUDER_DB
        }

    def _own(self, track: Track, piece: Piece) -> Piece | None:
        """What of a piece its speaker said; None: nothing, and nothing of it was shown."""
        words = list(piece.words)
        copies: set[int] = set()
        for other in {t for t, _ in self._heard if t != track and t in self._tracks}:
            copies |= self._copies(track, words, other)
        if not copies:
            return piece
        own = [word for at, word in enumerate(words) if at not in copies]
        if not own:
            return replace(piece, text="", words=()) if piece.segment in self._shown else None
        text = " ".join(word[0] for word in own)
        return replace(piece, text=text, words=tuple(own), start_ms=own[0][1], end_ms=own[-1][2])

    def _copies(self, track: Track, words: list[Word], other: Track) -> set[int]:
        """Which of the words are another track's."""
        theirs = [w for t, piece in self._heard if t == other for w in piece.words]
        louder = [other in self._louder(track, start, end) for _, start, end in words]
        same = [at for at in matched(words, theirs) if louder[at]]
        copies: set[int] = set()
        for first, last in stretches(same, louder):
            row = [at for at in same if first <= at <= last]
            if len(row) >= ROW or 2 * len(row) >= len(words):
                copies |= set(range(first, last + 1))
        return copies


def matched(words: list[Word], theirs: list[Word]) -> list[int]:
    """Places of the words that the others have too, in the same order and within `NEAR_MS`."""
    found, after = [], -1
    for at, (text, start, _) in enumerate(words):
        for number, (other, begun, _) in enumerate(theirs):
            if number > after and abs(start - begun) <= NEAR_MS and alike(text, other):
                found.append(at)
                after = number
                break
    return found


def stretches(same: list[int], louder: list[bool]) -> list[tuple[int, int]]:
    """From which word to which the louder one spoke, wherever that holds a matched word.

    Words between are copies that were misunderstood.
    """
    found: list[tuple[int, int]] = []
    for at in same:
        if found and at <= found[-1][1]:
            continue
        first = last = at
        while first > 0 and louder[first - 1]:
            first -= 1
        while last + 1 < len(louder) and louder[last + 1]:
            last += 1
        found.append((first, last))
    return found


_LETTERS = re.compile(r"\w+")


def alike(one: str, other: str) -> bool:
    """Whether two words may be the same one, heard twice."""
    one, other = ("".join(_LETTERS.findall(word.casefold())) for word in (one, other))
    if one == other:
        return True
    short = min(len(one), len(other)) < 4
    return not short and difflib.SequenceMatcher(None, one, other).ratio() >= ALIKE
