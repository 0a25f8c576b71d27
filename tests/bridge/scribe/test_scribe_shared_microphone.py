"""Two people at one microphone, through media server and scribe: who said what, in the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bridge.scribe.call_stage import Person, a_stage
from tests.support import crowd
from tests.support.crowd import Turn
from tests.support.diarization import MODULES, PYTHON, rightly, tiny_model
from tests.support.sound import joined, quiet


async def test_two_people_at_one_microphone_are_two_voices(tmp_path: Path) -> None:
    audio, said = crowd.mixture(2042, ("flite:rms", "flite:slt"), 16)
    pcm = np.frombuffer(crowd.pcm(audio), np.int16)
    options = ("--voices-model", str(tiny_model(tmp_path)), "--voices-python", str(PYTHON))
    async with (
        a_stage(tmp_path, *options, environment={"PYTHONPATH": str(MODULES)}) as stage,
        stage.bridge.linked() as link,
    ):
        await link.start(stage.order(shared=["room"]))
        await stage.bridge.until("listening")
        async with Person.in_call("room", stage.server) as room:
            await room.say(quiet(0.5))
            began_ms = stage.now_ms()
            await room.say(joined(pcm, quiet(1.0)))
            await link.stop("c")
            await stage.bridge.until("stopped", 150)
    words = [
        Turn((start - began_ms) / 1000, (end - began_ms) / 1000, segment["voice"])
        for segment in stage.bridge.latest()
        for _, start, end in segment["words"]
    ]
    assert {word.voice for word in words} == {"V1", "V2"}
    # Of the words alone: a slow machine loses some. How well the turns are found is asserted in
    # test_diarizer_real.py, where nothing depends on the clock.
    assert rightly(words, said) > 0.85
