"""Calls that ring: whom, with what in the room, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError
from bridge.matrix.own_membership import TooManyCalls
from bridge.store.inbox import NewEntry
from tests.support.rooms_world import ALICE, BOB, BOT, ROOM, World

CAROL = "@carol:a"
NOTIFICATION = wire.RTC_NOTIFICATION


async def look(world: World) -> None:
    """Carry errands out once, and handle what came of it."""
    await world.errands._turn(ROOM)
    await world.give()


async def later(world: World, ms: int) -> None:
    world.now_ms += ms
    payload = {"event": "colloque.due", "at_ms": world.now_ms}
    await world.give(NewEntry(ROOM, "media", f"due:{world.now_ms}", payload))


async def notifications(world: World) -> list[dict[str, Any]]:
    return [row for row in await world.rows() if row["type"] == NOTIFICATION]


async def states(world: World) -> list[str]:
    return [ring.state for ring in (await world.conferences())[0].rings]


def group(world: World, *people: str) -> None:
    world.homeserver.names |= {CAROL: "Carol", **{person: person for person in people}}


async def in_call(world: World, user: str) -> str:
    """Their client says that they are in the call; the id of its event."""
    content = {
        "application": "m.call",
        "call_id": "",
        "device_id": "D",
        "focus_active": {"type": "livekit"},
    }
    entry = world.event(wire.CALL_MEMBER, user, content, f"_{user}_D_m.call")
    await world.give(entry)
    return entry.key


async def test_a_direct_chat_rings(world: World) -> None:
    event_id = await world.say(ALICE, "!visio start")
    assert await notifications(world) == []
    await look(world)
    assert world.own.holders == {f"ring:{event_id}"}
    (row,) = await notifications(world)
    assert row["content"] == {
        "m.mentions": {"user_ids": [BOB]},
        "notification_type": "ring",
        "m.relates_to": {"rel_type": "m.reference", "event_id": "$own"},
        "sender_ts": world.now_ms,
        "lifetime": 40_000,
        "m.call.intent": "video",
        "slot_id": "m.call#ROOM",
        "msc4354_sticky_key": "m.call#ROOM",
    }
    assert row["not_after_ms"] == world.now_ms + 10_000


async def test_a_group_is_told_and_rings_when_asked_to(world: World) -> None:
    group(world)
    await world.say(ALICE, "!visio start")
    await look(world)
    (row,) = await notifications(world)
    assert row["content"]["notification_type"] == "notification"
    assert row["content"]["m.mentions"] == {"user_ids": [BOB, CAROL]}
    await world.say(ALICE, "!visio ring")
    assert (await world.bodies())[-1].startswith("That is ringing already.")
    await later(world, 41_000)
    await world.say(BOB, "!visio sonner")
    await look(world)
    assert (await notifications(world))[-1]["content"]["notification_type"] == "ring"
    assert not [body for body in await world.bodies() if "Missed" in body]


async def test_ring_starts_a_call_where_none_runs(world: World) -> None:
    group(world)
    await world.say(ALICE, "!visio ring")
    await look(world)
    assert (await notifications(world))[0]["content"]["notification_type"] == "ring"


@pytest.mark.parametrize(
    ("sender", "mentions"), [(ALICE, {"room": True}), (BOB, None)], ids=["moderator", "member"]
)
async def test_a_large_room(world: World, sender: str, mentions: Any) -> None:
    group(world, *(f"@u{number}:a" for number in range(30)))
    await world.say(sender, "!visio start")
    await look(world)
    rows = await notifications(world)
    assert [row["content"]["m.mentions"] for row in rows] == ([mentions] if mentions else [])
    if not mentions:
        await world.say(sender, "!visio ring")
        assert (await world.bodies())[-1].startswith("This room has more than 20 people")


async def test_who_comes_has_answered_and_the_bot_goes(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await look(world)
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    assert await states(world) == ["answered"]
    await look(world)
    assert world.own.holders == set()
    assert await world.stores.errands.rooms() == []


async def test_the_bot_is_not_in_the_call_beside_a_person(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await look(world)
    await in_call(world, ALICE)
    await look(world)
    assert (world.own.holders, await states(world)) == (set(), ["sent"])


async def test_a_call_of_people_is_rung_for_with_their_own_membership(world: World) -> None:
    group(world)
    await world.grant(ALICE)
    await world.give(world.enters(ALICE, "P1"))
    event_id = await in_call(world, ALICE)
    await world.say(ALICE, "!visio ring Bob")
    assert (await world.bodies())[-1] == "I am ringing Bob."
    await look(world)
    (row,) = await notifications(world)
    assert row["content"]["m.relates_to"]["event_id"] == event_id
    assert world.own.holders == set()


async def test_missed(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await look(world)
    await later(world, 40_000)
    assert (await world.bodies())[-1].startswith("📞 Bob did not answer.")
    await look(world)
    assert world.own.holders == set()


async def test_declined(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await look(world)
    (row,) = await notifications(world)
    queued = await world.stores.outbox.next(ROOM)
    while queued is not None:
        await world.stores.outbox.sent(queued, f"$sent:{queued.outgoing.txn_id}")
        queued = await world.stores.outbox.next(ROOM)
    for notification in ("$another", f"$sent:{row['txn_id']}"):
        relation = {"rel_type": "m.reference", "event_id": notification}
        await world.give(world.event(wire.RTC_DECLINE, BOB, {"m.relates_to": relation}))
    assert await states(world) == ["declined"]
    await later(world, 3_000)
    assert "Declined: Bob" in (await world.rows())[-1]["content"]["body"]
    await world.say(ALICE, "!visio stop")
    body = [r for r in await world.rows() if r["type"] == wire.MESSAGE][-1]["content"]["body"]
    assert "Declined: Bob" in body


async def test_the_end_takes_the_notification_back(world: World) -> None:
    event_id = await world.say(ALICE, "!visio start")
    await look(world)
    await world.say(ALICE, "!visio stop")
    (row,) = [row for row in await world.rows() if row["kind"] == "redaction"]
    assert row["content"]["redacts"] == f"outbox:ring:{event_id}"
    await look(world)
    assert world.own.holders == set()


@pytest.mark.parametrize("failure", [HomeserverError(403, "M_FORBIDDEN"), TooManyCalls()])
async def test_where_the_bot_cannot_be_in_the_call_phones_are_told(
    world: World, failure: Exception
) -> None:
    world.own.failure = failure
    await world.say(ALICE, "!visio start")
    for _ in range(2):
        await look(world)
    (row,) = await notifications(world)
    assert row["content"]["notification_type"] == "notification"
    assert row["content"]["m.relates_to"]["event_id"] == "outbox:card:conf-0:0"


@pytest.mark.parametrize("failure", [HomeserverError(500), Unavailable("homeserver_unavailable")])
async def test_a_ring_waits_for_the_homeserver_and_then_does_not_go_out(
    world: World, failure: Exception
) -> None:
    world.own.failure = failure
    await world.say(ALICE, "!visio start")
    await look(world)
    assert await notifications(world) == []
    await later(world, 20_000)
    await look(world)
    assert await world.stores.errands.rooms() == []
    assert await states(world) == ["over"]


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("ring Bob", "Bob is in the call already."),
        (f"ring {CAROL}", "carol is not in this room. To invite and ring them"),
        ("ring", "There is nobody to ring"),
    ],
)
async def test_who_cannot_be_rung(world: World, typed: str, answer: str) -> None:
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    await world.say(ALICE, f"!visio {typed}")
    assert (await world.bodies())[-1].startswith(answer)


async def test_who_rings_already_is_not_rung_again(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await world.say(ALICE, "!visio ring Bob")
    assert (await world.bodies())[-1].startswith("That is ringing already.")


async def test_nobody_is_called_where_the_asker_is_alone(world: World) -> None:
    world.homeserver.names = {ALICE: "Alice", BOT: "Visio"}
    await world.say(ALICE, "!visio start")
    assert await world.stores.errands.rooms() == []


async def test_who_is_invited_rings(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await world.say(ALICE, f"!visio invite {CAROL}")
    for _ in range(2):
        await look(world)
    mentions = [row["content"]["m.mentions"] for row in await notifications(world)]
    assert {"user_ids": [CAROL]} in mentions
