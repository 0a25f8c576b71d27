"""Two users of one homeserver call each other with Element Call as it is shipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.dev.layout import SitePlan
from bridge.dev.ports import free_block
from tests.browsers.element_call import BOT, ElementCall
from tests.browsers.stage import Stage, stage

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """alice and bob at a homeserver with its bridge."""
    var: Path = tmp_path_factory.mktemp("instance")
    plan = SitePlan(
        name="a", folder=var / "site-a", first_port=free_block(10), people=("alice", "bob")
    )
    async with stage(var, [plan]) as running:
        yield running


async def the_scribe_is_shown(call: ElementCall) -> bool:
    tile = (await call.tiles()).get(BOT)
    return tile is not None and not (tile.waiting or tile.shown)


async def test_two_users_see_and_hear_each_other(one_site: Stage) -> None:
    room_id = await one_site.room("alice", "bob")
    async with one_site.call(room_id, "alice", "bob") as (alice, bob):
        for one in (alice, bob):
            await one.sees("alice", "bob")
            await one.hears()
        assert await alice.members() == sorted(one.person.user_id for one in (alice, bob))
        await alice.until(lambda: the_scribe_is_shown(alice))
        timeline = await one_site.card(room_id, lambda seen: "alice, bob" in seen.card_body)
        assert timeline.card_phase == "running"
        await bob.leave()
        await alice.sees_exactly("alice")
        assert await alice.members() == [alice.person.user_id]
        left = await one_site.card(room_id, lambda seen: "bob" not in seen.card_body)
        assert (left.card, left.card_phase) == (timeline.card, "running")
