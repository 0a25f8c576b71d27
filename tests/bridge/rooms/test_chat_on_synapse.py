"""What was written during a call, read again from a real Synapse."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from bridge.matrix.client import Homeserver
from bridge.matrix.registration import Registration
from bridge.rooms.house import House
from bridge.upkeep.chat import Chat
from tests.support.rooms_bridge import Bridge
from tests.support.synapse import Synapse

pytestmark = pytest.mark.homeserver


class Closing(Homeserver):
    async def aclose(self) -> None:
        await self.close()


async def test_edits_redactions_and_threads_of_a_real_homeserver(
    tmp_path: Path, registered: tuple[Synapse, Registration]
) -> None:
    server, granted = registered
    alice = await server.ensure_person("alice", "a password of alice")
    bridge = Bridge(tmp_path, server, granted)
    async with (
        bridge.alive(),
        aclosing(Closing(server.client_url, server.server_name, granted)) as homeserver,
    ):
        room_id = await alice.create_room("Budget", invite=[bridge.bot])
        await alice.wait_for(
            room_id, lambda e: "video conferences in" in str(e["content"].get("body"))
        )
        await alice.say(room_id, "before")
        first = await alice.say(room_id, "the agenda is attached")
        wrong = await alice.say(room_id, "the wrong link")
        secret = await alice.say(room_id, "a secret")
        thread = {"rel_type": "m.thread", "event_id": first}
        await alice.say(room_id, "below", **{"m.relates_to": thread})
        other = {"rel_type": "m.thread", "event_id": wrong}
        await alice.say(room_id, "below another", **{"m.relates_to": other})
        await alice.say(room_id, "!visio who")
        last = await alice.say(room_id, "goodbye")
        new = {"msgtype": "m.text", "body": "the right link"}
        relation = {"rel_type": "m.replace", "event_id": wrong}
        await alice.say(room_id, "* x", **{"m.new_content": new, "m.relates_to": relation})
        await alice.say(room_id, "after")
        path = f"/_matrix/client/v3/rooms/{room_id}/redact/{secret}/txn"
        await alice.request("PUT", path, {})
        times = {
            event["event_id"]: event["origin_server_ts"] for event in await alice.messages(room_id)
        }
        house = House.of(bridge.settings, bridge.bot)
        chat = Chat(house, bridge.stores.errands, homeserver)
        read = await chat.read(room_id, times[first], times[last], root=first)
    assert [message["text"] for message in read.messages] == [
        "the agenda is attached",
        "the right link",
        "below",
        "goodbye",
    ]
    assert {message["author"] for message in read.messages} == {alice.user_id}
    assert {message["name"] for message in read.messages} == {"alice"}
    assert read.unread == 0
