"""The page of meetings in a real browser, with a real homeserver and the real API behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, Route, expect

from bridge import config
from bridge.app import serving
from bridge.domain.conference import Conference
from bridge.matrix import appservice, wire
from bridge.matrix.client import Homeserver
from bridge.matrix.openid import OpenId
from bridge.rooms.house import Stores
from bridge.store.database import open_database
from bridge.web.api_meetings import MeetingsApi
from bridge.web.api_search import SearchApi
from bridge.web.page import Page as Files
from bridge.web.sessions import Sessions
from tests.bridge.page.browser import Watched, open_page, sign_in, violations
from tests.support.captions import until
from tests.support.library import (
    MINUTE,
    STARTED,
    archive_over,
    challenges,
    held,
    keep,
    utterance,
)
from tests.support.rooms_bridge import synapse_with_bot
from tests.support.synapse import Person, free_ports

pytestmark = [
    pytest.mark.browser,
    pytest.mark.homeserver,
    pytest.mark.asyncio(loop_scope="session"),
]


@dataclass
class Library:
    """A bridge's page and API; two meetings, of a room of alice's and bob's and of bob's alone."""

    url: str
    homeserver_url: str
    stores: Stores
    alice: Person
    bob: Person
    room: str
    card: str
    budget: Conference
    heard: list[dict[str, Any]]
    """To-device messages that came."""
    lost: list[int]
    """Of those, as many first ones never reached the bridge's parts."""

    @property
    def own(self) -> set[str]:
        return {self.url, self.homeserver_url, f"blob:{self.url}"}

    @property
    def page(self) -> str:
        return f"{self.url}/transcripts"

    async def revise(self, number: int, text: str, rev: int) -> None:
        """A correction, or (with no text) a deletion, as the bridge stores it."""
        async with self.stores.db.acquire() as conn:
            said = utterance(self.budget, number, self.alice.user_id, text, rev=rev, editor="@x:y")
            assert await self.stores.utterances.put(conn, said)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Library]:
    folder = tmp_path_factory.mktemp("library")
    async with AsyncExitStack() as stack:
        synapse, registration = await stack.enter_async_context(synapse_with_bot(folder))
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        settings = config.Settings(
            homeserver=config.Homeserver(
                address=synapse.client_url, server_name=synapse.server_name
            ),
            database=config.Database(url=f"sqlite:{folder}/page.db"),
            web=config.Web(public_url=url),
        )
        database = await open_database(settings)
        stack.push_async_callback(database.stop)
        bot = Homeserver(synapse.client_url, synapse.server_name, registration)
        stack.push_async_callback(bot.close)
        openid = OpenId(settings)
        stack.push_async_callback(openid.close)
        proofs = challenges(url, bot=bot.user_id, wait_s=5.0)
        heard = list[dict[str, Any]]()

        def take(message: dict[str, Any]) -> None:
            assert message["type"] == wire.SESSION
            heard.append(message)
            if len(heard) > lost[0]:
                proofs.take(message)

        lost = [0]
        matrix = appservice.routes(
            Stores.over(database).inbox,
            registration,
            lambda _rooms: None,
            server_name=synapse.server_name,
            on_to_device=take,
        )
        await stack.enter_async_context(serving(matrix, registration.url.partition("//")[2]))
        await bot.ensure_registered()
        await bot.object("PUT", "/_matrix/client/v3/devices/COLLOQUE", body={})
        sessions = Sessions(openid, proofs)
        archive = archive_over(settings, database, bot)
        app = web.Application()
        app.add_routes(sessions.routes())
        app.add_routes(MeetingsApi(archive, sessions).routes())
        app.add_routes(SearchApi(archive, sessions, config.zone_of("UTC")).routes())
        app.add_routes(Files(settings).routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        alice, bob = await synapse.register("alice"), await synapse.register("bob")
        room = await alice.create_room("Budget", invite=[bot.user_id, bob.user_id])
        other = await bob.create_room("Direction", invite=[bot.user_id])
        await bob.join(room)
        for joined in (room, other):
            await bot.join(joined)
        card = await bot.send_message(room, "m.room.message", _notice("card"), "card")
        shown = await bot.send_message(room, "m.room.message", _notice("Alice"), "shown")
        budget = held("c1", room, [alice.user_id, bob.user_id])
        stores = Stores.over(database)
        said = [
            utterance(budget, 0, alice.user_id, "Bonjour, le budget est ouvert.", event_id=shown),
            utterance(budget, 1, bob.user_id, "We keep the budget.", language="en"),
            utterance(budget, 2, alice.user_id, "Les décisions sont prises <b>ici</b>."),
            utterance(budget, 3, bob.user_id, "Rien à ajouter."),
        ]
        await keep(stores, budget, said, name="Budget 2027", root=card)
        theirs = held("c2", other, [bob.user_id], started_ms=STARTED + 60 * MINUTE)
        words = [utterance(theirs, 0, bob.user_id, "Les décisions secrètes.")]
        await keep(stores, theirs, words, name="Direction")
        sealed = held("c3", room, [bob.user_id], started_ms=STARTED - MINUTE, encrypted=True)
        await keep(stores, sealed, [], name="Budget 2027")
        yield Library(url, synapse.client_url, stores, alice, bob, room, card, budget, heard, lost)


def _notice(body: str) -> dict[str, Any]:
    return {"msgtype": "m.notice", "body": body}


async def _signed_in(page: Page, person: Person) -> None:
    await sign_in(page, person.user_id, person.password)
    await expect(page.get_by_role("heading", name="Mes réunions")).to_be_visible(timeout=20_000)


async def test_reading_a_meeting(browser: Browser, library: Library) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        await _signed_in(page, library.alice)
        entries = page.locator("#meetings li")
        await expect(entries).to_have_count(2)
        await expect(entries.nth(0)).to_contain_text("2 participants")
        await expect(entries.nth(1)).to_contain_text("salon chiffré")
        await expect(page.locator("body")).not_to_contain_text("Direction")
        await entries.nth(0).get_by_role("link").click()
        heading = page.get_by_role("heading", level=1, name="Budget 2027")
        await expect(heading).to_be_focused()
        turns = page.locator("#turns li")
        await expect(turns).to_have_count(4)
        await expect(turns.nth(2)).to_contain_text("<b>ici</b>")
        english = page.get_by_text("We keep the budget.")
        assert await english.get_attribute("lang") == "en"
        await expect(page.locator("#people li").nth(0)).to_contain_text("parole 8 s")
        link = page.get_by_role("link", name="0:00 : ouvrir ce message")
        target = await link.get_attribute("href") or ""
        assert target.startswith(f"https://matrix.to/#/{quote(library.room, safe='!')}/%24")
        room = await page.locator("#meeting-room").get_attribute("href") or ""
        assert quote(library.card, safe="") in room
        assert await page.locator("audio, video").count() == 0
        assert (watched.errors, watched.foreign) == ([], [])


async def test_finding_inside_one_meeting(browser: Browser, library: Library) -> None:
    async with open_page(browser, f"{library.page}#/meeting/c1", own=library.own) as watched:
        page = watched.page
        await sign_in(page, library.alice.user_id, library.alice.password)
        find, state = (
            page.get_by_label("Chercher dans cette réunion").last,
            page.locator("#find-state"),
        )
        await find.fill("BUDGET")
        await expect(state).to_have_text("1 sur 2 : Bonjour, le budget est ouvert.")
        await find.press("Enter")
        await expect(state).to_have_text("2 sur 2 : We keep the budget.")
        await expect(page.locator("mark[aria-current]")).to_have_text("budget")
        await find.press("Enter")
        await expect(state).to_contain_text("1 sur 2")
        await find.press("Shift+Enter")
        await expect(state).to_contain_text("2 sur 2")
        await page.get_by_role("button", name="Précédent").click()
        await expect(state).to_contain_text("1 sur 2")
        await find.fill("introuvable")
        await expect(state).to_contain_text("Rien de tel")
        await find.press("Escape")
        await expect(state).to_be_empty()
        await expect(page.locator("mark")).to_have_count(0)
        assert watched.errors == []


async def test_searching_all_meetings(browser: Browser, library: Library) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        await _signed_in(page, library.alice)
        await page.get_by_label("Chercher dans toutes vos réunions").fill("decision")
        await page.keyboard.press("Enter")
        heading = page.get_by_role("heading", level=1, name="Résultats pour « decision »")
        await expect(heading).to_be_focused()
        await expect(page.locator("#announcer")).to_have_text("1 passage trouvé.")
        await expect(page.locator("#results mark")).to_have_text("décisions")
        await page.get_by_role("link", name="Budget 2027").click()
        await expect(page.locator(".said.is-target")).to_be_focused()
        await expect(page.locator(".said.is-target")).to_contain_text("Les décisions")
        await page.go_back()
        await expect(heading).to_be_visible()
        await page.get_by_text("Préciser la recherche").click()
        await page.get_by_label("Dit par").fill("bob")
        await page.keyboard.press("Enter")
        # The text is there before it is shown: until then the form is filled in anew.
        await expect(page.locator("#results-empty")).to_be_visible()
        await expect(page.locator("#results-empty")).to_contain_text("Essayez moins de mots")
        await page.get_by_label("Dit par").fill("")
        await page.get_by_label("Depuis le").fill("2026-09-21")
        await page.get_by_role("button", name="Chercher", exact=True).click()
        await expect(page.locator("#results li")).to_have_count(1)
        assert watched.errors == []


async def test_a_document_is_downloaded(browser: Browser, library: Library) -> None:
    async with open_page(browser, f"{library.page}#/meeting/c1", own=library.own) as watched:
        page = watched.page
        await sign_in(page, library.alice.user_id, library.alice.password)
        async with page.expect_download() as begun:
            await page.get_by_role("button", name="Compte rendu Markdown (.md)").click()
        download = await begun.value
        assert download.suggested_filename == "2026-09-21-transcript.md"
        text = Path(await download.path()).read_text(encoding="utf-8")  # noqa: ASYNC240
        assert "le budget est ouvert" in text
        await page.route("**/document.odt", lambda route: route.fulfill(status=503, json={}))
        await page.get_by_role("button", name="(.odt)").click()
        await expect(page.get_by_role("alert")).to_contain_text("ne répond pas")
        assert watched.errors == []


async def test_corrections_and_deletions_show_after_a_reload(
    browser: Browser, library: Library
) -> None:
    async with open_page(browser, f"{library.page}#/meeting/c1", own=library.own) as watched:
        page = watched.page
        await sign_in(page, library.alice.user_id, library.alice.password)
        await expect(page.get_by_text("Rien à ajouter.")).to_be_visible(timeout=20_000)
        await library.revise(3, "Tout à revoir.", 1)
        await page.reload()
        await expect(page.get_by_text("Tout à revoir.")).to_be_visible(timeout=20_000)
        await expect(page.locator("#turns li").nth(3)).to_contain_text("corrigé")
        await expect(page.get_by_text("Rien à ajouter.")).to_have_count(0)
        await library.revise(3, "", 2)
        await page.reload()
        await expect(page.locator("#turns li")).to_have_count(3)
        await page.get_by_label("Chercher dans toutes vos réunions").fill("revoir")
        await page.keyboard.press("Enter")
        await expect(page.locator("#results-empty")).to_be_visible()


async def test_who_is_no_member_sees_nothing(browser: Browser, library: Library) -> None:
    async with open_page(browser, f"{library.page}#/meeting/c2", own=library.own) as watched:
        page = watched.page
        await sign_in(page, library.alice.user_id, library.alice.password)
        problem = page.locator("#problem-text")
        await expect(problem).to_contain_text("n’existe pas, ou n’est pas de vos salons")
        there = await problem.text_content()
        await page.goto(f"{library.page}#/meeting/nothing")
        await expect(page.get_by_role("heading", name="Un problème")).to_be_focused()
        assert await problem.text_content() == there
        await page.get_by_role("link", name="Voir mes réunions").first.click()
        await expect(page.locator("#meetings li")).to_have_count(2)
        await page.get_by_label("Chercher dans toutes vos réunions").fill("secrètes")
        await page.keyboard.press("Enter")
        await expect(page.locator("#results-empty")).to_be_visible()
        assert watched.errors == []


async def test_encrypted_rooms_are_read_in_the_room(browser: Browser, library: Library) -> None:
    async with open_page(browser, f"{library.page}#/meeting/c3", own=library.own) as watched:
        page = watched.page
        await sign_in(page, library.alice.user_id, library.alice.password)
        await expect(page.locator("#meeting-withheld")).to_contain_text("chiffré")
        await expect(page.locator("#meeting-body")).to_be_hidden()


async def test_failures_say_what_to_do_and_can_be_tried_again(
    browser: Browser, library: Library
) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        await page.route("**/api/meetings", lambda route: route.fulfill(status=503, json={}))
        await sign_in(page, library.alice.user_id, library.alice.password)
        await expect(page.locator("#problem-text")).to_contain_text("Réessayez dans un instant")
        await page.unroute("**/api/meetings")
        await page.get_by_role("button", name="Réessayer").click()
        await expect(page.locator("#meetings li")).to_have_count(2)


async def test_a_session_that_is_gone_is_begun_again_without_a_word(
    browser: Browser, library: Library
) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        await _signed_in(page, library.alice)
        refused: list[str] = []

        async def once(route: Route) -> None:
            if refused:
                await route.continue_()
            else:
                refused.append(route.request.url)
                await route.fulfill(status=401, json={"errcode": "M_UNKNOWN_TOKEN"})

        await page.route("**/api/meetings/c1", once)
        await page.get_by_role("link", name="Budget 2027").first.click()
        await expect(page.locator("#turns li").first).to_be_visible()
        assert refused


async def _posted(library: Library, path: str, body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{library.url}/api/session{path}", json=body) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_token_that_another_site_was_shown_opens_no_archive(library: Library) -> None:
    shown = await library.alice.openid_token()
    assert (await _posted(library, "", {"openid_token": shown}))[0] == 400
    status, opened = await _posted(library, "", {"openid_token": shown, "room": library.room})
    assert (status, opened["user_id"]) == (200, library.alice.user_id)
    headers = {"Authorization": f"Bearer {opened['session']}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for path in (
            "meetings",
            f"meetings?room={quote(library.room)}",
            "meetings/c1",
            "meetings/c1/document.md",
            "search?q=budget",
        ):
            async with http.get(f"{library.url}/api/{path}") as answer:
                assert answer.status == 401, path
                assert "budget" not in (await answer.text()).lower()


async def test_nobody_else_answers_a_challenge(library: Library) -> None:
    """Alice's, and by Bob, who learned it; then by a client of hers that stood at another site."""
    status, asked = await _posted(library, "/challenge", {"user_id": library.alice.user_id})
    assert status == 200
    content = {"challenge": asked["challenge"], "site": asked["site"]}
    elsewhere = {**content, "site": "https://visio.evil.example"}
    before = len(library.heard)
    for person, said in ((library.bob, content), (library.alice, elsewhere)):
        path = f"/_matrix/client/v3/sendToDevice/{wire.SESSION}/{person.user_id[1:4]}"
        body = {"messages": {asked["bot"]: {asked["device"]: said}}}
        await person.request("PUT", path, body)
    await until(lambda: len(library.heard) >= before + 2)
    proof = {name: asked[name] for name in ("challenge", "secret")}
    status, refused = await _posted(library, "", proof)
    assert (status, refused["eu.colloque.reason"]) == (401, "not_proved")


async def test_the_access_token_goes_to_the_homeserver_alone(
    browser: Browser, library: Library
) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        sent: list[str] = []
        page.on(
            "request",
            lambda asked: sent.append(f"{asked.url} {asked.headers} {asked.post_data}"),
        )
        await _signed_in(page, library.alice)
        kept = await page.evaluate("JSON.parse(sessionStorage.getItem('colloque.session'))")
        holders = [one for one in sent if kept["accessToken"] in one]
        assert holders
        assert all(one.startswith(library.homeserver_url) for one in holders)
        ours = [one for one in sent if one.startswith(f"{library.url}/api/session")]
        assert len(ours) == 2
        assert not any("openid" in one for one in sent)


async def test_a_proof_that_is_lost_is_sent_again_by_itself(
    browser: Browser, library: Library
) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        before = len(library.heard)
        library.lost[0] = before + 1
        await sign_in(page, library.alice.user_id, library.alice.password)
        said = page.locator("#announcer")
        await expect(page.locator("#wait-why")).to_contain_text(
            "confirme votre identité", timeout=20_000
        )
        await expect(said).to_contain_text("confirme votre identité")
        await expect(page.locator("#meetings li")).to_have_count(2, timeout=20_000)
        await expect(said).to_contain_text("nouvel essai")
        await expect(page.locator("#wait-why")).to_be_empty()
        first, second = library.heard[before:]
        assert first["content"] == second["content"]
        assert watched.errors == []


_OTHER = {"challenge": "c", "secret": "s", "bot": "@v:x", "device": "D", "site": "https://v.x"}
_FAILURES: list[tuple[str, int, dict[str, str], str]] = [
    ("", 401, {"eu.colloque.reason": "not_proved"}, "Ce service n’a pas reçu la confirmation"),
    ("/challenge", 200, _OTHER, "Ouvrez https://v.x/transcripts"),
    ("", 401, {"errcode": "M_UNKNOWN_TOKEN"}, "Ce service n’a pas reçu la confirmation"),
    ("/challenge", 403, {"errcode": "M_FORBIDDEN"}, "comptes de votre serveur"),
    ("/challenge", 503, {}, "ne répond pas"),
]


def _answering(status: int, body: Any) -> Callable[[Route], Awaitable[None]]:
    async def answer(route: Route) -> None:
        await route.fulfill(status=status, json=body)

    return answer


async def test_a_proof_that_fails_says_what_to_do(browser: Browser, library: Library) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        shown = page.locator("#problem-text")
        for number, (path, status, body, sentence) in enumerate(_FAILURES):
            address = f"**/api/session{path}"
            await page.route(address, _answering(status, body))
            if number:
                await page.get_by_role("button", name="Réessayer").press("Enter")
            else:
                await sign_in(page, library.alice.user_id, library.alice.password)
            await expect(shown).to_contain_text(sentence, timeout=20_000)
            await page.unroute(address)
        await page.get_by_role("button", name="Réessayer").press("Enter")
        await expect(page.locator("#meetings li")).to_have_count(2, timeout=20_000)
        assert watched.errors == []


async def test_signing_out_leaves_nothing_on_the_page(browser: Browser, library: Library) -> None:
    async with open_page(browser, f"{library.page}#/meeting/c1", own=library.own) as watched:
        page = watched.page
        await sign_in(page, library.bob.user_id, library.bob.password)
        await expect(page.get_by_text("Bonjour, le budget")).to_be_visible(timeout=20_000)
        ended: list[str] = []
        page.on("request", lambda asked: ended.append(f"{asked.method} {asked.url}"))
        await page.get_by_role("button", name="Se déconnecter").click()
        await expect(page.get_by_role("heading", name="Se connecter")).to_be_visible()
        assert f"DELETE {library.url}/api/session" in ended
        assert "budget est ouvert" not in await page.content()
        assert await page.evaluate("sessionStorage.length") == 0


async def test_keyboard_alone(browser: Browser, library: Library) -> None:
    async with open_page(browser, library.page, own=library.own) as watched:
        page = watched.page
        await expect(page.get_by_label("Mot de passe")).to_be_visible()
        await _tab_to(page, "#skip", back=True)
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await _tab_to(page, "#user")
        await page.keyboard.type(library.alice.user_id)
        await page.keyboard.press("Tab")
        await page.keyboard.type(library.alice.password)
        await page.keyboard.press("Enter")
        await expect(page.locator("#meetings-title")).to_be_focused(timeout=20_000)
        await _tab_to(page, "#meetings a")
        await page.keyboard.press("Enter")
        await expect(page.locator("#meeting-title")).to_be_focused()
        for wanted in ("#meeting-room", "#downloads button", "#find-text", "#turns a"):
            await _tab_to(page, wanted)
        await _tab_to(page, "#find-text", back=True)
        await page.keyboard.type("budget")
        await expect(page.locator("#find-state")).to_contain_text("1 sur 2")
        await _tab_to(page, "#find-previous")
        await page.keyboard.press("Space")
        await expect(page.locator("#find-state")).to_contain_text("2 sur 2")
        await _tab_to(page, "#query", back=True)
        await page.keyboard.type("décision")
        await page.keyboard.press("Enter")
        await expect(page.locator("#results-title")).to_be_focused()
        await _tab_to(page, "#results a")
        await page.keyboard.press("Enter")
        await expect(page.locator(".said.is-target")).to_be_focused()
        assert watched.errors == []


# 320 px is also a page of 1280 px at 400 %.
@pytest.mark.parametrize(
    ("locale", "width", "scheme"), [("fr-FR", 640, "light"), ("en-GB", 320, "dark")]
)
async def test_axe_finds_nothing_in_any_view(
    browser: Browser, library: Library, locale: str, width: int, scheme: Any
) -> None:
    place = {"locale": locale, "color_scheme": scheme}
    async with open_page(browser, library.page, own=library.own, **place) as watched:
        page = watched.page
        await page.set_viewport_size({"width": width, "height": 640})
        await _every_view(watched, library)


async def _every_view(watched: Watched, library: Library) -> None:
    page = watched.page
    await page.goto(f"{library.page}#/")
    if await page.evaluate("!sessionStorage.getItem('colloque.session')"):
        await page.locator("#password").wait_for()
        await _clean(page)
        await page.locator("#user").fill(library.alice.user_id)
        await page.locator("#password").fill(library.alice.password)
        await page.locator("#sign-in").click()
    views = {
        "#/": "#view-meetings",
        "#/meeting/c1": "#view-meeting",
        "#/meeting/c1/c1-2": ".is-target",
        "#/meeting/c3": "#meeting-withheld",
        "#/search?q=budget&who=a": "#results li",
        "#/search?q=introuvable": "#results-empty",
        "#/meeting/nothing": "#view-problem",
    }
    for address, shown in views.items():
        await page.goto(library.page + address)
        await page.locator(shown).first.wait_for(timeout=20_000)
        if address == "#/meeting/c1":
            await page.locator("#find-text").fill("budget")
            await page.locator("mark").first.wait_for()
        await _clean(page)


async def _clean(page: Page) -> None:
    assert await violations(page) == []
    overflow = "document.documentElement.scrollWidth > innerWidth"
    assert not await page.evaluate(overflow), "the page scrolls sideways"


async def _tab_to(page: Page, wanted: str, *, back: bool = False) -> None:
    for _ in range(60):
        await page.keyboard.press("Shift+Tab" if back else "Tab")
        here = f"document.activeElement.matches({wanted!r})"
        seen = "getComputedStyle(document.activeElement).outlineStyle"
        outline = await page.evaluate(f"{here} && {seen}")
        if outline:
            assert outline == "solid", f"the focus must be seen at {wanted}"
            return
    raise AssertionError(f"{wanted} is not reached by the keyboard")
