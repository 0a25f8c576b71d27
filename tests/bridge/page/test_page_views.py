"""The page in a browser, and what it says when servers or devices fail."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from playwright.async_api import Browser, Page, Route, expect

from bridge.config import Federation
from tests.bridge.page.browser import chromium, open_page, sign_in, until, violations
from tests.bridge.page.services import ROOM, Fault, Services, services

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LINK = f"/#/room/{quote(ROOM, safe='')}"


async def _lobby(page: Page) -> None:
    await sign_in(page, "alice", "secret")
    await expect(page.get_by_role("heading", name="Rejoindre Budget 2027")).to_be_visible()


async def _signed_in(page: Page) -> None:
    await sign_in(page, "alice", "secret")
    await expect(page.get_by_role("heading", name="Mes salons")).to_be_visible()


async def test_sign_in_then_rooms_one_can_talk_in(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url, own={around.url}) as watched:
        page = watched.page
        await _signed_in(page)
        names = await page.locator(".room-name").all_text_contents()
        assert names == ["Budget 2027", "Atelier <b>&", "Direction"]  # the call first, no space
        links = await page.locator("#rooms a").all()
        assert len(links) == 2, "an encrypted room is no link"
        await expect(links[0]).to_contain_text("Appel en cours")
        assert unquote(await links[0].get_attribute("href") or "") == f"#/room/{ROOM}"
        assert around.asked[0][1]["identifier"] == {"type": "m.id.user", "user": "alice"}
        assert watched.errors == []
        assert watched.foreign == []


async def test_the_link_in_chat_goes_to_its_room_after_signing_in(
    browser: Browser, around: Services
) -> None:
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        await _lobby(watched.page)
        await expect(watched.page.locator("#view-lobby")).to_be_visible()


async def test_the_token_stays_in_the_tab(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url, own={around.url}) as watched:
        page = watched.page
        await _signed_in(page)
        kept = await page.evaluate("JSON.stringify([{...localStorage}, document.cookie])")
        assert "secret-of-alice" not in kept
        assert "secret-of-alice" in await page.evaluate("JSON.stringify({...sessionStorage})")
        await page.reload()
        await expect(page.get_by_role("heading", name="Mes salons")).to_be_visible()
        await page.get_by_role("button", name="Se déconnecter").click()
        await expect(page.get_by_role("heading", name="Se connecter")).to_be_visible()
        assert await page.evaluate("sessionStorage.length") == 0
        assert ("/_matrix/client/v3/logout", {}) in around.asked


@pytest.mark.parametrize(
    ("path", "fault", "sentence"),
    [
        ("/login", Fault(403, {"errcode": "M_FORBIDDEN"}), "Identifiant ou mot de passe incorrect"),
        ("/login", Fault(403, {"errcode": "M_USER_DEACTIVATED"}), "Ce compte est désactivé"),
        ("/login", Fault(429, {"retry_after_ms": 4200}), "Attendez 5 secondes"),
        ("/login", Fault(502), "Votre messagerie ne répond pas"),
        ("/login", Fault(418), "problème inattendu est survenu (HTTP 418)"),
    ],
)
async def test_a_refused_sign_in_says_what_to_do(
    browser: Browser, around: Services, path: str, fault: Fault, sentence: str
) -> None:
    async with open_page(browser, around.url, own={around.url}) as watched:
        page = watched.page
        await expect(page.get_by_label("Mot de passe")).to_be_visible()
        around.faults[path] = fault
        await sign_in(page, "alice", "wrong")
        await expect(page.get_by_role("alert")).to_contain_text(sentence)
        around.faults.clear()
        await sign_in(page, "alice", "right")
        await expect(page.get_by_role("heading", name="Mes salons")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "fault", "sentence"),
    [
        ("/config.json", Fault(503), "Le service de visioconférence ne répond pas"),
        ("/joined_members", Fault(403, {"errcode": "M_FORBIDDEN"}), "pas membre de ce salon"),
        ("/joined_members", Fault(500), "Votre messagerie ne répond pas"),
    ],
)
async def test_a_full_page_problem_can_be_tried_again(
    browser: Browser, around: Services, path: str, fault: Fault, sentence: str
) -> None:
    around.faults[path] = fault
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        page = watched.page
        if path != "/config.json":
            await sign_in(page, "alice", "secret")
        await expect(page.locator("#problem-text")).to_contain_text(sentence)
        assert await violations(page) == []
        around.faults.clear()
        await page.get_by_role("button", name="Réessayer").click()
        heading = "Se connecter" if path == "/config.json" else "Rejoindre Budget 2027"
        await expect(page.get_by_role("heading", name=heading)).to_be_visible()


async def test_an_encrypted_room_and_a_broken_link(browser: Browser, around: Services) -> None:
    around.state["m.room.encryption"] = {"algorithm": "m.megolm.v1.aes-sha2"}
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        page = watched.page
        await sign_in(page, "alice", "secret")
        await expect(page.locator("#problem-text")).to_contain_text("chiffré de bout en bout")
        await page.goto(around.url + "/#/room/%E0%A4%A")
        await expect(page.locator("#problem-text")).to_contain_text("Ce lien ne désigne aucun")
        await page.get_by_role("link", name="Voir mes salons").click()
        await expect(page.get_by_role("heading", name="Mes salons")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "fault", "sentence"),
    [
        ("/sfu/get", Fault(403, {"errcode": "M_FORBIDDEN"}), "pas membre de ce salon"),
        ("/sfu/get", Fault(401, {"errcode": "M_UNAUTHORIZED"}), "vérifier votre identité"),
        ("/sfu/get", Fault(503), "Le service d’appel ne répond pas"),
        ("/sfu/get", Fault(200), "Le service d’appel ne répond pas"),
        ("/request_token", Fault(429, {}), "Attendez 30 secondes"),
        ("", None, "Le serveur audio et vidéo est injoignable"),
    ],
)
async def test_joining_that_fails_says_why_and_keeps_the_preview(
    browser: Browser, around: Services, path: str, fault: Fault | None, sentence: str
) -> None:
    async with open_page(browser, around.url + LINK, own={around.url, "ws://"}) as watched:
        page = watched.page
        await _lobby(page)
        if fault:
            around.faults[path] = fault
        await page.get_by_role("button", name="Rejoindre l’appel").click()
        await expect(page.locator("#join-problem")).to_contain_text(sentence)
        await until(page, "document.querySelector('#preview').srcObject?.active")
        await expect(page.get_by_role("button", name="Rejoindre l’appel")).to_be_enabled()


async def test_who_waits_is_let_in_without_doing_anything(
    browser: Browser, around: Services
) -> None:
    waiting = {"errcode": "M_FORBIDDEN", "eu.colloque.reason": "waiting"}
    async with open_page(browser, around.url + LINK, own={around.url, "ws://"}) as watched:
        page = watched.page
        await _lobby(page)
        around.faults["/sfu/get"] = Fault(403, waiting)
        await page.get_by_role("button", name="Rejoindre l’appel").click()
        await expect(page.locator("#join-problem")).to_contain_text("modérateur")
        await expect(page.locator("#join")).to_have_text("En attente d’un modérateur…")
        around.faults.clear()
        # Let in: the page goes on to the media server by itself (where here nobody listens).
        refused = page.locator("#join-problem")
        await expect(refused).to_contain_text("Le serveur audio et vidéo", timeout=20_000)


async def test_an_expired_session_asks_to_sign_in_again(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url, own={around.url}) as watched:
        page = watched.page
        await _signed_in(page)
        around.faults["/sync"] = Fault(401, {"errcode": "M_UNKNOWN_TOKEN"})
        await page.get_by_role("button", name="Actualiser").click()
        await expect(page.get_by_role("alert")).to_contain_text("Votre session a expiré")
        around.faults.clear()
        await _signed_in(page)


async def test_joining_waits_visibly_and_happens_once(browser: Browser, around: Services) -> None:
    slow = Fault(503, until=asyncio.Event())
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        page = watched.page
        await _lobby(page)
        around.faults["/sfu/get"] = slow
        await page.locator("#join").dblclick()
        await expect(page.locator("#join")).to_have_text("Connexion à l’appel…")
        await expect(page.locator("#join")).to_be_disabled()
        assert slow.until is not None
        slow.until.set()
        await expect(page.locator("#join-problem")).to_be_visible()
        assert len([path for path, _ in around.asked if path == "/sfu/get"]) == 1


async def test_what_the_token_door_is_asked(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        await _lobby(watched.page)
        around.faults["/sfu/get"] = Fault(403)
        await watched.page.get_by_role("button", name="Rejoindre l’appel").click()
        await expect(watched.page.locator("#join-problem")).to_be_visible()
    (asked,) = [body for path, body in around.asked if path == "/sfu/get"]
    assert asked == {
        "room": ROOM,
        "device_id": "TABLET",
        "openid_token": {
            "access_token": "openid",
            "token_type": "Bearer",
            "matrix_server_name": "essai.example",
            "expires_in": 3600,
        },
    }


async def test_preview_level_and_devices(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        page = watched.page
        await _lobby(page)
        await until(page, "document.querySelector('#preview').videoWidth > 0")
        await until(page, "document.querySelector('#level').value > 0.2")
        assert await page.locator("#microphone option").count() > 1
        await page.get_by_label("Caméra", exact=True).uncheck()
        await expect(page.locator("#preview-off")).to_be_visible()
        assert await page.evaluate("document.querySelector('#preview').srcObject") is None
        await page.get_by_label("Caméra", exact=True).check()
        await until(page, "document.querySelector('#preview').srcObject?.active")
        await page.goto(around.url + "/#/")  # leaving turns the camera off
        await expect(page.get_by_role("heading", name="Mes salons")).to_be_visible()
        assert await page.evaluate("document.querySelector('#preview').srcObject") is None


async def test_refused_devices_say_what_to_do_and_can_be_tried_again(around: Services) -> None:
    async with (
        chromium(ask_for_devices=True) as strict,
        open_page(strict, around.url + LINK, own={around.url}) as watched,
    ):
        page = watched.page
        await _lobby(page)
        await expect(page.locator("#camera-problem")).to_contain_text("refuse l’accès à la caméra")
        await expect(page.locator("#microphone-problem")).to_contain_text("refuse l’accès au micro")
        await expect(page.get_by_role("button", name="Rejoindre l’appel")).to_be_enabled()
        assert await violations(page) == []
        await page.context.grant_permissions(["camera", "microphone"], origin=around.url)
        await page.get_by_role("button", name="Réessayer le micro et la caméra").click()
        await until(page, "document.querySelector('#preview').srcObject?.active")
        await expect(page.locator("#camera-problem")).to_be_hidden()


async def test_what_the_room_wants_written_down_is_said_before(
    browser: Browser, around: Services
) -> None:
    around.state["eu.colloque.conference"] = {"captions": True, "transcript": True}
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        await _lobby(watched.page)
        await expect(watched.page.locator("#lobby-record")).to_contain_text("demande une transcr")


async def test_single_sign_on_there_and_back(browser: Browser, around: Services) -> None:
    provider = {"id": "agent", "name": "AgentConnect"}
    around.flows = [{"type": "m.login.sso", "identity_providers": [provider]}]
    async with open_page(browser, around.url + LINK, own={around.url}) as watched:
        page = watched.page
        async with page.expect_request(re.compile("/login/sso/redirect/agent")) as asked:
            await page.get_by_role("button", name="Continuer avec AgentConnect").click()
        await page.wait_for_url(re.compile("/login/sso/redirect"))
        request = await asked.value
        back = parse_qs(urlsplit(request.url).query)["redirectUrl"][0]
        await page.goto(f"{back}&loginToken=once")
        await expect(page.get_by_role("heading", name="Rejoindre Budget 2027")).to_be_visible()
        assert "loginToken" not in page.url
        login = {"type": "m.login.token", "token": "once"}
        assert login.items() <= around.asked[0][1].items()


async def test_a_guest_signs_in_at_their_own_homeserver(browser: Browser, around: Services) -> None:
    """The link in a federated room leads people of other servers to this page."""
    theirs = "https://matrix.autre.example"
    well_known = {"m.homeserver": {"base_url": f"{theirs}/"}}
    cors = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
    async with open_page(browser, around.url + LINK, own={around.url, "https://"}) as watched:
        page = watched.page
        asked: list[str] = []

        async def there(route: Route) -> None:
            asked.append(route.request.url)
            answer = await page.request.fetch(
                route.request.url.replace(theirs, around.url),
                method=route.request.method,
                data=route.request.post_data,
            )
            await route.fulfill(response=answer, headers={**answer.headers, **cors})

        await page.route(
            "https://autre.example/**", lambda route: route.fulfill(json=well_known, headers=cors)
        )
        await page.route("https://rien.example/**", lambda route: route.abort())
        await page.route(f"{theirs}/**", there)
        await page.get_by_role("button", name="Mon compte est sur un autre serveur").click()
        await page.get_by_label("Nom du serveur").fill("rien.example")
        await page.get_by_role("button", name="Utiliser ce serveur").click()
        await expect(page.get_by_role("alert")).to_contain_text("à « rien.example »")
        await page.get_by_label("Nom du serveur").fill("@zoe:autre.example")
        await page.get_by_role("button", name="Utiliser ce serveur").click()
        await expect(page.locator("#server-name")).to_have_text("autre.example")
        await expect(page.get_by_label("Nom du serveur")).to_be_hidden()
        await _lobby(page)
        assert f"{theirs}/_matrix/client/v3/login" in asked
        assert "/_matrix/client/v3/login" in [path for path, _ in around.asked]


async def test_no_other_server_where_nobody_else_is_admitted(browser: Browser) -> None:
    async with (
        services(Federation(allow_servers=[])) as around,
        open_page(browser, around.url, own={around.url}) as watched,
    ):
        await expect(watched.page.get_by_label("Mot de passe")).to_be_visible()
        await expect(watched.page.locator("#server-change")).to_be_hidden()


async def test_a_login_token_nobody_asked_for_is_refused(
    browser: Browser, around: Services
) -> None:
    url = f"{around.url}/?sso=00&loginToken=planted"
    async with open_page(browser, url, own={around.url}) as watched:
        page = watched.page
        await expect(page.locator("#problem-text")).to_contain_text("La connexion n’a pas abouti")
        assert around.asked == []
        await page.get_by_role("button", name="Réessayer").click()
        await expect(page.get_by_role("heading", name="Se connecter")).to_be_visible()


async def test_english_by_browser_and_by_choice(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url, own={around.url}, locale="en-GB") as watched:
        page = watched.page
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await page.locator("html").get_attribute("lang") == "en"
        await page.get_by_role("button", name="Français").click()
        await expect(page.get_by_role("heading", name="Se connecter")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Se connecter")).to_be_visible()
        assert watched.errors == []


async def test_keyboard_alone_from_sign_in_to_the_lobby(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url, own={around.url}) as watched:
        page = watched.page
        await expect(page.get_by_label("Mot de passe")).to_be_visible()
        await _tab_to(page, "user")
        await page.keyboard.type("alice")
        await page.keyboard.press("Tab")
        await page.keyboard.type("secret")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Mes salons")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Budget 2027")).to_be_focused()
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "the focus must be seen"
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Rejoindre Budget 2027")).to_be_focused()
        await _tab_to(page, "join")


async def test_the_skip_link_skips(browser: Browser, around: Services) -> None:
    async with open_page(browser, around.url, own={around.url}) as watched:
        page = watched.page
        await _signed_in(page)
        await page.get_by_role("link", name="Aller au contenu").focus()
        assert (await page.locator("#skip").bounding_box() or {})["y"] > 0, "shown while focused"
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await expect(page.get_by_role("heading", name="Mes salons")).to_be_visible()


async def _tab_to(page: Page, wanted: str) -> None:
    for _ in range(20):
        if await page.evaluate("document.activeElement.id") == wanted:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"#{wanted} is not reached by the Tab key")


@pytest.mark.parametrize(
    ("scheme", "width", "locale"),
    [
        ("light", 1280, "fr-FR"),
        ("dark", 1280, "en-GB"),
        ("light", 320, "en-GB"),
        ("dark", 320, "fr-FR"),
    ],
)
async def test_axe_finds_nothing(
    browser: Browser, around: Services, scheme: Any, width: int, locale: str
) -> None:
    place = {"color_scheme": scheme, "locale": locale}
    async with open_page(browser, around.url, own={around.url}, **place) as watched:
        page = watched.page
        await page.set_viewport_size({"width": width, "height": 800})
        await _sound(page, "#password-form")
        await page.locator("#server-change").click()
        await _sound(page, "#server-form")
        await page.locator("#user").fill("alice")
        await page.locator("#password").fill("secret")
        await page.locator("#sign-in").click()
        await _sound(page, "#view-rooms")
        await page.get_by_role("link", name="Budget 2027").click()
        await _sound(page, "#view-lobby")
        around.faults["/sfu/get"] = Fault(403, {"eu.colloque.reason": "full"})
        await page.locator("#join").click()
        await _sound(page, "#join-problem")
        around.faults.clear()
        await page.goto(f"{around.url}/#/room/nonsense")
        await _sound(page, "#view-problem")


async def _sound(page: Page, shown: str) -> None:
    """A view is there, axe finds nothing wrong with it, and it does not scroll sideways."""
    await expect(page.locator(shown)).to_be_visible()
    assert await violations(page) == []
    overflow = "document.documentElement.scrollWidth > innerWidth"
    assert not await page.evaluate(overflow), "the page scrolls sideways"
