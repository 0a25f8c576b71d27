"""Who is in the room is in the call, and nobody else; losing the room ends the media."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest
from livekit import rtc

from bridge.dev.caller import Caller, media_token
from bridge.dev.instance import WISH
from bridge.dev.person import MatrixError, Person, call
from tests.e2e.scene import Scene, eventually

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.asyncio(loop_scope="module"),
]

PROXY = "/_matrix/client/unstable/io.element.msc4195/rtc/livekit/get_token"


async def by_sfu_get(scene: Scene, name: str, room_id: str) -> str:
    return (await media_token(scene.service, scene.person(name), room_id))[1]


async def by_get_token(scene: Scene, name: str, room_id: str) -> str:
    person = scene.person(name)
    member = {
        "id": "member-1",
        "claimed_user_id": person.user_id,
        "claimed_device_id": person.device_id,
    }
    body = {
        "room_id": room_id,
        "slot_id": "m.call#ROOM",
        "openid_token": await person.openid_token(),
        "member": member,
    }
    return str((await call("POST", f"{scene.service}/get_token", body=body))["jwt"])


async def by_homeserver(scene: Scene, name: str, room_id: str) -> str:
    person = scene.person(name)
    body = {
        "url": scene.service,
        "room_id": room_id,
        "slot_id": "m.call#ROOM",
        "member": {"id": "member-1", "claimed_device_id": person.device_id},
    }
    return str((await person.request("POST", PROXY, body))["jwt"])


@pytest.mark.parametrize("door", [by_sfu_get, by_get_token, by_homeserver])
async def test_every_door_opens_for_members_alone(scene: Scene, door) -> None:
    room_id = await scene.room("bob")
    assert await door(scene, "bob", room_id)
    with pytest.raises(MatrixError) as refused:
        await door(scene, "eve", room_id)
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")


async def test_somebody_elses_openid_token_is_no_way_in(scene: Scene) -> None:
    room_id = await scene.room("bob")
    eve, bob = scene.person("eve"), scene.person("bob")
    body = {
        "room_id": room_id,
        "slot_id": "m.call#ROOM",
        "openid_token": await eve.openid_token(),
        "member": {
            "id": "m",
            "claimed_user_id": bob.user_id,
            "claimed_device_id": bob.device_id,
        },
    }
    with pytest.raises(MatrixError) as refused:
        await call("POST", f"{scene.service}/get_token", body=body)
    assert refused.value.status == 401


async def kick(alice: Person, bob: Person, room_id: str) -> None:
    await alice.kick(room_id, bob.user_id)


async def ban(alice: Person, bob: Person, room_id: str) -> None:
    await alice.ban(room_id, bob.user_id)


async def leave(_alice: Person, bob: Person, room_id: str) -> None:
    await bob.leave(room_id)


async def replace_room(alice: Person, _bob: Person, room_id: str) -> None:
    await alice.set_state(
        room_id, "m.room.tombstone", {"body": "Moved", "replacement_room": "!elsewhere:x"}
    )


@pytest.mark.parametrize("lose", [kick, ban, leave, replace_room])
async def test_losing_the_room_ends_the_media_within_two_seconds(scene: Scene, lose) -> None:
    room_id = await scene.room("bob")
    alice, bob = scene.person("alice"), scene.person("bob")
    async with scene.call(room_id, "alice", "bob") as (at_home, removed):
        with within_two_seconds(lose.__name__):
            await lose(alice, bob, room_id)
            for gone in (removed, at_home) if lose is replace_room else (removed,):
                await asyncio.wait_for(gone.disconnected.wait(), 5)
        assert at_home.disconnected.is_set() is (lose is replace_room)
    status = await refused(by_sfu_get, scene, "bob", room_id)
    assert status == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(("lose", "phase_s"), [(kick, 3.0), (ban, 3.5), (leave, 4.0)])
async def test_where_the_bot_is_not_it_takes_two_seconds_too(
    scene: Scene, lose, phase_s: float
) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    room_id = await alice.create_room("Without the bot", invite=[bob.user_id])
    await bob.join(room_id)
    async with scene.call(room_id, "alice", "bob") as (at_home, removed):
        # Asked every 1.5 s: after a call's first seconds, at another moment of that time each.
        await asyncio.sleep(phase_s)
        with within_two_seconds(f"{lose.__name__}, without the bot"):
            await lose(alice, bob, room_id)
            await asyncio.wait_for(removed.disconnected.wait(), 5)
        assert not at_home.disconnected.is_set()


async def test_who_may_publish_follows_wish_and_power_within_two_seconds(scene: Scene) -> None:
    room_id = await scene.room("bob", captions=False)
    alice, bob = scene.person("alice"), scene.person("bob")
    wish = {"captions": False, "transcript": False, "language": "en"}
    async with scene.call(room_id, "alice", "bob") as (at_home, other):
        await eventually(lambda: heard_by(at_home, other.identity))
        with within_two_seconds("publish: moderators"):
            await alice.set_state(room_id, WISH, {**wish, "publish": "moderators"})
            await eventually(lambda: not heard_by(at_home, other.identity))
        assert heard_by(other, at_home.identity)
        with within_two_seconds("power raised"):
            await set_power(alice, room_id, bob.user_id, 50)
            await eventually(lambda: may_publish(other))
        await publish(other)
        await eventually(lambda: heard_by(at_home, other.identity))
        with within_two_seconds("power lowered"):
            await set_power(alice, room_id, bob.user_id, 0)
            await eventually(lambda: not heard_by(at_home, other.identity))


async def test_locked_lobby_and_limit_at_the_doors(scene: Scene) -> None:
    room_id = await scene.room("bob", "eve", captions=False)
    alice = scene.person("alice")
    wish = {"captions": False, "transcript": False, "language": "en"}

    async def wished(**more: object) -> None:
        await alice.set_state(room_id, WISH, {**wish, **more})
        # Whoever asks before the bridge has read it is let in, and may then come back. It reads a
        # room's events in their order.
        asked = await alice.say(room_id, "!visio status")
        await eventually(lambda: answered(scene, room_id, asked))

    async with scene.call(room_id, "alice", "bob"):
        for more, reason in (
            ({"locked": True}, "locked"),
            ({"lobby": True}, "waiting"),
            ({"max_participants": 2}, "full"),
        ):
            await wished(**more)
            await eventually(lambda r=reason: refused_for(scene, "eve", room_id, r))
            assert await by_sfu_get(scene, "bob", room_id), "who is in it comes back"
            for door in (by_get_token, by_homeserver):
                assert await refused(door, scene, "eve", room_id) == (403, "M_FORBIDDEN")
        await wished(lobby=True)
        await eventually(lambda: refused_for(scene, "eve", room_id, "waiting"))
        await alice.say(room_id, f"!visio admit {scene.person('eve').user_id}")
        await eventually(lambda: refused_for(scene, "eve", room_id, ""))
    said = [e for e in await alice.messages(room_id) if e["sender"] == scene.site.bot]
    notices = [event["content"].get("body", "") for event in said]
    eve = scene.person("eve").user_id
    assert sum(f"!visio admit {eve}" in body for body in notices) == 1


async def answered(scene: Scene, room_id: str, event_id: str) -> bool:
    """Whether the bot has replied to a message."""
    replies = [
        event["content"].get("m.relates_to", {}).get("m.in_reply_to", {}).get("event_id")
        for event in await scene.person("alice").messages(room_id)
        if event["sender"] == scene.site.bot
    ]
    return event_id in replies


@contextmanager
def within_two_seconds(what: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    took = time.monotonic() - begin
    print(f"{what}: {took:.2f} s")
    assert took < 2.0


def heard_by(listener: Caller, identity: str) -> bool:
    other = listener.room.remote_participants.get(identity)
    return other is not None and bool(other.track_publications)


def may_publish(caller: Caller) -> bool:
    return bool(caller.room.local_participant.permissions.can_publish)


async def publish(caller: Caller) -> None:
    track = rtc.LocalAudioTrack.create_audio_track("microphone", rtc.AudioSource(48000, 1))
    await caller.room.local_participant.publish_track(track, rtc.TrackPublishOptions())


async def set_power(person: Person, room_id: str, user_id: str, level: int) -> None:
    levels = await person.state(room_id, "m.room.power_levels")
    users = {**levels.get("users", {}), user_id: level}
    await person.set_state(room_id, "m.room.power_levels", {**levels, "users": users})


async def refused(door, scene: Scene, name: str, room_id: str) -> tuple[int, str]:
    with pytest.raises(MatrixError) as error:
        await door(scene, name, room_id)
    return error.value.status, error.value.errcode


async def refused_for(scene: Scene, name: str, room_id: str, reason: str) -> bool:
    """Whether `/sfu/get` refuses for this reason ('' : does not refuse)."""
    person = scene.person(name)
    body = {
        "room": room_id,
        "openid_token": await person.openid_token(),
        "device_id": person.device_id,
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{scene.service}/sfu/get", json=body) as answer,
    ):
        return str((await answer.json()).get("eu.colloque.reason", "")) == reason


async def test_an_old_token_does_not_bring_back_who_was_removed(scene: Scene) -> None:
    room_id = await scene.room("bob")
    alice, bob = scene.person("alice"), scene.person("bob")
    url, token = await media_token(scene.service, bob, room_id)
    async with scene.call(room_id, "alice", "bob") as (at_home, removed):
        await alice.kick(room_id, bob.user_id)
        await asyncio.wait_for(removed.disconnected.wait(), 5)
        await _stays_out(at_home.room, url, token)


async def _stays_out(seen_from, url: str, token: str) -> None:
    from livekit import rtc

    again = rtc.Room()
    gone = asyncio.Event()
    again.on("disconnected", lambda *_: gone.set())
    try:
        await again.connect(url, token)
    except rtc.ConnectError:
        return
    await asyncio.wait_for(gone.wait(), 5)
    await eventually(lambda: all("bob" not in i for i in seen_from.remote_participants))
