"""What the gates cost, and one scribe process with forty tracks (figure 7).

    python -m tests.bench.scribe_capacity [--tracks 40] [--minutes 10]

First, in this process and one after the other: resampling, the cheap gate and silero on the same
speech, as CPU time per second of audio; ratios hold whatever else the machine does. Then a call:
our media server, a scribe, and so many microphones, of which three are spoken into at any time.
Memory and CPU of the scribe's process (its engine's workers apart) after each minute; `pace` is how
long a second of speech took to play: above 1 the clients could not keep real time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soxr
from livekit import api, rtc

from bridge.scribe.silero import CHUNK, Silero
from bridge.scribe.vad import FRAME, RATE, Endpointer, decibels, detector
from tests.bench.meeting_script import Meeting, written
from tests.bridge.scribe.call_stage import KEY, SECRET, Bridge, MediaServer, Stage, a_stage, token
from tests.support.sound import Pcm, joined, quiet

PIECE = RATE // 5
AT_ONCE = 3
A_CLIENT = 8


def per_second(work: Callable[[], None], seconds: float) -> float:
    """CPU seconds for each second of audio."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / seconds


def gates(pcm: Pcm) -> dict[str, float]:
    """CPU seconds per second of audio of each step on its own."""
    seconds = len(pcm) / RATE
    frames = [pcm[at : at + FRAME].tobytes() for at in range(0, len(pcm) - FRAME, FRAME)]
    chunks = [pcm[at : at + CHUNK].tobytes() for at in range(0, len(pcm) - CHUNK, CHUNK)]
    wide = soxr.resample(pcm, RATE, 48_000)
    resampler = soxr.ResampleStream(48_000, RATE, 1, dtype="int16")
    vad, silero, endpointer = detector(), Silero(), Endpointer(detector())
    silero.judge(chunks[0])

    def resampling() -> None:
        for at in range(0, len(wide), 960):
            resampler.resample_chunk(wide[at : at + 960])

    def energy() -> None:
        for frame in frames:
            decibels(np.frombuffer(frame, np.int16))

    def webrtc() -> None:
        for frame in frames:
            vad.is_speech(frame)

    def cheap() -> None:
        for number, frame in enumerate(frames):
            endpointer.process(frame, number * FRAME)

    def confirming() -> None:
        for chunk in chunks:
            silero.judge(chunk)

    steps = {
        "resampling 48 to 16 kHz (soxr)": resampling,
        "energy of a frame": energy,
        "WebRTC's detector": webrtc,
        "cheap gate, whole (with pitch and rhythm while it is open)": cheap,
        "silero, if it ran always": confirming,
    }
    return {name: per_second(step, seconds) for name, step in steps.items()}


class Microphone:
    """One track; where nothing is said the SDK sends silence by itself, which costs us nothing."""

    def __init__(self) -> None:
        self.source = rtc.AudioSource(RATE, 1, queue_size_ms=2 * PIECE * 1000 // RATE)

    async def publish(self, room: rtc.Room, number: int) -> None:
        track = rtc.LocalAudioTrack.create_audio_track(f"microphone {number}", self.source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=True)
        await room.local_participant.publish_track(track, options)

    async def say(self, pcm: Pcm) -> None:
        """In real time, in pieces of 0.2 s."""
        for at in range(0, len(pcm), PIECE):
            piece = pcm[at : at + PIECE]
            frame = rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece))
            await self.source.capture_frame(frame)
        await self.source.wait_for_playout()


@dataclass
class Floor:
    """Who speaks: `AT_ONCE` turns at any time, the microphones one after the other."""

    microphones: list[Microphone]
    turns: list[Pcm]
    said_s: float = 0.0
    took_s: float = 0.0
    next: int = 0

    async def talk(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            number, self.next = self.next, self.next + 1
            pcm = joined(self.turns[number % len(self.turns)], quiet(0.8))
            began = time.monotonic()
            await self.microphones[number * 7 % len(self.microphones)].say(pcm)
            self.said_s += len(pcm) / RATE
            self.took_s += time.monotonic() - began

    def pace(self) -> float:
        """Seconds it took to play a second, since the last time."""
        pace = self.took_s / max(self.said_s, 1.0)
        self.said_s = self.took_s = 0.0
        return pace


@contextlib.asynccontextmanager
async def published(server: MediaServer, tracks: int) -> AsyncIterator[list[Microphone]]:
    """So many microphones, `A_CLIENT` of one connection, for what a connection costs."""
    made: list[Microphone] = []
    async with contextlib.AsyncExitStack() as stack:
        for client in range(-(-tracks // A_CLIENT)):
            room = rtc.Room()
            options = rtc.RoomOptions(auto_subscribe=False)
            await room.connect(server.url, token(f"p{client}", f"P {client}"), options)
            stack.push_async_callback(room.disconnect)
            for _ in range(min(A_CLIENT, tracks - len(made))):
                made.append(Microphone())
                await made[-1].publish(room, len(made))
        yield made


async def filled(stage: Stage, tracks: int, minutes: float, folder: Path) -> None:
    """Print memory and CPU of the scribe's process minute by minute."""
    bridge, process, ending = stage.bridge, scribe_process(), asyncio.Event()
    async with bridge.linked() as link:
        await link.start(stage.order(captions=False, token=of_the_scribe()))
        await bridge.until("listening")
        async with published(stage.server, tracks) as microphones:
            floor = Floor(microphones, sentences(written(4, 120, 7, folder)))
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(floor.talk(ending))
                await watched(minutes, bridge, process, floor)
                ending.set()
        await link.stop("c")
        await bridge.until("stopped")


def of_the_scribe() -> str:
    """As an agent, as the bridge sends it: it gets every voice, not the loudest alone."""
    grants = api.VideoGrants(room_join=True, room="call", agent=True, can_update_own_metadata=True)
    made = api.AccessToken(KEY, SECRET).with_identity("scribe:c").with_kind("agent")
    return made.with_grants(grants).to_jwt()


async def watched(minutes: float, bridge: Bridge, process: psutil.Process, floor: Floor) -> None:
    print("| minute | memory (MB) | threads | CPU (of a core) | segments | words | gaps | pace |")
    print("|---|---|---|---|---|---|---|---|")
    process.cpu_percent()
    for minute in range(1, round(minutes) + 1):
        await asyncio.sleep(60)
        texts = [segment["text"] for segment in bridge.segments]
        row = (
            *(minute, f"{process.memory_info().rss / 1e6:.0f}", process.num_threads()),
            f"{process.cpu_percent() / 100:.2f}",
            *(len(texts), sum(len(text.split()) for text in texts)),
            *(sum("[…]" in text for text in texts), f"{floor.pace():.2f}"),
        )
        print("|", " | ".join(map(str, row)), "|", flush=True)


def sentences(meeting: Meeting) -> list[Pcm]:
    """What is said in it, turn by turn."""
    return [meeting.tracks[turn.who][turn.start : turn.end] for turn in meeting.turns]


def scribe_process() -> psutil.Process:
    """The scribe that this process started."""
    children = psutil.Process().children()
    return next(c for c in children if any("bridge.scribe.process" in part for part in c.cmdline()))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--no-gates", action="store_true", help="the second part alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.no_gates:
            costs = gates(next(iter(written(4, 120, 3, folder).tracks.values())))
            print("| step | CPU s per s of audio | tracks per core |")
            print("|---|---|---|")
            for step, cost in costs.items():
                print(f"| {step} | {cost:.5f} | {1 / cost:.0f} |", flush=True)
        async with a_stage(folder) as stage:
            await filled(stage, options.tracks, options.minutes, folder)


if __name__ == "__main__":
    asyncio.run(main())
