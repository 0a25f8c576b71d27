"""What the gates cost, and one scribe process with forty tracks (figure 7).

    python -m tests.bench.scribe_capacity [--tracks 40] [--minutes 10]

First, in this process and one after the other: resampling, the cheap gate and silero on the same
speech, as CPU time per second of audio; ratios hold whatever else the machine does. Then a call:
our media server, a scribe, and so many LiveKit clients, of whom one in five always speaks. Memory
and CPU of the scribe's process (its engine's workers apart) after each minute.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import soxr
from livekit import rtc

from bridge.scribe.silero import CHUNK, Silero
from bridge.scribe.vad import FRAME, RATE, Endpointer, decibels, detector
from tests.bench.meeting_script import Meeting, written
from tests.bridge.scribe.call_stage import Person, Stage, a_stage
from tests.support.sound import Pcm, joined, quiet

PIECE = RATE // 5
TALKERS = 5
"""One in so many speaks all the time."""


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


async def filled(stage: Stage, tracks: int, minutes: float, folder: Path) -> None:
    """Print memory and CPU of the scribe's process minute by minute."""
    meeting = written(4, 60, 7, folder)
    voices = [talk(meeting, name) for name in meeting.tracks]
    bridge, process = stage.bridge, scribe_process()
    ending = asyncio.Event()

    async def attend(number: int) -> None:
        async with Person.in_call(f"p{number}", stage.server, deaf=True) as person:
            voice = voices[number // TALKERS % len(voices)]
            while not ending.is_set():
                await played(person, voice if number % TALKERS == 0 else quiet(10))

    async with bridge.linked() as link:
        await link.start(stage.order(captions=False))
        await bridge.until("listening")
        async with asyncio.TaskGroup() as tasks:
            for number in range(tracks):
                tasks.create_task(attend(number))
                await asyncio.sleep(0.2)
            print("| minute | memory of the scribe (MB) | CPU (share of a core) | segments |")
            print("|---|---|---|---|")
            for minute in range(round(minutes) + 1):
                busy = process.cpu_percent() / 100
                memory = process.memory_info().rss / 1e6
                row = (minute, f"{memory:.0f}", f"{busy:.2f}", len(bridge.segments))
                print("|", *row, sep=" | ", flush=True)
                if minute < round(minutes):
                    await asyncio.sleep(60)
            ending.set()
        await link.stop("c")
        await bridge.until("stopped")


async def played(person: Person, pcm: Pcm) -> None:
    """In real time, five pieces a second: with fifty the clients cost more than the scribe."""
    for at in range(0, len(pcm), PIECE):
        piece = pcm[at : at + PIECE]
        await person._source.capture_frame(rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece)))


def talk(meeting: Meeting, name: str) -> Pcm:
    """All that one says, with pauses of a second."""
    said = [meeting.tracks[name][t.start : t.end] for t in meeting.turns if t.who == name]
    return joined(*(part for one in said for part in (one, quiet(1))))


def scribe_process() -> psutil.Process:
    """The scribe that this process started."""
    children = psutil.Process().children()
    return next(c for c in children if any("bridge.scribe.process" in part for part in c.cmdline()))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = gates(next(iter(written(4, 120, 3, folder).tracks.values())))
        print("| step | CPU s per s of audio | tracks per core |")
        print("|---|---|---|")
        for step, cost in costs.items():
            print(f"| {step} | {cost:.5f} | {1 / cost:.0f} |", flush=True)
        async with a_stage(folder) as stage:
            await filled(stage, options.tracks, options.minutes, folder)


if __name__ == "__main__":
    asyncio.run(main())
