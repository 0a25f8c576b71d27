"""Two browsers' worth of a call over links that are shaped while it runs: the parts of `shaped`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web
from playwright.async_api import Page, async_playwright

from tests.sfu.server.server_process import KEY, SECRET, command, token
from tests.support.narrow_link import NarrowLink, narrow_link

LIVEKIT_CLIENT = Path(__file__).parents[2] / "bridge/web/static/vendor/livekit-client.js"
PUBLISHER, SUBSCRIBER, SERVER = "127.0.0.2", "127.0.0.3", "127.0.0.1"
DELAY_S = 0.02
"""Each way, on the publisher's link and on the subscriber's."""
PERIOD_S = 0.5
BROWSERS_NICE = 5
CAMERA_FPS = 15
FLAGS = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
PAGE = """<!doctype html><body><script type="module">
import {Room, VideoPreset} from '/livekit-client.js';
// Of the server's two addresses, each page keeps the one whose link is its own.
const pcs = [], set = RTCPeerConnection.prototype.setRemoteDescription;
const other = location.hash.slice(1).replaceAll('.', '[.]');
RTCPeerConnection.prototype.setRemoteDescription = function (description, ...rest) {
  if (!pcs.includes(this)) pcs.push(this);
  const drop = new RegExp(`a=candidate:[^\\\\r\\\\n]* ${other} [^\\\\r\\\\n]*\\\\r\\\\n`, 'g');
  const sdp = description.sdp.replace(drop, '');
  return set.call(this, {type: description.type, sdp}, ...rest);
};
window.gap = 0;
const watch = (element) => {
  let last = 0;
  const frame = (now) => {
    if (last) window.gap = Math.max(window.gap, now - last);
    last = now; element.requestVideoFrameCallback(frame);
  };
  element.requestVideoFrameCallback(frame);
};
window.join = async (url, token, single) => {
  const room = window.room = new Room({singlePeerConnection: single, dynacast: true});
  room.on('trackSubscribed', (track) => {
    const element = track.attach(); document.body.append(element);
    if (track.kind === 'video') watch(element);
  });
  await room.connect(url, token);
};
window.speak = async () => {
  const context = new AudioContext(), tone = context.createOscillator();
  const out = context.createMediaStreamDestination();
  tone.connect(out); tone.start();
  await room.localParticipant.publishTrack(out.stream.getAudioTracks()[0],
    {source: 'microphone', name: 'tone', dtx: false});
};
window.publish = async (width, height, low, maxBitrate, fps) => {
  await room.localParticipant.setCameraEnabled(true, {resolution: {width, height, frameRate: fps}},
    {videoEncoding: {maxBitrate, maxFramerate: fps},
     videoSimulcastLayers: [new VideoPreset(width / 2, height / 2, low, fps)]});
};
window.sample = async () => {
  const found = {in: {}, out: {}, gap: window.gap};
  window.gap = 0;
  for (const pc of pcs)
    for (const s of (await pc.getStats()).values())
      if (s.type === 'inbound-rtp') found.in[s.kind] = s;
      else if (s.type === 'outbound-rtp' && s.kind === 'video') found.out[s.rid] = s;
      else if (s.type === 'candidate-pair' && s.nominated && s.availableOutgoingBitrate)
        found.available = s.availableOutgoingBitrate;
  return found;
};
window.sdp = () => pcs.map(pc => pc.localDescription.sdp + pc.remoteDescription.sdp).join('=====');
window.ready = true;
</script>"""


@dataclass(frozen=True)
class Picture:
    """What the camera sends, in two layers: small ones, as software encodes them here.

    `low` and `top`: bit/s of the layers, (width / 2) x (height / 2) and width x height.
    """

    width: int = 640
    height: int = 360
    low: int = 350_000
    top: int = 1_200_000


@dataclass
class Sample:
    """Both ends and the server at one moment, and what the links had let through."""

    at: float
    publisher: dict[str, Any]
    subscriber: dict[str, Any]
    limit: float
    links: dict[str, Any]

    def value(self, kind: str, name: str) -> float:
        """A number of what the subscriber receives."""
        return float(self.subscriber["in"].get(kind, {}).get(name, 0))

    def sent(self, name: str) -> float:
        """A number of what the publisher sends, of the layer that the subscriber sees."""
        width = self.value("video", "frameWidth")
        layers = self.publisher["out"].values()
        return next((float(s.get(name, 0)) for s in layers if s.get("frameWidth") == width), 0.0)


@dataclass
class Call:
    """A publisher and a subscriber in a room, and what was seen of them."""

    alice: Page
    bob: Page
    up: NarrowLink
    down: NarrowLink
    metrics: str
    samples: list[Sample] = field(default_factory=list)

    async def sample(self) -> Sample:
        """Look once."""
        publisher, subscriber, limit, links = await asyncio.gather(
            self.alice.evaluate("sample()"),
            self.bob.evaluate("sample()"),
            _limit(self.metrics),
            self.down.shape(),
        )
        taken = Sample(time.monotonic(), publisher, subscriber, limit, links)
        self.samples.append(taken)
        return taken

    async def run(self, seconds: float) -> list[Sample]:
        """Look every half second for so long."""
        first, until = len(self.samples), time.monotonic() + seconds
        while time.monotonic() < until:
            await self.sample()
            await asyncio.sleep(PERIOD_S)
        return self.samples[first:]


async def _limit(url: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        text = await answer.text()
    found = re.search(r"^sfu_lowest_limit (\S+)", text, re.MULTILINE)
    assert found
    return float(found[1])


@dataclass
class Stage:
    """The server, the two links, the browser's page server; calls one after another."""

    port: int
    up: NarrowLink
    down: NarrowLink
    pages: str
    browser: Any
    rooms: int = 0

    @contextlib.asynccontextmanager
    async def call(self, picture: Picture, *, single: bool) -> AsyncIterator[Call]:
        """A call whose media flow."""
        self.rooms += 1
        room = f"shaped-{self.rooms}"
        for link in (self.up, self.down):
            await link.clear(DELAY_S)
        contexts = [await self.browser.new_context() for _ in range(2)]
        alice, bob = [await context.new_page() for context in contexts]
        for page, name, other in ((alice, "alice", SUBSCRIBER), (bob, "bob", PUBLISHER)):
            await page.goto(f"{self.pages}#{other}")
            await page.wait_for_function("window.ready")
            joining = [f"ws://{SERVER}:{self.port}", token(name, room), single]
            await page.evaluate("a => join(...a)", joining)
            await page.evaluate("speak()")  # who sends nothing never learns how long the way is
        shot = [picture.width, picture.height, picture.low, picture.top, CAMERA_FPS]
        await alice.evaluate("a => publish(...a)", shot)
        call = Call(alice, bob, self.up, self.down, f"http://{SERVER}:{self.port}/metrics")
        await bob.wait_for_function("document.querySelector('video')?.videoWidth > 0")
        try:
            yield call
        finally:
            for context in contexts:
                await context.close()


async def _serve(port: int) -> web.AppRunner:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def script(request: web.Request) -> web.FileResponse:
        return web.FileResponse(LIVEKIT_CLIENT)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/livekit-client.js", script)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, SERVER, port).start()
    return runner


def _film(path: Path, width: int, height: int, seconds: int = 6) -> None:
    """A textured picture that wanders and flickers: what an encoder needs its bitrate for."""
    chance = np.random.default_rng(5)
    coarse = chance.integers(40, 200, (height // 8 + 40, width // 8 + 40))
    ground = np.kron(coarse, np.ones((8, 8))) + chance.normal(0, 12, (height + 320, width + 320))
    grey = np.full(width * height // 2, 128, np.uint8).tobytes()
    with path.open("wb") as film:
        film.write(f"YUV4MPEG2 W{width} H{height} F{CAMERA_FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for turn in np.linspace(0, 2 * np.pi, seconds * CAMERA_FPS, endpoint=False):
            x, y = int(150 + 140 * np.cos(turn)), int(150 + 140 * np.sin(turn))
            shown = ground[y : y + height, x : x + width] + chance.normal(0, 4, (height, width))
            film.write(b"FRAME\n" + shown.clip(16, 235).astype(np.uint8).tobytes() + grey)


@contextlib.asynccontextmanager
async def stage(base: int, picture: Picture) -> AsyncIterator[Stage]:
    """Everything that calls need, on the ports from `base` on."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.y4m")
        _film(film, picture.width, picture.height)
        async with _running(base, film) as running:
            yield running


@contextlib.asynccontextmanager
async def _running(base: int, film: Path) -> AsyncIterator[Stage]:
    more = [flag for address in (PUBLISHER, SUBSCRIBER) for flag in ("--advertise", address)]
    sfu = await asyncio.create_subprocess_exec(
        *command(base, base + 1, 0, more),
        env={**os.environ, "LIVEKIT_KEYS": f"{KEY}: {SECRET}"},
        stdout=subprocess.PIPE,
    )
    assert sfu.stdout is not None
    try:
        assert b"listening" in await sfu.stdout.readline()
        async with (
            narrow_link(PUBLISHER, base + 1, SERVER) as up,
            narrow_link(SUBSCRIBER, base + 1, SERVER) as down,
            async_playwright() as driver,
        ):
            runner = await _serve(base + 2)
            os.nice(
                BROWSERS_NICE
            )  # what stands for a server and for links of their own comes first
            browser = await driver.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=[*FLAGS, f"--use-file-for-fake-video-capture={film}"],
            )
            yield Stage(base, up, down, f"http://{SERVER}:{base + 2}/", browser)
            await browser.close()
            await runner.cleanup()
    finally:
        sfu.terminate()
        await sfu.wait()
