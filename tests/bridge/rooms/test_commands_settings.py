"""Commands that change what the room wants: each writes the wish."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.rooms_world import ALICE, BOB, World, state_event


async def wished(world: World) -> dict[str, Any]:
    """The wish as last written."""
    rows = [row for row in await world.rows() if row["type"] == "eu.colloque.conference"]
    return dict(rows[-1]["content"]) if rows else {}


@pytest.mark.parametrize(
    ("typed", "field", "value", "answer"),
    [
        ("captions on", "captions", True, "The captions are on"),
        ("Sous-Titres non", "captions", False, "Les sous-titres sont désactivés."),
        ("sous titres oui", "captions", True, "Les sous-titres sont activés"),
        ("lobby on", "lobby", True, "The lobby is on"),
        ("salle d’attente on", "lobby", True, "La salle d’attente est activée"),
        ("salle d'attente off", "lobby", False, "La salle d’attente est désactivée"),
        ("lock", "locked", True, "The call is locked"),
        ("VERROUILLER", "locked", True, "L’appel est verrouillé"),
        ("unlock", "locked", False, "The call is open again"),
        ("déverrouiller", "locked", False, "L’appel est de nouveau ouvert"),
        ("publish moderators", "publish", "moderators", "Only moderators of this room"),
        ("publish everyone", "publish", "everyone", "Everyone may speak"),
        ("parole Modérateurs", "publish", "moderators", "Seuls les modérateurs du salon"),
        ("parole tous", "publish", "everyone", "Tous peuvent parler"),
        ("max 20", "max_participants", 20, "At most 20 people at once"),
        ("maximum 2", "max_participants", 2, "Au plus 2 personnes à la fois"),
        ("language fr", "language", "fr", "J’écris désormais en français"),
        ("langue anglais", "language", "en", "From now on I write English"),
        ("language spoken en-GB", "spoken_language", "en-GB", "I now listen for"),
        ("langue parlée français", "spoken_language", "fr", "J’écoute maintenant la langue fr"),
    ],
)
async def test_a_setting(world: World, typed: str, field: str, value: object, answer: str) -> None:
    await world.say(ALICE, f"!visio {typed}")
    assert await wished(world) == {"version": 1, field: value}
    assert (await world.bodies())[0].startswith(answer)


@pytest.mark.parametrize(
    ("typed", "answers"),
    [
        ("captions", ["Captions: off."]),
        ("captions perhaps", ["Captions: off.", "Type !visio captions on"]),
        ("sous-titres bof", ["Sous-titres : désactivé.", "Tapez !visio sous-titres on"]),
        ("lobby", ["Lobby: off."]),
        ("publish", ["Publish: everyone.", "Type !visio publish everyone, or"]),
        ("parole Bob", ["Parole : tous.", "Tapez !visio parole tous, ou"]),
        ("max", ["Max: none.", "Type !visio max and a number"]),
        ("maximum 1", ["Maximum : aucun.", "Tapez !visio maximum et un nombre"]),
        ("max -5", ["Max: none.", "Type !visio max and a number"]),
        ("max 9999999", ["Max: none.", "Type !visio max and a number"]),
        ("language", ["My language: en. Spoken language: en.", "Type !visio language en or"]),
        ("langue tlh", ["Ma langue : en. Langue parlée : en.", "Tapez !visio langue fr"]),
        ("language spoken", ["Type !visio language en or"]),
        ("language spoken ???", ["Type !visio language en or"]),
    ],
)
async def test_how_it_is_and_how_to_change_it(world: World, typed: str, answers: list[str]) -> None:
    await world.say(ALICE, f"!visio {typed}")
    bodies = await world.bodies()
    assert [body[: len(answer)] for body, answer in zip(bodies, answers, strict=True)] == answers
    assert await wished(world) == {}


@pytest.mark.parametrize(
    "typed",
    [
        "captions on",
        "lobby on",
        "lock",
        "unlock",
        "language fr",
        "language spoken fr",
        "publish moderators",
        "max 5",
    ],
)
async def test_who_may_not_write_the_wish_changes_nothing(world: World, typed: str) -> None:
    await world.say(BOB, f"!visio {typed}")
    assert (await world.bodies())[0].startswith("Only a moderator of the room")
    assert await wished(world) == {}
    # In their own call they may.
    await world.say(BOB, "!visio start")
    await world.say(BOB, f"!visio {typed}")
    assert len(await wished(world)) == 3


async def test_a_limit_is_lifted_by_leaving_the_field_out(world: World) -> None:
    await world.say(ALICE, "!visio max 5")
    await world.say(ALICE, "!visio max")
    await world.say(ALICE, "!visio publish moderators")
    await world.say(ALICE, "!visio publish ?")
    await world.say(ALICE, "!visio maximum aucun")
    assert await wished(world) == {"version": 1, "publish": "moderators"}
    bodies = await world.bodies()
    assert bodies[1] == "Max: 5 people at once."
    assert bodies[4] == "Publish: moderators."
    assert bodies[-1] == "Le nombre de personnes n’est plus limité."


async def test_captions_in_an_encrypted_room(world: World) -> None:
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    world.homeserver.more_state = [state_event("m.room.encryption", encryption)]
    await world.say(ALICE, "!visio captions on")
    assert (await world.bodies())[0].startswith(
        "This room is encrypted, and so is the sound of its calls: I show no"
    )
    await world.say(ALICE, "!visio captions off")
    assert await wished(world) == {"version": 1, "captions": False}


async def test_the_running_call_follows(world: World) -> None:
    await world.say(ALICE, "!visio start")
    await world.say(ALICE, "!visio captions on")
    await world.say(ALICE, "!visio langue parlée de-DE")
    (conference,) = await world.conferences()
    assert (conference.captions, conference.spoken_language) == (True, "de-DE")
