"""Four users of two homeservers, each with its bridge and sfu, in one call of Element Call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.dev.instance import plan_sites
from bridge.dev.ports import free_block
from tests.browsers.element_call import ElementCall
from tests.browsers.media_side import tracks
from tests.browsers.stage import Stage, stage

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.browsers,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]

GONE_S = 25.0
PEOPLE = ("alice", "bob", "carol", "dave")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two_sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """alice and bob here, carol and dave there."""
    var: Path = tmp_path_factory.mktemp("instance")
    async with stage(var, plan_sites(var, free_block(20), 2)) as running:
        yield running


async def everybody_sees_everybody(calls: list[ElementCall]) -> None:
    names = [call.name for call in calls]
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(call.sees(*names))
            group.create_task(call.hears())


@pytest.mark.parametrize("mode", ["compatibility", "matrix_2_0"])
async def test_four_users_at_two_media_servers(two_sites: Stage, mode: str) -> None:
    room_id = await two_sites.room(*PEOPLE)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(two_sites.browser()) for _ in range(2)]
        calls = await stack.enter_async_context(
            two_sites.call(room_id, *PEOPLE, mode=mode, browsers=[one, one, one, other])
        )
        await everybody_sees_everybody(calls)
        for site in two_sites.sites:
            assert len(await tracks(site, room_id)) == 4, "each at their own media server"
        other.kill()
        died = time.monotonic()
        for call in calls[:3]:
            await call.sees_exactly("alice", "bob", "carol")
        print(f"{mode}: a killed browser is gone after {time.monotonic() - died:.1f} s")
        assert time.monotonic() - died < GONE_S
