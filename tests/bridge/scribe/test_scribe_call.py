"""The whole way: people speak in a call, and the scribe's words reach the bridge."""

from __future__ import annotations

import asyncio
import contextlib

import jiwer
import numpy as np
import pytest
from livekit import api

from bridge.scribe.engines import RATE
from tests.bridge.scribe.call_stage import (
    ALICE,
    BOB,
    KEY,
    SECRET,
    MediaServer,
    Person,
    Stage,
    spoken,
)
from tests.support.sound import Speak, joined, quiet

pytestmark = pytest.mark.livekit


async def test_what_two_people_say_comes_with_their_names_and_times(
    stage: Stage, speak: Speak
) -> None:
    bridge = stage.bridge
    async with bridge.linked() as link:
        await link.start(stage.order(watch=True))
        await bridge.until("listening")
        async with (
            Person.in_call("alice", stage.server) as alice,
            Person.in_call("bob", stage.server) as bob,
        ):
            began = stage.now_ms()
            # Both at once: each has a track, so nobody has to guess who says what.
            await asyncio.gather(
                alice.say(spoken(speak(ALICE, "slt"))), bob.say(spoken(speak(BOB, "rms")))
            )
            ended = stage.now_ms()
            await bridge.heard("alice", 7)
            await bridge.heard("bob", 6)
            assert {p.name for p in alice.room.remote_participants.values()} == {
                "Bob",
                "Transcription",
            }
            (scribe,) = (p for p in alice.room.remote_participants.values() if p.name != "Bob")
            assert scribe.attributes["lk.agent.state"] == "listening"
            await link.stop("c")
            await bridge.until("stopped")
            check_captions(alice)
            assert {a["lk.transcription_final"] for a, _ in bob.captions} == {"true"}
            assert {t for a, t in bob.captions} == {
                t for a, t in alice.captions if a["lk.transcription_final"] == "true"
            }
    shown = {c["segment"]: c["text"] for c in bridge.shown if c["final"]}
    assert shown == {s["segment"]: s["text"] for s in bridge.segments}
    assert not all(c["final"] for c in bridge.shown)
    assert jiwer.wer(ALICE, bridge.text("alice")) <= 0.25
    assert jiwer.wer(BOB, bridge.text("bob")) <= 0.15
    assert {s["identity"] for s in bridge.segments} == {"alice", "bob"}
    assert {s["name"] for s in bridge.segments} == {"Alice", "Bob"}
    first = min(s["start_ms"] for s in bridge.segments)
    # 0.7 s of silence comes first; network, jitter buffer and Opus may add half a second.
    assert began + 500 <= first <= began + 1700
    assert max(s["end_ms"] for s in bridge.segments) <= ended
    assert len({s["key"] for s in bridge.segments}) == len(bridge.segments)


def check_captions(person: Person) -> None:
    finals = [(a, t) for a, t in person.captions if a["lk.transcription_final"] == "true"]
    interims = [(a, t) for a, t in person.captions if a["lk.transcription_final"] == "false"]
    assert {a["sender"] for a, _ in person.captions} == {"scribe:c"}
    assert {a["eu.colloque.speaker"] for a, _ in finals} == {"alice", "bob"}
    assert interims
    assert {a["lk.segment_id"] for a, _ in interims} <= {a["lk.segment_id"] for a, _ in finals}
    bobs = next(a for a, _ in finals if a["eu.colloque.speaker"] == "bob")
    track = bobs["lk.transcribed_track_id"]
    bob = next(p for p in person.room.remote_participants.values() if p.identity == "bob")
    assert track in bob.track_publications
    assert {identity for identity, _ in person.older_captions} == {"alice", "bob"}


async def test_who_leaves_in_mid_sentence_is_still_heard(stage: Stage, speak: Speak) -> None:
    bridge, said = stage.bridge, speak(ALICE, "rms")
    async with bridge.linked() as link:
        await link.start(stage.order(captions=False))
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            await alice.say(joined(quiet(0.7), said[: len(said) * 2 // 3]))
        text = await bridge.heard("alice", 3)
        assert text.startswith("good morning everyone")
        assert not alice.captions
        await link.stop("c")
        await bridge.until("stopped")


async def test_stop_in_mid_sentence_tells_what_was_said_first(stage: Stage, speak: Speak) -> None:
    bridge, said = stage.bridge, speak(ALICE, "rms")
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            await alice.say(joined(quiet(0.7), said[: len(said) * 2 // 3]))
            await asyncio.sleep(0.3)  # the jitter buffer and the way of the last packet
            await link.stop("c")
            await bridge.until("stopped", limit_s=10)
            # The segment came before the state, so the documents can be written now.
            assert bridge.text("alice").startswith("good morning everyone")


async def test_a_bridge_that_dies_misses_nothing(stage: Stage, speak: Speak) -> None:
    bridge = stage.bridge
    async with Person.in_call("bob", stage.server) as bob:
        async with bridge.linked() as link:
            await link.start(stage.order())
            await bridge.until("listening")
        await bob.say(spoken(speak(BOB, "rms")))  # nobody is linked
        async with bridge.linked() as link:
            assert link.sessions == {"c": "listening"}
            await bridge.heard("bob", 6)
            await bob.say(spoken(speak("thank you", "rms")))
            text = await bridge.heard("bob", 8)
            await link.stop("c")
            await bridge.until("stopped")
    assert jiwer.wer(f"{BOB} thank you", text) <= 0.25
    assert len({s["key"] for s in bridge.segments}) == len(bridge.segments)


async def test_noise_in_a_call_makes_no_words(stage: Stage, speak: Speak) -> None:
    bridge = stage.bridge
    fan = np.random.default_rng(1).normal(0, 800, RATE * 6).astype(np.int16)
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            began = stage.now_ms()
            await alice.say(fan)
            await alice.say(spoken(speak(BOB, "rms")))
            assert jiwer.wer(BOB, await bridge.heard("alice", 6)) <= 0.25
            await link.stop("c")
            await bridge.until("stopped")
    (segment,) = bridge.segments
    assert segment["start_ms"] > began + 6000


@pytest.mark.parametrize("away_s", [0, 6])
async def test_the_scribe_comes_back_when_the_media_server_does(
    stage: Stage, speak: Speak, away_s: float
) -> None:
    bridge = stage.bridge
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            await alice.say(spoken(speak("thank you", "rms")))
            await bridge.heard("alice", 1)
        killed_ms = stage.now_ms()
        await stage.server.kill()
        await asyncio.sleep(away_s)
        await stage.server.start()
        await back(stage.server)
        async with Person.in_call("bob", stage.server) as bob:
            await bob.say(spoken(speak(BOB, "rms")))
            assert jiwer.wer(BOB, await bridge.heard("bob", 6)) <= 0.2
            await link.stop("c")
            await bridge.until("stopped")
    if away_s:  # it is a matter of moments otherwise, and may be too short to speak of
        (lost,) = bridge.interruptions
        assert killed_ms - 1500 < lost["start_ms"] < killed_ms + 500
        assert lost["end_ms"] > killed_ms + away_s * 1000


async def back(server: MediaServer) -> None:
    """Wait until the scribe is in the call again, as the server sees it."""
    async with asyncio.timeout(30), api.LiveKitAPI(server.url, KEY, SECRET) as admin:
        while True:
            request = api.ListParticipantsRequest(room="call")
            with contextlib.suppress(api.TwirpError):
                present = await admin.room.list_participants(request)
                if any(p.identity == "scribe:c" for p in present.participants):
                    return
            await asyncio.sleep(0.1)


async def test_a_token_the_server_refuses_is_said(stage: Stage) -> None:
    bridge = stage.bridge
    async with bridge.linked() as link:
        refused = api.AccessToken(KEY, "another-secret-of-32-bytes-or-more").with_identity("x")
        refused = refused.with_grants(api.VideoGrants(room_join=True, room="call"))
        await link.start(stage.order(token=refused.to_jwt()))
        await bridge.until("failed")
        await link.start(stage.order())  # a fresh token, as the bridge gives one
        await bridge.until("listening")
        await link.stop("c")
        await bridge.until("stopped")
