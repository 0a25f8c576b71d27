"""Memberships of a room's call: heard, read, shown, and cleared when nobody is behind them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError
from bridge.rooms import news
from bridge.store.inbox import NewEntry
from bridge.upkeep import janitor
from tests.support.rooms_world import ALICE, BOB, BOT, MEDIA, ROOM, World, state_event

OURS, THEIRS = "https://visio.a", "https://visio.b"
CAROL = "@carol:b"
MINUTE, HOUR = 60_000, 3_600_000


def content(device: str = "D", url: str = OURS) -> dict[str, Any]:
    return {
        "application": "m.call",
        "call_id": "",
        "device_id": device,
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [{"type": "livekit", "livekit_service_url": url}],
    }


def membership(world: World, user: str, url: str = OURS, device: str = "D") -> NewEntry:
    key = f"_{user}_{device}_m.call"
    return world.event(wire.CALL_MEMBER, user, content(device, url), key)


def withdrawal(world: World, user: str, by: str = "") -> NewEntry:
    return world.event(wire.CALL_MEMBER, by or user, {}, f"_{user}_D_m.call")


def sticky(world: World, user: str, url: str = OURS) -> NewEntry:
    said = {
        "slot_id": "m.call#ROOM",
        "application": {"type": "m.call"},
        "member": {"user_id": user, "device_id": "D", "id": "uuid"},
        "transports": {"published": [{"type": "livekit", "livekit_service_url": url}]},
        "msc4354_sticky_key": "uuid",
    }
    entry = world.event(wire.RTC_MEMBER, user, said)
    entry.payload["msc4354_sticky"] = {"duration_ms": HOUR}
    return entry


async def said(world: World) -> list[tuple[str, str]]:
    return [(m.user_id, m.kind) for m in await world.stores.memberships.of_room(None, ROOM)]


async def present(world: World) -> list[tuple[str, str]]:
    (conference, *_) = await world.conferences()
    return [(stay.user_id, stay.site) for stay in conference.present]


async def cleared(world: World) -> list[str]:
    """State keys the bot has emptied."""
    return [r["state_key"] for r in await world.rows() if r["type"] == wire.CALL_MEMBER]


# ---- heard


async def test_memberships_are_kept_as_long_as_they_count(world: World) -> None:
    await world.give(membership(world, ALICE), sticky(world, BOB, THEIRS))
    assert await said(world) == [(ALICE, "state"), (BOB, "sticky")]
    await world.give(withdrawal(world, ALICE))
    assert await said(world) == [(BOB, "sticky")]
    world.now_ms += HOUR
    await world.say(ALICE, "!visio who")
    assert await said(world) == []


async def test_whoever_leaves_the_room_leaves_its_call(world: World) -> None:
    await world.give(membership(world, ALICE), membership(world, BOB, THEIRS))
    await world.give(world.member(BOB, "ban"))
    assert await said(world) == [(ALICE, "state")]
    await world.give(world.member(BOT, "leave"))
    assert await said(world) == []
    world.homeserver.failure = HomeserverError(403, "M_FORBIDDEN")
    await world.give(membership(world, ALICE))
    assert await said(world) == [], "nobody tells the bot what becomes of it"


async def test_a_redacted_membership_is_none(world: World) -> None:
    entry = membership(world, ALICE)
    await world.give(entry, sticky(world, BOB))
    await world.give(world.event(wire.REDACTION, ALICE, {"redacts": entry.key}))
    assert await said(world) == [(BOB, "sticky")]


async def test_what_the_bot_empties_is_empty_and_what_it_says_is_heard(world: World) -> None:
    await world.give(membership(world, ALICE), membership(world, BOT))
    assert await said(world) == [(ALICE, "state"), (BOT, "state")]
    await world.give(withdrawal(world, ALICE, by=BOT))
    assert await said(world) == [(BOT, "state")]


async def test_the_state_is_read_when_the_bot_comes(world: World) -> None:
    key = f"_{BOB}_D_m.call"
    said_before = {**state_event(wire.CALL_MEMBER, content(), key), "event_id": "$1"}
    said_before |= {"sender": BOB, "origin_server_ts": world.now_ms}
    world.homeserver.more_state = [
        said_before,
        {**said_before, "sender": CAROL, "state_key": "_carol", "event_id": "$2"},
        state_event(wire.MEMBER, {"membership": "join", "displayname": "Bob"}, BOB),
        state_event(wire.MEMBER, {"membership": "leave"}, CAROL),
    ]
    await world.give(world.member(BOT, "invite"))
    assert await said(world) == [(BOB, "state")]
    world.homeserver.more_state = []
    await world.stores.inbox.commit(
        [NewEntry(ROOM, "media", "reread:1", {"event": "colloque.reread"})], now_ms=world.now_ms
    )
    await world.give()
    assert await said(world) == []


async def test_a_closed_slot_hides_sticky_memberships(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await world.give(sticky(world, BOB, THEIRS))
    assert await present(world) == [(BOB, "b")]
    await world.give(world.event(wire.RTC_SLOT, ALICE, {}, "m.call#ROOM"))
    assert await present(world) == []
    await world.give(world.event(wire.RTC_SLOT, ALICE, {"status": "open"}, "m.call#ROOM"))
    assert await present(world) == [(BOB, "b")]


# ---- shown


async def test_people_at_other_sites_are_shown(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await world.give(membership(world, BOB, THEIRS), membership(world, ALICE))
    assert await present(world) == [(BOB, "b")]
    await world.say(ALICE, "!visio who")
    assert "Bob (b)" in (await world.bodies())[-1]
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    assert await present(world) == [(BOB, "")]
    world.now_ms += 3000
    await world.give(world.leaves(BOB, "P1"), withdrawal(world, BOB))
    assert await present(world) == []


async def test_other_sites_bots_are_no_people(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await world.give(world.member("@visio:b", "join"), membership(world, "@visio:b", THEIRS))
    assert await present(world) == []


async def test_an_expired_membership_is_noticed(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await world.give(sticky(world, BOB, THEIRS))
    world.now_ms += HOUR
    await world.janitor.look()
    await world.give()
    assert await present(world) == []


# ---- the janitor


async def look(world: World, after_ms: int = 0) -> None:
    world.now_ms += after_ms
    await world.janitor.look()
    await world.give()


async def test_a_ghost_is_cleared_after_a_minute(world: World) -> None:
    await world.give(membership(world, ALICE), membership(world, BOB, THEIRS))
    await give_state(world, ALICE, BOB)
    await look(world)
    await look(world, MINUTE - 1)
    assert await cleared(world) == []
    await look(world, 1)
    await look(world, 10 * MINUTE)
    assert await cleared(world) == [f"_{ALICE}_D_m.call"], "and nobody else's site's"
    row = (await world.rows())[-1]
    assert (row["kind"], row["content"]) == ("state", {})


async def give_state(world: World, *users: str) -> None:
    """The room's state shows what was given: reading it again changes nothing."""
    stored = {m.user_id: m for m in await world.stores.memberships.of_room(None, ROOM)}
    world.homeserver.more_state = [
        *(state_event(wire.MEMBER, {"membership": "join"}, user) for user in users),
        *(
            {
                **state_event(wire.CALL_MEMBER, content(url=stored[u].service_url), stored[u].key),
                "sender": u,
                "event_id": stored[u].event_id,
                "origin_server_ts": stored[u].sent_ms,
            }
            for u in users
            if stored[u].kind == "state"
        ),
    ]


async def test_whoever_is_in_the_media_room_is_no_ghost(world: World) -> None:
    await world.give(membership(world, ALICE), sticky(world, BOB))
    await give_state(world, ALICE, BOB)
    world.media.enter(f"{ALICE}:D", "P1", world.now_ms)
    for _ in range(3):
        await look(world, MINUTE)
    assert await cleared(world) == []
    world.media.there[MEDIA] = []
    await look(world, MINUTE)
    await look(world, MINUTE)
    # Of a sticky event only its sender can take anything back.
    assert await cleared(world) == [f"_{ALICE}_D_m.call"]


async def test_whoever_came_in_by_the_other_door_is_there(world: World) -> None:
    await world.give(membership(world, ALICE))
    await give_state(world, ALICE)
    grant = await world.grant(ALICE)
    world.media.enter(grant.identity, "P1", world.now_ms)
    await look(world)
    await look(world, MINUTE)
    assert await cleared(world) == []


async def test_the_minute_is_one_in_which_the_media_server_answers(world: World) -> None:
    await world.give(membership(world, ALICE))
    await give_state(world, ALICE)
    await look(world)
    world.media.down = True
    await look(world, MINUTE)
    world.media.down = False
    await look(world, MINUTE)
    assert await cleared(world) == [], "only now both are seen"
    await look(world, MINUTE)
    assert await cleared(world) == [f"_{ALICE}_D_m.call"]


async def test_never_the_bots_own_nor_without_power(world: World) -> None:
    world.homeserver.levels = {"users": {BOT: 49}}
    await world.give(membership(world, ALICE), membership(world, BOT))
    await give_state(world, ALICE, BOT)
    await look(world)
    await look(world, MINUTE)
    assert await cleared(world) == []


async def test_who_returned_meanwhile_is_not_cleared(world: World) -> None:
    first, again = membership(world, ALICE), membership(world, ALICE)
    await world.give(first)
    await world.give(again, news.ghost(ROOM, first.key))
    assert await cleared(world) == []


async def test_a_client_that_insists_is_cleared_ever_more_rarely(world: World) -> None:
    minutes = []
    for minute in range(30):
        stored = await world.stores.memberships.of_room(None, ROOM)
        rows = await cleared(world)
        if not stored or len(rows) > len(minutes):
            minutes += [minute] if len(rows) > len(minutes) else []
            await world.give(membership(world, ALICE))
            await give_state(world, ALICE)
        await look(world, MINUTE)
    assert minutes == [2, 7, 24]
    await world.give(withdrawal(world, ALICE))
    world.homeserver.more_state = []
    await look(world, 3 * 24 * HOUR)
    await world.give(membership(world, ALICE))
    await give_state(world, ALICE)
    await look(world)
    await look(world, MINUTE)
    assert len(await cleared(world)) == 4, "after two days it is as if it had never been"


# ---- reading the state again


async def rereads(world: World) -> int:
    query = "SELECT COUNT(*) FROM inbox WHERE key LIKE 'reread:%'"
    return int(await world.stores.db.fetchval(query))


async def test_the_state_is_read_again_at_the_start_and_every_few_minutes(world: World) -> None:
    await look(world)
    assert await rereads(world) == 0
    await world.give(membership(world, BOB, THEIRS))
    await give_state(world, BOB)
    await look(world)
    assert await rereads(world) == 1
    await look(world, 4 * MINUTE)
    assert await rereads(world) == 1
    await world.say(ALICE, "!visio start")
    await look(world)
    await look(world)
    assert await rereads(world) == 2
    await look(world, 5 * MINUTE)
    assert await rereads(world) == 3


async def test_a_call_that_comes_and_goes_is_read_no_more_often(world: World) -> None:
    for _ in range(5):
        await world.give(membership(world, BOB, THEIRS))
        await look(world, MINUTE // 2)
        await world.give(withdrawal(world, BOB))
        await look(world)
    assert await rereads(world) == 1
    await look(world, 5 * MINUTE)
    await world.give(membership(world, BOB, THEIRS))
    await look(world)
    assert await rereads(world) == 2


async def test_where_the_bot_is_not_nothing_is_looked_at(world: World) -> None:
    world.homeserver.failure = HomeserverError(403, "M_FORBIDDEN")
    await world.grant(ALICE)
    await world.give(world.enters(ALICE, "P1"))
    world.homeserver.failure = None
    await look(world)
    assert await rereads(world) == 0


async def test_looking_goes_on_after_errors(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [ValueError("a defect"), OSError("disk"), Unavailable("x")]
    looked = asyncio.Event()

    async def active() -> list[str]:
        if failures:
            raise failures.pop(0)
        looked.set()
        return []

    monkeypatch.setattr(world.stores.conferences, "active", active)
    monkeypatch.setattr(world.janitor, "_look_s", 0.01)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.janitor.run())
        await looked.wait()
        running.cancel()
    assert "looking at rooms with a call failed" in caplog.text
    assert janitor.GHOST_MS == MINUTE
