"""One conference's scribe: joins the call, listens to every microphone, leaves when told.

A session is one task with one mailbox. Orders of the bridge and events of the call come in there,
so nothing of a session is ever touched by two.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from bridge.scribe.bleed import Bleed
from bridge.scribe.captions import Captions, Show
from bridge.scribe.clock import monotonic_ms
from bridge.scribe.diarizer import Diarizer
from bridge.scribe.ear import Ear
from bridge.scribe.engines.choice import Choice
from bridge.scribe.engines.relay import Relay
from bridge.scribe.frames import Frame
from bridge.scribe.merge import Piece, milliseconds
from bridge.scribe.order import Keyring, MediaKey, Order
from bridge.scribe.participant import (
    CallEvent,
    Disconnected,
    JoinError,
    Participation,
    Readable,
    Track,
    TrackBegan,
    TrackEnded,
    Unreadable,
)
from bridge.scribe.seals import Seals
from bridge.scribe.shared import SharedMicrophones

log = logging.getLogger(__name__)

State = Literal["joining", "listening", "failed", "stopped"]

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 5.0
PATIENCE = 5
"""Attempts to join (7.5 s of pauses) before a session is said to have failed; it goes on trying."""
TICK_S = 0.25
FLUSH_S, GIVEN_UP_S = 15.0, 2.0
"""Seconds the engine has, after the end, for what was said; then it is told as a gap."""
DEAF_S, DEAF_PACKETS = 3.0, 100
MAILBOX = 1000


@dataclass(frozen=True, slots=True)
class Changed:
    """The bridge wants something else than before."""


Report = Callable[[str, State, str], None]
Keep = Callable[[Frame], Awaitable[None]]
Began = Callable[[Order], Awaitable[None]]
"""Called each time a session begins to listen."""


class Session:
    """`run()` owns everything and ends after `stop()`; orders may come at any time."""

    def __init__(
        self,
        order: Order,
        engine: Choice,
        keep: Keep,
        show: Show,
        report: Report,
        keys: Keyring,
        began: Began,
        diarizer: Diarizer | None = None,
    ) -> None:
        self.order = order
        self.state: State = "joining"
        self.detail = ""
        self._wanted = order
        self._stopping = False
        self._attempts = 0
        self._engine = engine
        self._keep = keep
        self._report = report
        self._keys = keys
        self._listening = began
        self._seals = Seals()
        self._mailbox: asyncio.Queue[CallEvent | Changed] = asyncio.Queue(MAILBOX)
        self._call: Participation | None = None
        self._ears: dict[str, Ear] = {}
        self._relays: dict[str, Relay] = {}
        self._answers: dict[asyncio.Task[None], Relay] = {}
        self._captions = Captions(show)
        self._bleed: Bleed[Ear] = Bleed()
        self._ready: deque[tuple[Ear, Piece]] = deque()
        self._telling = asyncio.Lock()
        self._shared = SharedMicrophones(diarizer, keep)
        self._flag(order)

    @property
    def wanted(self) -> Order:
        """What the bridge asked for last."""
        return self._wanted

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def awake(self) -> bool:
        """Whether it hears the call at this moment."""
        call = self._call
        return self.state == "listening" and call is not None and not call.interrupted

    @property
    def understood_ms(self) -> int | None:
        """Until when all that was said is understood, in Unix ms; None: until now."""
        owed = [relay.owed_since for relay in self._answers.values()]
        oldest = min((start for start in owed if start is not None), default=None)
        return None if oldest is None else self.order.epoch_ms + milliseconds(oldest)

    def change(self, order: Order) -> None:
        """Other flags, another language, or a fresh token."""
        self._wanted = order
        self._flag(order)
        self._post(Changed())

    def key(self, key: MediaKey) -> None:
        """Somebody encrypts with this key from now on, or soon."""
        self._keys.put(key)
        if self._call is not None:
            self._call.use(key)

    def stop(self) -> None:
        """Finish what was said, leave the call, and end `run()`."""
        self._stopping = True
        self._post(Changed())

    async def run(self) -> None:
        """Keep the session going until it is stopped."""
        self._report(self.order.conference, self.state, self.detail)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shared.run())
            await self._attend(tasks)
            await self._flush()
            self._shared.finish()
        self._say("stopped", "")

    async def _attend(self, answering: asyncio.TaskGroup) -> None:
        while not self._stopping:
            self.order = self._wanted
            if any(map(self._engine.understands, self.order.spoken())):
                outcome = await self._attempt(answering)
                if isinstance(outcome, Disconnected):
                    await self._changed(self._pause_after(outcome))
            else:
                self._say("failed", "language")
                await self._changed(None)

    def _pause_after(self, outcome: Disconnected) -> float | None:
        """Say what went wrong. Seconds until it is worth trying again; None: when told to."""
        if self.state == "listening":
            self._attempts = 0
        self._attempts += 1
        # A server that restarts is back in a moment: that is no failure to tell people of.
        failed = outcome.for_good or outcome.reason == "token" or self._attempts > PATIENCE
        self._say("failed" if failed else "joining", outcome.reason)
        return None if outcome.for_good else min(FIRST_RETRY_S * self._attempts, LAST_RETRY_S)

    async def _changed(self, timeout: float | None) -> None:
        """Wait for the bridge to want something else, or for the time to try again."""
        try:
            async with asyncio.timeout(timeout):
                while not self._stopping and not isinstance(await self._mailbox.get(), Changed):
                    pass
        except TimeoutError:
            return

    async def _attempt(self, answering: asyncio.TaskGroup) -> Disconnected | Changed:
        """Join and listen once; what ended it."""
        call = self._call = Participation(lambda event: self._from(call, event))
        self._seals = Seals()
        try:
            await call.join(
                self.order.url,
                self.order.token,
                self._keys if self.order.encrypted else None,
                left_out=self.order.opted_out,
            )
        except JoinError as error:
            log.warning("conference %s: cannot join: %s", self.order.conference, error)
            return Disconnected("token" if error.refused else "unreachable", for_good=False)
        self._say("listening", "")
        try:
            await self._listening(self.order)
            return await self._listen(call, answering)
        except* Exception:  # the session's top level: it goes on with a new connection
            log.exception("conference %s: listening failed", self.order.conference)
        finally:
            await self._leave(call)
        return Disconnected("internal", for_good=False)

    async def _leave(self, call: Participation) -> None:
        self._call = None
        self._captions.clear()
        await call.leave()
        if call.renewed_token and self._wanted == self.order:
            self._wanted = replace(self.order, token=call.renewed_token)

    async def _listen(
        self, call: Participation, answering: asyncio.TaskGroup
    ) -> Disconnected | Changed:
        async with asyncio.TaskGroup() as tasks:
            work = (
                self._tick(),
                self._let_go(),
                self._captions.run(call),
                self._stand(call),
                self._watch(call),
            )
            aside = [tasks.create_task(one) for one in work]
            outcome = await self._follow(tasks, answering)
            for sid in list(self._ears):
                await self._ended(sid)
            if self._stopping:
                await self._flush()  # its captions still reach the call
            if isinstance(outcome, Changed):
                await self._captions.sent()
            for task in aside:
                task.cancel()
        return outcome

    async def _follow(
        self, tasks: asyncio.TaskGroup, answering: asyncio.TaskGroup
    ) -> Disconnected | Changed:
        """Act on what comes in until something ends this connection."""
        while True:
            event = await self._mailbox.get()
            if isinstance(event, TrackBegan):
                if self._seals.began(event.track, monotonic_ms()):
                    await self._began(event.track, tasks, answering)
            elif isinstance(event, TrackEnded):
                self._seals.ended(event.sid)
                await self._ended(event.sid)
            elif isinstance(event, Readable):
                for track in self._seals.readable(event.identity):
                    await self._began(track, tasks, answering)
            elif isinstance(event, Unreadable):
                self._seals.unreadable(event.identity, monotonic_ms())
            elif isinstance(event, Disconnected) or self._must_leave():
                return event
            else:
                await self._obey()

    async def _obey(self) -> None:
        """Go on with what is wanted now, on the same connection."""
        self.order = self._wanted
        for sid, ear in list(self._ears.items()):
            if ear.track.identity in self.order.opted_out:
                self._relays[sid].forget()
                self._shared.forget(ear.track.identity)
                await self._ended(sid)
            else:
                ear.language = self.order.language_of(ear.track.identity)
                self._relays[sid].speaks(ear.language)
        if self._call is not None:
            self._call.leave_out(self.order.opted_out)

    def _must_leave(self) -> bool:
        """Whether what is wanted needs another connection, another model, or none."""
        return self._stopping or _connection(self._wanted) != _connection(self.order)

    async def _began(
        self, track: Track, reading: asyncio.TaskGroup, answering: asyncio.TaskGroup
    ) -> None:
        await self._ended(track.sid)
        if track.identity in self.order.opted_out:
            return
        language = self.order.language_of(track.identity)
        stream = self._relays[track.sid] = await self._engine.open(language)
        tapped = self._shared.tapped(stream, track.identity)
        ear = Ear(track, tapped, language, self._engine.capability.name, self._told)
        ear.start(reading, self.order.epoch_ms, self._bleed.joined(ear))
        answers = answering.create_task(ear.answer())
        self._answers[answers] = stream
        answers.add_done_callback(self._answers.pop)
        answers.add_done_callback(lambda _: self._bleed.left(ear, monotonic_ms()))
        self._ears[track.sid] = ear

    async def _ended(self, sid: str) -> None:
        ear = self._ears.pop(sid, None)
        self._relays.pop(sid, None)
        if ear is not None:
            await ear.stop()

    async def _flush(self) -> None:
        """Let everything said be answered, within `FLUSH_S`, or be told as lost."""
        if self._answers:
            await asyncio.wait(set(self._answers), timeout=FLUSH_S)
        if self._answers:
            log.error("conference %s: not all that was said is understood", self.order.conference)
            for relay in list(self._answers.values()):
                relay.give_up()
            _, late = await asyncio.wait(set(self._answers), timeout=GIVEN_UP_S)
            for task in late:
                task.cancel()
        await self._finals(lambda: self._bleed.rest())

    async def _told(self, piece: Piece, ear: Ear) -> None:
        if piece.final:
            await self._finals(lambda: self._bleed.final(ear, piece, monotonic_ms()))
        elif ear.track.identity not in self._wanted.opted_out and self._bleed.shows(ear, piece):
            self._caption(piece, ear)

    async def _finals(self, which: Callable[[], list[tuple[Ear, Piece]]]) -> None:
        """Tell finals, one after the other, whoever asks."""
        async with self._telling:
            self._ready.extend(which())
            while self._ready:
                ear, piece = self._ready[0]  # until it is told: who tells it may be cancelled
                await self._final(piece, ear)
                self._ready.popleft()

    async def _final(self, piece: Piece, ear: Ear) -> None:
        if ear.track.identity in self._wanted.opted_out:
            return
        if self.order.transcript and piece.text:  # an empty one only clears the screen
            await self._shared.told(ear.track.identity, piece, self._segment(piece, ear))
        self._caption(piece, ear)

    def _caption(self, piece: Piece, ear: Ear) -> None:
        voice = self._shared.voice(ear.track.identity, piece)
        self._captions.put(piece, ear, self.order, voice)

    def _flag(self, order: Order) -> None:
        """Voices are told apart for the transcript: without one no audio is kept for it."""
        self._shared.flag(order.shared if order.transcript else ())

    async def _let_go(self) -> None:
        """Tell what has waited for others to be understood."""
        while True:
            await asyncio.sleep(TICK_S)
            await self._finals(lambda: self._bleed.due(monotonic_ms()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for ear in self._ears.values():
                ear.tick()
            self._say("listening", self._lacks())

    async def _stand(self, call: Participation) -> None:
        """Show in the call whether everybody who may be heard is: who speaks before may be lost."""
        shown = ""
        while True:
            state = "listening" if call.microphones() <= self._ears.keys() else "initializing"
            if state != shown:
                await call.stand(state)
                shown = state
            await asyncio.sleep(TICK_S)

    def _lacks(self) -> str:
        if self._seals.overdue(monotonic_ms()):
            return "no_key"
        return self._engine.standing(self.order.spoken())

    async def _watch(self, call: Participation) -> None:
        """Notice a connection that receives packets and hears nothing, and replace it.

        Seen with livekit 1.2 after a connection that came about by the SDK's own second attempt:
        packets are counted, and no track ever gets a frame.
        """
        while True:
            await asyncio.sleep(DEAF_S)
            hears = [ear.hears for ear in self._ears.values()]
            if hears and not any(hears) and await call.packets() > DEAF_PACKETS:
                log.warning("conference %s: nothing is heard, joining again", self.order.conference)
                self._from(call, Disconnected("deaf", for_good=False))
                return

    def _segment(self, piece: Piece, ear: Ear) -> Frame:
        return {
            "type": "segment",
            "key": f"{piece.segment}:0",
            "conference": self.order.conference,
            "room_id": self.order.room_id,
            "segment": piece.segment,
            "rev": 0,
            "identity": ear.track.identity,
            "name": ear.track.name,
            "text": piece.text,
            "language": piece.language or ear.language,
            "start_ms": piece.start_ms,
            "end_ms": piece.end_ms,
            "engine": piece.engine or ear.engine,
            "words": [list(word) for word in piece.words],
        }

    def _from(self, call: Participation, event: CallEvent) -> None:
        if call is self._call:  # an earlier connection has nothing more to say
            self._post(event)

    def _post(self, event: CallEvent | Changed) -> None:
        if self._mailbox.full():
            # Whatever is lost here is learnt again by joining again.
            self._mailbox.get_nowait()
            event = Disconnected("overflow", for_good=False)
        self._mailbox.put_nowait(event)

    def _say(self, state: State, detail: str) -> None:
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self._report(self.order.conference, state, detail)


def _connection(order: Order) -> tuple[str, bool]:
    return order.url, order.encrypted
