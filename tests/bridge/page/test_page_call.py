"""The page in real calls: real homeserver, real token doors, our own media server and scribe."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from bridge.dev.layout import PORTS_A_SITE
from bridge.dev.person import MatrixError, Person
from bridge.dev.ports import free_block
from tests.bridge.page.browser import Watched, open_page, sign_in, until, violations

pytestmark = [
    pytest.mark.browser,
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.asyncio(loop_scope="session"),
]

ROOT = Path(__file__).resolve().parents[3]
_START_S = 90.0
_SPEAKING = re.compile(r"\bspeaking\b")
# The page's own connection to the media server, for what only its statistics tell.
_HEARD = """async () => {
  const { app } = await import('./main.js');
  let energy = 0;
  for (const one of app.conference.call.media.remoteParticipants.values()) {
    for (const { audioTrack } of one.trackPublications.values()) {
      const report = audioTrack ? await audioTrack.receiver.getStats() : new Map();
      for (const entry of report.values()) energy += entry.totalAudioEnergy ?? 0;
    }
  }
  return energy;
}"""


@dataclass
class Site:
    """What `python -m bridge dev` started."""

    told: dict[str, Any]
    room_id: str

    @property
    def link(self) -> str:
        """The address the card in chat shows."""
        return f"{self.told['page']}/#/room/{quote(self.room_id, safe='')}"

    @property
    def own(self) -> set[str]:
        """The only origins the page may ask."""
        media = self.told["sfu_url"]
        return {self.told["page"], self.told["homeserver"], media, media.replace("ws", "http", 1)}

    def person(self, name: str) -> Person:
        """A user of the site, from outside the page."""
        (user,) = [u for u in self.told["users"] if u["user_id"].startswith(f"@{name}:")]
        return Person(homeserver=self.told["homeserver"], **user)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A whole site, for all tests of this file."""
    var = tmp_path_factory.mktemp("site")
    process = _start(var)
    try:
        told = await _told(var, process)
        yield Site(told["sites"][0], told["room_id"])
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.wait, 60)


def _start(var: Path) -> subprocess.Popen[bytes]:
    base = free_block(PORTS_A_SITE)
    command = [sys.executable, "-m", "bridge", "dev", "--var", str(var), "--port-base", str(base)]
    with (var / "out.log").open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)


async def _told(var: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    for _ in range(int(_START_S / 0.1)):
        if (var / "dev.json").exists():
            told: dict[str, Any] = json.loads((var / "dev.json").read_text(encoding="utf-8"))
            return told
        assert process.poll() is None, (var / "out.log").read_text(encoding="utf-8")
        await asyncio.sleep(0.1)  # another process writes the file: nothing to await
    raise AssertionError((var / "out.log").read_text(encoding="utf-8"))


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browser: Browser, site: Site) -> AsyncIterator[dict[str, Watched]]:
    """alice and bob in the call, each in a browser context of their own."""
    async with AsyncExitStack() as stack:
        opened = {
            name: await stack.enter_async_context(open_page(browser, site.link, own=site.own))
            for name in ("alice", "bob")
        }
        await asyncio.gather(*(_enter(watched.page, name) for name, watched in opened.items()))
        yield opened


async def _lobby(page: Page, name: str) -> None:
    await sign_in(page, name, "colloque")
    await until(page, "document.querySelector('#preview').videoWidth > 0")


async def _enter(page: Page, name: str) -> None:
    await _lobby(page, name)
    await page.get_by_role("button", name="Rejoindre l’appel").click()
    await expect(page.locator("#call-state")).to_have_text("Connecté", timeout=40_000)
    await expect(page.locator("#view-call")).to_be_visible()


def _tile(page: Page, name: str) -> Any:
    return page.locator(".tile").filter(has_text=name)


async def _plays(page: Page, name: str) -> None:
    video = f"[...document.querySelectorAll('.tile')].find((t) => t.textContent.includes('{name}'))"
    await until(page, f"{video}?.querySelector('video')?.videoWidth > 0", timeout=20)
    before = await page.evaluate(f"{video}.querySelector('video').currentTime")
    await until(page, f"{video}.querySelector('video').currentTime > {before} + 1", timeout=20)


async def _hears(page: Page) -> None:
    """Energy of the sound that arrives from others grows; a clip of silence adds nothing."""
    before = await page.evaluate(_HEARD)
    for _ in range(100):
        if await page.evaluate(_HEARD) > before + 0.01:
            return
        await asyncio.sleep(0.2)  # statistics are asked for, they bring no event
    raise AssertionError("no sound arrives")


async def test_two_people_see_hear_and_read_each_other(
    pages: dict[str, Watched], site: Site
) -> None:
    alice, bob = pages["alice"].page, pages["bob"].page
    for page, other in ((alice, "bob"), (bob, "alice")):
        await _plays(page, other)
        await expect(page.locator("#people")).to_have_text("2 participants")
        await expect(page.locator("#scribe-state")).to_be_visible(timeout=30_000)
        await expect(_tile(page, other)).to_have_class(_SPEAKING, timeout=20_000)
        await _hears(page)
    for page in (alice, bob):
        await expect(page.locator("#captions .caption").first).to_be_visible(timeout=30_000)
        names = page.locator("#captions .caption-name")
        assert set(await names.all_text_contents()) <= {"– alice", "– bob"}
        lines = await page.locator("#captions .line").all_text_contents()
        assert all(len(line) <= 36 for line in lines)
        assert await violations(page) == []
    assert pages["alice"].errors == []
    assert pages["alice"].foreign == []


async def test_mute_camera_captions_and_leave_by_keyboard(pages: dict[str, Watched]) -> None:
    alice, bob = pages["alice"].page, pages["bob"].page
    await _plays(bob, "alice")
    await alice.keyboard.press("m")
    await expect(alice.get_by_role("button", name="Activer le micro")).to_be_visible()
    await expect(_tile(bob, "alice").locator(".tile-muted")).to_be_visible()
    await alice.keyboard.press("m")
    await expect(_tile(bob, "alice").locator(".tile-muted")).to_be_hidden()
    await alice.keyboard.press("v")
    await expect(alice.get_by_role("button", name="Activer la caméra")).to_be_visible()
    await expect(_tile(bob, "alice").locator("video")).to_have_count(0)
    await alice.keyboard.press("v")
    await _plays(bob, "alice")
    await alice.keyboard.press("c")
    await expect(alice.locator("#captions")).to_be_hidden()
    await expect(alice.get_by_role("button", name="Sous-titres", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    await alice.keyboard.press("c")
    await alice.keyboard.press("l")
    await expect(alice.get_by_role("heading", name="Vous avez quitté l’appel")).to_be_focused()
    await expect(bob.locator("#people")).to_have_text("1 participant")
    await alice.get_by_role("button", name="Revenir dans l’appel").click()
    await expect(alice.locator("#view-lobby")).to_be_visible()


async def test_element_call_is_told_who_is_here(browser: Browser, site: Site) -> None:
    alice = site.person("alice")
    async with open_page(browser, site.link, own=site.own) as watched:
        page = watched.page
        await _enter(page, "alice")
        device = await page.evaluate("JSON.parse(sessionStorage['colloque.session']).deviceId")
        key = f"_{alice.user_id}_{device}_m.call"
        content = await _membership(alice, site, key, lambda content: bool(content))
        assert content["membershipID"] == f"{alice.user_id}:{device}"
        (focus,) = content["foci_preferred"]
        assert focus["livekit_service_url"] == site.told["livekit_service_url"]
        await page.keyboard.press("l")
        await _membership(alice, site, key, lambda content: content == {})
        await page.get_by_role("button", name="Revenir dans l’appel").click()
        await page.get_by_role("button", name="Rejoindre l’appel").click()
        await _membership(alice, site, key, lambda content: bool(content))
    # The page is gone without a word: what it scheduled takes it out.
    await _membership(alice, site, key, lambda content: content == {})


async def _membership(
    person: Person, site: Site, key: str, wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The content of a membership once it is as wanted."""
    room, state = quote(site.room_id, safe=""), quote(key, safe="")
    path = f"/_matrix/client/v3/rooms/{room}/state/org.matrix.msc3401.call.member/{state}"
    for _ in range(100):
        try:
            content = await person.request("GET", path)
        except MatrixError as error:
            if error.status != 404:
                raise
        else:
            if wanted(content):
                return content
        await asyncio.sleep(0.3)  # a state event of somebody else: a /sync would be no shorter
    raise AssertionError("the membership is not as wanted")


async def test_settings_change_captions_and_shortcuts(pages: dict[str, Watched]) -> None:
    page = pages["bob"].page
    await page.get_by_role("button", name="Réglages").click()
    dialog = page.get_by_role("dialog", name="Réglages")
    await dialog.get_by_label("Taille des sous-titres").select_option("150")
    await dialog.get_by_label("lecteur d’écran").check()
    await dialog.get_by_label("Raccourcis clavier").uncheck()
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await expect(page.locator("#captions")).to_have_attribute("data-size", "150")
    await expect(page.get_by_role("log")).to_have_attribute("aria-live", "polite")
    await page.keyboard.press("m")
    await expect(page.get_by_role("button", name="Couper le micro")).to_be_visible()
    await page.get_by_role("button", name="Historique").click()
    await expect(page.get_by_role("log").locator("p").first).to_be_visible(timeout=60_000)
    assert await violations(page) == []


async def test_a_media_server_that_dies_is_rejoined(pages: dict[str, Watched], site: Site) -> None:
    alice, bob = pages["alice"].page, pages["bob"].page
    await _plays(alice, "bob")
    os.kill(await _sfu(site), signal.SIGKILL)
    await expect(alice.locator("#call-state")).to_have_text(
        "Connexion perdue : reconnexion en cours…", timeout=20_000
    )
    for page, other in ((alice, "bob"), (bob, "alice")):
        await expect(page.locator("#call-state")).to_have_text("Connecté", timeout=60_000)
        await _plays(page, other)


async def _sfu(site: Site) -> int:
    """The process that listens at the media server's port now."""
    port = int(site.told["sfu_url"].rsplit(":", 1)[1])
    for connection in psutil.net_connections("tcp"):
        if connection.laddr.port == port and connection.status == "LISTEN" and connection.pid:
            return int(connection.pid)
    raise AssertionError("no media server")


async def test_the_same_device_twice_keeps_the_newer_one(
    pages: dict[str, Watched], site: Site
) -> None:
    first = pages["bob"].page
    kept = await first.evaluate("sessionStorage.getItem('colloque.session')")
    second = await first.context.new_page()
    await second.goto(site.told["page"])
    await second.evaluate("(kept) => sessionStorage.setItem('colloque.session', kept)", kept)
    await second.goto(site.link)
    await second.reload()
    await until(second, "document.querySelector('#preview').videoWidth > 0")
    await second.get_by_role("button", name="Rejoindre l’appel").click()
    await expect(second.locator("#call-state")).to_have_text("Connecté", timeout=20_000)
    await expect(first.locator("#left-text")).to_contain_text("depuis un autre onglet")


async def test_stop_in_chat_ends_it_on_the_page(pages: dict[str, Watched], site: Site) -> None:
    body = {"msgtype": "m.text", "body": "!visio stop"}
    room = quote(site.room_id, safe="")
    path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/stop"
    await site.person("alice").request("PUT", path, body)
    for watched in pages.values():
        await expect(watched.page.get_by_role("heading", name="L’appel est terminé")).to_be_visible(
            timeout=20_000
        )
        assert await violations(watched.page) == []


async def test_kicked_in_mid_call_then_no_way_back_in(
    pages: dict[str, Watched], site: Site
) -> None:
    bob = pages["bob"].page
    room = quote(site.room_id, safe="")
    kick = {"user_id": site.person("bob").user_id}
    await site.person("alice").request("POST", f"/_matrix/client/v3/rooms/{room}/kick", kick)
    await expect(bob.locator("#left-text")).to_contain_text("retiré de l’appel", timeout=10_000)
    await bob.get_by_role("button", name="Revenir dans l’appel").click()
    await expect(bob.locator("#problem-text")).to_contain_text("pas membre de ce salon")


async def test_kicked_in_the_lobby_the_token_door_says_so(browser: Browser, site: Site) -> None:
    room = quote(site.room_id, safe="")
    alice, bob = site.person("alice"), site.person("bob")
    invite = {"user_id": bob.user_id}
    await alice.request("POST", f"/_matrix/client/v3/rooms/{room}/invite", invite)
    await bob.request("POST", f"/_matrix/client/v3/rooms/{room}/join", {})
    async with open_page(browser, site.link, own=site.own) as watched:
        page = watched.page
        await _lobby(page, "bob")
        await alice.request("POST", f"/_matrix/client/v3/rooms/{room}/kick", invite)
        await page.get_by_role("button", name="Rejoindre l’appel").click()
        await expect(page.locator("#join-problem")).to_contain_text("pas membre de ce salon")


async def test_an_invitation_is_accepted_in_the_list(browser: Browser, site: Site) -> None:
    room = quote(site.room_id, safe="")
    alice, bob = site.person("alice"), site.person("bob")
    invite = {"user_id": bob.user_id}
    await alice.request("POST", f"/_matrix/client/v3/rooms/{room}/invite", invite)
    async with open_page(browser, site.told["page"], own=site.own) as watched:
        page = watched.page
        await sign_in(page, "bob", "colloque")
        await page.get_by_role("button", name="Accepter l’invitation").click()
        await expect(page.locator("#rooms a").first).to_be_visible()
        await page.locator("#rooms a").first.click()
        await expect(page.get_by_role("button", name="Rejoindre l’appel")).to_be_visible()
