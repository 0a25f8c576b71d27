"""The room's wish at the doors and in the running call, on a real store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.domain.happenings import Admit
from bridge.errors import Refused, Unavailable
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError
from bridge.rooms.entrance import RESERVED_MS
from bridge.rooms.ledger import Ledger
from bridge.store.inbox import NewEntry
from bridge.upkeep.hangup import HOLD_MS
from tests.support.rooms_world import ALICE, BOB, BOT, MEDIA, ROOM, World

CAROL = "@carol:a"
TOMBSTONE = {"body": "moved", "replacement_room": "!new"}


async def reason(world: World, user: str) -> str:
    """Why a token is refused; '' where it is given."""
    try:
        await world.entrance.allow(ROOM, user)
    except Refused as refused:
        return refused.key
    return ""


async def running(world: World, *people: str, **wished: Any) -> None:
    """A call of alice's, with these people in it, and then this wish."""
    await world.give(world.member(BOT, "invite"))
    for n, user in enumerate((ALICE, *people)):
        await joins(world, user, f"P{n}")
    await wish(world, **wished)


async def joins(world: World, user: str, sid: str) -> None:
    await world.grant(user)
    await connects(world, user, sid)


async def connects(world: World, user: str, sid: str) -> None:
    """With whatever token they have."""
    world.media.enter(f"{user}:D", sid, world.now_ms)
    await world.give(world.enters(user, sid))


async def wish(world: World, **wished: Any) -> None:
    await world.give(world.wish({"active": True, **wished}))


async def power(world: World, **levels: int) -> None:
    users = {ALICE: 100, BOT: 50, **{f"@{name}:b": level for name, level in levels.items()}}
    await world.give(world.event(wire.POWER_LEVELS, ALICE, {"users": users}, ""))


async def compare(world: World) -> None:
    await world.reconciler._turn(ROOM)
    await world.give()


def there(world: World) -> list[str]:
    return [p.identity.removesuffix(":D") for p in world.media.there[MEDIA]]


def heard(world: World) -> list[str]:
    return [p.identity.removesuffix(":D") for p in world.media.there[MEDIA] if p.can_publish]


# ---- the doors


async def test_without_a_wish_every_member_comes_in_and_is_heard(world: World) -> None:
    await running(world)
    assert await world.entrance.allow(ROOM, BOB) is True


async def test_a_locked_call_takes_back_who_was_in_it_and_nobody_else(world: World) -> None:
    await running(world, BOB, locked=True)
    await world.give(world.leaves(BOB, "P1"))
    assert await reason(world, BOB) == ""
    assert await reason(world, CAROL) == "locked"
    assert await reason(world, ALICE) == "", "who may unlock it needs no unlocking"


async def test_a_grant_of_an_earlier_call_opens_no_locked_one(world: World) -> None:
    await running(world, CAROL)
    await world.say(ALICE, "!visio stop")
    await compare(world)
    world.now_ms += 60_000
    await joins(world, ALICE, "P7")
    await wish(world, locked=True)
    assert await reason(world, CAROL) == "locked"
    # The token of the earlier call lives an hour: the media server lets them in, we do not.
    await connects(world, CAROL, "P8")
    newest = (await world.conferences())[0]
    assert [stay.user_id for stay in newest.stays] == [ALICE]
    await compare(world)
    assert there(world) == [ALICE]


async def test_the_next_call_is_not_locked(world: World) -> None:
    await running(world, locked=True)
    await world.say(ALICE, "!visio stop")
    assert await reason(world, BOB) == "call_ended", "clients that come back are held off"
    world.now_ms += HOLD_MS
    await world.errands._turn(ROOM)
    world.now_ms += HOLD_MS
    await world.errands._turn(ROOM)
    await world.give()
    assert await reason(world, BOB) == ""
    written = [r["content"] for r in await world.rows() if r["type"] == wire.CONFERENCE]
    assert written[-1]["locked"] is False


async def test_who_knocks_is_said_once_and_waits_until_admitted(world: World) -> None:
    await running(world, lobby=True)
    for _ in range(3):
        assert await reason(world, BOB) == "waiting"
    knocks = [body for body in await world.bodies() if "is waiting" in body]
    assert knocks == [
        "Bob (@bob:b) is waiting to come into the call. To let them in: !visio admit @bob:b"
    ]
    await admit(world, BOB)
    assert await reason(world, BOB) == ""
    await joins(world, BOB, "P9")
    await compare(world)
    assert there(world) == [ALICE, BOB]


async def test_who_a_moderator_of_another_site_lets_in_or_puts_out(world: World) -> None:
    await running(world, lobby=True)
    await world.give(world.member("@visio:b", "join"))
    await power(world, bob=50)
    assert await reason(world, CAROL) == "waiting"
    before = await world.bodies()
    world.homeserver.names[CAROL] = "Carol"
    await world.say(BOB, f"!visio admit {CAROL}")  # bob's own site answers him
    assert await reason(world, CAROL) == ""
    await joins(world, CAROL, "P9")
    await world.say(BOB, f"!visio remove {CAROL}")
    assert await reason(world, CAROL) == "removed"
    await world.say(BOB, "!visio lock")
    await compare(world)
    assert there(world) == [ALICE]
    assert await world.bodies() == before
    await world.say("@mallory:b", f"!visio admit {CAROL}")
    assert await reason(world, CAROL) == "removed"


async def admit(world: World, user: str) -> None:
    entry = world.message(ALICE, "whatever lets them in")
    await world.stores.inbox.commit([entry], now_ms=0)
    waiting = await world.stores.inbox.next(ROOM)
    assert waiting is not None
    async with world.stores.db.acquire() as conn, conn.transaction():
        ledger = Ledger(world.house, world.stores, conn, waiting, world.now_ms, lambda: "x")
        await ledger.load()
        assert ledger.running is not None
        await ledger.apply(ledger.running, Admit(user_id=user))
        await ledger.save()


async def test_an_old_token_does_not_pass_the_lobby(world: World) -> None:
    await world.grant(BOB)
    world.now_ms += 60_000
    await running(world, lobby=True)
    await connects(world, BOB, "P8")
    await compare(world)
    assert there(world) == [ALICE]


async def test_a_lobby_without_a_call_says_nothing(world: World) -> None:
    await world.give(world.member(BOT, "invite"), world.wish({"lobby": True}))
    before = await world.bodies()
    assert await reason(world, BOB) == "waiting"
    assert await world.bodies() == before
    assert await reason(world, ALICE) == ""


async def test_a_full_call_counts_who_is_there_and_who_is_on_the_way(world: World) -> None:
    await running(world, BOB, max_participants=3)
    assert await reason(world, CAROL) == ""
    await world.grant(CAROL)
    assert await reason(world, "@dave:a") == "full", "carol has a token and connects in a moment"
    assert await reason(world, CAROL) == ""
    assert await reason(world, BOB) == "", "a second device of who is there takes no place"
    world.now_ms += RESERVED_MS + 1
    assert await reason(world, "@dave:a") == ""


async def test_an_old_token_is_no_place_in_a_full_call(world: World) -> None:
    await world.grant(CAROL)
    world.now_ms += 60_000
    await running(world, BOB, max_participants=2)
    await connects(world, CAROL, "P8")
    await compare(world)
    assert there(world) == [ALICE, BOB]


async def test_lowering_the_limit_puts_nobody_out(world: World) -> None:
    await running(world, BOB, CAROL, max_participants=2)
    await compare(world)
    assert there(world) == [ALICE, BOB, CAROL]


async def test_a_replaced_room_has_no_call(world: World) -> None:
    await running(world, BOB)
    await world.give(world.event(wire.TOMBSTONE, ALICE, TOMBSTONE, ""))
    assert await reason(world, ALICE) == "room_closed"
    await compare(world)
    assert MEDIA not in world.media.there
    assert (await world.conferences())[0].phase != "running"


async def test_a_tombstone_without_a_new_room_closes_nothing(world: World) -> None:
    await running(world)
    await world.give(world.event(wire.TOMBSTONE, ALICE, {}, ""))
    assert await reason(world, ALICE) == ""


async def test_who_was_removed_from_the_call_gets_no_token(world: World) -> None:
    await running(world, BOB)
    world.homeserver.names[BOB] = "Bob"
    await world.say(ALICE, f"!visio remove {BOB}")
    assert await reason(world, BOB) == "removed"


# ---- rooms nobody has told us of


async def test_a_room_nothing_is_known_of_is_read(world: World) -> None:
    world.homeserver.more_state = [
        {"type": wire.TOMBSTONE, "state_key": "", "sender": ALICE, "content": TOMBSTONE}
    ]
    assert await reason(world, BOB) == "room_closed"


@pytest.mark.parametrize(
    ("rule", "user", "expected"),
    [
        ("federated", BOB, ""),
        ("local", BOB, "no_bot"),
        ("local", ALICE, ""),
        ("deny", ALICE, "no_bot"),
    ],
)
async def test_a_room_without_the_bot(world: World, rule: Any, user: str, expected: str) -> None:
    rules = replace(world.house.entry, without_bot=rule)
    world.entrance._house = replace(world.house, entry=rules)
    world.homeserver.failure = HomeserverError(403, "M_FORBIDDEN")
    assert await reason(world, user) == expected


async def test_a_homeserver_that_fails_lets_nobody_in(world: World) -> None:
    world.homeserver.failure = HomeserverError(500, "M_UNKNOWN")
    with pytest.raises(Unavailable):
        await world.entrance.allow(ROOM, ALICE)


async def test_of_a_room_the_bot_has_left_nothing_is_believed(world: World) -> None:
    await running(world, locked=True)
    await world.give(world.member(BOT, "leave"))
    world.homeserver.failure = HomeserverError(403, "M_FORBIDDEN")
    assert await reason(world, BOB) == ""


# ---- who is heard and seen


async def test_who_may_publish_changes_with_wish_and_power(world: World) -> None:
    await running(world, BOB, CAROL)
    await compare(world)
    assert [call for call in world.media.calls if call[0] == "permit"] == []
    await wish(world, publish="moderators")
    assert await world.entrance.allow(ROOM, BOB) is False
    await compare(world)
    assert heard(world) == [ALICE]
    await power(world, bob=50)
    await compare(world)
    assert heard(world) == [ALICE, BOB]
    assert await world.entrance.allow(ROOM, BOB) is True
    await power(world)
    await compare(world)
    assert heard(world) == [ALICE]
    await wish(world)
    await compare(world)
    assert heard(world) == [ALICE, BOB, CAROL]


async def test_an_old_token_gives_no_voice(world: World) -> None:
    await running(world, publish="moderators")
    await joins(world, BOB, "P9")
    await compare(world)
    assert heard(world) == [ALICE]


async def test_servers_that_only_listen(world: World) -> None:
    rules = replace(world.house.entry, listen_only=("b",))
    house = replace(world.house, entry=rules)
    world.entrance._house = house
    world.reconciler._occupancy._house = house
    await running(world, BOB)
    assert await world.entrance.allow(ROOM, BOB) is False
    await compare(world)
    assert heard(world) == [ALICE]


async def test_a_knock_at_a_call_that_is_gone_is_nothing(world: World) -> None:
    payload = {"event": "colloque.knocked", "conference": "another", "user_id": BOB}
    await world.give(NewEntry(ROOM, "media", "k", payload))
    assert await world.bodies() == []


async def test_admit_by_command(world: World) -> None:
    world.homeserver.names |= {BOB: "Bob", CAROL: "Carol"}
    await world.say(ALICE, "!visio admit Bob")
    await running(world, lobby=True)
    for waiting in (BOB, CAROL):
        assert await reason(world, waiting) == "waiting"
    await world.say(BOB, "!visio admit Bob")
    assert await reason(world, BOB) == "waiting"
    await world.say(ALICE, "!visio admit")
    await world.say(ALICE, "!visio admettre Bob")
    assert await reason(world, BOB) == ""
    # One alone need not be named.
    await world.say(ALICE, "!visio admit")
    assert await reason(world, CAROL) == ""
    bodies = await world.bodies()
    assert bodies[0] == "No call is in progress."
    others = ("waiting", "📞", "Hello")
    assert [body for body in bodies[1:] if not any(word in body for word in others)] == [
        "Only a moderator of the room, or the person who started the call, can change that. "
        "Please ask one of them.",
        "Whom? Type !visio admit and their name, or @name:server.",
        "Bob peut maintenant entrer dans l’appel.",
        "Carol may come into the call now.",
    ]
