"""How far captions beside a call are behind those in it: `python -m tests.bench.panel [SENTENCES]`.

A real site and scribe; alice speaks, bob is in the call and beside it. Each final caption is timed
where it reaches bob's connection to the call (LiveKit text stream) and where it reaches his stream
of `/api/captions`; then bob is kicked, and it is timed when his stream ends.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
from livekit import rtc

from bridge.dev.caller import Caller
from bridge.dev.instance import Instance
from bridge.dev.layout import SitePlan
from bridge.dev.person import Person
from bridge.dev.ports import free_block
from bridge.dev.speech import spoken
from tests.e2e.scene import Scene

SENTENCE = "The first question today is the budget"


class Timed(Caller):
    """Somebody in the call who notes when each final caption came."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self.seen: dict[str, float] = {}

    async def _read_caption(self, reader: rtc.TextStreamReader) -> None:
        attributes = dict(reader.info.attributes or {})
        await reader.read_all()
        if attributes.get("lk.transcription_final") == "true":
            self.seen[attributes["lk.segment_id"]] = time.monotonic()


class Beside:
    """The stream beside the call, and when each final came on it."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.ready = asyncio.Event()
        self.ended = 0.0

    async def read(self, service: str, person: Person, room_id: str) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as http:
            proof = {"openid_token": await person.openid_token()}
            async with http.post(f"{service}/api/session", json=proof) as answer:
                session = (await answer.json())["session"]
            headers = {"Authorization": f"Bearer {session}"}
            address = f"{service}/api/captions"
            async with http.get(address, params={"room": room_id}, headers=headers) as stream:
                self.ready.set()
                async for line in stream.content:
                    self._take(line.decode())
        self.ended = time.monotonic()

    def _take(self, line: str) -> None:
        said = json.loads(line[6:]) if line.startswith("data: ") else {}
        if said.get("final"):
            self.seen[said["segment"]] = time.monotonic()


async def measure(scene: Scene, sentences: int, folder: Path) -> None:
    """Print the table."""
    room_id = await scene.room("bob")
    alice, bob = scene.person("alice"), scene.person("bob")
    pcm, beside = spoken(SENTENCE, "rms", folder), Beside()
    reading = asyncio.create_task(beside.read(scene.service, bob, room_id))
    async with (
        Caller.in_call(alice, scene.service, room_id) as speaker,
        Timed.in_call(bob, scene.service, room_id) as listener,
    ):
        await asyncio.gather(speaker.listened_to(), beside.ready.wait())
        for _ in range(sentences):
            await speaker.speak(pcm, silence_s=1.5)
        await asyncio.sleep(3)
        assert isinstance(listener, Timed)
        both = listener.seen.keys() & beside.seen.keys()
        late = sorted(beside.seen[key] - listener.seen[key] for key in both)
        kicked = time.monotonic()
        await alice.kick(room_id, bob.user_id)
        await reading
    missing = len(listener.seen.keys() - beside.seen.keys())
    print("| finals | missing beside | median ms | p95 ms | most ms | kick to end ms |")
    print("|---|---|---|---|---|---|")
    p95 = late[min(len(late) - 1, int(len(late) * 0.95))]
    figures = (statistics.median(late), p95, late[-1], beside.ended - kicked)
    print(f"| {len(both)} | {missing} | " + " | ".join(f"{s * 1000:.0f}" for s in figures) + " |")


async def main(sentences: int) -> None:
    """One site, for as long as it takes."""
    with tempfile.TemporaryDirectory() as name:
        var = Path(name)
        plan = SitePlan(
            name="a", folder=var / "a", first_port=free_block(10), people=("alice", "bob")
        )
        instance = Instance(var, [plan], lambda line: None)
        try:
            await instance.start()
            keeping = asyncio.create_task(instance.keep_running())
            await measure(Scene(instance), sentences, var)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
        finally:
            await instance.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
