"""A scripted meeting through our media server and scribe (figure 1), and how steady captions are.

    python -m tests.bench.meeting [--people 8] [--minutes 10] [--seed 4]

Everybody is a LiveKit client with a microphone of their own. What the scribe writes is compared
with the script and with the same gate and engine on the clean files. One more client looks at the
captions: how many of the shown words are taken back, and how often a voice is drawn in a second.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import rtc

from bridge.scribe.engines import Final
from bridge.scribe.engines.pocketsphinx import STEP, PocketSphinx
from bridge.scribe.listener import Listener
from bridge.scribe.silero import Silero
from bridge.scribe.vad import FRAME, detector
from tests.bench.meeting_script import Meeting, Verdict, judged, wer, written
from tests.bridge.scribe.call_stage import Bridge, Person, Stage, a_stage, token
from tests.support.sound import Pcm

SETTLE_S = 6.0


@dataclass
class Reader:
    """Somebody who only looks at the captions."""

    drawn: dict[str, list[tuple[float, list[str], bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    room: rtc.Room = field(default_factory=rtc.Room)
    _reading: set[asyncio.Task[None]] = field(default_factory=set)

    async def join(self, url: str) -> None:
        self.room.register_text_stream_handler("lk.transcription", self._caption)
        await self.room.connect(url, token("reader", "Reader"))

    def _caption(self, reader: rtc.TextStreamReader, sender: str) -> None:
        task = asyncio.create_task(self._read(reader, time.monotonic()))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader, at: float) -> None:
        attributes = reader.info.attributes or {}
        final = attributes["lk.transcription_final"] == "true"
        words = (await reader.read_all()).split()
        self.drawn[attributes["lk.segment_id"]].append((at, words, final))

    def steadiness(self) -> tuple[int, int, int]:
        """Words shown before they were final; those taken back; most drawings in one second."""
        shown = back = most = 0
        for drawings in self.drawn.values():
            before: list[str] = []
            for _, words, final in drawings:
                kept = sum(a == b for a, b in zip(before, words, strict=False))
                back += len(before) - kept
                shown += 0 if final else max(0, len(words) - len(before))
                before = words
            times = [at for at, _, final in drawings if not final]
            most = max([most, *(sum(at <= t < at + 0.99 for t in times) for at in times)])
        return shown, back, most


async def held(meeting: Meeting, stage: Stage) -> tuple[Verdict, Reader]:
    """Hold the meeting in a call."""
    bridge, reader, began = stage.bridge, Reader(), {}

    async def attend(name: str, pcm: Pcm, ready: asyncio.Barrier) -> None:
        async with Person.in_call(name, stage.server, deaf=True) as person:
            await ready.wait()
            began[name] = stage.now_ms()
            await person.say(pcm)
            await asyncio.sleep(1)

    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        await reader.join(stage.server.url)
        ready = asyncio.Barrier(len(meeting.tracks))
        async with asyncio.TaskGroup() as tasks:
            for name, pcm in meeting.tracks.items():
                tasks.create_task(attend(name, pcm, ready))
        await settled(bridge)
        await link.stop("c")
        await bridge.until("stopped")
        await reader.room.disconnect()
    return judged(meeting, bridge.segments, began), reader


async def settled(bridge: Bridge) -> None:
    """Wait until the engine is done: this machine may be slower than people speak."""
    known = -1
    while known != len(bridge.segments):
        known = len(bridge.segments)
        await asyncio.sleep(SETTLE_S)


async def clean(meeting: Meeting) -> float:
    """Word error rate of the same gate and engine on the clean files."""
    engine = PocketSphinx(workers=2)
    running = asyncio.create_task(engine.run())
    await engine.ready()
    names = list(meeting.tracks)
    said = await asyncio.gather(*(_understood(engine, meeting.tracks[name]) for name in names))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return wer(meeting, dict(zip(names, said, strict=True)))


async def _understood(engine: PocketSphinx, pcm: Pcm) -> str:
    stream = await engine.open("en")
    listener = Listener(stream, detector(), Silero(), 0)
    words: list[str] = []

    async def read() -> None:
        async for event in stream:
            if isinstance(event, Final):
                words.extend(word.text for word in event.words)

    reading = asyncio.create_task(read())
    for at in range(0, len(pcm), FRAME):
        listener.accept(pcm[at : at + FRAME].tobytes(), (at + FRAME) // 16)
        if at % (FRAME * 400) == 0:
            while pending(stream):  # noqa: ASYNC110 - the engine's queue drops what is too much
                await asyncio.sleep(0.01)
    listener.finish()
    await stream.close()
    await reading
    return " ".join(words)


def pending(stream: Any) -> bool:
    """Whether the engine still has audio of this stream to hear."""
    head = stream.head
    return head is not None and (len(head.waiting) >= STEP or head.ended)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        meeting = written(options.people, options.minutes * 60, options.seed, Path(folder))
        async with a_stage(Path(folder)) as stage:
            verdict, reader = await held(meeting, stage)
        print_table(verdict, reader)
        print(f"| WER on the clean files | {await clean(meeting) * 100:.1f} % |")


def print_table(verdict: Verdict, reader: Reader) -> None:
    shown, back, most = reader.steadiness()
    print(f"| turns said / segments written | {verdict.turns} / {verdict.segments} |")
    for name in ("wrong_name", "lost", "doubled"):
        found = getattr(verdict, name)
        print(f"| {name.replace('_', ' ')} | {len(found)} | {'; '.join(found)}")
    print(f"| WER through the call | {verdict.wer * 100:.1f} % |")
    print(f"| words shown before they were final | {shown} |")
    print(f"| of these taken back | {back} ({100 * back / max(1, shown):.1f} %) |")
    print(f"| most drawings of one voice in a second | {most} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
