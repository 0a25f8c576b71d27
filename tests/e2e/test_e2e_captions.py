"""Captions beside the call, on real parts: the panel's words, and who does not get them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import pytest
from playwright.async_api import Page, expect

from bridge.dev.person import MatrixError
from bridge.dev.speech import Pcm
from tests.bridge.page.browser import chromium, open_page, violations
from tests.e2e.scene import Scene, eventually

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
]

WIDGET = "im.vector.modular.widgets"
BUDGET = "The first question today is the budget"
WORD_S = 3.0
"""From the end of a sentence to its words on the screen (speech.md, 3.4)."""


async def session(scene: Scene, name: str, room_id: str) -> str:
    proof = {"openid_token": await scene.person(name).openid_token(), "room": room_id}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{scene.service}/api/session", json=proof) as answer,
    ):
        return str((await answer.json())["session"])


@asynccontextmanager
async def panel(scene: Scene, name: str, room_id: str) -> AsyncIterator[Page]:
    """Somebody's browser beside the call."""
    person = scene.person(name)
    link = f"{scene.site.plan.page}/captions#/room/{quote(room_id, safe='')}"
    own = {scene.site.plan.page, person.homeserver}
    async with chromium() as browser, open_page(browser, link, own=own, locale="en") as watched:
        page = watched.page
        await page.get_by_label("Identifier", exact=True).fill(person.user_id)
        await page.get_by_label("Password").fill(person.password)
        await page.get_by_role("button", name="Sign in").click()
        yield page
        assert watched.errors == []
        assert watched.foreign == []


async def test_a_member_reads_what_is_said_within_three_seconds_and_is_cut_off_when_kicked(
    scene: Scene, sentences: dict[str, Pcm]
) -> None:
    room_id = await scene.room("bob")
    async with panel(scene, "bob", room_id) as page:
        await expect(page.locator("#panel-why")).to_contain_text("No call is in progress")
        async with scene.call(room_id, "alice") as (alice,):
            await expect(page.locator("#panel-state")).to_have_text("Live", timeout=30_000)
            await alice.listened_to()
            await alice.speak(sentences[BUDGET], silence_s=0.0)
            ended = time.monotonic()
            speaking = asyncio.create_task(alice.speak(sentences[BUDGET][:0], silence_s=2.0))
            log = page.get_by_role("log").locator("p")
            await expect(log.first).to_contain_text("budget", timeout=15_000)
            seconds = time.monotonic() - ended
            await expect(log.first).to_contain_text(scene.person("alice").user_id)
            await expect(page.locator("#captions .line").first).to_be_visible()
            assert await violations(page) == []
            await speaking
            assert seconds < WORD_S
            await scene.person("alice").kick(room_id, scene.person("bob").user_id)
            kicked = time.monotonic()
            await expect(page.locator("#problem-text")).to_contain_text("not a member")
            assert time.monotonic() - kicked < 2.0


async def test_who_is_not_in_the_room_gets_nothing(scene: Scene) -> None:
    room_id = await scene.room("bob")
    headers = {"Authorization": f"Bearer {await session(scene, 'eve', room_id)}"}
    address = f"{scene.service}/api/captions"
    async with (
        scene.call(room_id, "alice"),
        aiohttp.ClientSession() as http,
        http.get(address, params={"room": room_id}, headers=headers) as refused,
    ):
        assert refused.status == 403
        assert (await refused.json())["eu.colloque.reason"] == "not_member"


async def test_the_panel_becomes_a_widget_of_the_room(scene: Scene) -> None:
    room_id = await scene.room("bob")
    alice = scene.person("alice")
    await alice.say(room_id, "!visio panel on")

    async def there() -> bool:
        try:
            content = await alice.state(
                room_id, "im.vector.modular.widgets", "eu.colloque.captions"
            )
        except MatrixError:
            return False
        return str(content["url"]).startswith(f"{scene.service}/captions#/room/$matrix_room_id")

    await eventually(there)
