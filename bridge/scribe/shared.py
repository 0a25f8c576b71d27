"""Microphones that several people share: whose voice an utterance is, while they speak and after.

Live, the pipeline looks at the last minute of what a microphone said, over and over, as fast as the
diarizer answers: whole windows over-count people less than embedding each utterance by itself
(docs/decisions/0008). Its labels are provisional. At the end, and whenever ten minutes of speech
have come together, it looks at all of them at once; what that changes is told again, under the same
segment ids. Audio is in memory alone and bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, replace

from bridge.scribe.diarizer import Diarized, Diarizer, NotDiarized, VoiceTurn
from bridge.scribe.engines import RATE, Event, Stream
from bridge.scribe.frames import Frame
from bridge.scribe.merge import Piece
from bridge.scribe.reel import Joined, Reel
from bridge.scribe.voices import PER_MS, Part, Roster, cut, likely, part_id

log = logging.getLogger(__name__)

WINDOW = 60 * RATE
"""Speech that is looked at for a live label: three seconds of one core."""
LIVE_S = 8.0
"""An utterance waits no longer for its label; the last pass gives it one."""
BLOCK = 600 * RATE
"""Speech after which labels are settled, so that audio does not pile up: 19 MB a microphone."""
FINAL_S = 180.0
"""Patience with the last pass over one block (measured: 30 s)."""
WAITING = 50
"""Utterances of one microphone that may wait for labels; the oldest goes out without."""

Keep = Callable[[Frame], Awaitable[None]]


@dataclass(slots=True)
class _Said:
    """An utterance as it was told."""

    piece: Piece
    frame: Frame
    parts: list[Part]
    rev: int = 0


class Microphone:
    """One shared microphone. Only its owner's one task calls `label` and `settle`."""

    def __init__(self, diarizer: Diarizer, keep: Keep) -> None:
        self._diarizer = diarizer
        self._keep = keep
        self._reel = Reel(BLOCK + WINDOW)
        self._roster = Roster(diarizer.most)
        self._waiting: deque[tuple[Piece, Frame]] = deque()
        self._said: list[_Said] = []
        self._fresh = 0
        self._turns: tuple[VoiceTurn, ...] = ()

    def hear(self, pcm: bytes, start: int) -> None:
        """Speech of the track; `start` in samples since the conference's start."""
        self._reel.add(pcm, start)
        self._fresh += len(pcm) // 2

    def forget(self) -> None:
        """Drop the audio; what was said stays as it was told."""
        self._reel.keep(0)
        self._said.clear()
        self._turns = ()

    async def put(self, piece: Piece, frame: Frame) -> None:
        """Something was said; `frame` is its segment without a label."""
        self._waiting.append((piece, frame))
        if len(self._waiting) > WAITING:
            await self._tell(*self._waiting.popleft(), ())

    def voice(self, piece: Piece) -> str:
        """Whose words these are by what has been looked at so far; '': not known yet."""
        return likely(piece, self._turns)

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether it is time to settle."""
        return self._fresh >= BLOCK

    async def label(self) -> None:
        """Tell what waits, under the labels that are likely now."""
        pieces = list(self._waiting)
        audio = self._reel.joined(WINDOW)
        found = await self._asked(audio, LIVE_S, patient=False)
        if found is not None:
            self._turns = self._roster.learn(placed(found, audio), found.prints)
        for piece, frame in pieces:
            # What `put` pushed out meanwhile has been told.
            if self._waiting and self._waiting[0][0] is piece:
                self._waiting.popleft()
                await self._tell(piece, frame, self._turns if found is not None else ())

    async def settle(self) -> None:
        """Look at everything since the last time, and tell what was not right."""
        while self._waiting:
            await self._tell(*self._waiting.popleft(), ())
        said, self._said, self._fresh = self._said, [], 0
        audio = self._reel.joined()
        found = await self._asked(audio, FINAL_S, patient=True) if said else None
        self._reel.keep(WINDOW)
        if found is None:
            return
        live = [
            VoiceTurn(part.start_ms * PER_MS, part.end_ms * PER_MS, part.voice)
            for one in said
            for part in one.parts
        ]
        turns = self._roster.settle(placed(found, audio), found.prints, live)
        for one in said:
            await self._correct(one, turns)

    async def _asked(self, audio: Joined, limit_s: float, *, patient: bool) -> Diarized | None:
        try:
            async with asyncio.timeout(limit_s):
                return await self._diarizer.diarize(audio.pcm, self._diarizer.most, patient=patient)
        except (NotDiarized, TimeoutError) as error:
            log.warning("voices at a shared microphone are not told apart: %r", error)
            return None

    async def _tell(self, piece: Piece, frame: Frame, turns: tuple[VoiceTurn, ...]) -> None:
        said = _Said(piece, frame, cut(piece, turns))
        self._said.append(said)
        for number, part in enumerate(said.parts):
            await self._keep(_frame(said, number, part))

    async def _correct(self, said: _Said, turns: tuple[VoiceTurn, ...]) -> None:
        """Tell again the parts that are others now; those there are no longer become empty."""
        before, after = said.parts, cut(said.piece, turns)
        said.rev, said.parts = said.rev + 1, after
        surplus = [replace(part, text="", words=()) for part in before[len(after) :]]
        for number, part in enumerate([*after, *surplus]):
            if number >= len(before) or part != before[number]:
                await self._keep({**_frame(said, number, part), "pass": "final"})


class SharedMicrophones:
    """All of one session's. `run()` owns their work; without a diarizer nothing is done here."""

    def __init__(self, diarizer: Diarizer | None, keep: Keep) -> None:
        self._diarizer = diarizer
        self._keep = keep
        self._shared: frozenset[str] = frozenset()
        self._microphones: dict[str, Microphone] = {}
        self._wake = asyncio.Event()
        self._finishing = False

    def flag(self, identities: Collection[str]) -> None:
        """These participants are rooms with several people."""
        before, self._shared = self._shared, frozenset(identities)
        if self._diarizer is not None and self._shared - before:
            self._diarizer.warm()

    def tapped(self, stream: Stream, identity: str) -> Stream:
        """The stream of a participant's track, listened to here as well."""
        return stream if self._diarizer is None else _Tapped(stream, identity, self._hear)

    def forget(self, identity: str) -> None:
        """This participant is not listened to any more: their audio is dropped."""
        microphone = self._microphones.get(identity)
        if microphone is not None:
            microphone.forget()

    async def told(self, identity: str, piece: Piece, frame: Frame) -> None:
        """A final piece of a participant's track: kept at once, or when its voices have labels."""
        microphone = self._microphone(identity)
        if microphone is None:
            await self._keep(frame)
        else:
            await microphone.put(piece, frame)
            self._wake.set()

    def voice(self, identity: str, piece: Piece) -> str:
        """The label of a caption: captions do not wait, so it is '' where none is known yet."""
        microphone = self._microphones.get(identity) if identity in self._shared else None
        return "" if microphone is None else microphone.voice(piece)

    def finish(self) -> None:
        """The call is over: `run` has the last word on every voice, and ends."""
        self._finishing = True
        self._wake.set()

    async def run(self) -> None:
        """Label what is said, microphone by microphone, until `finish`; then settle all of it."""
        while not self._finishing:
            self._wake.clear()
            await self._each(_advance)
            if not any(microphone.waits for microphone in self._microphones.values()):
                await self._wake.wait()
        await self._each(Microphone.settle)

    async def _each(self, act: Callable[[Microphone], Awaitable[None]]) -> None:
        for identity, microphone in list(self._microphones.items()):
            try:
                await act(microphone)
            except Exception:  # the task's top level: one microphone must not end the others
                log.exception("the voices of %s are not told apart any more", identity)
                del self._microphones[identity]

    def _hear(self, identity: str, pcm: bytes, start: int) -> None:
        microphone = self._microphone(identity)
        if microphone is not None:
            microphone.hear(pcm, start)

    def _microphone(self, identity: str) -> Microphone | None:
        if self._diarizer is None or identity not in self._shared:
            return None
        if identity not in self._microphones:
            self._microphones[identity] = Microphone(self._diarizer, self._keep)
        return self._microphones[identity]


async def _advance(microphone: Microphone) -> None:
    if microphone.waits:
        await microphone.label()
    if microphone.full:
        await microphone.settle()


class _Tapped:
    """A stream whose audio somebody else hears too."""

    def __init__(
        self, stream: Stream, identity: str, hear: Callable[[str, bytes, int], None]
    ) -> None:
        self._stream = stream
        self._identity = identity
        self._hear = hear

    def push(self, pcm: bytes, start: int) -> None:
        self._hear(self._identity, pcm, start)
        self._stream.push(pcm, start)

    def end(self) -> None:
        self._stream.end()

    async def close(self) -> None:
        await self._stream.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._stream.__aiter__()


def placed(found: Diarized, audio: Joined) -> list[VoiceTurn]:
    """An answer's turns in the conference's time."""
    return [
        VoiceTurn(start, end, turn.voice)
        for turn in found.turns
        for start, end in audio.spoken(turn.start, turn.end)
    ]


def _frame(said: _Said, number: int, part: Part) -> Frame:
    segment = part_id(said.piece.segment, number)
    return {
        **said.frame,
        "key": f"{segment}:{said.rev}",
        "segment": segment,
        "rev": said.rev,
        "text": part.text,
        "start_ms": part.start_ms,
        "end_ms": part.end_ms,
        "words": [list(word) for word in part.words],
        "voice": part.voice,
    }
