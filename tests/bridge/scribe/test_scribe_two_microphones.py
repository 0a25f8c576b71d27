"""Two laptops in one room: the voice of one is in the other's microphone too, and is told once."""

from __future__ import annotations

import asyncio

import jiwer
import numpy as np
import pytest

from bridge.scribe.engines import RATE
from tests.bridge.scribe.call_stage import ALICE, BOB, Person, Stage
from tests.support.sound import Pcm, Speak, clipped, joined, noise, quiet

pytestmark = pytest.mark.livekit


def echo(pcm: Pcm) -> Pcm:
    """What arrives 5 m away: 14 dB fainter and 15 ms later, in the noise of the room."""
    late = joined(quiet(0.015), pcm)[: len(pcm)].astype(np.float64)
    return clipped(late * 10 ** (-14 / 20) + noise(-66, len(pcm) / RATE, 3)[: len(pcm)])


async def test_one_voice_at_two_microphones_is_told_once_under_the_louder_one(
    stage: Stage, speak: Speak
) -> None:
    bridge = stage.bridge
    alices = joined(quiet(1), speak(ALICE, "rms"), quiet(4.5))
    bobs = joined(quiet(len(speak(ALICE, "rms")) / RATE + 2.5), speak(BOB, "awb"), quiet(2))
    length = max(len(alices), len(bobs))
    alices, bobs = (np.pad(pcm, (0, length - len(pcm))) for pcm in (alices, bobs))
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with (
            Person.in_call("alice", stage.server) as alice,
            Person.in_call("bob", stage.server) as bob,
        ):
            await asyncio.gather(
                alice.say(clipped(alices.astype(np.float64) + echo(bobs))),
                bob.say(clipped(bobs.astype(np.float64) + echo(alices))),
            )
            await bridge.heard("alice", 7)
            await bridge.heard("bob", 6)
            await link.stop("c")
            await bridge.until("stopped")
    assert jiwer.wer(ALICE, bridge.text("alice")) <= 0.25
    assert jiwer.wer(BOB, bridge.text("bob")) <= 0.25
    shown = {a["eu.colloque.speaker"]: t for a, t in bob.captions if ALICE[:12] in t}
    assert set(shown) == {"alice"}
