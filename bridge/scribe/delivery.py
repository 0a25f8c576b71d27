"""One connection to a bridge, as the scribe sees it: segments from the spool, states between."""

from __future__ import annotations

import asyncio
from collections import deque

from bridge.domain.captions import Waiting
from bridge.scribe import frames
from bridge.scribe.frames import Frame
from bridge.scribe.spool import Spool

RESEND_S = 20.0
"""Segments not acknowledged by then are sent again on the same connection."""
WAITING = 2000
"""Frames that may wait for a bridge that does not read; then it is disconnected."""


class Delivery:
    """`send_all` is the only one who writes."""

    def __init__(self, writer: asyncio.StreamWriter, spool: Spool, first: list[Frame]) -> None:
        self._writer = writer
        self._spool = spool
        self._hello = first[0]
        self._frames = deque(first[1:])
        self._captions: Waiting[Frame] = Waiting()
        self._wake = asyncio.Event()
        self._position = 0

    def post(self, frame: Frame) -> None:
        """Send a frame after every segment that is in the spool by now."""
        self._frames.append(frame)
        if len(self._frames) > WAITING:
            self.close()  # hello tells it everything when it comes back
        self.wake()

    def show(self, caption: Frame) -> None:
        """Send a caption soon, or never: in place of an older one of its segment."""
        self._captions.put(caption["segment"], caption, final=caption["final"])
        self.wake()

    def wake(self) -> None:
        """The spool has something new."""
        self._wake.set()

    def close(self) -> None:
        """End the connection."""
        self._writer.close()

    async def send_all(self) -> None:
        """Send segments as they are spooled, and the other frames between them, until cut."""
        await self._send(self._hello)
        while True:
            self._wake.clear()
            await self._send_waiting()
            await self._pause()

    async def _send_waiting(self) -> None:
        # Taken before the segments are: `stopped` must come after the session's last one.
        ready = list(self._frames)
        self._frames.clear()
        await self._send_captions()
        while rows := await self._spool.after(self._position):
            for position, segment in rows:
                await self._send(segment)
                self._position = position
            await self._send_captions()
        for frame in ready:
            await self._send(frame)

    async def _send_captions(self) -> None:
        for caption in self._captions.take()[1]:
            await self._send(caption)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(RESEND_S):
                await self._wake.wait()
        except TimeoutError:
            self._position = 0  # what is still spooled was not acknowledged

    async def _send(self, frame: Frame) -> None:
        self._writer.write(frames.encode(frame))
        await self._writer.drain()
