"""What the tests with Element Call stand on: a running instance, the widget host, browsers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Playwright, async_playwright

from bridge.dev.instance import Instance
from bridge.dev.layout import SitePlan
from bridge.dev.person import Person
from bridge.dev.site import Site
from bridge.dev.timeline import Timeline
from bridge.matrix.timeline import CARD
from tests.browsers.element_call import PATIENCE_S, Chromium, ElementCall, launch
from tests.browsers.widget_host import widget_host
from tests.e2e.scene import eventually

ENCRYPTION = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


class Stage:
    """Made by `stage`."""

    def __init__(self, instance: Instance, host: str, driver: Playwright) -> None:
        self.instance = instance
        self._host = host
        self._driver = driver

    @property
    def sites(self) -> list[Site]:
        return self.instance.sites

    def person(self, name: str) -> Person:
        return next(p for p in self.instance.people if p.user_id.startswith(f"@{name}:"))

    async def room(self, *names: str, encrypted: bool = False, **more: Any) -> str:
        """A room of the first of these, with all of them and the bridges joined."""
        host, *guests = [self.person(name) for name in names]
        bots = [site.bot for site in self.sites if site.bridge is not None]
        room_id = await host.create_room(
            "Test",
            invite=[*bots, *(guest.user_id for guest in guests)],
            power=dict.fromkeys(bots, 50),
            events={"org.matrix.msc3401.call.member": 0},
            initial_state=[ENCRYPTION] if encrypted else [],
            **more,
        )
        for guest in guests:
            await guest.join(room_id, [host.user_id.partition(":")[2]])
        everybody = {*bots, *(person.user_id for person in (host, *guests))}

        async def all_joined() -> bool:
            seen = [await person.members(room_id) for person in (host, *guests)]
            return all(everybody <= set(one) for one in seen)

        await eventually(all_joined, 60)
        return room_id

    async def cards(self, room_id: str) -> dict[str, str]:
        """Text of each card in the room, whoever's, as it is now; by event id.

        A card that only says where the call's card is now is none.
        """
        bots = {site.bot for site in self.sites}
        shown: dict[str, Any] = {}
        for event in await self.person("alice").messages(room_id):
            content = event["content"]
            if event["sender"] in bots and CARD in content:
                relation = content.get("m.relates_to") or {}
                edits = relation.get("rel_type") == "m.replace"
                card = relation["event_id"] if edits else event["event_id"]
                if not edits or card in shown:  # an edit of a card that was redacted shows nothing
                    shown[card] = content.get("m.new_content", content)
        return {card: one["body"] for card, one in shown.items() if one[CARD]["phase"] != "moved"}

    async def card(
        self, room_id: str, shows: Callable[[Timeline], bool], *, site: int = 0, reader: str = ""
    ) -> Timeline:
        """The room as `reader` reads it, once that site's call card shows this.

        Raises TimeoutError with what it shows.
        """
        person, bot = self.person(reader or "alice"), self.sites[site].bot
        end = time.monotonic() + PATIENCE_S
        while True:
            timeline = Timeline.read(await person.messages(room_id), bot)
            if shows(timeline):
                return timeline
            if time.monotonic() > end:
                raise TimeoutError(f"the card is {timeline.card_phase}: {timeline.card_body}")
            await asyncio.sleep(0.2)

    @asynccontextmanager
    async def browser(self, voice: Path | None = None) -> AsyncIterator[Chromium]:
        """A browser until the block ends; its users say `voice`."""
        chromium = await launch(self._driver, voice)
        try:
            yield chromium
        finally:
            await chromium.close()

    async def show(self, call: ElementCall, room_id: str, mode: str = "compatibility") -> None:
        """Show the lobby, also to a user who was in the call before."""
        await call.open(self._host, room_id, mode)

    @asynccontextmanager
    async def call(
        self,
        room_id: str,
        *names: str,
        mode: str = "compatibility",
        browsers: Sequence[Chromium] = (),
    ) -> AsyncIterator[list[ElementCall]]:
        """These users in the room's call, joined one after the other in this order.

        In one browser, or each in their own where `browsers` are given.
        """
        async with AsyncExitStack() as stack:
            if not browsers:
                one = await stack.enter_async_context(self.browser())
                browsers = [one] * len(names)
            calls = [
                await chromium.element_call(self.person(name))
                for chromium, name in zip(browsers, names, strict=True)
            ]
            await asyncio.gather(*(self.show(call, room_id, mode) for call in calls))
            for call in calls:
                await call.join()
            yield calls


@asynccontextmanager
async def stage(var: Path, plans: Sequence[SitePlan]) -> AsyncIterator[Stage]:
    """Everything running, until the block ends."""
    instance = Instance(var, plans, print)
    try:
        await instance.start()
        keeping = asyncio.create_task(instance.keep_running())
        async with widget_host() as host, async_playwright() as driver:
            yield Stage(instance, host, driver)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    finally:
        await instance.stop()
