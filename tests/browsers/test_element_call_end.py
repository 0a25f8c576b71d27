"""What users of Element Call see when the call is ended for all by command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.dev.layout import SitePlan
from bridge.dev.ports import free_block
from tests.browsers.element_call import ElementCall
from tests.browsers.stage import Stage, stage

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.browsers,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

SAYS = "You were disconnected from the call."
END_S = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """alice, bob and carol at a homeserver with its bridge."""
    var: Path = tmp_path_factory.mktemp("instance")
    people = ("alice", "bob", "carol")
    plan = SitePlan(name="a", folder=var / "site-a", first_port=free_block(10), people=people)
    async with stage(var, [plan]) as running:
        yield running


async def test_members_are_told_and_may_come_back(one_site: Stage) -> None:
    room_id = await one_site.room("alice", "bob", "carol")
    async with one_site.call(room_id, "bob", "carol") as calls:
        for call in calls:
            await call.sees("bob", "carol")
        first = await one_site.card(room_id, lambda seen: "bob, carol" in seen.card_body)
        await one_site.person("alice").say(room_id, "!visio end")
        for call in calls:
            await call.until(lambda call=call: says(call, SAYS), END_S)
            await call.until(lambda call=call: nobody(call), END_S)
        ended = await one_site.card(room_id, lambda seen: seen.card_phase == "ended")
        assert ended.card == first.card
        assert "bob, carol (2 people" in ended.card_body


async def says(call: ElementCall, sentence: str) -> bool:
    """Whether this stands on the screen."""
    return sentence in str(await call.frame.evaluate("document.body.innerText"))


async def nobody(call: ElementCall) -> bool:
    return not await call.members()
