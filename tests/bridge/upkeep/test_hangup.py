"""Ending a call for everybody: the room's power levels are as before, whatever happens between."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.matrix import wire
from bridge.matrix.client import HomeserverError, Unreachable
from bridge.upkeep.hangup import HOLD_MS
from tests.support.rooms_world import ALICE, BOB, BOT, ROOM, World, state_event

LEVELS: dict[str, Any] = {
    "users": {ALICE: 50, BOT: 100},
    "events": {wire.CALL_MEMBER: 0, "m.room.name": 50},
    "invite": 0,
}
KEY = f"_{BOB}_D_m.call"


def membership(world: World, key: str = KEY) -> None:
    world.homeserver.more_state.append(state_event(wire.CALL_MEMBER, {"device_id": "D"}, key))


def memberships(world: World) -> dict[str, Any]:
    return {e["state_key"]: e["content"] for e in world.homeserver.more_state}


async def ended(world: World, levels: Any = LEVELS, by: str = ALICE) -> None:
    world.homeserver.levels = levels
    membership(world)
    membership(world, f"_{BOT}_COLLOQUE_m.call")
    await world.say(by, "!visio start")
    await world.say(by, "!visio end")


async def look(world: World) -> float | None:
    rest = await world.errands._turn(ROOM)
    await world.give()
    return rest


async def test_nobody_comes_back_and_then_all_is_as_before(world: World) -> None:
    await ended(world)
    assert await look(world) is not None
    events = {wire.CALL_MEMBER: 51, "m.room.name": 50}
    assert world.homeserver.levels == {**LEVELS, "events": events}
    assert memberships(world)[KEY] == {}
    assert memberships(world)[f"_{BOT}_COLLOQUE_m.call"] != {}
    # One that came in between is emptied too, and the level is raised only once.
    membership(world, "_@carol:a_D_m.call")
    await look(world)
    assert [kind for kind, _, _ in world.homeserver.written].count(wire.POWER_LEVELS) == 1
    assert memberships(world)["_@carol:a_D_m.call"] == {}
    world.now_ms += HOLD_MS
    assert await look(world) is None
    assert world.homeserver.levels == LEVELS
    assert not [body for body in await world.bodies() if "power level" in body]


async def test_a_room_without_an_entry_has_none_afterwards(world: World) -> None:
    levels = {"users": {BOT: 100, ALICE: 100}, "state_default": 0}
    await ended(world, levels)
    await look(world)
    assert world.homeserver.levels["events"] == {wire.CALL_MEMBER: 100}
    world.now_ms += HOLD_MS
    await look(world)
    assert world.homeserver.levels == {**levels, "events": {}}


@pytest.mark.parametrize("raised", [False, True])
async def test_killed_before_or_after_the_level_was_raised(world: World, raised: bool) -> None:
    await ended(world)
    world.homeserver.failure = None if raised else Unreachable("killed", sent=False)
    if raised:
        await look(world)
    # What a restart finds: the errand, its time over, and levels that are ours or are not.
    world.homeserver.failure = None
    world.now_ms += 0 if not raised else HOLD_MS + 60_000
    await look(world)
    world.now_ms += HOLD_MS
    await look(world)
    assert world.homeserver.levels == LEVELS
    assert await world.stores.errands.rooms() == []


async def test_what_a_moderator_changed_meanwhile_stays(world: World) -> None:
    await ended(world)
    await look(world)
    changed = {**LEVELS, "events": {wire.CALL_MEMBER: 25}, "invite": 50}
    world.homeserver.levels = changed
    await look(world)
    world.now_ms += HOLD_MS
    await look(world)
    assert world.homeserver.levels == changed


async def test_without_power_it_is_said_that_clients_may_come_back(world: World) -> None:
    levels = {"users": {ALICE: 100, BOT: 50}, "events": {wire.CALL_MEMBER: 0}}
    levels["events"][wire.POWER_LEVELS] = 100  # type: ignore[index]
    await ended(world, levels)
    await look(world)
    await look(world)
    assert [key for kind, key, _ in world.homeserver.written if kind == wire.CALL_MEMBER] == [KEY]
    world.now_ms += HOLD_MS
    await look(world)
    assert "I would need power level 100" in (await world.bodies())[-1]
    assert world.homeserver.levels == levels


async def test_where_there_was_nobody_nothing_is_said(world: World) -> None:
    world.homeserver.levels = {"users": {ALICE: 100}}
    await world.say(ALICE, "!visio start")
    await world.say(ALICE, "!visio end")
    said = len(await world.bodies())
    await look(world)
    world.now_ms += HOLD_MS
    await look(world)
    assert len(await world.bodies()) == said


async def test_levels_that_cannot_be_put_back_are_named(world: World) -> None:
    await ended(world)
    await look(world)
    world.homeserver.refused = {wire.POWER_LEVELS}
    world.now_ms += HOLD_MS
    await look(world)
    assert "must set it to 0 again" in (await world.bodies())[-1]


async def test_a_membership_that_cannot_be_emptied_stops_nothing(world: World) -> None:
    await ended(world)
    world.homeserver.refused = {wire.CALL_MEMBER}
    await look(world)
    world.now_ms += HOLD_MS
    await look(world)
    assert world.homeserver.levels == LEVELS


async def test_an_errand_outlives_a_homeserver_that_is_away(world: World) -> None:
    await ended(world)
    await look(world)
    world.homeserver.failure = HomeserverError(502)
    world.now_ms += 3_600_000
    assert await look(world) is not None
    world.homeserver.failure = None
    await look(world)
    assert world.homeserver.levels == LEVELS


async def test_out_of_the_room_there_is_nothing_to_put_back(world: World) -> None:
    await ended(world)
    world.homeserver.failure = HomeserverError(403, "M_FORBIDDEN")
    await look(world)
    world.now_ms += HOLD_MS
    await look(world)
    assert await world.stores.errands.rooms() == []


@pytest.mark.parametrize("how", ["empty", "other site"])
async def test_only_an_end_by_somebody_of_ours_is_for_us(world: World, how: str) -> None:
    world.homeserver.levels = LEVELS
    if how == "other site":
        await world.say(ALICE, "!visio start")
        await world.give(world.member("@visio:b", "join", "@visio:b"))
        await world.give(world.wish({"active": False}, BOB))
    else:
        await world.say(ALICE, "!visio start")
        await world.give(world.member(BOT, "leave", ALICE))
    kinds = {errand.kind for errand in await world.stores.errands.of_room(ROOM)}
    assert "hangup" not in kinds
