"""Rooms made for an alias: which, how many, and that nobody's stay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError, Member
from bridge.matrix.limits import Rate
from bridge.upkeep import aliases
from bridge.upkeep.aliases import AliasRooms, room_name
from tests.support.rooms_world import ALICE, BOT, World


class StandInHomeserver:
    """Makes rooms and aliases."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.aliases: dict[str, str] = {}
        self.inside: dict[str, dict[str, Member]] = {}
        self.left: list[str] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def object(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if method == "DELETE":
            del self.aliases[path.rpartition("/")[2]]
            return {}
        body = what["body"]
        self.made.append(body)
        room_id = f"!made{len(self.made)}"
        self.aliases[f"%23{body['room_alias_name']}%3Aa"] = room_id
        self.inside[room_id] = {BOT: Member(display_name="Visio")}
        return {"room_id": room_id}

    async def members(self, room_id: str) -> dict[str, Member]:
        if self.failure is not None:
            raise self.failure
        if room_id not in self.inside:
            raise HomeserverError(403, "M_FORBIDDEN")
        return self.inside[room_id]

    async def leave(self, room_id: str) -> None:
        self.left.append(room_id)


@pytest.fixture
def homeserver() -> StandInHomeserver:
    return StandInHomeserver()


def rooms(world: World, homeserver: StandInHomeserver, **more: Any) -> AliasRooms:
    more = {"access": "public", "look_s": 0.01, **more}
    return AliasRooms(
        world.house,
        world.stores.alias_rooms,
        homeserver,
        clock_ms=lambda: world.now_ms,
        **more,
    )


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("#visio_budget:a", "Budget"),
        ("#visio_budget-2027_suite:a", "Budget 2027 suite"),
        ("#visio_été:a", "Été"),
        ("#visio_:a", None),
        ("#visio_-:a", None),
        ("#visio__:a", None),
        ("#budget:a", None),
        ("#visio_budget:b", None),
        ("#visio_a b:a", None),
        ("#visio_a/b:a", None),
        ("#visio_" + "x" * 65 + ":a", None),
        ("visio_budget", None),
        ("", None),
    ],
)
def test_which_alias_is_which_room(alias: str, name: str | None) -> None:
    assert room_name(alias, "a") == name


async def test_a_room_is_made(world: World, homeserver: StandInHomeserver) -> None:
    assert await rooms(world, homeserver).make("#visio_budget:a")
    (body,) = homeserver.made
    assert (body["name"], body["room_alias_name"]) == ("Budget", "visio_budget")
    assert (body["visibility"], body["preset"]) == ("private", "public_chat")
    levels = body["power_level_content_override"]["events"]
    assert (levels[wire.CALL_MEMBER], levels[wire.POWER_LEVELS]) == (0, 100)
    state = {event["type"]: event["content"] for event in body["initial_state"]}
    assert state[wire.RTC_SLOT]["status"] == "open"
    assert state[wire.JOIN_RULES] == {"join_rule": "public"}
    assert state[wire.SERVER_ACL] == {
        "allow": ["a", "b"],
        "deny": [],
        "allow_ip_literals": False,
    }


async def test_who_may_come_in_is_said_by_the_room(
    world: World, homeserver: StandInHomeserver
) -> None:
    made = rooms(world, homeserver, access="invite")
    made._house = replace(world.house, server_name="127.0.0.1:8448", allow_servers=("*.fr:1",))
    assert await made.make("#visio_budget:127.0.0.1:8448")
    (body,) = homeserver.made
    state = {event["type"]: event["content"] for event in body["initial_state"]}
    assert (body["preset"], state[wire.JOIN_RULES]) == ("private_chat", {"join_rule": "knock"})
    assert state[wire.SERVER_ACL]["allow"] == ["127.0.0.1", "*.fr"]
    assert state[wire.SERVER_ACL]["allow_ip_literals"]
    everybody = replace(world.house, allow_servers=("*", "b"))
    assert aliases.server_acl(everybody) is None


async def test_none_where_there_are_to_be_none(world: World, homeserver: StandInHomeserver) -> None:
    assert not await rooms(world, homeserver, access="off").make("#visio_budget:a")
    assert not await rooms(world, homeserver).make("#other:a")
    assert homeserver.made == []


async def test_how_many_is_bounded(world: World, homeserver: StandInHomeserver) -> None:
    made = rooms(world, homeserver, rate=Rate(per_second=0.01, burst=3))
    answers = [await made.make(f"#visio_{number}:a") for number in range(5)]
    assert answers == [True, True, True, False, False]
    world.now_ms += 100_000
    assert await made.make("#visio_5:a")


async def test_how_many_wait_is_bounded(world: World, homeserver: StandInHomeserver) -> None:
    made = rooms(world, homeserver)
    homeserver.gate.clear()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(made.make(f"#visio_{number}:a")) for number in range(7)]
        await asyncio.sleep(0)
        homeserver.gate.set()
    assert [task.result() for task in asked] == [True] * 5 + [False] * 2


@pytest.mark.parametrize(
    ("error", "there"),
    [
        (HomeserverError(400, "M_ROOM_IN_USE"), True),
        (HomeserverError(403, "M_FORBIDDEN"), False),
        (Unavailable("homeserver_unavailable"), False),
    ],
)
async def test_a_homeserver_that_makes_none(
    world: World, homeserver: StandInHomeserver, error: Exception, there: bool
) -> None:
    homeserver.failure = error
    assert await rooms(world, homeserver).make("#visio_budget:a") is there


async def test_rooms_nobody_comes_into_are_given_up(
    world: World, homeserver: StandInHomeserver
) -> None:
    made = rooms(world, homeserver)
    for name in ("used", "unused", "gone"):
        await made.make(f"#visio_{name}:a")
    homeserver.inside["!made1"][ALICE] = Member(display_name="Alice")
    del homeserver.inside["!made3"]
    world.now_ms += 600_000
    await made.look()
    assert homeserver.left == []
    world.now_ms += 1
    homeserver.failure = Unavailable("homeserver_unavailable")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        await asyncio.sleep(0.03)
        homeserver.failure = HomeserverError(500)
        await asyncio.sleep(0.03)
        assert len(await world.stores.alias_rooms.before(world.now_ms)) == 3
        homeserver.failure = None
        while await world.stores.alias_rooms.before(world.now_ms):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        running.cancel()
    assert homeserver.left == ["!made2"]
    assert sorted(homeserver.aliases) == ["%23visio_gone%3Aa", "%23visio_used%3Aa"]
