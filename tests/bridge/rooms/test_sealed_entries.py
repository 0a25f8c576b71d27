"""Encrypted entries: handled when they can be read, waited for when not, given up with a word."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bridge.crypto import Crypto, Undecryptable
from bridge.matrix import wire
from bridge.rooms.sealed import KEY_WAIT_MS, Unsealing
from bridge.store.inbox import NewEntry
from tests.support.rooms_world import ALICE, BOB, EVE, ROOM, World


class StandInCrypto:
    """Opens what it has the session of: the clear event lies in the ciphertext's place."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.broken = False

    async def decrypt(self, event: dict[str, Any]) -> dict[str, Any]:
        if self.broken:
            raise Undecryptable("it repeats what another event said")
        session = event["content"]["session_id"]
        if session not in self.known:
            raise Undecryptable("its key did not come", session=session)
        return {**event, **event["content"]["ciphertext"]}


@pytest.fixture
def crypto(world: World) -> StandInCrypto:
    made = StandInCrypto()
    world.conductor._unsealing = Unsealing(
        world.house, world.stores, cast("Crypto", made), lambda: world.now_ms
    )
    return made


def sealed(world: World, sender: str, body: str, session: str) -> NewEntry:
    clear = world.message(sender, body)
    inside = {"type": clear.payload["type"], "content": clear.payload["content"]}
    content = {"algorithm": wire.MEGOLM, "session_id": session, "ciphertext": inside}
    payload = {**clear.payload, "type": wire.ENCRYPTED, "content": content}
    return NewEntry(clear.room_id, clear.kind, clear.key, payload)


async def handle(world: World) -> None:
    while (entry := await world.stores.inbox.next(ROOM)) is not None:
        await world.conductor.handle(entry)


async def states(world: World) -> list[str]:
    rows = await world.stores.db.fetch("SELECT state FROM inbox ORDER BY seq")
    return [row["state"] for row in rows]


async def take(world: World, *entries: NewEntry) -> None:
    await world.stores.inbox.commit(entries, now_ms=world.now_ms)
    await handle(world)


async def test_an_event_that_can_be_read_is_as_one_in_clear(
    world: World, crypto: StandInCrypto
) -> None:
    crypto.known.add("session")
    await take(world, sealed(world, ALICE, "!visio start", "session"))
    assert (await world.txns())[0] == "card:conf-0:0"


async def test_a_room_goes_on_while_a_key_is_waited_for(
    world: World, crypto: StandInCrypto
) -> None:
    await take(
        world, sealed(world, BOB, "!visio start", "late"), world.message(ALICE, "!visio help")
    )
    assert await states(world) == ["locked", "done"]
    assert len(await world.bodies()) == 1
    crypto.known.add("late")
    async with world.stores.db.acquire() as conn:
        assert await world.stores.inbox.unlock(conn, "late") == {ROOM}
    await handle(world)
    assert await states(world) == ["done", "done"]
    assert "card:conf-0:0" in await world.txns()


async def test_a_key_that_comes_while_the_entry_is_put_by_is_not_missed(
    world: World, crypto: StandInCrypto, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = world.stores.inbox.lock

    async def and_the_key_comes(*what: Any) -> None:
        crypto.known.add("now")
        await lock(*what)

    monkeypatch.setattr(world.stores.inbox, "lock", and_the_key_comes)
    await take(world, sealed(world, ALICE, "!visio start", "now"))
    assert await states(world) == ["done"]


async def test_what_cannot_be_read_in_time_is_said_once_for_each_session(
    world: World, crypto: StandInCrypto
) -> None:
    entries = [sealed(world, BOB, f"!visio {n}", "never") for n in range(3)]
    await take(world, world.message(ALICE, "!visio help"), *entries)
    world.now_ms += KEY_WAIT_MS
    assert await world.stores.inbox.unlock_old(world.now_ms - KEY_WAIT_MS) == set()
    assert await world.stores.inbox.unlock_old(world.now_ms - KEY_WAIT_MS + 1) == {ROOM}
    await handle(world)
    assert await states(world) == ["done", "set_aside", "set_aside", "set_aside"]
    said = [body for body in await world.bodies() if "cannot read" in body]
    assert len(said) == 1
    world.now_ms += 3_600_000
    old = sealed(world, BOB, "!visio again", "never")
    await world.stores.inbox.commit([old], now_ms=world.now_ms - KEY_WAIT_MS)
    await handle(world)
    assert len([body for body in await world.bodies() if "cannot read" in body]) == 1


async def test_a_new_session_for_each_message_is_not_a_sentence_for_each(
    world: World, crypto: StandInCrypto
) -> None:
    await take(world, world.message(ALICE, "!visio help"))
    for sender in (BOB, EVE):
        entries = [sealed(world, sender, "x", f"{sender} {n}") for n in range(5)]
        await world.stores.inbox.commit(entries, now_ms=world.now_ms - KEY_WAIT_MS)
    await handle(world)
    # Eve's server may not use this bridge: nothing of hers is answered.
    assert len([body for body in await world.bodies() if "cannot read" in body]) == 1


async def test_what_never_can_be_read_is_set_aside_without_a_word(
    world: World, crypto: StandInCrypto
) -> None:
    crypto.broken = True
    await take(world, sealed(world, ALICE, "!visio start", "session"))
    assert await states(world) == ["set_aside"]
    assert await world.bodies() == []


async def test_encrypted_state_is_no_state(world: World, crypto: StandInCrypto) -> None:
    crypto.known.add("session")
    levels = {"users": {EVE: 100}}
    content = {
        "algorithm": wire.MEGOLM,
        "session_id": "session",
        "ciphertext": {"type": wire.POWER_LEVELS, "content": levels},
    }
    await world.say(ALICE, "!visio help")
    await take(world, world.event(wire.ENCRYPTED, EVE, content, ""))
    facts = await world.stores.rooms.get(None, ROOM)
    assert facts["levels"] != levels


async def test_an_encrypted_membership_is_one(world: World, crypto: StandInCrypto) -> None:
    crypto.known.add("session")
    said = {
        "slot_id": "m.call#ROOM",
        "application": {"type": "m.call"},
        "member": {"user_id": BOB, "device_id": "D", "id": "uuid"},
        "transports": {"published": [{"type": "livekit", "livekit_service_url": "https://b"}]},
        "msc4354_sticky_key": "uuid",
    }
    content = {
        "algorithm": wire.MEGOLM,
        "session_id": "session",
        "ciphertext": {"type": wire.RTC_MEMBER, "content": said},
    }
    entry = world.event(wire.ENCRYPTED, BOB, content)
    entry.payload["msc4354_sticky"] = {"duration_ms": 3_600_000}
    await take(world, entry)
    (one,) = await world.stores.memberships.of_room(None, ROOM)
    assert (one.kind, one.user_id, one.service_url) == ("sticky", BOB, "https://b")
