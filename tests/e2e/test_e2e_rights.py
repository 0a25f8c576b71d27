"""Who is in the room is in the call, and nobody else; losing the room ends the media."""

from __future__ import annotations

import asyncio
import time

import pytest

from bridge.dev.caller import media_token
from bridge.dev.person import MatrixError, call
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


@pytest.mark.parametrize("verb", ["kick", "ban"])
async def test_losing_the_room_ends_the_media_within_two_seconds(scene: Scene, verb: str) -> None:
    room_id = await scene.room("bob")
    alice, bob = scene.person("alice"), scene.person("bob")
    async with scene.call(room_id, "alice", "bob") as (at_home, removed):
        begin = time.monotonic()
        await (alice.kick if verb == "kick" else alice.ban)(room_id, bob.user_id)
        await asyncio.wait_for(removed.disconnected.wait(), 5)
        assert time.monotonic() - begin < 2.0
        assert not at_home.disconnected.is_set()


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
