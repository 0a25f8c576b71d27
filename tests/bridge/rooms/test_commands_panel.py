"""`!visio panel`: the captions beside the call, as an address and as a widget in the room."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.support.rooms_world import ALICE, BOB, BOT, World

LINK = "https://visio.a/captions#/room/%21room"


async def widgets(world: World) -> list[dict[str, Any]]:
    """Contents of the widget's state event, in the order they were written."""
    rows = [row for row in await world.rows() if row["type"] == "im.vector.modular.widgets"]
    assert {(row["kind"], row["state_key"]) for row in rows} <= {("state", "eu.colloque.captions")}
    return [row["content"] for row in rows]


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("panel", "Captions beside the call, for members of this room: "),
        ("panneau", "Les sous-titres à côté de l’appel, pour les membres de ce salon : "),
    ],
)
async def test_everybody_is_told_where_it_is(world: World, typed: str, answer: str) -> None:
    await world.say(BOB, f"!visio {typed}")
    assert (await world.bodies())[0] == answer + LINK
    assert await widgets(world) == []


async def test_who_may_puts_it_into_the_room_and_takes_it_out(world: World) -> None:
    await world.say(ALICE, "!visio panel on")
    (content,) = await widgets(world)
    assert content == {
        "id": "eu.colloque.captions",
        "type": "m.custom",
        "name": "Captions",
        "url": (
            "https://visio.a/captions#/room/$matrix_room_id"
            "?theme=$org.matrix.msc2873.client_theme&lang=$org.matrix.msc2873.client_language"
        ),
        "data": {"title": "Captions"},
        "creatorUserId": BOT,
        "waitForIframeLoad": True,
    }
    await world.say(ALICE, "!visio panneau non")
    assert (await widgets(world))[1:] == [{}]
    bodies = await world.bodies()
    assert bodies[0].startswith("The captions panel is in this room")
    assert bodies[1] == "Le panneau de sous-titres n’est plus dans ce salon."


async def test_who_lacks_the_power_is_told_which(world: World) -> None:
    await world.say(BOB, "!visio panel on")
    assert (await world.bodies())[0].startswith("Only who has power level 50")
    await world.say(BOB, "!visio start")  # starting a call gives nobody the room
    await world.say(BOB, "!visio panel on")
    assert await widgets(world) == []


async def test_the_bot_says_which_power_it_lacks(world: World) -> None:
    world.homeserver.levels = {
        "users": {ALICE: 100, BOT: 50},
        "events": {"im.vector.modular.widgets": 75},
    }
    await world.say(ALICE, "!visio panneau oui")
    said = (await world.bodies())[0]
    assert "niveau de pouvoir 75" in said
    assert "im.vector.modular.widgets" in said
    assert await widgets(world) == []


async def test_where_captions_are_not_shown_beside_calls_there_is_no_panel(world: World) -> None:
    world.house = dataclasses.replace(world.house, captions="off")
    world.conductor._house = world.house
    await world.say(ALICE, "!visio panel on")
    assert (await world.bodies())[0].startswith("This service shows no captions beside the calls")
    assert await widgets(world) == []
    await world.say(ALICE, "!visio captions on")
    await world.say(ALICE, "!visio start")
    assert LINK not in str(await world.rows())


async def test_the_card_of_a_call_with_captions_names_the_page(world: World) -> None:
    await world.say(ALICE, "!visio start")
    assert LINK not in str(await world.rows())
    await world.say(ALICE, "!visio captions on")
    card = [row for row in await world.rows() if LINK in str(row["content"])][-1]["content"]
    assert f"Captions beside the call: {LINK}" in card["body"]
    assert f'<a href="{LINK}">Captions beside the call</a>' in str(card)
