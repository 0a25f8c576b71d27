"""Correcting, deleting, naming voices: by replies, as an unmodified client sends them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.matrix import wire
from bridge.rooms import news
from tests.support.rooms_world import ALICE, BOB, EVE, ROOM, World
from tests.support.words import Timeline, call, ended, holding_words


def reply(event_id: str, **more: Any) -> dict[str, Any]:
    """As Element replies inside a thread."""
    return {
        wire.RELATES_TO: {
            "rel_type": "m.thread",
            "event_id": "$root",
            "is_falling_back": False,
            "m.in_reply_to": {"event_id": event_id},
        },
        **more,
    }


async def text_of(world: World, segment: str) -> str:
    said = await world.stores.utterances.of_conference("conf-0")
    return next(one.text for one in said if one.segment == segment)


async def ask(room: Timeline, sender: str, body: str, target: str = "") -> str:
    """The bot's answer to a command."""
    before = len(room.events)
    await room.world.say(sender, body, **(reply(target) if target else {}))
    await room.send()
    answers = [
        content.get("body", "")
        for content in list(room.events.values())[before:]
        if wire.UTTERANCE not in content and "m.new_content" not in content
    ]
    return answers[-1] if answers else ""


async def one_utterance(world: World, text: str = "a mist ache of mine", **more: Any) -> Timeline:
    room = await call(world)
    await world.segment("s1", ALICE, text, **more)
    await room.send()
    return room


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("!visio correct a mistake of mine", "a mistake of mine"),
        ("!visio corriger a mistake\nof mine", "a mistake of mine"),
        ("s/mist ache/mistake/", "a mistake of mine"),
        ("!visio correct s/mist ache/mistake/", "a mistake of mine"),
        ("> <@visio:a> Alice : a mist\n\ns/mist ache/mistake", "a mistake of mine"),
    ],
)
async def test_a_reply_corrects(world: World, typed: str, text: str) -> None:
    room = await one_utterance(world, words=[["a", 0, 10], ["mist", 10, 20], ["ache", 20, 40]])
    original = room.of("ache")
    answer = await ask(room, ALICE, typed, original)
    assert answer in {
        "Corrected. The documents of the call are made again.",
        "Corrigé. Les documents de l’appel sont refaits.",
    }
    assert await text_of(world, "s1") == text
    edit = next(c for c in room.events.values() if "m.new_content" in c and wire.UTTERANCE in c)
    assert edit[wire.RELATES_TO] == {"rel_type": "m.replace", "event_id": original}
    told = edit["m.new_content"][wire.UTTERANCE]
    assert (told["text"], told["rev"], told["editor"]) == (text, 1, ALICE)
    kept = (await world.stores.utterances.of_conference("conf-0"))[0]
    assert (kept.editor, kept.words[1][:1], kept.event_id) == (ALICE, ("mistake",), original)


async def test_a_link_to_the_message_serves_as_well(world: World) -> None:
    room = await one_utterance(world)
    link = f"https://matrix.to/#/!room:a.example/{room.of('ache')}?via=a.example"
    await ask(room, ALICE, f"!visio correct {link} entirely new")
    assert await text_of(world, "s1") == "entirely new"


async def test_the_documents_are_made_again(world: World) -> None:
    room = await one_utterance(world)
    await ended(world)
    await room.send()
    await ask(room, ALICE, "s/mist ache/mistake/", room.of("ache"))
    world.now_ms += 11_000
    await world.give(news.due(ROOM, "conf-0", world.now_ms))
    await room.send()
    newest = [c for c in room.events.values() if wire.TRANSCRIPT in c][-1]
    assert newest[wire.TRANSCRIPT]["rev"] == 2
    (said,) = json.loads(newest["blob"])["utterances"]
    assert (said["text"], said["editor"]) == ("a mistake of mine", ALICE)


async def test_one_message_of_several_utterances(world: World) -> None:
    room = await call(world)
    for number, text in enumerate(["we meat", "on monday", "at tree"]):
        await world.segment(f"s{number}", ALICE, text, at=number * 600)
    await room.send(gather=True)
    await ask(room, ALICE, "!visio correct we meet on monday at three", room.of("meat"))
    assert [await text_of(world, f"s{n}") for n in range(3)] == [
        "we meet",
        "on monday",
        "at three",
    ]
    edit = next(c for c in room.events.values() if "m.new_content" in c and wire.UTTERANCE in c)
    told = edit["m.new_content"][wire.UTTERANCE]
    assert (told["text"], told["rev"]) == ("we meet on monday at three", 2)
    assert [part["rev"] for part in told["segments"]] == [1, 0, 1]
    # What was not corrected may still be said better by a machine.
    await world.segment("s1", ALICE, "on Monday", at=600, rev=9, **{"pass": "final"})
    assert await text_of(world, "s1") == "on Monday"
    await room.send()
    assert [c.get("body") for c in room.events.values()][-1] == (
        "* Alice : we meet on Monday at three"
    )


async def test_who_may_correct(world: World) -> None:
    """The speaker, who started the call (Alice), a moderator. Nobody else."""
    room = await one_utterance(world)
    refused = await ask(room, BOB, "!visio correct nonsense", room.of("ache"))
    assert refused.startswith("Only Alice, the person who started the call, or a moderator")
    assert await text_of(world, "s1") == "a mist ache of mine"
    world.homeserver.levels = {"users": {BOB: 50}}
    await world.give(world.event(wire.POWER_LEVELS, ALICE, {"users": {BOB: 50, ALICE: 100}}, ""))
    assert (await ask(room, BOB, "!visio correct sense", room.of("ache"))).startswith("Corrected")
    assert await text_of(world, "s1") == "sense"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("s/nowhere/x/", "“nowhere” is not in that message."),
        ("s/the/x/", "“the” is in that message 3 times."),
        ("!visio correct", "To correct what was written down, reply"),
        ("s/the other and the one//", "To correct what was written down, reply"),
    ],
)
async def test_what_is_not_clear_is_said(world: World, typed: str, answer: str) -> None:
    room = await one_utterance(world, "the other and the one")
    assert (await ask(room, ALICE, typed, room.of("other"))).startswith(answer)
    assert await text_of(world, "s1") == "the other and the one"


async def test_every_one_of_them(world: World) -> None:
    room = await one_utterance(world, "the other and the one")
    await ask(room, ALICE, "s/the/an/g", room.of("other"))
    assert await text_of(world, "s1") == "an oanr and an one"


@pytest.mark.parametrize(
    ("verb", "alone", "elsewhere"),
    [
        ("correct x", "To correct", "That is no utterance"),
        ("delete", "To delete", "That is no utterance"),
        ("voice is Anne", "Reply to something", "That is no utterance"),
    ],
)
async def test_a_wrong_target(world: World, verb: str, alone: str, elsewhere: str) -> None:
    room = await one_utterance(world)
    assert (await ask(room, ALICE, f"!visio {verb}")).startswith(alone)
    assert (await ask(room, ALICE, f"!visio {verb}", "$people")).startswith(elsewhere)
    # The card is a message of the bot's, and no utterance.
    assert (await ask(room, ALICE, f"!visio {verb}", "$e1")).startswith(elsewhere)


async def test_people_may_write_so_among_themselves(world: World) -> None:
    room = await one_utterance(world)
    assert await ask(room, ALICE, "s/a/b/", "$people") == ""
    assert await ask(room, ALICE, "s/a/b/") == ""


async def test_another_sites_message_is_its_own_bridges(world: World) -> None:
    room = await one_utterance(world)
    await world.give(world.member("@visio:b", "join", "@visio:b"))
    world.homeserver.senders["$theirs"] = "@visio:b"
    assert await ask(room, ALICE, "!visio correct x", "$theirs") == ""
    # And ours is ours, whoever asks: Bob's own bridge is another one.
    assert (await ask(room, BOB, "!visio delete", room.of("ache"))).startswith("Only Alice")


async def test_delete_by_the_speaker_and_by_who_may_redact(world: World) -> None:
    room = await one_utterance(world, "a secret of mine")
    await world.segment("s2", BOB, "a secret of his", at=9000)
    await room.send()
    assert (await ask(room, BOB, "!visio supprimer", room.of("of mine"))).startswith(
        "Seul(e) Alice"
    )
    assert "Deleted" in await ask(room, ALICE, "!visio delete", room.of("of mine"))
    assert await text_of(world, "s1") == ""
    await world.give(world.event(wire.POWER_LEVELS, ALICE, {"users": {ALICE: 50}}, ""))
    assert "Deleted" in await ask(room, ALICE, "!visio delete", room.of("of his"))
    assert room.showing("secret") == []
    assert await holding_words(world.stores, "secret") == []


async def test_a_stranger_is_refused(world: World) -> None:
    room = await one_utterance(world)
    assert "evil.example" in await ask(room, EVE, "!visio delete", room.of("ache"))
    assert await text_of(world, "s1") == "a mist ache of mine"


# ---- voices


async def voices(world: World) -> Timeline:
    room = await call(world)
    for number, voice in enumerate(["V1", "V2", "V1"]):
        await world.segment(f"s{number}", ALICE, f"words {number}", at=number * 9000, voice=voice)
    await room.send()
    return room


@pytest.mark.parametrize(
    ("typed", "target"),
    [
        ("!visio voice V1 is Anne Martin", ""),
        ("!visio voix 1 est Anne Martin", ""),
        ("!visio voix v1 Anne Martin", ""),
        ("!visio voice is Anne Martin", "words 2"),
        ("!visio voice Anne Martin", "words 2"),
        ("!visio voice V1 = Anne Martin", "words 0"),
    ],
)
async def test_a_voice_gets_a_name(world: World, typed: str, target: str) -> None:
    room = await voices(world)
    answer = await ask(room, BOB, typed, room.of(target) if target else "")
    assert answer.startswith("V1 ")
    edits = [c for c in room.events.values() if "m.new_content" in c and wire.UTTERANCE in c]
    assert [c["m.new_content"]["body"] for c in edits] == [
        "Anne Martin (Alice) : words 0",
        "Anne Martin (Alice) : words 2",
    ]
    await world.segment("s9", ALICE, "more", at=60_000, voice="V1")
    await world.segment("s8", ALICE, "others", at=70_000, voice="V2")
    await room.send()
    bodies = [content.get("body") for content in room.events.values()]
    assert "Anne Martin (Alice) : more" in bodies
    assert "Alice \N{EN DASH} voice 2 : others" in bodies
    await ended(world)
    await room.send()
    papers = [c["blob"] for c in room.events.values() if wire.TRANSCRIPT in c]
    assert b"Anne Martin (Alice)" in papers[0]


async def test_a_voice_is_a_member(world: World) -> None:
    room = await voices(world)
    assert "V1 is Bob" in await ask(room, BOB, f"!visio voice V1 is {BOB}")


async def test_a_voice_that_is_not_clear(world: World) -> None:
    room = await voices(world)
    await world.segment("s7", ALICE, "alone", at=90_000)
    await room.send()
    assert "has no voice V3" in await ask(room, BOB, "!visio voice V3 is Anne")
    none = await ask(room, BOB, "!visio voice is Anne", room.of("alone"))
    assert none.startswith("That was not said at a microphone with several voices")
    assert (await ask(room, BOB, "!visio voice V1")).startswith("Reply to something")
    await world.segment("s6", BOB, "another room", at=95_000, voice="V1")
    assert "Several microphones" in await ask(room, BOB, "!visio voice V1 is Anne")
    await world.give(world.member("@visio:b", "join", "@visio:b"))
    assert await ask(room, ALICE, "!visio voice V3 is Anne") == "", "it may be the other site's"


async def test_who_was_not_there_names_nobody(world: World) -> None:
    room = await voices(world)
    refused = await ask(room, "@carol:a", "!visio voice V1 is Anne")
    assert refused.startswith("Only somebody who was in the call")


# ---- one's own words


async def test_my_words(world: World) -> None:
    room = await one_utterance(world, "a secret of mine")
    await world.segment("s2", BOB, "something else", at=9000)
    assert (await ask(room, BOB, "!visio my-words")).startswith("Type !visio my-words export")
    assert await ask(room, "@carol:a", "!visio my-words export") == (
        "I have nothing written down of you in this room."
    )
    await ask(room, ALICE, "!visio mes-paroles export")
    export = next(c for c in room.events.values() if c["blob"] and wire.TRANSCRIPT not in c)
    assert [u["text"] for u in json.loads(export["blob"])["utterances"]] == ["a secret of mine"]
    assert (await ask(room, ALICE, "!visio my-words delete")).startswith("Deleted: 1 ")
    assert room.showing("secret") == [], "the export is taken back, too"
    assert await holding_words(world.stores, "secret") == []
    assert await text_of(world, "s2") == "something else"
    assert (await ask(room, ALICE, "!visio mes paroles effacer")).startswith("Je n’ai rien")
