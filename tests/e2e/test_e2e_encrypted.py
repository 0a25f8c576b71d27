"""A call in an encrypted room, with the clients' own key exchange, written down at its wish."""

from __future__ import annotations

import asyncio
import os
import signal
from base64 import b64decode, urlsafe_b64decode
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bridge.dev.instance import WISH
from bridge.dev.speech import Pcm
from tests.e2e.scene import Scene, eventually
from tests.support.encrypted_caller import EncryptedCaller, in_encrypted_call
from tests.support.encrypted_client import EncryptedClient, Seen

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

ENCRYPTION = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}
UTTERANCE = "eu.colloque.utterance"

Sentences = dict[str, Pcm]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(scene: Scene) -> AsyncIterator[dict[str, EncryptedClient]]:
    """alice's and bob's Matrix clients."""
    both = {name: EncryptedClient(scene.person(name)) for name in ("alice", "bob")}
    await asyncio.gather(*(client.start() for client in both.values()))
    yield both
    await asyncio.gather(*(client.stop() for client in both.values()))


async def encrypted_room(
    scene: Scene, clients: dict[str, EncryptedClient], wish: dict[str, Any]
) -> str:
    """alice, bob, eve and the bot in a new encrypted room."""
    alice, bot = scene.person("alice"), scene.site.bot
    guests = [scene.person(name) for name in ("bob", "eve")]
    room_id = await alice.create_room(
        "Encrypted",
        invite=[bot, *(guest.user_id for guest in guests)],
        power={bot: 50},
        events={"org.matrix.msc3401.call.member": 0},
        initial_state=[ENCRYPTION, {"type": WISH, "state_key": "", "content": wish}],
    )
    for guest in guests:
        await guest.join(room_id)
    await asyncio.gather(*(client.in_room(room_id, 4) for client in clients.values()))
    return room_id


def said(client: EncryptedClient, room_id: str) -> list[Seen]:
    """The utterances a client could read, in the order they came."""
    return [
        seen
        for seen in client.seen
        if seen["event"] == "message" and seen["room"] == room_id and UTTERANCE in seen["content"]
    ]


def own_key(seen: Seen, caller: EncryptedCaller) -> int:
    """The index of a key of this caller's own that came into use, -1 for anything else."""
    own = seen["event"] == "media_key" and seen["identity"] == caller.identity
    return int(seen["index"]) if own else -1


async def speaks(caller: EncryptedCaller, pcm: Pcm, reader: EncryptedClient, room_id: str) -> Seen:
    """Say it; the utterance it became."""
    before = len(said(reader, room_id))
    await caller.speak(pcm)
    await eventually(lambda: len(said(reader, room_id)) > before, 60)
    return said(reader, room_id)[before]


async def bot_is_member(scene: Scene, client: EncryptedClient, room_id: str) -> bool:
    """Whether a client sees the bot in the room's call."""
    return scene.site.bot in await client.ask("call_members", room=room_id)


async def test_what_is_said_is_written_down_for_the_room_alone(
    scene: Scene, clients: dict[str, EncryptedClient], sentences: Sentences
) -> None:
    wish = {"captions": True, "transcript": True, "language": "en"}
    room_id = await encrypted_room(scene, clients, wish)
    first, second, third, fourth = sentences.values()
    reader = clients["alice"]
    async with in_encrypted_call(reader, scene.service, room_id) as alice:
        await reader.reads(room_id, "a scribe listens")
        async with in_encrypted_call(clients["bob"], scene.service, room_id) as bob:
            here = await speaks(bob, first, reader, room_id)
            assert here["content"][UTTERANCE]["speaker"] == bob.person.user_id
            assert (here["wire_type"], here["failure"]) == ("m.room.encrypted", None)
            assert "ciphertext" in here["wire_content"]
            # Captions are encrypted too, with a key of the scribe's own.
            await eventually(lambda: bob.identity in {c.identity for c in alice.captions})
        # Who has left shall not hear what is said now: everybody takes a new key.
        await reader.until(lambda seen: own_key(seen, alice) > 0)
        await speaks(alice, second, reader, room_id)
        # The scribe dies: the bridge has the keys.
        scribe = scene.site.bridge.parts.scribe
        os.kill(scribe[0], signal.SIGKILL)
        await eventually(lambda: scene.site.bridge.parts.scribe not in ([], scribe), 30)
        await heard_again(alice, third, reader, room_id)
        # Both die: the clients give their keys once more.
        before, scribe = scene.site.bridge.pid, scene.site.bridge.parts.scribe
        os.kill(before, signal.SIGKILL)
        os.kill(scribe[0], signal.SIGKILL)
        await eventually(lambda: scene.site.bridge.pid not in {None, before}, 30)
        await heard_again(alice, fourth, reader, room_id)
        await reader.say(room_id, "the agenda is on the table")
        await reader.say(room_id, "!visio stop")
        await eventually(lambda: len(documents(reader, room_id)) == 4, 40)
        await reader.say(room_id, "!visio export md with chat")
        await eventually(lambda: len(documents(reader, room_id)) == 5, 40)
        text = await readable(scene, documents(reader, room_id)[-1])
        assert "*(chat)*: the agenda is on the table" in text
        assert "*(chat)*: !visio" not in text
        assert "could not read" not in text

    async def alone() -> bool:
        return not await bot_is_member(scene, reader, room_id)

    await eventually(alone)
    speakers = {seen["content"][UTTERANCE]["speaker"] for seen in said(reader, room_id)}
    assert speakers == {alice.person.user_id, bob.person.user_id}
    events = await scene.person("eve").messages(room_id)
    assert {e["type"] for e in events if e["sender"] == scene.site.bot} & {
        "m.room.message"
    } == set()


async def heard_again(
    caller: EncryptedCaller, pcm: Pcm, reader: EncryptedClient, room_id: str
) -> None:
    """Speak until the scribe is back."""
    before = len(said(reader, room_id))
    async with asyncio.timeout(60):
        while len(said(reader, room_id)) == before:
            await caller.speak(pcm)


def documents(reader: EncryptedClient, room_id: str) -> list[Seen]:
    return [
        seen
        for seen in reader.seen
        if seen["event"] == "message"
        and seen["room"] == room_id
        and "eu.colloque.transcript" in seen["content"]
        and "file" in seen["content"]
    ]


async def readable(scene: Scene, document: Seen) -> str:
    """A document as a member's client decrypts it (Matrix, "Sending encrypted attachments")."""
    file = document["content"]["file"]
    data = await scene.person("alice").download(file["url"])
    key = urlsafe_b64decode(file["key"]["k"] + "==")
    counter = b64decode(file["iv"] + "==")
    reading = Cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
    return (reading.update(data) + reading.finalize()).decode()


async def test_without_the_rooms_own_wish_nobody_listens(
    scene: Scene, clients: dict[str, EncryptedClient], sentences: Sentences
) -> None:
    # The administrator's defaults ask for everything here; in an encrypted room they do not count.
    room_id = await encrypted_room(scene, clients, {"language": "en"})
    reader = clients["alice"]
    async with in_encrypted_call(reader, scene.service, room_id) as alice:
        await reader.reads(room_id, "unless this room asks for it")
        assert not await bot_is_member(scene, reader, room_id)
        await reader.say(room_id, "!visio transcript on")
        await reader.reads(room_id, "a scribe listens")
        await eventually(lambda: bot_is_member(scene, reader, room_id))
        await heard_again(alice, next(iter(sentences.values())), reader, room_id)
