"""What the end-to-end tests do again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bridge.dev.caller import Caller
from bridge.dev.instance import WISH, Instance
from bridge.dev.person import Person
from bridge.dev.site import Site
from bridge.dev.timeline import Timeline


class Scene:
    """A running instance with one site, and its people."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    @property
    def site(self) -> Site:
        return self.instance.sites[0]

    @property
    def service(self) -> str:
        """The token service, as discovery gives it to clients."""
        return self.site.plan.page

    def person(self, name: str) -> Person:
        return next(p for p in self.instance.people if p.user_id.startswith(f"@{name}:"))

    async def room(self, *names: str, captions: bool = True) -> str:
        """A new room of alice's with the bot and these people joined, where text is wished for."""
        alice, bot = self.person("alice"), self.site.bot
        wish = {"captions": captions, "transcript": True, "language": "en"}
        guests = [self.person(name) for name in names]
        room_id = await alice.create_room(
            "Test",
            invite=[bot, *(guest.user_id for guest in guests)],
            power={bot: 50},
            initial_state=[{"type": WISH, "state_key": "", "content": wish}],
        )
        for guest in guests:
            await guest.join(room_id)
        await eventually(lambda: self._is_in(room_id, bot))
        return room_id

    async def _is_in(self, room_id: str, user_id: str) -> bool:
        return user_id in await self.person("alice").members(room_id)

    @asynccontextmanager
    async def call(self, room_id: str, *names: str) -> AsyncIterator[list[Caller]]:
        """These people in the room's call, in this order."""
        people = [Caller.in_call(self.person(name), self.service, room_id) for name in names]
        callers = [await one.__aenter__() for one in people]
        try:
            yield callers
        finally:
            for one in people:
                await one.__aexit__(None, None, None)

    async def timeline(
        self, room_id: str, enough: Callable[[Timeline], bool], timeout: float = 60.0
    ) -> Timeline:
        """The room as alice's homeserver shows it, once it shows enough (or as it is at last)."""
        end = time.monotonic() + timeout
        while True:
            events = await self.person("alice").messages(room_id)
            timeline = Timeline.read(events, self.site.bot)
            if enough(timeline) or time.monotonic() > end:
                return timeline
            await asyncio.sleep(0.2)


async def eventually(holds: Callable[[], object], timeout: float = 20.0) -> None:
    """Return once `holds()` (or what it awaits) is true. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while True:
            answer = holds()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.05)
