"""Several people at one microphone, through sfu and scribe: `python -m tests.bench.voices`.

Each case is a participant flagged as shared: flite voices taking turns for 45 s, sentences the
tiny pipeline was not trained on, seeds frozen. Two microphones speak at a time. Printed for each:
how many voices there are in the text in the end, the diarization error rate (pyannote.metrics, no
collar, overlaps counted) of the words' times, joined over pauses of half a second, how many of the
words carry the voice of the turn they lie in, and how many segments the last pass changed. Words
that the recognizer lost count as missed in the rate. Takes four minutes, on a quiet machine.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.bridge.scribe.call_stage import Person, Stage, a_stage
from tests.support import crowd
from tests.support.crowd import Turn
from tests.support.diarization import MODULES, PYTHON, error_rate, rightly, tiny_model
from tests.support.sound import joined, quiet

SECONDS = 45
PAIRS = (
    ((2000, ("flite:rms", "flite:slt")), (3000, ("flite:slt", "flite:awb", "flite:kal16"))),
    ((2001, ("flite:awb", "flite:slt")), (3001, ("flite:rms", "flite:slt", "flite:awb"))),
    ((2002, ("flite:kal16", "flite:slt")), (3002, ("flite:rms", "flite:slt", "flite:kal16"))),
)
Case = tuple[int, tuple[str, ...]]


async def main() -> None:
    print(
        "| seed | people | found | DER % | words under the right voice % | corrected at the end |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(Path(folder))
        options = ("--voices-model", str(model), "--voices-python", str(PYTHON))
        for number, pair in enumerate(PAIRS):
            place = Path(folder) / str(number)
            place.mkdir()
            async with a_stage(place, *options, environment={"PYTHONPATH": str(MODULES)}) as stage:
                for row in await meeting(stage, pair):
                    print(row, flush=True)


async def meeting(stage: Stage, cases: Sequence[Case]) -> list[str]:
    """One call in which each case is a participant."""
    rooms = [f"room{number}" for number in range(len(cases))]
    async with stage.bridge.linked() as link:
        await link.start(stage.order(shared=rooms))
        await stage.bridge.until("listening")
        speaking = [speak(stage, room, case) for room, case in zip(rooms, cases, strict=True)]
        spoken = await asyncio.gather(*speaking)
        await link.stop("c")
        await stage.bridge.until("stopped", 300)
    return [
        row(stage, room, case, *told) for room, case, told in zip(rooms, cases, spoken, strict=True)
    ]


async def speak(stage: Stage, room: str, case: Case) -> tuple[int, list[Turn]]:
    seed, voices = case
    audio, said = crowd.mixture(seed, voices, SECONDS)
    pcm = np.frombuffer(crowd.pcm(audio), np.int16)
    async with Person.in_call(room, stage.server) as person:
        await person.say(quiet(0.5))
        began_ms = stage.now_ms()
        await person.say(joined(pcm, quiet(1.5)))
    return began_ms, said


def row(stage: Stage, room: str, case: Case, began_ms: int, said: list[Turn]) -> str:
    segments = [s for s in stage.bridge.latest() if s["identity"] == room]
    words = [
        Turn((start - began_ms) / 1000, (end - began_ms) / 1000, segment["voice"])
        for segment in segments
        for _, start, end in segment["words"]
    ]
    found = Counter(word.voice for word in words)
    changed = sum(s.get("pass") == "final" for s in stage.bridge.segments if s["identity"] == room)
    rate = 100 * error_rate(said, smoothed(words))
    right = 100 * rightly(words, said)
    return (
        f"| {case[0]} | {len(case[1])} | {len(found)} | {rate:.1f} | {right:.0f} |"
        f" {changed} of {len(segments)} |"
    )


def smoothed(words: list[Turn]) -> list[Turn]:
    """Words of one voice that follow each other within half a second are one stretch."""
    ordered = sorted(words, key=lambda word: word.start)
    stretches = ordered[:1]
    for before, word in pairwise(ordered):
        if word.voice == before.voice and word.start - before.end <= 0.5:
            stretches[-1] = Turn(stretches[-1].start, word.end, word.voice)
        else:
            stretches.append(word)
    return stretches


if __name__ == "__main__":
    asyncio.run(main())
