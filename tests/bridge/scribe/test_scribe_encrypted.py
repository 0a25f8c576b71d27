"""Calls that are encrypted end to end: the scribe hears whom it has a key of, and nobody else."""

from __future__ import annotations

import asyncio
import base64
import secrets

import jiwer
import pytest

from bridge.scribe.link import ScribeLink
from tests.bridge.scribe.call_stage import ALICE, BOB, Person, Stage, spoken
from tests.support.sound import Speak, joined

pytestmark = pytest.mark.livekit

OWN = "scribe:c"


async def give(link: ScribeLink, identity: str, index: int, key: bytes) -> None:
    await link.key("c", identity=identity, index=index, key=base64.b64encode(key).decode())


def keys(count: int) -> list[bytes]:
    return [secrets.token_bytes(16) for _ in range(count)]


def shown(person: Person) -> str:
    """The final captions somebody could read."""
    return " ".join(t for a, t in person.captions if a["lk.transcription_final"] == "true")


async def test_words_arrive_and_none_is_lost_while_keys_change(stage: Stage, speak: Speak) -> None:
    bridge = stage.bridge
    first, second, third, again, own = keys(5)
    async with bridge.linked() as link:
        await link.start(stage.order(encrypted=True))
        # Before the participant is there, before the scribe has joined.
        await give(link, "alice", 0, first)
        await give(link, OWN, 0, own)
        await bridge.until("listening")
    # A bridge that comes back need not bring them again.
    async with bridge.linked() as link:
        async with Person.in_call("alice", stage.server, first) as alice:
            alice.knows(OWN, 0, own)
            saying = asyncio.create_task(alice.say(spoken(speak(ALICE, "slt"))))
            await asyncio.sleep(1.6)  # in mid-sentence
            await give(link, "alice", 1, second)
            await asyncio.sleep(0.3)  # the old one is used on while the new one is known
            alice.changes_key(1, second)
            await saying
            await bridge.heard("alice", 7)
            await give(link, "alice", 255, third)
            alice.changes_key(255, third)
            await alice.say(spoken(speak(BOB, "slt")))
            text = await bridge.heard("alice", 13)
            async with asyncio.timeout(20):
                while len(shown(alice).split()) < len(text.split()):  # noqa: ASYNC110 - two lists
                    await asyncio.sleep(0.05)
            captions = shown(alice)
        # Who comes again begins with another key under the same index: the last one counts.
        await give(link, "alice", 0, again)
        async with Person.in_call("alice", stage.server, again) as alice:
            await alice.say(spoken(speak("thank you", "rms")))
            await bridge.heard("alice", len(text.split()) + 1)
        await link.stop("c")
        await bridge.until("stopped")
    assert jiwer.wer(f"{ALICE} {BOB}", text) <= 0.25
    assert jiwer.wer(text, captions) == 0
    assert "no_key" not in bridge.details


async def test_without_the_key_or_with_a_wrong_one_there_are_no_words(
    stage: Stage, speak: Speak
) -> None:
    bridge = stage.bridge
    right, wrong, bobs = keys(3)
    async with bridge.linked() as link:
        await link.start(stage.order(encrypted=True))
        await bridge.until("listening")
        await give(link, "bob", 0, wrong)
        async with (
            Person.in_call("alice", stage.server, right) as alice,
            Person.in_call("bob", stage.server, bobs) as bob,
        ):
            speech = joined(*[speak(ALICE, "slt")] * 2)
            await asyncio.gather(alice.say(speech), bob.say(speech))
            await bridge.detail("no_key")
            assert not bridge.segments
            # A key that comes late serves from then on.
            await give(link, "alice", 0, right)
            await give(link, "bob", 0, bobs)
            speech = spoken(speak(BOB, "rms"))
            await asyncio.gather(alice.say(speech), bob.say(speech))
            await bridge.detail("")
            assert jiwer.wer(BOB, await bridge.heard("alice", 6)) <= 0.25
            assert jiwer.wer(BOB, await bridge.heard("bob", 6)) <= 0.25
            await link.stop("c")
            await bridge.until("stopped")
