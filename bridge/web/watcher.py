"""One connection that watches a room's captions, and what it is told besides them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from bridge.domain.captions import Caption, Waiting

Captions = Literal["on", "off", "no_call", "forbidden"]
End = Literal["not_member", "session", "elsewhere", "unavailable", "restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How it stands with a room's captions.

    `stream` names what the captions' numbers count: those of another stream mean nothing in it.
    `scribe`: the scribe's state (docs/scribe.md), '' where it is not in the call. `sites`: the
    services of the call's other sites, whose captions are to be had there.
    """

    captions: Captions = "no_call"
    call: str = ""
    stream: str = ""
    language: str = ""
    scribe: str = ""
    sites: tuple[str, ...] = ()


class Watcher:
    """Its own task reads what the feed writes; neither waits for the other."""

    def __init__(self, room_id: str, user_id: str) -> None:
        self.room_id = room_id
        self.user_id = user_id
        self.state: State | None = None
        """As told last; None before the room was looked at for this watcher."""
        self.end: End | None = None
        self._waiting: Waiting[Caption] = Waiting()
        self._told: State | None = None
        self._wake = asyncio.Event()

    def put(self, caption: Caption) -> None:
        """Show a caption, unless this one is over or was not admitted yet."""
        if self.end is None and self.state is not None:
            self._waiting.put(caption.segment, caption, final=caption.final)
            self._wake.set()

    def tell(self, state: State) -> None:
        """Say how it stands; without captions nothing that waits is shown any more."""
        if self.end is not None or state == self.state:
            return
        if state.captions != "on":
            self._waiting.clear()
        self.state = state
        self._wake.set()

    def cut(self, why: End) -> None:
        """End it: what waits is not for them any more."""
        if self.end is None:
            self._waiting.clear()
            self.end = why
            self._wake.set()

    async def something(self, limit_s: float) -> bool:
        """Wait until there is something to say, no longer than `limit_s`; whether there is."""
        try:
            async with asyncio.timeout(limit_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def news(self) -> State | None:
        """The state, where it was not asked for since it changed."""
        if self.state == self._told:
            return None
        self._told = self.state
        return self.state

    def captions(self) -> tuple[int, list[Caption]]:
        """What waits, and how many finals were left out before it."""
        return self._waiting.take()
