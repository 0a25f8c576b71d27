"""livekit-client in Chromium: simulcast, layers, and every way back after a loss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright

from tests.sfu.server.server_process import Sfu, free_port, token

pytestmark = pytest.mark.browser

LIVEKIT_CLIENT = Path(__file__).parents[3] / "bridge/web/static/vendor/livekit-client.js"
LIMIT_S = 30.0
FLAGS = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
]
PAGE = """<!doctype html><body><script type="module">
import {Room, VideoPresets} from '/livekit-client.js';
const seen = window.seen = [];
window.join = async (url, token, single) => {
  const room = window.room = new Room({singlePeerConnection: single, dynacast: true});
  for (const event of ['reconnected', 'participantConnected', 'trackMuted', 'trackUnsubscribed'])
    room.on(event, () => seen.push(event));
  room.on('trackSubscribed', (track) => {
    seen.push('subscribed:' + track.kind);
    const element = track.attach(); element.muted = true; document.body.append(element);
  });
  await room.connect(url, token);
};
window.publish = async () => {
  const resolution = VideoPresets.h720.resolution;
  await room.localParticipant.setCameraEnabled(true, {resolution});
  await room.localParticipant.setMicrophoneEnabled(true);
};
window.video = () => {
  const all = [...document.querySelectorAll('video')].filter(v => v.videoWidth);
  const last = all.pop();
  return last ? [last.videoWidth, last.getVideoPlaybackQuality().totalVideoFrames] : [0, 0];
};
window.camera = () => [...room.remoteParticipants.values()][0].getTrackPublication('camera');
window.ready = true;
</script>"""


@contextlib.asynccontextmanager
async def pages(count: int) -> AsyncIterator[list[Page]]:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def script(request: web.Request) -> web.FileResponse:
        return web.FileResponse(LIVEKIT_CLIENT)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/livekit-client.js", script)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        opened = [await (await browser.new_context()).new_page() for _ in range(count)]
        for one in opened:
            await one.goto(f"http://127.0.0.1:{port}/")
            await one.wait_for_function("window.ready")
        yield opened
        await browser.close()
    await runner.cleanup()


async def join(page: Page, sfu: Sfu, identity: str, room: str, single: bool) -> None:
    await page.evaluate("a => join(...a)", [sfu.ws, token(identity, room), single])


async def frames(page: Page, width: int = 0, count: int = 20) -> None:
    """Wait for so many more frames, of this width if one is given."""
    async with asyncio.timeout(LIMIT_S):
        first: int | None = None
        while True:
            now, total = await page.evaluate("video()")
            if total and (not width or now == width):
                first = total if first is None or total < first else first
                if total - first >= count:
                    return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("single", [True, False], ids=["single", "dual"])
async def test_a_browser_publishes_and_chooses_layers(sfu: Sfu, room: str, single: bool) -> None:
    async with pages(2) as (alice, bob):
        await join(alice, sfu, "alice", room, single)
        await join(bob, sfu, "bob", room, single)
        await alice.evaluate("publish()")
        await frames(bob)
        for quality, width in ((0, 320), (1, 640), (2, 1280)):
            await bob.evaluate("q => camera().setVideoQuality(q)", quality)
            await frames(bob, width, 5)
        await bob.evaluate("camera().setSubscribed(false)")
        await bob.wait_for_function("seen.includes('trackUnsubscribed')")
        await bob.evaluate("camera().setSubscribed(true)")
        await frames(bob)
        await alice.evaluate("room.localParticipant.setMicrophoneEnabled(false)")
        await bob.wait_for_function("seen.includes('trackMuted')")
        await bob.evaluate("publish()")
        await frames(alice)
        assert "subscribed:audio" in await alice.evaluate("seen")


@pytest.mark.parametrize("single", [True, False], ids=["single", "dual"])
async def test_a_browser_finds_its_way_back(sfu: Sfu, room: str, single: bool) -> None:
    async with pages(2) as (alice, bob):
        await join(alice, sfu, "alice", room, single)
        await join(bob, sfu, "bob", room, single)
        await alice.evaluate("publish()")
        await frames(bob)
        for who, scenario, stays in (
            (alice, "signal-reconnect", True),
            (bob, "signal-reconnect", True),
            (alice, "full-reconnect", False),
            (bob, "force-tcp", False),
        ):
            sid = await who.evaluate("room.localParticipant.sid")
            await who.evaluate("seen.length = 0")
            await who.evaluate("s => room.simulateScenario(s)", scenario)
            await who.wait_for_function("seen.includes('reconnected')", timeout=LIMIT_S * 1000)
            await frames(bob)
            assert (sid == await who.evaluate("room.localParticipant.sid")) == stays
