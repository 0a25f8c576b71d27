"""The bot in encrypted rooms, seen by Element's own crypto in "only signed devices" mode.

The person is at another homeserver than the bot: keys, device lists and events go by federation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bridge import app
from bridge.crypto import ToDevice
from bridge.matrix import wire
from bridge.store.outbox import Outbox, Outgoing
from tests.bridge.crypto.conftest import Sites, living
from tests.support.encrypted_client import EncryptedClient
from tests.support.synapse import Person

pytestmark = [pytest.mark.homeserver, pytest.mark.asyncio(loop_scope="session")]

Start = Callable[[Person], Coroutine[Any, Any, EncryptedClient]]
_ENCRYPTION = {"type": wire.ENCRYPTION, "state_key": "", "content": {"algorithm": wire.MEGOLM}}


async def encrypted_room(bob: EncryptedClient, bot: str) -> str:
    """A room of bob's in which the bot has said hello, encrypted."""
    room = await bob.person.create_room("Secrets", invite=[bot], initial_state=[_ENCRYPTION])
    await bob.in_room(room, 2)
    await bob.reads(room, "video conferences in this room")
    return room


_BOB: list[EncryptedClient] = []


async def bob_of(sites: Sites, clients: Start) -> EncryptedClient:
    """Bob at the other homeserver, for all tests the same: a client takes seconds to start."""
    if not _BOB:
        _BOB.append(await clients(await sites.far.register("bob")))
    return _BOB[0]


def trusted(seen: dict[str, Any]) -> bool:
    """Encrypted, readable, and nothing a client would warn of (EventShieldColour.NONE)."""
    return seen["wire_type"] == wire.ENCRYPTED and seen["shield"] == {"colour": 0, "reason": None}


async def wire_types_of_bot(person: Person, room: str, bot: str) -> set[str]:
    events = await person.messages(room)
    return {e["type"] for e in events if e["sender"] == bot and "state_key" not in e}


async def put(bridge: app.Bridge, row: Outgoing) -> None:
    db = bridge.rooms._stores.db
    async with db.acquire() as conn, conn.transaction():
        await Outbox(db).put(conn, row, now_ms=1)
    bridge.sender.wake(row.room_id)


def media_keys(room: str, key: str) -> dict[str, Any]:
    return {
        "keys": {"index": 0, "key": key},
        "room_id": room,
        "member": {"id": "a member", "claimed_device_id": "SOME"},
        "session": {"call_id": "", "application": "m.call", "scope": "m.room"},
        "sent_ts": 1_700_000_000_000,
    }


class Keys:
    """What came to the bot's device, as a handler sees it."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[ToDevice] = asyncio.Queue()

    async def __call__(self, message: ToDevice) -> None:
        await self.came.put(message)

    async def next(self) -> ToDevice | None:
        try:
            async with asyncio.timeout(5):
                return await self.came.get()
        except TimeoutError:
            return None


async def exchange_keys(bridge: app.Bridge, bob: EncryptedClient, bot: str, keys: Keys) -> None:
    """Media keys from bob's device to the bot's and back."""
    assert bridge.crypto is not None
    came = None
    for attempt in range(10):
        # Synapse drops what is sent to our device until it has seen that we are back
        # (synapse/appservice/scheduler.py: "ephemeral events are dropped"): clients send again.
        given = media_keys("!room", f"bob's, attempt {attempt} for {id(bridge)}")
        device = bridge.crypto.device_id
        await bob.ask("to_device", user=bot, device=device, type=wire.MEDIA_KEYS, content=given)
        came = await keys.next()
        if came is not None:
            break
    assert came is not None
    assert (came.sender, came.device) == (bob.person.user_id, bob.person.device_id)
    assert (came.type, came.content) == (wire.MEDIA_KEYS, given)
    back = media_keys("!room", f"the bot's {id(bridge)}")
    await bridge.crypto.send_to_device(
        bob.person.user_id, bob.person.device_id, wire.MEDIA_KEYS, back
    )
    seen = await bob.until(lambda s: s["event"] == "to_device" and s["content"] == back)
    assert seen["encryption"]["sender"] == bot
    assert seen["encryption"]["senderDevice"] == bridge.crypto.device_id


async def test_commands_and_media_keys_and_again_after_a_restart(
    sites: Sites, tmp_path: Path, clients: Start
) -> None:
    settings = sites.settings(tmp_path)
    bob = await bob_of(sites, clients)
    keys = Keys()
    async with living(settings, {wire.MEDIA_KEYS: keys}) as bridge:
        assert bridge.crypto is not None
        device = bridge.crypto.device_id
        room = await encrypted_room(bob, sites.bot)
        asked = await bob.say(room, "!visio status")
        reply = await bob.reads(room, "No call")
        assert trusted(reply)
        relation = reply["wire_content"][wire.RELATES_TO]
        assert relation["m.in_reply_to"] == {"event_id": asked}, "relations stay in clear"
        await bob.say(room, "!visio start")
        card = await bob.until(lambda s: "eu.colloque.card" in s.get("content", {}))
        assert trusted(card)
        (mine,) = [d for d in await bob.ask("devices", user=sites.bot) if d["id"] == device]
        assert mine["signedByOwner"], mine
        await exchange_keys(bridge, bob, sites.bot, keys)
    first_session = card["wire_content"]["session_id"]
    # Said while the bridge is away, and read by the next one with the keys it kept.
    await bob.say(room, "!visio stop")
    async with living(settings, {wire.MEDIA_KEYS: keys}) as bridge:
        assert bridge.crypto is not None
        assert bridge.crypto.device_id == device
        ended = await bob.until(
            lambda s: s.get("content", {}).get("eu.colloque.card", {}).get("phase") == "ended"
        )
        assert trusted(ended)
        assert ended["wire_content"][wire.RELATES_TO]["event_id"] == card["event_id"]
        assert ended["wire_content"]["session_id"] == first_session, "the session was kept"
        await exchange_keys(bridge, bob, sites.bot, keys)
        assert await wire_types_of_bot(bob.person, room, sites.bot) == {wire.ENCRYPTED}


async def test_who_comes_reads_on_and_who_leaves_does_not(
    sites: Sites, tmp_path: Path, clients: Start
) -> None:
    bob = await bob_of(sites, clients)
    carol = await clients(await sites.near.register("carol"))
    async with living(sites.settings(tmp_path)):
        room = await encrypted_room(bob, sites.bot)
        await bob.person.invite(room, carol.person.user_id)
        await carol.person.join(room, via=[sites.far.server_name])
        await carol.in_room(room, 3)
        await bob.in_room(room, 3)
        await carol.say(room, "!visio status")
        both = [await client.reads(room, "No call") for client in (bob, carol)]
        assert all(trusted(seen) for seen in both)
        session = both[0]["wire_content"]["session_id"]
        await carol.person.leave(room)
        await bob.say(room, "!visio who")
        after = await bob.reads(room, "Nobody")
        assert trusted(after)
        assert after["wire_content"]["session_id"] != session, "who left has the old key"


async def test_what_waits_when_a_room_becomes_encrypted_is_not_sent_in_clear(
    sites: Sites, tmp_path: Path, clients: Start
) -> None:
    settings = sites.settings(tmp_path)
    bob = await bob_of(sites, clients)
    carol = await sites.near.register("carol1")
    async with living(settings) as bridge:
        room = await bob.person.create_room("Open", invite=[sites.bot, carol.user_id])
        await carol.join(room, via=[sites.far.server_name])
        hello = await bob.reads(room, "video conferences in this room")
        assert hello["wire_type"] == wire.MESSAGE
        await sites.near.stop()
        said = Outgoing(
            room_id=room,
            txn_id="waits",
            kind="message",
            content={"msgtype": wire.NOTICE, "body": "said before, sent after"},
        )
        await put(bridge, said)
    await sites.near.start()
    await bob.person.set_state(room, wire.ENCRYPTION, _ENCRYPTION["content"])
    await carol.wait_for(room, lambda e: e["type"] == wire.ENCRYPTION)
    async with living(settings):
        assert trusted(await bob.reads(room, "said before, sent after"))


async def test_a_key_that_was_lost_is_asked_for(
    sites: Sites, tmp_path: Path, clients: Start
) -> None:
    settings = sites.settings(tmp_path)
    bob = await bob_of(sites, clients)
    async with living(settings):
        room = await encrypted_room(bob, sites.bot)
        await bob.say(room, "!visio who")
        await bob.reads(room, "Nobody")
    await bob.ask("discard", room=room)
    await bob.say(room, "!visio status")  # its key goes to a device that is not there
    await asyncio.sleep(2)
    async with living(settings):
        assert trusted(await bob.reads(room, "No call", timeout=25))


async def test_a_file_is_encrypted_and_its_relations_are_not(
    sites: Sites, tmp_path: Path, clients: Start
) -> None:
    bob = await bob_of(sites, clients)
    async with living(sites.settings(tmp_path)) as bridge:
        room = await encrypted_room(bob, sites.bot)
        root = (await bob.reads(room, "video conferences"))["event_id"]
        row = Outgoing(
            room_id=room,
            txn_id="a file",
            kind="file",
            content={wire.RELATES_TO: {"rel_type": wire.THREAD, "event_id": root}},
            blob="Procès-verbal".encode(),
            media_type="text/markdown",
            file_name="transcript.md",
        )
        await put(bridge, row)
        seen = await bob.reads(room, "transcript.md")
        assert trusted(seen)
        assert seen["wire_content"][wire.RELATES_TO]["event_id"] == root
        assert "url" not in seen["content"]
        assert seen["content"]["info"] == {"mimetype": "text/markdown", "size": 14}
        file = await bob.ask("file", file=seen["content"]["file"])
        assert file["text"] == "Procès-verbal"


async def test_one_time_keys_are_refilled_and_a_fallback_key_serves_when_they_are_out(
    sites: Sites, tmp_path: Path, clients: Start
) -> None:
    settings = sites.settings(tmp_path)
    bob = await bob_of(sites, clients)
    dora = await sites.near.register("dora")
    async with living(settings) as bridge:
        assert bridge.crypto is not None
        device = bridge.crypto.device_id
        room = await encrypted_room(bob, sites.bot)
        await claim(dora, sites.bot, device, 30)
        await bob.say(room, "has the homeserver count them")
        await refilled(bridge)
    fallback = await exhaust(dora, sites.bot, device)
    # Somebody the bot never met begins a session by the fallback key, while it is away.
    erin = await clients(await sites.near.register("erin"))
    await bob.person.invite(room, erin.person.user_id)
    await erin.person.join(room, via=[sites.far.server_name])
    await erin.in_room(room, 3)
    await erin.say(room, "!visio status")
    async with living(settings) as bridge:
        assert trusted(await erin.reads(room, "No call"))
        await refilled(bridge)
    assert await exhaust(dora, sites.bot, device) != fallback, "a used fallback key is renewed"


async def claim(person: Person, bot: str, device: str, number: int) -> list[str]:
    body = {"one_time_keys": {bot: {device: "signed_curve25519"}}}
    names = []
    for _ in range(number):
        answer = await person.request("POST", "/_matrix/client/v3/keys/claim", body)
        names.append(next(iter(answer["one_time_keys"][bot][device])))
    return names


async def exhaust(person: Person, bot: str, device: str) -> str:
    """Claim keys until the same one comes again and again: its name."""
    while True:
        *_, before, last = await claim(person, bot, device, 10)
        if before == last:
            return last


async def refilled(bridge: app.Bridge) -> None:
    crypto: Any = bridge.crypto
    async with asyncio.timeout(30):
        while await crypto._machine.api.upload_keys() < 45:  # noqa: ASYNC110 - the homeserver's
            await asyncio.sleep(0.1)
