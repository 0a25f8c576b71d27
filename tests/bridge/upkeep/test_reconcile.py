"""Media server and scribe are brought to what the stored conference wants."""

from __future__ import annotations

import time

import pytest

from bridge.errors import Unavailable
from bridge.ids import media_room
from bridge.matrix.client import HomeserverError
from bridge.media.server import MediaParticipant, MediaRoom
from tests.support.rooms_world import ALICE, BOB, BOT, EVE, MEDIA, ROOM, T0, World, Worlds

WISH = {"active": True, "transcript": True, "spoken_language": "en-GB"}
SCRIBE = f"{BOT}:COLLOQUE"


async def compare(world: World) -> float | None:
    """One comparison of the room, and the handling of what came of it."""
    rest = await world.reconciler._turn(ROOM)
    await world.give()
    return rest


async def test_a_started_conference_gets_its_media_room_and_its_scribe(world: World) -> None:
    await world.give(world.wish(WISH))
    assert await compare(world) is None
    assert world.media.calls == [("create", MEDIA, '{"eu.colloque.conference": "conf-0"}')]
    ((verb, session),) = world.scribe.calls
    assert verb == "start"
    assert session == {
        "conference": "conf-0",
        "room_id": ROOM,
        "url": "ws://media",
        "token": f"token of {SCRIBE}",
        "epoch_ms": T0,
        "language": "en-GB",
        "captions": False,
        "transcript": True,
        "encrypted": False,
        "watch": False,
        "languages": {},
        "opted_out": [],
        "shared": [],
    }
    await compare(world)
    assert (len(world.media.calls), len(world.scribe.calls)) == (1, 1)


async def test_no_scribe_where_nobody_wished_for_one(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await compare(world)
    assert world.scribe.calls == []


async def test_changed_wishes_reach_the_scribe(world: World) -> None:
    await world.give(world.wish(WISH))
    await compare(world)
    await world.give(world.wish({"active": True, "captions": True, "language": "en"}))
    await compare(world)
    flags = {"language": "en", "captions": True, "transcript": False}
    flags |= {"encrypted": False, "watch": False, "languages": {}, "opted_out": [], "shared": []}
    assert world.scribe.calls[1:] == [("update", {"conference": "conf-0", **flags})]
    await world.give(world.wish({"active": True}))
    await compare(world)
    assert world.scribe.calls[2:] == [("stop", "conf-0")]


async def test_after_a_restart_a_session_is_updated_and_not_begun_again(worlds: Worlds) -> None:
    world = await worlds.open()
    await world.give(world.wish(WISH))
    await worlds.close()
    again = await worlds.open()
    again.scribe.sessions = {"conf-0": "listening"}
    await compare(again)
    assert [verb for verb, _ in again.scribe.calls] == ["update"]
    again.scribe.sessions = {}  # the scribe has restarted
    await compare(again)
    assert [verb for verb, _ in again.scribe.calls] == ["update", "start"]


async def test_a_failed_session_is_asked_for_again_after_a_rest(world: World) -> None:
    await world.give(world.wish(WISH))
    await compare(world)
    world.scribe.sessions["conf-0"] = "failed"
    await compare(world)
    assert len(world.scribe.calls) == 1
    world.now_ms += 5000
    await compare(world)
    assert [verb for verb, _ in world.scribe.calls] == ["start", "start"]


async def test_a_scribe_that_is_away_keeps_nobody_waiting(world: World) -> None:
    world.scribe.connected = False
    await world.give(world.wish(WISH))
    await compare(world)
    assert world.scribe.calls == []
    assert world.media.there == {MEDIA: []}


async def test_the_end_stops_the_scribe_first_and_then_empties_the_media(world: World) -> None:
    await world.give(world.wish(WISH))
    await compare(world)
    await world.say(ALICE, "!visio stop")
    await compare(world)
    assert world.scribe.calls[-1] == ("stop", "conf-0")
    assert world.media.calls[-1] == ("delete", MEDIA)
    (conference,) = await world.conferences()
    assert conference.media_closed
    await compare(world)
    assert [call[0] for call in world.media.calls] == ["create", "delete"]


async def test_a_media_server_that_is_away_is_asked_again(world: World) -> None:
    await world.say(ALICE, "!visio start")
    world.media.down = True
    assert await compare(world) == 1.0
    world.media.down = False
    assert await compare(world) is None
    assert world.media.there == {MEDIA: []}


async def test_who_has_no_grant_or_lost_it_is_removed_and_the_scribe_stays(world: World) -> None:
    await world.give(world.wish(WISH))
    await world.grant(ALICE)
    await world.grant(BOB, revoked_ms=T0)
    for user in (ALICE, BOB, EVE):
        world.media.enter(f"{user}:D", f"P-{user}", T0)
    world.media.enter(SCRIBE, "P-scribe", T0)
    world.media.enter("scribe-conf-9", "P-imposter", T0)
    await compare(world)
    left = [participant.identity for participant in world.media.there[MEDIA]]
    assert left == [f"{ALICE}:D", SCRIBE]


async def test_comings_and_goings_nobody_announced_are_seen(world: World) -> None:
    await world.grant(ALICE)
    await world.grant(BOB)
    world.media.enter(f"{ALICE}:D", "P1", T0 - 3_600_000)
    await compare(world)
    (conference,) = await world.conferences()
    assert [stay.user_id for stay in conference.present] == [ALICE]
    world.media.there[MEDIA].clear()
    world.media.enter(f"{BOB}:D", "P2", T0)
    joining = MediaParticipant("half-way", "P3", "", "JOINING", False, T0, ())
    await world.grant("half-way")
    world.media.there[MEDIA].append(joining)
    await compare(world)
    (conference,) = await world.conferences()
    assert [stay.user_id for stay in conference.present] == [BOB]


async def test_who_is_being_removed_after_the_end_starts_no_new_call(world: World) -> None:
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    await world.say(BOB, "!visio stop")
    world.media.enter(f"{BOB}:D", "P1", T0)
    await compare(world)
    assert MEDIA not in world.media.there
    # Who is there afterwards with a new token came afterwards, whatever the other clock says.
    await world.grant(BOB)
    world.media.enter(f"{BOB}:D", "P2", T0 - 500)
    await compare(world)
    assert len(await world.conferences()) == 2


async def test_a_grant_of_another_slot_is_no_grant_here(world: World) -> None:
    await world.say(ALICE, "!visio start")
    other = media_room(ROOM, "m.other#ROOM")
    await world.stores.db.execute(
        "INSERT INTO call_grant (media_room, identity, room_id, user_id, device_id, granted_ms)"
        " VALUES ($1, $2, $3, $4, 'D', 0)",
        other,
        f"{BOB}:D",
        ROOM,
        BOB,
    )
    world.media.enter(f"{BOB}:D", "P1", T0)
    await compare(world)
    assert world.media.there[MEDIA] == []


# ---- running


async def test_kicked_in_the_room_is_out_of_the_media_within_two_seconds(world: World) -> None:
    await world.grant(BOB)
    world.media.enter(f"{BOB}:D", "P1", T0)
    removal = ("remove", MEDIA, f"{BOB}:D")
    async with world.at_work():
        await world.rooms.take([world.enters(BOB, "P1")])
        await world.bell.until(world.conferences)
        kicked = time.monotonic()
        await world.rooms.take([world.member(BOB, "leave", ALICE)])
        await world.bell.until(lambda: removal in world.media.calls)
        assert time.monotonic() - kicked < 2
        # A token that was given before the kick lets them in again at the media server.
        world.media.calls.clear()
        world.media.enter(f"{BOB}:D", "P2", T0)
        await world.rooms.take([world.enters(BOB, "P2")])
        await world.bell.until(lambda: removal in world.media.calls)


async def test_somebody_in_the_media_without_a_word_is_found(world: World) -> None:
    await world.grant(BOB)
    world.media.enter("somebody else's", "P9", T0, name="a room of others")
    world.media.enter(f"{BOB}:D", "P1", T0)
    async with world.at_work():
        await world.bell.until(world.conferences)
    assert len(world.media.there["a room of others"]) == 1


async def test_what_is_due_happens_by_itself(world: World) -> None:
    async with world.at_work():
        await world.rooms.take([world.message(ALICE, "!visio start")])
        await world.bell.until(lambda: ("create", MEDIA) in {c[:2] for c in world.media.calls})
        world.now_ms += 60_000
        await world.bell.until(lambda: ("delete", MEDIA) in world.media.calls)
        await world.bell.until(lambda: world_closed(world))


async def world_closed(world: World) -> bool:
    (conference,) = await world.conferences()
    return conference.phase == "ended" and not conference.open


async def test_a_session_nobody_knows_is_ended(world: World) -> None:
    world.scribe.sessions = {"of another time": "listening"}
    async with world.at_work():
        await world.bell.until(lambda: not world.scribe.sessions)
    assert world.scribe.calls == [("stop", "of another time")]


async def test_looking_around_survives_errors(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [Unavailable("media_unavailable"), ValueError("a defect")]

    async def broken() -> list[MediaRoom]:
        if failures:
            raise failures.pop()
        world.bell.ring()
        return []

    world.media.rooms = broken  # type: ignore[assignment, method-assign]
    async with world.at_work():
        await world.bell.until(lambda: not failures)
    assert "looking around failed" in caplog.text


async def test_where_the_bot_is_not_in_the_room_members_are_asked_for(world: World) -> None:
    world.homeserver.failure = HomeserverError(403, "M_FORBIDDEN")
    await world.grant(ALICE)
    await world.grant(BOB)
    for user in (ALICE, BOB):
        world.media.enter(f"{user}:D", f"P-{user}", T0)
    await compare(world)
    assert len(world.media.there[MEDIA]) == 2
    world.homeserver.failure = None
    world.homeserver.gone = {BOB}
    await compare(world)
    await compare(world)
    assert [p.identity for p in world.media.there[MEDIA]] == [f"{ALICE}:D"]
    assert [g.user_id for g in await world.stores.grants.revoked_in(ROOM)] == [BOB]
