"""One track being heard: its samples go to a listener, the engine's answers come back as pieces.

Two tasks belong to an ear. One reads the track until `stop()` or its end; the other waits for the
engine's answers and outlives it until everything that was said is answered.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from bridge.scribe.activity import Activity
from bridge.scribe.clock import monotonic_ms, unix_ms
from bridge.scribe.engines import Final, Stream
from bridge.scribe.listener import Listener
from bridge.scribe.merge import Piece, Voice
from bridge.scribe.participant import Track
from bridge.scribe.silero import Silero
from bridge.scribe.vad import detector


class Ear:
    """Made for one track with a stream of its own; `start()` once, then `stop()`.

    `language`: in which the track is understood; `engine`: whose words these are.
    """

    def __init__(
        self, track: Track, stream: Stream, language: str, engine: str, tell: Tell
    ) -> None:
        self.track = track
        self.language = language
        self.engine = engine
        self._stream = stream
        self._tell = tell
        self._activity = Activity()
        self._listener: Listener | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def hears(self) -> bool:
        """Whether the track has delivered anything, be it silence."""
        return self._listener is not None and self._listener.hears

    def start(self, tasks: asyncio.TaskGroup, epoch_ms: int, activity: Activity) -> None:
        """Begin to hear; `answer()` is to be run beside it.

        `epoch_ms`: Unix time of the conference's start, from which pieces count; `activity`: where
        to note when the track is spoken on.
        """
        self._activity = activity
        self._listener = Listener(self._stream, detector(), Silero(), epoch_ms, activity)
        self._reading = tasks.create_task(self._read(self._listener))

    async def stop(self) -> None:
        """Stop reading; what was being said is over, and its answer still comes."""
        if self._reading is not None and self._listener is not None:
            self._reading.cancel()
            self._listener.finish()
            await self._stream.close()

    def tick(self) -> None:
        """To be called a few times a second: a track that went quiet ends its utterance."""
        if self._listener is not None:
            self._listener.tick(unix_ms())

    async def _read(self, listener: Listener) -> None:
        """Hear a track to its end; cancelled, it still flushes what was being said."""
        frames = self.track.frames()
        try:
            async for pcm in frames:
                listener.accept(pcm, unix_ms())
        finally:
            listener.finish()
            await self._stream.close()
            await frames.aclose()

    async def answer(self) -> None:
        """Tell what the engine answers, until everything said is answered."""
        # The ids of each hearing of a track are its own, so they never meet, whatever restarts.
        voice = Voice(secrets.token_hex(6))
        events = aiter(self._stream)
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                wait_ms = voice.wait_ms(monotonic_ms())
                limit = None if wait_ms is None else wait_ms / 1000
                await asyncio.wait({coming}, timeout=limit)
                if not coming.done():
                    piece = voice.due(monotonic_ms())
                elif (event := coming.result()) is None:
                    return
                else:
                    if isinstance(event, Final) and event.last:
                        self._activity.answered()
                    piece = voice.take(event, monotonic_ms())
                    coming = asyncio.ensure_future(anext(events, None))
                if piece is not None:
                    await self._tell(piece, self)
        finally:
            coming.cancel()


Tell = Callable[[Piece, Ear], Awaitable[None]]
"""Called with every piece of a track in order; the next one waits until it returns."""
