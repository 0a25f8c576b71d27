"""The page beside a call: what it shows of captions, how they look, and what it says without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Frame, Page, expect

from tests.bridge.page.browser import open_page, sign_in, violations
from tests.bridge.page.caption_services import CaptionServices, caption_services
from tests.bridge.page.services import ROOM
from tests.support.captions import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LINK = f"/captions#/room/{quote(ROOM, safe='')}"


@pytest_asyncio.fixture(loop_scope="session")
async def bridge() -> AsyncIterator[CaptionServices]:
    """What the page asks."""
    async with caption_services() as running:
        yield running


@asynccontextmanager
async def reading(browser: Browser, bridge: CaptionServices) -> AsyncIterator[Page]:
    """Alice, signed in, before the captions. Nothing may go wrong in the page."""
    async with open_page(browser, bridge.url + LINK, own={bridge.url}) as watched:
        await sign_in(watched.page, "alice", "secret")
        await expect(watched.page.get_by_role("heading", name="Sous-titres")).to_be_visible()
        await expect(watched.page.locator("#panel-state")).to_have_text("En direct")
        yield watched.page
        assert watched.errors == []
        assert watched.foreign == []


async def test_what_is_said_is_on_screen_and_in_the_log(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with reading(browser, bridge) as page:
        assert bridge.proofs[0]["access_token"] == "openid"
        assert bridge.rooms == [ROOM]
        assert bridge.streams[0]["Authorization"] == "Bearer s3cret"
        assert bridge.streams[0]["room"] == ROOM
        bridge.caption("Alice", "Bonjour à", final=False, segment="a")
        await expect(page.locator("#captions .line-interim")).to_have_text("Bonjour à")
        bridge.caption("Alice", "Bonjour à tous.", segment="a")
        bridge.caption("Bruno", "Bonjour Alice.")
        names = page.locator("#captions .caption-name")
        await expect(names).to_have_text(["– Alice", "– Bruno"])
        log = page.get_by_role("log")
        await expect(log.locator("p")).to_have_text(
            [
                "Alice @alice:essai.example : Bonjour à tous.",
                "Bruno @bruno:essai.example : Bonjour Alice.",
            ]
        )
        await expect(log).to_have_attribute("aria-live", "off")
        long = "Un discours qui ne tient pas sur trois lignes de trente-six signes chacune " * 3
        bridge.caption("Chloé", long)
        await expect(page.locator("#captions .line")).to_have_count(3)
        assert await violations(page) == []


async def test_how_it_looks_is_chosen_by_keyboard_and_kept(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with reading(browser, bridge) as page:
        await page.get_by_text("Affichage et lecture").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        for label, key in (("Taille", "1"), ("Couleur", "J"), ("Fond", "N"), ("Place", "E")):
            field = page.get_by_label(label)
            await expect(field).to_be_focused()
            await page.keyboard.press("ArrowDown" if key in "1E" else key)
            await page.keyboard.press("Tab")
        await page.keyboard.press("Space")
        screen = page.locator("#captions")
        for name, value in {
            "size": "125",
            "colour": "yellow",
            "band": "opaque",
            "position": "top",
        }.items():
            await expect(screen).to_have_attribute(f"data-{name}", value)
        await expect(page.get_by_role("log")).to_have_attribute("aria-live", "polite")
        assert await violations(page) == []
        await page.reload()
        await expect(page.locator("#panel-state")).to_have_text("En direct")
        await expect(screen).to_have_attribute("data-colour", "yellow")
        bridge.caption("Alice", "Toujours en jaune.")
        colour = "getComputedStyle(document.querySelector('#captions .caption')).color"
        await expect(page.locator("#captions .line")).to_be_visible()
        assert await page.evaluate(colour) == "rgb(255, 233, 92)"


async def test_who_reads_slowly_holds_it(browser: Browser, bridge: CaptionServices) -> None:
    async with reading(browser, bridge) as page:
        bridge.caption("Alice", "Avant.")
        await expect(page.get_by_role("log")).to_contain_text("Avant.")
        await page.get_by_role("button", name="Mettre en pause").click()
        bridge.caption("Alice", "Pendant.", segment="b")
        bridge.stands(language="fr-FR")  # comes behind it
        button = page.get_by_role("button", name="Reprendre")
        await expect(button).to_have_attribute("aria-pressed", "true")
        await expect(page.get_by_role("log")).not_to_contain_text("Pendant.")
        await expect(page.locator("#captions")).to_contain_text("Avant.")
        await button.click()
        await expect(page.get_by_role("log")).to_contain_text("Pendant.")


async def test_without_captions_it_says_how_to_get_them(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with reading(browser, bridge) as page:
        for captions, sentence in (
            ("off", "!visio sous-titres oui"),
            ("no_call", "Aucun appel n’est en cours"),
            ("forbidden", "ne montre pas ici"),
        ):
            bridge.stands(captions="on")
            await expect(page.locator("#panel-why")).to_be_hidden()
            bridge.caption("Alice", f"Encore visible : {captions}.")
            await expect(page.locator("#captions")).to_contain_text("Encore visible")
            bridge.stands(captions=captions)
            await expect(page.locator("#panel-why")).to_contain_text(sentence)
            await expect(page.locator("#captions")).to_be_empty()
            await expect(page.get_by_role("log")).to_contain_text(f"Encore visible : {captions}.")
        assert await violations(page) == []
        await page.get_by_role("button", name="English").click()
        await expect(page.get_by_role("heading", name="Captions of the call")).to_be_visible()


async def test_a_connection_that_breaks_comes_back_where_it_was(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with reading(browser, bridge) as page:
        bridge.caption("Alice", "Un.")
        await expect(page.get_by_role("log")).to_contain_text("Un.")
        bridge.cut()
        await until(lambda: len(bridge.streams) == 2)
        assert bridge.streams[1]["Last-Event-ID"] == "0123abcd-1"
        assert len(bridge.proofs) == 1
        await expect(page.locator("#panel-state")).to_have_text("En direct")
        bridge.say("left_out", {"count": 3})
        await expect(page.get_by_role("log")).to_contain_text("3 phrases manquent")
        bridge.say("end", {"reason": "session"})
        await until(lambda: len(bridge.proofs) == 2)
        await expect(page.locator("#panel-state")).to_have_text("En direct")


async def test_who_may_not_read_is_told_so(browser: Browser, bridge: CaptionServices) -> None:
    async with reading(browser, bridge) as page:
        bridge.say("end", {"reason": "not_member"})
        await expect(page.locator("#problem-text")).to_contain_text("pas membre de ce salon")
        bridge.refusal = (403, {"errcode": "M_FORBIDDEN", "eu.colloque.reason": "not_member"})
        await page.get_by_role("button", name="Réessayer").click()
        await until(lambda: len(bridge.streams) == 2)
        await expect(page.locator("#problem-text")).to_contain_text("pas membre de ce salon")
        assert await violations(page) == []


async def test_another_site_is_read_too_and_shown_as_missing_where_it_does_not_answer(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with caption_services() as other:
        own = {bridge.url, other.url, "http://127.0.0.1:9/"}
        async with open_page(browser, bridge.url + LINK, own=own) as watched:
            page = watched.page
            await sign_in(page, "alice", "secret")
            bridge.stands(sites=[other.url, "http://127.0.0.1:9", "ftp://elsewhere"])
            await until(lambda: other.streams)
            other.caption("Bruno", "Je parle d’ailleurs.")
            await expect(page.get_by_role("log")).to_contain_text("Je parle d’ailleurs.")
            missing = page.locator("#panel-sites li")
            await expect(missing).to_have_count(1, timeout=15_000)
            await expect(missing).to_contain_text("127.0.0.1 ne répond pas")
            bridge.stands(sites=[])
            await expect(missing).to_have_count(0)


@asynccontextmanager
async def framed(
    browser: Browser, bridge: CaptionServices, decision: str, **more: str
) -> AsyncIterator[tuple[Page, Frame]]:
    """The page as a widget in a client whose user decides so."""
    template = (
        f"{bridge.url}/captions#/room/$matrix_room_id?theme=$org.matrix.msc2873.client_theme"
        "&lang=$org.matrix.msc2873.client_language"
    )
    query = urlencode({"decision": decision, "room": ROOM, "url": template, **more})
    async with open_page(browser, f"{bridge.url}/host?{query}", own={bridge.url}) as watched:
        await until(lambda: len(watched.page.frames) > 1)
        yield watched.page, watched.page.frames[1]
        assert watched.errors == []
        assert watched.foreign == []


async def test_as_a_widget_it_learns_from_the_client_who_reads(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with framed(browser, bridge, "allowed", lang="en") as (page, widget):
        await expect(widget.locator("#panel-state")).to_have_text("Live")
        assert bridge.proofs == [
            {
                "access_token": "openid",
                "expires_in": 3600,
                "matrix_server_name": "essai.example",
                "token_type": "Bearer",
            }
        ]
        assert await page.evaluate("globalThis.requested") == []
        bridge.caption("Alice", "Hello")
        await expect(widget.get_by_role("log")).to_contain_text("Hello")
        assert await widget.evaluate("document.documentElement.dataset.theme") == "dark"
        await page.evaluate("api.updateTheme({name: 'light'})")
        await expect(widget.locator("html")).to_have_attribute("data-theme", "light")
        assert await violations(page) == []


async def test_as_a_widget_it_waits_for_the_persons_answer(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with framed(browser, bridge, "later") as (page, widget):
        await expect(widget.locator("#panel-state")).to_have_text("Connexion…")
        assert bridge.proofs == []
        await page.evaluate("allow()")
        await expect(widget.locator("#panel-state")).to_have_text("En direct")


async def test_as_a_widget_it_takes_no_for_an_answer_and_asks_once(
    browser: Browser, bridge: CaptionServices
) -> None:
    async with framed(browser, bridge, "blocked") as (page, widget):
        await expect(widget.locator("#problem-text")).to_contain_text("pas confirmé votre identité")
        await expect(widget.get_by_role("link", name="Ouvrir dans un onglet")).to_have_attribute(
            "href", f"captions#/room/{quote(ROOM, safe='!')}?theme=dark&lang=fr"
        )
        assert await page.evaluate("globalThis.askedOpenId") == 1
        await widget.get_by_role("button", name="Réessayer").click()
        await expect(widget.locator("#problem-text")).to_contain_text("pas confirmé votre identité")
        assert bridge.proofs == []
