"""Commands about one person: what is decided, carried out, and answered."""

from __future__ import annotations

import pytest

from bridge.matrix.client import HomeserverError, Unreachable
from bridge.media.server import MediaTrack
from bridge.rooms import news
from tests.support.rooms_world import ALICE, BOB, BOT, MEDIA, ROOM, World

CAROL = "@carol:a"
MICROPHONE = MediaTrack("TR_1", "audio", "MICROPHONE", False)
CAMERA = MediaTrack("TR_2", "video", "CAMERA", False)


async def in_a_call(world: World, *, by: str = ALICE, tracks: tuple[MediaTrack, ...] = ()) -> None:
    await world.say(by, "!visio start")
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    world.media.enter(f"{BOB}:D", "P1", world.now_ms, tracks=tracks)


async def errands(world: World) -> None:
    """Carry errands out, once, and tell what became of them."""
    await world.errands._turn(ROOM)
    await world.give()


async def test_mute(world: World) -> None:
    muted = MediaTrack("TR_3", "audio", "MICROPHONE", True)
    await in_a_call(world, tracks=(MICROPHONE, CAMERA, muted))
    event_id = await world.say(ALICE, "!visio mute bob")
    assert world.media.calls == []
    await errands(world)
    assert world.media.calls == [("mute", MEDIA, f"{BOB}:D", "TR_1")]
    answer = (await world.rows())[-1]["content"]
    assert answer["body"] == "Bob’s microphone is off. They can switch it on again."
    assert answer["m.relates_to"] == {"m.in_reply_to": {"event_id": event_id}}
    assert await world.stores.errands.rooms() == []


async def test_mute_answers_in_the_language_it_was_asked_in(world: World) -> None:
    await in_a_call(world)
    await world.say(ALICE, "!visio couper le micro de Bob")
    await errands(world)
    assert (await world.bodies())[-1] == "Bob n’a pas de micro ouvert."


async def test_who_left_meanwhile_is_not_muted(world: World) -> None:
    await in_a_call(world)
    await world.say(ALICE, f"!visio mute {BOB}")
    world.media.there[MEDIA] = []
    await errands(world)
    assert (await world.bodies())[-1].startswith("Bob is not in the call here.")


async def test_remove_is_for_this_call_and_says_so(world: World) -> None:
    await in_a_call(world)
    await world.say(ALICE, f"!visio remove {BOB}")
    assert [g.user_id for g in await world.stores.grants.revoked_in(ROOM)] == [BOB]
    await errands(world)
    assert world.media.calls == [("remove", MEDIA, f"{BOB}:D")]
    assert "remain a member of this room" in (await world.bodies())[-1]
    (conference,) = await world.conferences()
    assert conference.removed == (BOB,)
    await world.give(world.leaves(BOB, "P1"))
    await world.say(ALICE, "!visio invite Bob")
    (conference,) = await world.conferences()
    assert conference.removed == ()
    assert (await world.bodies())[-1] == "I am ringing Bob."


async def test_who_was_removed_does_not_let_themselves_in_again(world: World) -> None:
    await in_a_call(world, by=BOB)
    await world.say(ALICE, "!visio remove Bob")
    await world.say(BOB, "!visio invite Bob")
    (conference,) = await world.conferences()
    assert conference.removed == (BOB,)


@pytest.mark.parametrize("command", ["mute", "remove"])
async def test_only_moderators(world: World, command: str) -> None:
    await in_a_call(world)
    await world.say(BOB, f"!visio {command} {ALICE}")
    assert (await world.bodies())[-1].startswith("Only a moderator of the room")
    assert {errand.kind for errand in await world.stores.errands.of_room(ROOM)} <= {"ring"}


async def test_nobody_moderates_who_stands_above_them(world: World) -> None:
    await in_a_call(world, by=BOB)
    await world.say(BOB, f"!visio remove {ALICE}")
    assert (await world.bodies())[-1].startswith("Only a moderator of the room")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("mute", "Whom? Type !visio mute and their name"),
        ("couper le micro", "Qui ? Tapez !visio couper le micro et son nom"),
        ("mute nobody", "I know nobody called “nobody” in this room."),
        ("mute Alice", "Alice is not in the call here."),
    ],
)
async def test_whom(world: World, typed: str, answer: str) -> None:
    await in_a_call(world)
    await world.say(ALICE, f"!visio {typed}")
    assert (await world.bodies())[-1].startswith(answer)


async def test_without_a_call_there_is_nobody_to_mute(world: World) -> None:
    await world.say(ALICE, "!visio mute Bob")
    assert await world.bodies() == ["No call is in progress."]


async def test_invite_into_the_room(world: World) -> None:
    await world.say(ALICE, f"!visio invite {CAROL}")
    await errands(world)
    assert world.homeserver.invited == [CAROL]
    assert await world.bodies() == ["I have invited @carol:a into this room."]


async def test_an_invitation_the_server_refuses(world: World) -> None:
    world.homeserver.refused, world.homeserver.gone = {CAROL}, {CAROL}
    await world.say(ALICE, f"!visio inviter {CAROL}")
    await errands(world)
    assert (await world.bodies())[0].startswith("Le serveur refuse d’inviter @carol:a.")


async def test_an_invitation_carried_out_before_a_restart(world: World) -> None:
    world.homeserver.refused = {CAROL}
    await world.say(ALICE, f"!visio invite {CAROL}")
    await errands(world)
    assert await world.bodies() == ["I have invited @carol:a into this room."]


@pytest.mark.parametrize(
    ("users", "answer"),
    [
        ({ALICE: 100, BOT: 50}, "You may not invite people into this room."),
        ({BOB: 50}, "I may not invite people into this room"),
    ],
)
async def test_rights_to_invite(world: World, users: dict[str, int], answer: str) -> None:
    world.homeserver.levels = {"users": users, "invite": 50}
    await world.say(BOB, f"!visio invite {CAROL}")
    assert (await world.bodies())[0].startswith(answer)


@pytest.mark.parametrize("failure", [HomeserverError(429), Unreachable("down", sent=False)])
async def test_an_errand_waits_and_then_says_that_it_cannot(
    world: World, failure: Exception
) -> None:
    await world.say(ALICE, f"!visio invite {CAROL}")
    world.homeserver.failure = failure
    assert await world.errands._turn(ROOM) is not None
    assert await world.bodies() == []
    world.now_ms += 30_000
    await errands(world)
    assert await world.bodies() == [
        "The Matrix server does not answer; please try again in a moment."
    ]


async def test_removing_while_the_media_server_is_away(world: World) -> None:
    await in_a_call(world)
    await world.say(ALICE, "!visio retirer Bob")
    world.media.down = True
    world.now_ms += 30_000
    await errands(world)
    assert "la déconnexion se fera dès qu’il répond" in (await world.bodies())[-1]
    assert len(await world.stores.grants.revoked_in(ROOM)) == 1


async def test_an_outcome_is_told_once(world: World) -> None:
    event_id = await world.say(ALICE, f"!visio invite {CAROL}")
    await errands(world)
    await world.give(news.came_back(ROOM, news.CameBack(f"invite:{event_id}", "refused")))
    assert len(await world.bodies()) == 1


async def test_errands_are_found_after_a_restart(world: World) -> None:
    await world.say(ALICE, f"!visio invite {CAROL}")
    async with world.at_work():
        await world.bell.until(lambda: world.homeserver.invited)

        async def answered() -> bool:
            return bool(await world.bodies())

        await world.bell.until(answered)
