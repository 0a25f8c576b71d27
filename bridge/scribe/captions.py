"""What a session shows while people speak: in the call, and to the bridge while it watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bridge.domain.captions import Waiting
from bridge.scribe.ear import Ear
from bridge.scribe.frames import Frame
from bridge.scribe.merge import Piece
from bridge.scribe.order import Order
from bridge.scribe.participant import CAPTION_ERRORS, Participation

log = logging.getLogger(__name__)

LAST_S = 2.0
Show = Callable[[Frame], None]
"""Takes a `caption` frame for the bridge. Never waits."""


class Captions:
    """Takes pieces in; `run()` sends them into the call, the newest of each segment."""

    def __init__(self, to_bridge: Show) -> None:
        self._to_bridge = to_bridge
        self._waiting: Waiting[tuple[Piece, Ear]] = Waiting()
        self._wake = asyncio.Event()
        self._sent = asyncio.Event()

    def put(self, piece: Piece, ear: Ear, order: Order, voice: str = "") -> None:
        """Show a piece, where captions are wanted. `voice`: whose, at a shared microphone."""
        if not order.captions:
            return
        self._waiting.put(piece.segment, (piece, ear), final=piece.final)
        self._sent.clear()
        self._wake.set()
        if order.watch:
            self._to_bridge(_frame(piece, ear, order.conference, voice))

    def clear(self) -> None:
        """Forget what waits for a connection that is gone."""
        self._waiting.clear()

    async def run(self, call: Participation) -> None:
        """Send into the call until cancelled."""
        while True:
            for piece, ear in self._waiting.take()[1]:
                try:
                    await call.caption(piece, ear.track, piece.language or ear.language)
                except CAPTION_ERRORS as error:
                    log.debug("a caption did not get into the call: %r", error)
            if not self._wake.is_set():
                self._sent.set()
            await self._wake.wait()
            self._wake.clear()

    async def sent(self) -> None:
        """Wait until all is in the call, or `LAST_S`: the last words before it is left."""
        try:
            async with asyncio.timeout(LAST_S):
                await self._sent.wait()
        except TimeoutError:
            log.debug("the last captions did not get into the call")


def _frame(piece: Piece, ear: Ear, conference: str, voice: str) -> Frame:
    return {
        "type": "caption",
        "conference": conference,
        "segment": piece.segment,
        "identity": ear.track.identity,
        "text": piece.text,
        "final": piece.final,
        "language": piece.language or ear.language,
        "start_ms": piece.start_ms,
        "voice": voice,
    }
