"""One user's Element Call in headless Chromium, driven and looked at from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from playwright.async_api import Browser, Frame, Page, Playwright

from bridge.dev.person import Person

PATIENCE_S = 60.0
BOT = "visio"
"""The bridge's user has a tile while its scribe listens."""
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream=fps=5",
    "--auto-select-desktop-capture-source=Entire screen",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]

# Keeps the page's peer connections in sight: what they receive is asked of them (getStats).
_WATCH = """
const Native = window.RTCPeerConnection;
window.connections = [];
window.RTCPeerConnection = class extends Native {
  constructor(...options) { super(...options); window.connections.push(this); }
};
"""

_TILES = """() => [...document.querySelectorAll('[data-testid=videoTile]')].map((tile) => {
  const video = tile.querySelector('video');
  const playing = video && video.getVideoPlaybackQuality();
  return {
    name: tile.querySelector('[data-testid=name_tag]')?.textContent ?? '',
    shown: tile.dataset.videoEnabled === 'true',
    muted: tile.querySelector('[data-muted]')?.dataset.muted === 'true',
    width: video?.videoWidth ?? 0,
    height: video?.videoHeight ?? 0,
    frames: playing ? playing.totalVideoFrames : 0,
    waiting: tile.textContent.includes('Waiting for media'),
    unencrypted: tile.querySelector('[aria-label="Not encrypted"]') !== null,
  };
})"""

_AUDIO = """async () => {
  let packets = 0;
  for (const connection of window.connections) {
    if (connection.connectionState !== 'connected') continue;
    for (const one of (await connection.getStats()).values())
      if (one.type === 'inbound-rtp' && one.kind === 'audio') packets += one.packetsReceived;
  }
  return packets;
}"""

_PICTURES = """async () => {
  const found = [];
  for (const connection of window.connections)
    for (const one of (await connection.getStats()).values())
      if (one.type === 'inbound-rtp' && one.kind === 'video' && one.framesDecoded)
        found.push([one.id, one.framesDecoded]);
  return Object.fromEntries(found);
}"""

_MEMBERS = """() => (window.rtcSession?.memberships ?? []).map((one) => one.userId)"""


@dataclass(frozen=True, slots=True)
class Tile:
    """A participant as a user sees it. `frames`: shown so far; `width`, `height`: decoded."""

    name: str
    shown: bool
    muted: bool
    width: int
    height: int
    frames: int
    waiting: bool
    unencrypted: bool


class ElementCall:
    """Made by `Chromium.element_call`."""

    def __init__(self, person: Person, page: Page) -> None:
        self.person = person
        self.page = page
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))

    @property
    def name(self) -> str:
        """The name on this user's tile."""
        return self.person.user_id[1:].partition(":")[0]

    @property
    def frame(self) -> Frame:
        """Element Call itself."""
        return self.page.frames[1]

    # what a user does

    async def open(self, host: str, room_id: str, mode: str) -> None:
        """Show the lobby of the room's call."""
        facts = {
            "homeserver": self.person.homeserver,
            "token": self.person.access_token,
            "user": self.person.user_id,
            "device": self.person.device_id,
            "room": room_id,
            "mode": mode,
            "intent": "join_existing",
        }
        await self.page.goto(host)
        await self.page.evaluate(f"host({json.dumps(facts)})")
        await self._button("lobby_joinCall").wait_for(timeout=PATIENCE_S * 1000)

    async def join(self) -> None:
        """Press the button; returns once the call is shown."""
        await self._press("lobby_joinCall")
        await self._button("incall_leave").wait_for(timeout=PATIENCE_S * 1000)

    async def leave(self) -> None:
        """Hang up; returns once the host page was told."""
        await self._press("incall_leave")
        await self.until(lambda: self.page.evaluate("window.shut"))

    async def press_microphone(self) -> None:
        """Mute, or unmute."""
        await self._press("incall_mute")

    async def press_camera(self) -> None:
        """Camera off, or on."""
        await self._press("incall_videomute")

    async def press_screen(self) -> None:
        """Share the screen, or stop."""
        await self._press("incall_screenshare")

    # what a user sees

    async def tiles(self) -> dict[str, Tile]:
        """The people on the screen, by name."""
        return {tile["name"]: Tile(**tile) for tile in await self.frame.evaluate(_TILES)}

    async def members(self) -> list[str]:
        """People with a call membership, as Element Call reads the room; sorted, without bots."""
        members = await self.frame.evaluate(_MEMBERS)
        return sorted(user for user in members if not user.startswith(f"@{BOT}:"))

    async def audio_packets(self) -> int:
        """Received so far from everybody."""
        return int(await self.frame.evaluate(_AUDIO))

    async def pictures(self) -> dict[str, int]:
        """Frames decoded of each stream that came in, cameras and screens; by the stream's id."""
        return dict(await self.frame.evaluate(_PICTURES))

    async def sees(self, *names: str, frames: int = 5) -> None:
        """Wait until the picture of each of these has moved on by so many frames."""
        start = await self.tiles()

        async def moved() -> bool:
            now = await self.tiles()
            return all(_moved(start.get(name), now.get(name), frames) for name in names)

        await self.until(moved)

    async def sees_exactly(self, *names: str) -> None:
        """Wait until these are the people on the screen."""

        async def the_same() -> bool:
            # Of two alike Element Call shows the Matrix id too: "visio (@visio:a.example)".
            return {name for name in await self.tiles() if name.split(" ")[0] != BOT} == set(names)

        await self.until(the_same)

    async def hears(self, packets: int = 50) -> None:
        """Wait for so many more packets of sound."""
        start = await self.audio_packets()

        async def more() -> bool:
            return await self.audio_packets() - start >= packets

        await self.until(more)

    async def until(self, holds: Callable[[], Awaitable[Any]], timeout: float = PATIENCE_S) -> None:
        """Wait. Raises TimeoutError with what is on the screen."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if await holds():
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            said = "\n".join(line for line in self.console if "[PostmessageTransport]" not in line)
            seen = await self.tiles()
            raise TimeoutError(f"{self.name} sees {seen}\n{said[-8000:]}") from None

    def _button(self, name: str) -> Any:
        return self.frame.get_by_test_id(name).locator("visible=true").first

    async def _press(self, name: str) -> None:
        await self._button(name).click(timeout=PATIENCE_S * 1000)


def _moved(before: Tile | None, now: Tile | None, frames: int) -> bool:
    if now is None or not now.width:
        return False
    # A tile that is drawn anew counts from zero again.
    first = before.frames if before is not None and before.frames <= now.frames else 0
    return now.frames - first >= frames


class Chromium:
    """A browser: everybody in it has cookies and storage of their own. It may be killed."""

    def __init__(self, browser: Browser, process: psutil.Process) -> None:
        self._browser = browser
        self._process = process

    async def element_call(self, person: Person) -> ElementCall:
        """A window of this person's."""
        context = await self._browser.new_context(viewport={"width": 1024, "height": 768})
        await context.add_init_script(_WATCH)
        return ElementCall(person, await context.new_page())

    def kill(self) -> None:
        """End it as a power cut would: nothing is said to anybody."""
        for process in [*self._process.children(recursive=True), self._process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    async def close(self) -> None:
        """As a user closes it."""
        await self._browser.close()


async def launch(driver: Playwright, voice: Path | None = None) -> Chromium:
    """Start a browser whose microphones play `voice` (a WAV file) for ever, or beep."""
    mark = f"--started-by={secrets.token_hex(8)}"
    flags = [] if voice is None else [f"--use-file-for-fake-audio-capture={voice}"]
    browser = await driver.chromium.launch(
        executable_path="/usr/bin/chromium", args=[*_FLAGS, *flags, mark]
    )
    # Playwright does not tell the process: it is the one with our mark that no other has begun.
    mine = [one for one in psutil.Process().children(recursive=True) if mark in _arguments(one)]
    (process,) = [one for one in mine if one.parent() not in mine]
    return Chromium(browser, process)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
