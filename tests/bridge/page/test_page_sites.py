"""Two organisations in one call, each on its own page, homeserver and media server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from bridge.dev.instance import Instance
from bridge.dev.layout import SitePlan
from bridge.dev.ports import free_block
from bridge.dev.site import Site
from tests.bridge.page.browser import open_page, sign_in, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def instance(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """alice at site a, bob at site b, in one room."""
    var: Path = tmp_path_factory.mktemp("sites")
    first = free_block(20)
    plans = [
        SitePlan(name=name, folder=var / f"site-{name}", first_port=port, people=(person,))
        for name, port, person in (("a", first, "alice"), ("b", first + 10, "bob"))
    ]
    instance = Instance(var, plans, print)
    try:
        await instance.start()
        yield instance
    finally:
        await instance.stop()


def _link(site: Site, room_id: str) -> str:
    return f"{site.plan.page}/#/room/{quote(room_id, safe='')}"


async def _enter(page: Page, name: str) -> None:
    await sign_in(page, name, "colloque")
    await until(page, "document.querySelector('#preview').videoWidth > 0", timeout=30)
    await page.get_by_role("button", name="Rejoindre l’appel").click()
    await expect(page.locator("#call-state")).to_have_text("Connecté", timeout=30_000)


async def _plays(page: Page, name: str) -> None:
    tile = f"[...document.querySelectorAll('.tile')].find((t) => t.textContent.includes('{name}'))"
    await until(page, f"{tile}?.querySelector('video')?.videoWidth > 0", timeout=40)
    before = await page.evaluate(f"{tile}.querySelector('video').currentTime")
    await until(page, f"{tile}.querySelector('video').currentTime > {before} + 0.5", timeout=40)


async def test_people_of_two_organisations_see_each_other_once(
    browser: Browser, instance: Instance
) -> None:
    own = {"http://127.0.0.1:", "ws://127.0.0.1:"}
    a, b = instance.sites
    async with (
        open_page(browser, _link(a, instance.room_id), own=own) as alices,
        open_page(browser, _link(b, instance.room_id), own=own) as bobs,
    ):
        alice, bob = alices.page, bobs.page
        await asyncio.gather(_enter(alice, "alice"), _enter(bob, "bob"))
        for page, other in ((alice, "bob"), (bob, "alice")):
            await _plays(page, other)
            await expect(page.locator("#people")).to_have_text("2 participants", timeout=20_000)
            await expect(page.locator(".tile")).to_have_count(2)
        assert alices.errors == bobs.errors == []
        await _media_server_dies(instance, alice)
        await _plays(alice, "bob")
        await bob.keyboard.press("l")
        await expect(alice.locator("#people")).to_have_text("1 participant", timeout=30_000)
        await expect(alice.locator("#call-state")).to_have_text("Connecté")


async def _media_server_dies(instance: Instance, alice: Page) -> None:
    """That of the other organisation: one's own call goes on, and they come back."""
    bridge = instance.sites[1].bridge
    assert bridge is not None
    os.kill(bridge.parts.sfu[0], signal.SIGKILL)
    await expect(alice.locator("#people")).to_have_text("1 participant", timeout=60_000)
    await expect(alice.locator("#call-state")).to_have_text("Connecté")
