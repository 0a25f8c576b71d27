"""What becomes of a meeting's words while its parts die: `python -m tests.bench.survival`.

Two people take turns, in real time, on real parts (Synapse, bridge, sfu, scribe with pocketsphinx).
Meanwhile scribe, bridge and media server are killed with -9, one after the other, the engine's
processes are killed for a minute each time they start, and the homeserver is away for a minute.

Printed: for each stretch, what was said and what stands in the record for it. Then what must hold:
the store, the room's thread and the record have the same utterances, each once; what one person
said is in order; every interruption that was long enough to lose a word stands in the record.
Ends with 1 where one of these does not hold. About seven minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from bridge.dev.bridge_process import BridgeProcess
from bridge.dev.caller import Caller
from bridge.dev.instance import Instance
from bridge.dev.layout import SitePlan
from bridge.dev.ports import free_block
from bridge.dev.speech import Pcm, spoken
from bridge.scribe.merge import GAP_TEXT
from tests.e2e.conftest import SENTENCES
from tests.e2e.scene import Scene, eventually

AWAY_S = 60.0


@dataclass
class Meeting:
    """Two people who go on talking. `stretches`: name, from and until (Unix seconds), what."""

    scene: Scene
    room_id: str
    callers: list[Caller]
    speech: dict[str, Pcm]
    turn: int = 0
    stretches: list[tuple[str, float, float, list[str]]] = field(default_factory=list)

    async def talk(self, name: str, turns: int = 4, until: float = 0.0) -> None:
        """So many turns, and more until a moment."""
        since, said = time.time(), []
        while turns > 0 or time.monotonic() < until:
            text = SENTENCES[self.turn % len(SENTENCES)]
            await self.callers[self.turn % 2].speak(self.speech[text], silence_s=1.2)
            said.append(text)
            self.turn += 1
            turns -= 1
        self.stretches.append((name, since, time.time(), said))


async def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        var = Path(folder)
        speech = {text: spoken(text, "rms", var) for text in SENTENCES}
        async with _scene(var) as scene:
            room_id = await scene.room("bob")
            async with scene.call(room_id, "alice", "bob") as callers:
                meeting = Meeting(scene, room_id, callers, speech)
                await callers[0].listened_to()
                await _happenings(meeting)
            await scene.person("alice").say(room_id, "!visio stop")
            record = await _record(scene, room_id)
            stored = _stored(var)
            posted = await scene.timeline(
                room_id, lambda seen: len(seen.utterances) >= len(stored), timeout=90
            )
        return _judge(meeting, record, stored, [(u.segment, u.rev) for u in posted.utterances])


async def _happenings(meeting: Meeting) -> None:
    bridge = meeting.scene.site.bridge
    assert bridge is not None
    await meeting.talk("all well")
    for part in ("scribe", "bridge", "sfu"):
        for pid in _pids(bridge, part):
            os.kill(pid, signal.SIGKILL)
        await meeting.talk(f"{part} killed with -9")
        await eventually(lambda: all((bridge.pid, bridge.parts.sfu, bridge.parts.scribe)))
        await _listened_to(meeting)
        await meeting.talk(f"after the {part}")
    killing = asyncio.create_task(_no_engine(bridge))
    await meeting.talk("engine down for a minute", until=time.monotonic() + AWAY_S)
    killing.cancel()
    await meeting.talk("after the engine")
    homeserver = meeting.scene.site.homeserver
    await homeserver.kill()
    await meeting.talk("homeserver down for a minute", until=time.monotonic() + AWAY_S)
    await homeserver.start()
    await meeting.talk("after the homeserver")


async def _listened_to(meeting: Meeting) -> None:
    # The SDK's clients find their way back by themselves; so does the scribe.
    await asyncio.gather(*(caller.listened_to(60) for caller in meeting.callers))


async def _no_engine(bridge: BridgeProcess) -> None:
    while True:
        with contextlib.suppress(psutil.Error):
            for scribe in _pids(bridge, "scribe"):
                for worker in psutil.Process(scribe).children():
                    worker.kill()
        await asyncio.sleep(0.2)


def _pids(bridge: BridgeProcess, part: str) -> list[int]:
    return [bridge.pid] if part == "bridge" and bridge.pid else list(getattr(bridge.parts, part))


@asynccontextmanager
async def _scene(var: Path) -> AsyncIterator[Scene]:
    plan = SitePlan(
        name="a", folder=var / "site-a", first_port=free_block(10), people=("alice", "bob")
    )
    instance = Instance(var, [plan], lambda line: print(line, file=sys.stderr))
    try:
        await instance.start()
        keeping = asyncio.create_task(instance.keep_running())
        yield Scene(instance)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    finally:
        await instance.stop()


async def _record(scene: Scene, room_id: str) -> dict[str, Any]:
    """The call's record as an administrator exports it, once its documents are in the thread."""
    await scene.timeline(room_id, lambda seen: bool(seen.files), timeout=90)
    folder = scene.site.plan.folder
    out = folder / "record.json"
    export = ("export", "--config", str(folder / "bridge.yaml"), "--room", room_id)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", *export, "--form", "json", "--out", str(out))
    )
    assert await process.wait() == 0
    return dict(json.loads(out.read_text(encoding="utf-8")))


def _stored(var: Path) -> list[dict[str, Any]]:
    file = next((var / "site-a" / "data").glob("*.db"))
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute("SELECT * FROM utterance ORDER BY start_ms, segment")
        return [dict(row) for row in rows]


def _judge(
    meeting: Meeting,
    record: dict[str, Any],
    stored: list[dict[str, Any]],
    posted: list[tuple[str, int]],
) -> int:
    _show(meeting, record)
    kept = Counter((row["segment"], row["rev"]) for row in stored)
    told = Counter((said["segment"], said["rev"]) for said in record["utterances"])
    lost = [
        f"{name}: nothing of it in the record, and no interruption"
        for name, since, until, _ in meeting.stretches
        if not _traces(record, since, until)
    ]
    faults = [
        *(["store and thread differ"] if kept != Counter(posted) else []),
        *(["store and record differ"] if kept != told else []),
        *(["something stands twice"] if any(n > 1 for n in kept.values()) else []),
        *lost,
    ]
    print(f"{len(stored)} utterances stored, {len(posted)} in the thread, {len(told)} recorded")
    print("\n".join(faults) or "nothing lost, nothing twice, interruptions marked")
    return int(bool(faults))


def _show(meeting: Meeting, record: dict[str, Any]) -> None:
    print(f"{'stretch':32} {'said':>5} {'words':>6} {'written':>8} {'gaps':>5}  interrupted")
    for name, since, until, said in meeting.stretches:
        words = sum(len(text.split()) for text in said)
        written = [u["text"] for u in _within(record, "utterances", since, until)]
        understood = sum(len(text.split()) for text in written if text != GAP_TEXT)
        lost = [
            f"{(i['end_ms'] - i['start_ms']) / 1000:.1f} s"
            for i in _within(record, "interruptions", since, until)
        ]
        gaps = written.count(GAP_TEXT)
        columns = f"{name:32} {len(said):5} {words:6} {understood:8} {gaps:5}"
        print(f"{columns}  {', '.join(lost) or '-'}")


def _traces(record: dict[str, Any], since: float, until: float) -> bool:
    return any(_within(record, kind, since, until) for kind in ("utterances", "interruptions"))


def _within(record: dict[str, Any], kind: str, since: float, until: float) -> list[dict[str, Any]]:
    """What the record has of this kind whose greater part was then (Unix seconds)."""
    began = datetime.fromisoformat(record["started_at"]).timestamp()
    middle = {id(one): began + (one["start_ms"] + one["end_ms"]) / 2000 for one in record[kind]}
    return [one for one in record[kind] if since <= middle[id(one)] < until]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
