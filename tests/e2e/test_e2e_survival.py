"""Parts die in mid-call; the call goes on and nothing that was said is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from bridge.config import Transcripts
from bridge.dev.caller import Caller
from bridge.dev.speech import Pcm
from bridge.dev.timeline import Timeline
from tests.e2e.scene import Scene, eventually

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

Sentences = dict[str, Pcm]
FORMS = sorted(Transcripts().documents)


def troubles(caller: Caller) -> list[str]:
    """What this client notices of its connection from now on."""
    noticed: list[str] = []
    for event in ("reconnecting", "disconnected"):
        caller.room.on(event, lambda *_, event=event: noticed.append(event))
    return noticed


def in_order_and_once(timeline: Timeline, count: int) -> None:
    starts = [said.start_ms for said in timeline.utterances]
    keys = {(said.segment, said.rev) for said in timeline.utterances}
    assert len(starts) == count, [said.text for said in timeline.utterances]
    assert starts == sorted(starts)
    assert len(keys) == count


async def test_a_killed_bridge_is_not_noticed(scene: Scene, sentences: Sentences) -> None:
    room_id = await scene.room("bob")
    first, second, third, _ = sentences.values()
    async with scene.call(room_id, "alice", "bob") as (alice, bob):
        noticed = troubles(alice), troubles(bob)
        await bob.listened_to()
        await bob.speak(first)
        await scene.timeline(room_id, lambda seen: len(seen.utterances) == 1)
        before, sfu = scene.site.bridge.pid, scene.site.bridge.parts.sfu
        alice.heard.clear()
        os.kill(before, signal.SIGKILL)
        await bob.speak(second)
        assert alice.heard[bob.identity] > 300, "media went on while the bridge was dead"
        await eventually(lambda: scene.site.bridge.pid not in {None, before})
        await bob.speak(third)
        timeline = await scene.timeline(room_id, lambda seen: len(seen.utterances) >= 3)
        assert noticed == ([], [])
        assert scene.site.bridge.parts.sfu == sfu
        await scene.person("alice").say(room_id, "!visio stop")
        timeline = await scene.timeline(room_id, lambda seen: seen.forms == FORMS)
    in_order_and_once(timeline, 3)
    assert {said.speaker for said in timeline.utterances} == {bob.person.user_id}
    assert timeline.forms == FORMS


async def test_a_homeserver_that_is_away_for_thirty_seconds(
    scene: Scene, sentences: Sentences
) -> None:
    room_id = await scene.room("bob")
    first, second, third, fourth = sentences.values()
    async with scene.call(room_id, "alice", "bob") as (alice, bob):
        noticed = troubles(alice), troubles(bob)
        await alice.listened_to()
        await alice.speak(first)
        await scene.timeline(room_id, lambda seen: len(seen.utterances) == 1)
        await scene.site.homeserver.kill()
        away = asyncio.get_running_loop().time() + 30
        await bob.speak(second)
        await alice.speak(third)
        await asyncio.sleep(away - asyncio.get_running_loop().time())
        await scene.site.homeserver.start()
        await bob.speak(fourth)
        await scene.timeline(room_id, lambda seen: len(seen.utterances) >= 4)
        assert noticed == ([], [])
        await scene.person("alice").say(room_id, "!visio stop")
        timeline = await scene.timeline(room_id, lambda seen: seen.forms == FORMS)
    in_order_and_once(timeline, 4)
    speakers = [said.speaker for said in timeline.utterances]
    assert speakers == [p.person.user_id for p in (alice, bob, alice, bob)]
