"""What the bot does, once, to a room it comes into or has made."""

from __future__ import annotations

from typing import Any

from bridge.matrix import wire
from tests.support.rooms_world import ALICE, BOB, BOT, EVE, ROOM, World, state_event

SLOT_KEY = "m.call#ROOM"


async def mapped(world: World) -> list[tuple[str, str, str]]:
    """Kind, type and state key of what was done to the room."""
    rows = await world.rows()
    return [(r["kind"], r["type"], r["state_key"]) for r in rows if r["txn_id"].startswith("map:")]


async def invited(world: World, level: int, *more: dict[str, Any]) -> None:
    world.homeserver.levels = {"users": {ALICE: 100, BOT: level}}
    world.homeserver.more_state = list(more)
    await world.give(world.member(BOT, "invite"))


POWER = ("merge", wire.POWER_LEVELS, "")
SLOT = ("state", wire.RTC_SLOT, SLOT_KEY)
BRIDGES = [("state", kind, "eu.colloque://a") for kind in (wire.BRIDGE, wire.BRIDGE_UNSTABLE)]


async def test_a_room_is_made_one_for_calls_when_the_bot_comes(world: World) -> None:
    await invited(world, 100)
    assert await mapped(world) == [POWER, SLOT, *BRIDGES]
    contents = {r["type"]: r["content"] for r in await world.rows() if r["type"] != wire.MESSAGE}
    assert contents[wire.POWER_LEVELS] == {"events": {wire.CALL_MEMBER: 0}}
    assert contents[wire.RTC_SLOT] == {"status": "open", "application": {"type": "m.call"}}
    info = contents[wire.BRIDGE]
    assert info == contents[wire.BRIDGE_UNSTABLE]
    assert (info["bridgebot"], info["protocol"]["id"]) == (BOT, "eu.colloque")
    assert info["channel"]["external_url"] == "https://visio.a/#/room/%21room"


async def test_only_once_whatever_becomes_of_it(world: World) -> None:
    await invited(world, 100)
    world.homeserver.more_state = []
    await world.give(world.member(BOT, "leave"))
    await world.give(world.member(BOT, "invite"))
    levels = {"users": {BOT: 100}, "events": {wire.CALL_MEMBER: 50}}
    await world.give(world.event(wire.POWER_LEVELS, ALICE, levels, ""))
    assert len(await mapped(world)) == 4


async def test_as_soon_as_there_is_the_power_for_it(world: World) -> None:
    await invited(world, 0)
    assert await mapped(world) == []
    for level, done in ((50, 4), (50, 4)):
        levels = {"users": {BOT: level}}
        await world.give(world.event(wire.POWER_LEVELS, ALICE, levels, ""))
        assert len(await mapped(world)) == done


async def test_what_is_there_is_left_alone(world: World) -> None:
    closed = state_event(wire.RTC_SLOT, {}, SLOT_KEY)
    await invited(world, 50, closed)
    assert await mapped(world) == [POWER, *BRIDGES]
    world.homeserver.levels = {}


async def test_a_room_whose_members_may_call_needs_no_power_changed(world: World) -> None:
    world.homeserver.levels = {"users": {BOT: 50}, "events": {wire.CALL_MEMBER: 0}}
    await world.give(world.member(BOT, "invite"))
    assert await mapped(world) == [SLOT, *BRIDGES]


async def test_the_slot_of_an_encrypted_room_says_so(world: World) -> None:
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    await invited(world, 50, state_event(wire.ENCRYPTION, encryption))
    per_member = {"type": "org.matrix.msc4143.per_member"}
    slots = [r["content"] for r in await world.rows() if r["type"] == wire.RTC_SLOT]
    assert [slot["encryption"] for slot in slots] == [per_member]


async def test_the_slot_follows_when_a_room_becomes_encrypted(world: World) -> None:
    await invited(world, 50)
    await world.give(world.event(wire.RTC_SLOT, BOT, {"status": "open"}, SLOT_KEY))
    await world.give(world.event(wire.ENCRYPTION, ALICE, {"algorithm": "m.megolm"}, ""))
    slots = [r["content"] for r in await world.rows() if r["type"] == wire.RTC_SLOT]
    assert ["encryption" in slot for slot in slots] == [False, True]


# ---- rooms the bot has made


def made_by_the_bot(world: World) -> None:
    world.homeserver.levels = {"users": {}}
    create = state_event("m.room.create", {"room_version": "12"})
    world.homeserver.more_state = [{**create, "sender": BOT}]


async def test_the_first_of_our_own_server_is_the_moderator(world: World) -> None:
    made_by_the_bot(world)
    await world.give(world.member(BOB, "join", BOB))
    assert (await world.bodies())[0].startswith("Hello")
    assert await mapped(world) == []
    await world.give(world.member(ALICE, "join", ALICE), world.member("@carl:a", "join", "@carl:a"))
    assert await mapped(world) == [POWER]
    rows = [r for r in await world.rows() if r["kind"] == "merge"]
    assert [r["content"] for r in rows] == [{"users": {ALICE: 50}}]
    assert len(await world.bodies()) == 1
    # The homeserver shows what the bot has written: its power counts.
    levels = {"users": {ALICE: 50}}
    await world.give(world.event(wire.POWER_LEVELS, BOT, levels, ""))
    await world.say(ALICE, "!visio start")
    await world.say(ALICE, "!visio transcript on")
    assert "refused" not in " ".join(await world.bodies())


async def test_our_own_people_are_let_in_when_they_knock(world: World) -> None:
    made_by_the_bot(world)
    await world.give(world.member(ALICE, "knock", ALICE), world.member(EVE, "knock", EVE))
    assert await mapped(world) == [("state", wire.MEMBER, ALICE)]
    await world.give(world.member(ALICE, "knock", ALICE))
    assert len(await mapped(world)) == 2


async def test_other_peoples_rooms_are_theirs(world: World) -> None:
    await world.give(world.member(ALICE, "knock", ALICE), world.member(ALICE, "join", ALICE))
    assert await mapped(world) == []
    assert ROOM not in world.homeserver.gone
