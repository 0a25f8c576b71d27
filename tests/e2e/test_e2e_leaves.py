"""A client that crashes is out of the call for everybody else, though it cannot say so."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from urllib.parse import quote

import pytest

from bridge.dev.person import MatrixError, Person, call
from tests.e2e.scene import Scene, eventually
from tests.support.caller_process import Doomed

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

CALL_MEMBER = "org.matrix.msc3401.call.member"
RTC = "/_matrix/client/unstable/io.element.msc4195/rtc/livekit"
SLOT = "m.call#ROOM"
HOUR_MS = 3_600_000


async def call_room(scene: Scene, *names: str) -> str:
    """A room where everybody may say that they are in the call."""
    alice, bot = scene.person("alice"), scene.site.bot
    guests = [scene.person(name) for name in names]
    room_id = await alice.create_room(
        "Calls", invite=[bot, *(g.user_id for g in guests)], events={CALL_MEMBER: 0}
    )
    for guest in guests:
        await guest.join(room_id)
    return room_id


async def enter(person: Person, room_id: str, service: str) -> str:
    """Schedule the leave, then say that one is in the call. Returns the leave's delay id."""
    key = f"_{person.user_id}_{person.device_id}_m.call"
    path = f"/_matrix/client/v3/rooms/{quote(room_id)}/state/{CALL_MEMBER}/{quote(key)}"
    delayed = await person.request(
        "PUT", path, {}, params={"org.matrix.msc4140.delay": str(HOUR_MS)}
    )
    focus = {"type": "livekit", "livekit_service_url": service, "livekit_alias": room_id}
    membership = {
        "application": "m.call",
        "call_id": "",
        "scope": "m.room",
        "device_id": person.device_id,
        "expires": 4 * HOUR_MS,
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [focus],
    }
    await person.set_state(room_id, CALL_MEMBER, membership, key)
    return str(delayed["delay_id"])


async def is_out(seen_by: Person, person: Person, room_id: str) -> bool:
    key = f"_{person.user_id}_{person.device_id}_m.call"
    return await seen_by.state(room_id, CALL_MEMBER, key) == {}


async def test_who_only_tries_learns_that_leaves_are_taken_over(scene: Scene) -> None:
    # Element Call's two questions: the homeserver's route without a token, and ours with nothing.
    with pytest.raises(MatrixError) as ours:
        await call("POST", f"{scene.service}/delegate_delayed_leave")
    assert ours.value.status == 400
    with pytest.raises(MatrixError) as theirs:
        await call("POST", f"{scene.person('bob').homeserver}{RTC}/delegate_delayed_leave")
    assert theirs.value.status == 401


async def test_a_crashed_client_is_out_of_the_call_within_25_seconds(scene: Scene) -> None:
    room_id = await call_room(scene, "bob", "eve")
    alice, bob, eve = (scene.person(name) for name in ("alice", "bob", "eve"))
    doomed = [
        await joined_by_sfu_get(scene, bob, room_id),
        await joined_by_homeserver(eve, room_id),
    ]
    began = time.monotonic()
    for client in doomed:
        await client.kill()
    before = scene.site.bridge.pid
    os.kill(before, signal.SIGKILL)  # and the bridge with them: what it took over it finds again
    await eventually(lambda: scene.site.bridge.pid not in {None, before})
    for person in (bob, eve):
        async with asyncio.timeout(40):
            while not await is_out(alice, person, room_id):  # noqa: ASYNC110 -- a homeserver
                await asyncio.sleep(0.1)
        took = time.monotonic() - began
        print(f"{person.user_id} was out of the call after {took:.1f} s")
        assert took < 25


async def joined_by_sfu_get(scene: Scene, person: Person, room_id: str) -> Doomed:
    """As Element Call does it in its compatible mode."""
    body = {
        "room": room_id,
        "openid_token": await person.openid_token(),
        "device_id": person.device_id,
        "delay_id": await enter(person, room_id, scene.service),
        "delay_timeout": HOUR_MS,
        "delay_cs_api_url": "https://attacker.invalid",
    }
    answer = await call("POST", f"{scene.service}/sfu/get", body=body)
    return await Doomed.join(answer["url"], answer["jwt"])


async def joined_by_homeserver(person: Person, room_id: str) -> Doomed:
    """As matrix-js-sdk 43 does it: everything through the homeserver."""
    body = {
        "room_id": room_id,
        "slot_id": SLOT,
        "member": {"id": "member-1", "claimed_device_id": person.device_id},
    }
    answer = await person.request("POST", f"{RTC}/get_token", body)
    client = await Doomed.join(answer["url"], answer["jwt"])
    delay_id = await enter(person, room_id, "https://x")
    path = f"{RTC}/delegate_delayed_leave"
    assert await person.request("POST", path, {**body, "delay_id": delay_id}) == {}
    return client
