"""Microphones that several people share, by command."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bridge.domain.wish import MOST_SHARED
from tests.support.rooms_world import ALICE, BOB, World


async def marked(world: World) -> list[Any]:
    rows = [row for row in await world.rows() if row["type"] == "eu.colloque.conference"]
    return [row["content"].get("shared_microphones") for row in rows]


@pytest.mark.parametrize(
    "typed", [f"room-mic {BOB} on", f"Room Mic {BOB} yes", f"micro partagé {BOB} oui"]
)
async def test_a_moderator_marks_a_microphone(world: World, typed: str) -> None:
    await world.say(ALICE, f"!visio {typed}")
    assert await marked(world) == [[BOB]]
    about, without = await world.bodies()
    assert "voi" in about
    assert "diarization.model_dir" in without


async def test_where_voices_are_told_apart_nothing_is_missing(world: World) -> None:
    world.conductor._house = dataclasses.replace(world.house, voices=True)
    await world.say(ALICE, f"!visio room-mic {BOB} on")
    assert len(await world.bodies()) == 1


@pytest.mark.parametrize("typed", ["room-mic on", "room-mic me on", "micro partagé moi oui"])
async def test_anybody_says_it_of_themselves(world: World, typed: str) -> None:
    await world.say(BOB, f"!visio {typed}")
    assert await marked(world) == [[BOB]]


async def test_nobody_says_it_of_others_without_the_right_to(world: World) -> None:
    await world.say(BOB, f"!visio room-mic {ALICE} on")
    assert await marked(world) == []
    assert (await world.bodies())[0].startswith("Only a moderator")


async def test_it_is_taken_back(world: World) -> None:
    await world.say(ALICE, "!visio room-mic on")
    await world.say(ALICE, f"!visio room-mic {BOB} on")
    await world.say(ALICE, "!visio room-mic")
    await world.say(ALICE, "!visio room-mic off")
    await world.say(ALICE, f"!visio micro partagé {BOB} non")
    assert await marked(world) == [[ALICE], [ALICE, BOB], [BOB], None]
    bodies = await world.bodies()
    assert any(body.startswith("Shared microphones: ") for body in bodies)


async def test_how_it_is_said(world: World) -> None:
    await world.say(ALICE, "!visio room-mic perhaps")
    assert (await world.bodies())[:2] == [
        "No microphone is marked as shared.",
        "Type !visio room-mic @name on where several people share that person’s microphone, "
        "!visio room-mic @name off where not; without a name it is your own.",
    ]


async def test_there_is_an_end_to_it(world: World) -> None:
    many = [f"@room{number}:a" for number in range(MOST_SHARED)]
    await world.give(world.wish({"shared_microphones": many}))
    await world.say(ALICE, "!visio room-mic on")
    assert await marked(world) == []
    assert (await world.bodies())[-1].startswith("So many microphones")
