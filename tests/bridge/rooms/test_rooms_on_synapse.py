"""Rooms on a real Synapse: what people type, and what their own homeserver then shows them.

Media server and scribe are stood in for; everything between the chat and the timeline is real.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.ids import media_room
from bridge.matrix import wire
from bridge.matrix.registration import Registration
from bridge.matrix.timeline import CARD
from bridge.store.grants import Grant
from tests.support.rooms_bridge import Bridge
from tests.support.synapse import Person, Synapse

pytestmark = pytest.mark.homeserver


async def alice_of(server: Synapse) -> Person:
    return await server.ensure_person("alice", "a password of alice")


async def room_with_bot(bridge: Bridge, alice: Person, **more: Any) -> str:
    room_id = await alice.create_room("Budget", invite=[bridge.bot], **more)
    await seen(alice, room_id, "Hello, I run video conferences")
    return room_id


async def seen(alice: Person, room_id: str, words: str) -> None:
    await alice.wait_for(
        room_id, lambda event: words in str(event["content"].get("body")), timeout=20
    )


async def bodies(bridge: Bridge, alice: Person, room_id: str) -> list[str]:
    """First lines of what the bot said, as the homeserver shows it; edits are left out."""
    return [
        event["content"]["body"].partition("\n")[0]
        for event in await alice.messages(room_id)
        if event["sender"] == bridge.bot
        and event["type"] == wire.MESSAGE
        and event["content"].get("m.relates_to", {}).get("rel_type") != "m.replace"
        # What the transcript's start is announced with: its own tests look at that.
        and not event["content"]["body"].startswith("What is said in this call")
    ]


async def test_a_whole_call_in_a_real_timeline(
    tmp_path: Path, registered: tuple[Synapse, Registration]
) -> None:
    server, granted = registered
    alice = await alice_of(server)
    bridge = Bridge(tmp_path, server, granted)
    async with bridge.alive():
        room_id = await room_with_bot(bridge, alice, power={bridge.bot: 50})
        wish = {"captions": True, "transcript": True, "language": "en"}
        await alice.set_state(room_id, wire.CONFERENCE, wish)
        await alice.say(room_id, "!visio start")
        await seen(alice, room_id, "Video conference in progress")
        await bridge.bell.until(lambda: bridge.scribe.sessions)
        (conference,) = bridge.scribe.sessions
        await bridge.stores.grants.put(
            Grant(
                media_room=media_room(room_id),
                identity=f"{alice.user_id}:D",
                room_id=room_id,
                user_id=alice.user_id,
                device_id="D",
                granted_ms=1,
            )
        )
        frame = {
            "type": "segment",
            "key": "s1:0",
            "conference": conference,
            "room_id": room_id,
            "segment": "s1",
            "rev": 0,
            "identity": f"{alice.user_id}:D",
            "name": "",
            "text": "good <morning>",
            "language": "en",
            "start_ms": 100,
            "end_ms": 900,
            "engine": "test",
        }
        await bridge.rooms.segments([frame, frame])
        await seen(alice, room_id, "good <morning>")
        status = await alice.state(room_id, wire.CONFERENCE_STATUS, server.server_name)
        await alice.say(room_id, "!visio stop")
        await bridge.bell.until(lambda: ("delete", media_room(room_id)) in bridge.media.calls)
        await bridge.rooms.session({"conference": conference, "state": "stopped"})
        await seen(alice, room_id, "transcript.json")
        events = await alice.messages(room_id)
        said = await bodies(bridge, alice, room_id)
        ended = await alice.state(room_id, wire.CONFERENCE_STATUS, server.server_name)
        wished = await alice.state(room_id, wire.CONFERENCE)
    assert said[1:] == [
        "📞 Video conference in progress",
        "alice : good <morning>",
        "transcript.md",
        "transcript.odt",
        "transcript.vtt",
        "transcript.json",
    ]
    card = next(event for event in events if CARD in event["content"])
    assert (status["active"], status["card"]) == (True, card["event_id"])
    assert (ended["active"], ended["phase"]) == (False, "ended")
    assert wished == {"version": 1, **wish, "active": False}
    thread = [
        e
        for e in events
        if e["content"].get("m.relates_to", {}).get("rel_type") == "m.thread"
        and not {wire.UTTERANCE, wire.TRANSCRIPT}.isdisjoint(e["content"])
    ]
    assert [e["content"]["m.relates_to"]["event_id"] for e in thread] == [card["event_id"]] * 5
    assert thread[0]["content"]["eu.colloque.utterance"]["speaker"] == alice.user_id
    document = await alice.attachment(thread[1]["content"]["file"])
    assert "good \\<morning\\>" in document.decode()


async def test_in_a_room_that_gives_the_bot_no_power(
    tmp_path: Path, registered: tuple[Synapse, Registration]
) -> None:
    server, granted = registered
    alice = await alice_of(server)
    bridge = Bridge(tmp_path, server, granted)
    async with bridge.alive():
        room_id = await room_with_bot(bridge, alice)
        for command in ("start", "transcript on", "status", "stop"):
            await alice.say(room_id, f"!visio {command}")
        await seen(alice, room_id, "Video conference ended")
        said = await bodies(bridge, alice, room_id)
    assert said[1].startswith("📞")
    assert said[2].startswith("I may not write this room's state")
    assert said[3].startswith("The transcript is on")
    assert said[4].startswith("Call in progress for 0 s: nobody present.")
    assert len(said) == 5
