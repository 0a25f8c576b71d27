"""The bot as a member of the calls it listens to, and the media keys of encrypted ones."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from bridge.crypto import ToDevice
from bridge.errors import Unavailable
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError
from bridge.upkeep import media_keys
from tests.support.rooms_world import ALICE, BOB, BOT, EVE, MEDIA, ROOM, T0, World, state_event

WISH = {"active": True, "transcript": True, "spoken_language": "en"}
KEY, NEXT = bytes(range(16)), bytes(range(16, 32))
OWN = f"{BOT}:COLLOQUE"


def encrypt(world: World) -> None:
    """The room is encrypted, and the bot has a device of its own."""
    world.homeserver.more_state.append(state_event("m.room.encryption", {"algorithm": "megolm"}))
    world.house = dataclasses.replace(world.house, encryption=True)
    world.conductor._house = world.house
    world.conductor._gatherer._house = world.house


def group(world: World) -> None:
    """More than two people are in the room."""
    world.homeserver.names["@carol:a"] = "Carol"


def to_device(
    user: str = ALICE, device: str = "D", *, index: int = 0, key: bytes = KEY, **more: Any
) -> ToDevice:
    content = media_keys.message(
        ROOM, member_id=f"{user}:{device}", device_id=device, index=index, key=key, now_ms=T0
    )
    content.update(more)
    return ToDevice(sender=user, device=device, type=wire.MEDIA_KEYS, content=content)


async def bring(world: World) -> None:
    await world.reconciler._turn(ROOM)
    await world.give()


async def enter(world: World, user: str) -> None:
    await world.grant(user)
    world.media.enter(f"{user}:D", f"P-{user}", T0)
    await bring(world)


def handed(world: World) -> list[tuple[str, int, bytes]]:
    calls = [call for verb, call in world.scribe.calls if verb == "key"]
    return [(identity, index, base64.b64decode(key)) for _, identity, index, key in calls]


def verbs(world: World) -> list[str]:
    return [verb for verb, _ in world.scribe.calls]


# ---- the bot's place in the call


async def test_while_a_scribe_listens_the_bot_is_a_member_of_the_call(world: World) -> None:
    group(world)
    await world.give(world.wish(WISH))
    await bring(world)
    await bring(world)
    assert world.own.calls == ["publish"]
    await world.give(world.wish({"active": True}))
    await bring(world)
    assert world.own.calls == ["publish", "withdraw"]
    assert verbs(world) == ["start", "stop"]


async def test_the_scribe_is_told_of_shared_microphones(world: World) -> None:
    group(world)
    grant = await world.grant(BOB)
    await world.give(world.wish(WISH))
    await bring(world)
    assert world.scribe.calls[-1][1]["shared"] == []
    await world.give(world.wish({**WISH, "shared_microphones": [BOB, "@absent:a"]}))
    await bring(world)
    verb, flags = world.scribe.calls[-1]
    assert (verb, flags["shared"]) == ("update", [grant.identity])


async def test_nobody_listens_and_the_bot_is_no_member(world: World) -> None:
    await world.give(world.wish({"active": True}))
    await bring(world)
    assert world.own.calls == []


async def test_in_a_direct_chat_the_bot_comes_after_the_one_who_is_called(world: World) -> None:
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    assert (world.own.calls, verbs(world)) == ([], ["start"])
    await enter(world, BOB)
    await bring(world)
    assert world.own.calls == ["publish"]
    # Element Call leaves a direct call when all others have left: the bot must not be one of them.
    world.media.there[MEDIA].pop()
    await bring(world)
    await bring(world)
    assert world.own.calls == ["publish", "withdraw"]
    assert verbs(world) == ["start"]


async def test_whether_a_room_is_direct_is_not_guessed(world: World) -> None:
    group(world)
    await world.give(world.wish(WISH))
    world.homeserver.failure = Unavailable("homeserver_unavailable")
    await bring(world)
    assert world.own.calls == []
    world.homeserver.failure = None
    await bring(world)
    assert world.own.calls == ["publish"]


async def test_where_the_bot_may_be_no_member_it_listens_in_open_calls(world: World) -> None:
    group(world)
    world.homeserver.levels["events"] = {wire.CALL_MEMBER: 75}
    await world.give(world.wish(WISH))
    await bring(world)
    assert world.own.calls == []
    assert world.scribe.calls[0][1]["token"] == "token of scribe-conf-0"


@pytest.mark.parametrize(
    "failure", [Unavailable("homeserver_unavailable"), HomeserverError(403, "M_FORBIDDEN")]
)
async def test_a_place_that_is_not_to_be_had_is_asked_for_again_later(
    world: World, failure: Exception
) -> None:
    group(world)
    world.own.failure = failure
    await world.give(world.wish(WISH))
    await bring(world)
    assert verbs(world) == ["start"]
    world.own.failure = None
    await bring(world)
    assert world.own.calls == []
    world.now_ms += 30_000
    await bring(world)
    assert world.own.calls == ["publish"]


async def test_an_encrypted_call_is_not_heard_without_a_place_in_it(world: World) -> None:
    group(world)
    encrypt(world)
    world.own.failure = Unavailable("homeserver_unavailable")
    await world.give(world.wish(WISH))
    await bring(world)
    assert verbs(world) == []


async def test_a_scribe_that_is_away_finds_the_bot_where_it_was(world: World) -> None:
    group(world)
    world.scribe.connected = False
    await world.give(world.wish(WISH))
    await bring(world)
    assert world.own.calls == []
    world.scribe.connected = True
    await bring(world)
    world.scribe.connected = False
    await bring(world)
    assert world.own.calls == ["publish"]


# ---- encrypted calls


async def test_keys_reach_the_scribe_once_and_again_after_it_was_away(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    assert world.scribe.calls[0][1]["encrypted"] is True
    await world.keys.received(to_device())
    await bring(world)
    await world.keys.received(to_device(index=1, key=NEXT))
    await bring(world)
    await bring(world)
    both = [(f"{ALICE}:D", 0, KEY), (f"{ALICE}:D", 1, NEXT)]
    assert handed(world) == both
    # The scribe has restarted.
    world.scribe.calls.clear()
    world.scribe.sessions.clear()
    world.scribe.greetings += 1
    world.now_ms += 5000
    await bring(world)
    assert verbs(world) == ["start", "key", "key"]
    # The connection was made again, and the scribe is the same.
    world.scribe.calls.clear()
    world.scribe.greetings += 1
    await bring(world)
    assert sorted(handed(world)) == both
    await world.keys.received(to_device(index=1, key=KEY))
    await bring(world)
    assert handed(world)[2:] == [(f"{ALICE}:D", 1, KEY)]


async def test_keys_may_come_before_their_sender(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await bring(world)
    await world.keys.received(to_device())
    await bring(world)
    assert handed(world) == []
    await enter(world, ALICE)
    await bring(world)
    assert handed(world) == [(f"{ALICE}:D", 0, KEY)]


async def test_a_key_speaks_for_the_device_it_came_from_alone(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    await enter(world, BOB)
    stolen = dataclasses.replace(to_device(BOB), device="OTHER")
    await world.keys.received(stolen)
    # Whatever is claimed in it, it is Eve's, who holds no grant.
    await world.keys.received(dataclasses.replace(to_device(ALICE), sender=EVE))
    await bring(world)
    assert handed(world) == []


async def test_keys_of_calls_nobody_listens_to_are_left_aside(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish({"active": True}))
    await enter(world, ALICE)
    await world.keys.received(to_device())
    await world.keys.received(to_device(room_id="!other"))
    # The bot is in the call to let phones ring, when the room wishes for a transcript.
    world.own.holders.add("ring")
    await world.give(world.wish(WISH))
    await bring(world)
    assert handed(world) == []
    assert world.own.calls == ["publish", "renew"]


async def test_keys_are_forgotten_with_the_call(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    await world.keys.received(to_device())
    await world.say(ALICE, "!visio stop")
    await bring(world)
    assert world.keys.of(ROOM, [await world.grant(ALICE)]) == []


async def test_a_revoked_grant_has_no_keys(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await bring(world)
    await world.keys.received(to_device())
    assert world.keys.of(ROOM, [await world.grant(ALICE, revoked_ms=T0)]) == []


@pytest.mark.parametrize(
    "content",
    [
        {"keys": None},
        {"keys": []},
        {"keys": "0"},
        {"keys": {"index": 0}},
        {"keys": {"index": "0", "key": "AAAAAAAAAAAAAAAAAAAAAA"}},
        {"keys": {"index": 256, "key": "AAAAAAAAAAAAAAAAAAAAAA"}},
        {"keys": {"index": True, "key": "AAAAAAAAAAAAAAAAAAAAAA"}},
        {"keys": {"index": 0, "key": "A"}},
        {"keys": {"index": 0, "key": "AAAA"}},
        {"keys": {"index": 0, "key": "A" * 400}},
        {"room_id": None},
        {"member": None},
        {"member": {"claimed_device_id": 7}},
    ],
)
async def test_what_is_no_key_is_left_aside(world: World, content: dict[str, Any]) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    await world.keys.received(to_device(**content))
    await bring(world)
    assert handed(world) == []


async def test_the_older_form_is_read_too(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    listed = [{"index": i, "key": base64.b64encode(k).decode()} for i, k in enumerate((KEY, NEXT))]
    await world.keys.received(to_device(keys=listed, member=None, device_id="D"))
    await bring(world)
    assert sorted(handed(world)) == [(f"{ALICE}:D", 0, KEY), (f"{ALICE}:D", 1, NEXT)]


async def test_strangers_fill_their_own_place_only(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    await world.keys.received(to_device())
    for number in range(media_keys.STRANGERS + 1):
        await world.keys.received(to_device(f"@stranger{number}:a"))
    for number in range(media_keys.DEVICES + 1):
        await world.keys.received(to_device(BOB, f"D{number}"))
    await bring(world)
    assert handed(world) == [(f"{ALICE}:D", 0, KEY)]
    held = world.keys._strangers[ROOM]
    assert (len(held), len(held[BOB])) == (media_keys.STRANGERS, media_keys.DEVICES)


# ---- what the room asks for, and what it is told


async def test_defaults_do_not_count_in_an_encrypted_room(world: World) -> None:
    group(world)
    encrypt(world)
    defaults = dataclasses.replace(world.house.defaults, captions=True, transcript=True)
    world.house = world.conductor._house = dataclasses.replace(world.house, defaults=defaults)
    await world.say(ALICE, "!visio start")
    await bring(world)
    assert (world.scribe.calls, world.own.calls) == ([], [])
    assert sum("unless this room asks" in body for body in await world.bodies()) == 1
    await world.say(ALICE, "!visio transcript on")
    await bring(world)
    assert verbs(world) == ["start"]
    assert world.scribe.calls[0][1]["captions"] is False


async def test_the_room_is_told_once_who_listens_and_where_encryption_ends(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await world.give(world.wish({"active": True}))
    await world.give(world.wish(WISH))
    said = [body for body in await world.bodies() if "a scribe listens" in body]
    assert len(said) == 1
    assert "on the server a it decrypts" in said[0]


async def test_a_bot_without_a_device_says_that_it_cannot(world: World) -> None:
    group(world)
    encrypt(world)
    world.house = world.conductor._house = dataclasses.replace(world.house, encryption=False)
    await world.give(world.wish(WISH))
    await bring(world)
    assert world.scribe.calls == []
    assert any("I write no transcript here" in body for body in await world.bodies())


async def test_without_a_place_in_the_call_there_are_no_keys_and_that_is_said(world: World) -> None:
    group(world)
    encrypt(world)
    world.homeserver.levels["events"] = {wire.CALL_MEMBER: 75}
    await world.give(world.wish(WISH))
    for _ in range(2):
        await bring(world)
    assert world.scribe.calls == []
    assert sum("nobody gives the scribe keys" in body for body in await world.bodies()) == 1


async def test_a_direct_encrypted_call_is_heard_when_both_are_there(world: World) -> None:
    encrypt(world)
    await world.give(world.wish(WISH))
    await enter(world, ALICE)
    await bring(world)
    assert (verbs(world), world.own.calls) == ([], [])
    await enter(world, BOB)
    await bring(world)
    assert (verbs(world), world.own.calls) == (["start"], ["publish"])
    world.media.there[MEDIA].pop()
    await bring(world)
    await bring(world)
    assert (verbs(world), world.own.calls) == (["start", "stop"], ["publish", "withdraw"])


async def test_somebody_who_cannot_be_read_is_told_of_once(world: World) -> None:
    group(world)
    encrypt(world)
    await world.give(world.wish(WISH))
    await bring(world)
    frame = {"conference": "conf-0", "state": "listening", "detail": "no_key"}
    for _ in range(2):
        await world.rooms.session(frame)
        await world.give()
    assert sum("has no key for somebody" in body for body in await world.bodies()) == 1


async def test_the_scribe_shows_captions_to_the_bridge_while_somebody_watches(
    world: World,
) -> None:
    group(world)
    watched: list[str] = []
    world.hearing._watched = lambda conference: conference.room_id in watched
    await world.give(world.wish({**WISH, "captions": True}))
    await bring(world)
    assert world.scribe.calls[-1][1]["watch"] is False
    watched.append(ROOM)
    await bring(world)
    verb, flags = world.scribe.calls[-1]
    assert (verb, flags["watch"]) == ("update", True)
    watched.clear()
    await bring(world)
    assert world.scribe.calls[-1][1]["watch"] is False


async def test_a_room_that_becomes_encrypted_asks_anew(world: World) -> None:
    group(world)
    await world.give(world.wish(WISH))
    await bring(world)
    encrypt(world)
    await world.give(world.event("m.room.encryption", ALICE, {"algorithm": "megolm"}, ""))
    await bring(world)
    assert world.scribe.calls[-1] == (
        "update",
        {
            "conference": "conf-0",
            "language": "en",
            "captions": False,
            "transcript": True,
            "encrypted": True,
            "watch": False,
            "languages": {},
            "opted_out": [],
            "shared": [],
        },
    )
    assert any("a scribe listens" in body for body in await world.bodies())
