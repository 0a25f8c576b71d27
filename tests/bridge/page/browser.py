"""Headless Chromium with a fake camera and a microphone that plays a sound file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

AXE = Path(__file__).resolve().parents[3] / "bridge/web/node_modules/axe-core/axe.min.js"
# Playwright adds --headless and its own profile directory; the others keep the browser from
# calling home.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]


@asynccontextmanager
async def chromium(
    voice: Path | None = None, *, ask_for_devices: bool = False
) -> AsyncIterator[Browser]:
    """A browser whose microphone plays `voice` again and again.

    `ask_for_devices`: permissions are those of the context (none by default, so getUserMedia is
    refused) in place of being granted.
    """
    flags = list(_FLAGS)
    if not ask_for_devices:
        flags.append("--use-fake-ui-for-media-stream")
    if voice is not None:
        flags.append(f"--use-file-for-fake-audio-capture={voice}")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        try:
            yield browser
        finally:
            await browser.close()


class Watched:
    """A page together with everything that went wrong or went outside in it."""

    def __init__(self, page: Page, own: set[str]) -> None:
        self.page = page
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", lambda request: self._request(request.url, own))

    def _console(self, message: object) -> None:
        text = str(getattr(message, "text", ""))
        # Chromium reports each HTTP status of 400 and above; those are asked for by the tests.
        if getattr(message, "type", "") == "error" and "Failed to load resource" not in text:
            self.errors.append(text)

    def _request(self, url: str, own: set[str]) -> None:
        if not any(url.startswith(origin) for origin in own):
            self.foreign.append(url)


@asynccontextmanager
async def open_page(
    browser: Browser, url: str, *, own: set[str], locale: str = "fr-FR", **context: object
) -> AsyncIterator[Watched]:
    """A page in a context of its own. `own`: the origins it may ask."""
    made: BrowserContext = await browser.new_context(
        locale=locale, viewport={"width": 1280, "height": 800}, **context
    )
    try:
        watched = Watched(await made.new_page(), own)
        await watched.page.goto(url)
        yield watched
    finally:
        await made.close()


async def sign_in(page: Page, user: str, password: str) -> None:
    """Fill in the form and send it."""
    await page.get_by_label("Identifiant", exact=True).fill(user)
    await page.get_by_label("Mot de passe").fill(password)
    await page.get_by_role("button", name="Se connecter").click()


async def until(page: Page, true: str, *, timeout: float = 10.0) -> None:
    """Wait until an expression holds. (`wait_for_function` needs eval, which the CSP forbids.)"""
    look = f"const look = () => ({true}) ? done() : setTimeout(look, 50); look();"
    await asyncio.wait_for(page.evaluate(f"() => new Promise((done) => {{ {look} }})"), timeout)


async def violations(page: Page) -> list[str]:
    """What axe-core finds wrong on the page as it is now, one line each."""
    if not await page.evaluate("typeof window.axe === 'object'"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html']} ({node['failureSummary']})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
