"""Three users of two homeservers call at one sfu with Element Call as it is shipped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from livekit.protocol import models

from bridge.dev.layout import SitePlan
from bridge.dev.ports import free_block
from tests.browsers.element_call import ElementCall
from tests.browsers.media_side import participants, tracks
from tests.browsers.stage import Stage, stage

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.browsers,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

GONE_S = 25.0
Mode = pytest.mark.parametrize("mode", ["compatibility", "matrix_2_0"])
Rooms = pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two_homeservers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """alice and bob at a homeserver with its bridge; carol at one that has none and names it."""
    var: Path = tmp_path_factory.mktemp("instance")
    first = free_block(20)
    name = f"localhost:{first + 11}"
    here = SitePlan(
        name="a",
        folder=var / "a",
        first_port=first,
        people=("alice", "bob"),
        client_apis=(f"{name}=https://{name}",),
    )
    there = SitePlan(
        name="b",
        folder=var / "b",
        first_port=first + 10,
        people=("carol",),
        bridge=False,
        service=here.page,
    )
    assert there.server_name == name
    async with stage(var, [here, there]) as running:
        yield running


async def everybody_sees_everybody(calls: list[ElementCall]) -> None:
    names = [call.name for call in calls]
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(call.sees(*names))
            group.create_task(call.hears())


async def check_encryption(stage: Stage, room_id: str, count: int, encrypted: bool) -> None:
    kind = models.Encryption.GCM if encrypted else models.Encryption.NONE
    assert [one.encryption for one in await tracks(stage.sites[0], room_id)] == [kind] * count


@Mode
@Rooms
async def test_three_users_of_two_homeservers(
    two_homeservers: Stage, mode: str, encrypted: bool
) -> None:
    here = two_homeservers
    room_id = await here.room("alice", "bob", "carol", encrypted=encrypted)
    async with AsyncExitStack() as stack:
        local, remote = [await stack.enter_async_context(here.browser()) for _ in range(2)]
        people = ("alice", "bob", "carol")
        calls = await stack.enter_async_context(
            here.call(room_id, *people, mode=mode, browsers=[local, local, remote])
        )
        alice, bob, carol = calls
        await everybody_sees_everybody(calls)
        await check_encryption(here, room_id, 6, encrypted)
        assert not any(tile.unencrypted for tile in (await alice.tiles()).values())

        await carol.press_microphone()
        await bob.press_camera()
        await alice.until(lambda: muted(alice, "carol"))
        await alice.until(lambda: hidden(alice, "bob"))
        await carol.press_microphone()
        await bob.press_camera()
        await alice.until(lambda: audible(alice, "carol"))
        await carol.sees("bob")

        await bob.leave()
        for one in (alice, carol):
            await one.sees_exactly("alice", "carol")
        await here.show(bob, room_id, mode)
        await bob.join()
        await everybody_sees_everybody(calls)
        await check_encryption(here, room_id, 6, encrypted)

        remote.kill()
        died = time.monotonic()
        for one in (alice, bob):
            await one.sees_exactly("alice", "bob")
        print(f"{mode}: a killed browser is gone after {time.monotonic() - died:.1f} s")
        assert time.monotonic() - died < GONE_S
        connected = {one.name for one in await participants(here.sites[0], room_id)}
        assert connected >= {"alice", "bob"}
        assert "carol" not in connected


async def test_a_shared_screen(two_homeservers: Stage) -> None:
    room_id = await two_homeservers.room("alice", "carol")
    async with two_homeservers.call(room_id, "alice", "carol") as (alice, carol):
        await everybody_sees_everybody([alice, carol])
        before = await carol.pictures()
        await alice.press_screen()
        await carol.until(lambda: another_picture(carol, set(before)))
        sources = {one.source for one in await tracks(two_homeservers.sites[0], room_id)}
        assert models.TrackSource.SCREEN_SHARE in sources
        await alice.press_screen()
        await carol.until(lambda: no_screen(two_homeservers, room_id))


async def another_picture(call: ElementCall, before: set[str]) -> bool:
    """Whether a stream plays that did not: the screen; a still one has few frames."""
    pictures = await call.pictures()
    return any(frames >= 2 for name, frames in pictures.items() if name not in before)


async def no_screen(stage: Stage, room_id: str) -> bool:
    sources = {one.source for one in await tracks(stage.sites[0], room_id)}
    return models.TrackSource.SCREEN_SHARE not in sources


async def muted(call: ElementCall, name: str) -> bool:
    return (await call.tiles())[name].muted


async def audible(call: ElementCall, name: str) -> bool:
    return not await muted(call, name)


async def hidden(call: ElementCall, name: str) -> bool:
    return not (await call.tiles())[name].shown
