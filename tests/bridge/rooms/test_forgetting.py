"""Deleted words are nowhere: messages, edits, documents, what waits, the store."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import Transcripts
from bridge.matrix import wire
from bridge.rooms import news
from tests.support.rooms_world import ALICE, BOB, ROOM, World
from tests.support.words import call, ended, holding_words

FORMS = len(Transcripts().documents)


async def documents_again(world: World) -> None:
    world.now_ms += 11_000
    await world.give(news.due(ROOM, "conf-0", world.now_ms))


def redaction(world: World, event_id: str, sender: str = ALICE) -> Any:
    return world.event(wire.REDACTION, sender, {"redacts": event_id})


async def test_a_redacted_utterance_is_nowhere(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "first words")
    await world.segment("s2", ALICE, "my secret", at=10_000, words=[["secret", 1, 2]])
    await world.segment("s2", ALICE, "my secret plan", rev=1, at=10_000)
    await ended(world)
    await room.send()
    assert len(room.showing("secret")) == 2 + FORMS - 1, "ODT is compressed"
    original = room.of("secret")
    room.redacted.add(original)
    await world.give(redaction(world, original))
    await room.send()
    assert room.showing("secret") == []
    assert "secret" not in str(await world.stores.utterances.revisions("conf-0"))
    await documents_again(world)
    await room.send()
    papers = [c for e, c in room.events.items() if wire.TRANSCRIPT in c and e not in room.redacted]
    assert len(papers) == FORMS
    assert b"first words" in papers[0]["blob"]
    assert await holding_words(world.stores, "secret") == []
    (log,) = await world.stores.redactions.of_room(ROOM)
    assert (log.kind, log.items, log.by_user, log.why) == ("utterance", ["s2"], ALICE, "redacted")
    assert (await world.conferences())[0].said == 1
    # Nothing late brings it back: the scribe's next revision, the redaction once more.
    await world.segment("s2", ALICE, "my secret again", rev=7, at=10_000)
    await world.segment("s2", ALICE, "my secret again", rev=8, at=10_000, **{"pass": "final"})
    await world.give(redaction(world, original, BOB))
    await room.send()
    assert await holding_words(world.stores, "secret") == []
    assert len(await world.stores.redactions.of_room(ROOM)) == 1


async def test_a_redacted_edit_counts_as_its_message(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "secret one")
    await world.segment("s1", ALICE, "secret two", rev=1)
    await room.send()
    edit = next(e for e in room.showing("two") if e != room.of("one"))
    await world.give(redaction(world, edit))
    await room.send()
    assert set(room.showing("secret")) <= {edit}
    assert await holding_words(world.stores, "secret") == []


async def test_what_others_said_in_the_same_message_is_posted_again(world: World) -> None:
    room = await call(world)
    for number, text in enumerate(["one", "the secret", "three"]):
        await world.segment(f"s{number}", ALICE, text, at=number * 600)
    await room.send(gather=True)
    merged = room.of("secret")
    assert room.events[merged]["body"] == "Alice : one the secret three"
    said = await world.stores.utterances.of_conference("conf-0")
    assert {one.event_id for one in said} == {merged}
    # The person who reads the page deletes one of them; the message had three.
    await world.give(world.message(ALICE, "!visio my-words"))
    await forget(world, "s1")
    await room.send(gather=True)
    assert merged in room.redacted
    again = room.of("three")
    assert room.events[again]["body"] == "Alice : one three"
    said = await world.stores.utterances.of_conference("conf-0")
    assert [(one.segment, one.event_id) for one in said if one.text] == [
        ("s0", again),
        ("s2", again),
    ]
    # And then the rest, as the message it is in.
    await world.give(redaction(world, again))
    await room.send()
    assert room.showing("three") == [again]
    assert [one.text for one in await world.stores.utterances.of_conference("conf-0")] == [""] * 3


async def forget(world: World, segment: str) -> None:
    """The last pass says that there was nothing."""
    await world.segment(segment, ALICE, "", rev=9, **{"pass": "final"})


async def test_what_waits_is_never_sent(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "the secret")
    await ended(world)
    assert {"utterance", "outbox"} <= set(await holding_words(world.stores, "secret"))
    await forget(world, "s1")
    assert await holding_words(world.stores, "secret") == []
    await room.send()
    assert not any("secret" in str(content) for content in room.events.values())
    assert not any(content["blob"] for content in room.events.values())
    (log,) = await world.stores.redactions.of_room(ROOM)
    assert (log.by_user, log.why) == ("", "replaced")


async def test_the_last_pass_does_not_take_back_what_a_person_wrote(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "a mist ache")
    await room.send()
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": room.of("ache")}}}
    await world.say(ALICE, "!visio correct a mistake", **reply)
    await forget(world, "s1")
    await world.segment("s1", ALICE, "a miss take", rev=9, **{"pass": "final"})
    (said,) = await world.stores.utterances.of_conference("conf-0")
    assert (said.text, said.editor, said.rev) == ("a mistake", ALICE, 1)


FINAL = {"pass": "final"}


async def test_the_last_pass_leaves_a_deleted_utterance_whole(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "good morning my secret")
    await world.segment("s2", ALICE, "one voice", at=5000)
    await world.segment("s2.1", ALICE, "another secret", at=6000)
    await room.send()
    for deleted in (room.of("morning"), room.of("another")):
        room.redacted.add(deleted)
        await world.give(redaction(world, deleted))
    # Cut where a person has deleted it, and joined again with what a person has deleted.
    await world.segment("s1", ALICE, "good morning", rev=1, **FINAL)
    await world.segment("s1.1", ALICE, "my secret", rev=1, voice="V2", **FINAL)
    await world.segment("s2", ALICE, "one voice another secret", rev=1, at=5000, **FINAL)
    await world.segment("s2.1", ALICE, "", rev=1, at=6000, **FINAL)
    await room.send()
    assert room.showing("secret") == []
    assert await holding_words(world.stores, "secret") == []
    said = await world.stores.utterances.of_conference("conf-0")
    assert [(one.segment, one.text) for one in said if one.text] == [("s2", "one voice")]


async def test_the_last_pass_cuts_nothing_that_a_person_corrected(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "a mist ache thank you")
    await world.segment("s2", ALICE, "nobody wrote here", at=5000)
    await room.send()
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": room.of("ache")}}}
    await world.say(ALICE, "!visio correct a mistake, thank you", **reply)
    await world.segment("s1", ALICE, "a mist ache", rev=1, voice="V1", **FINAL)
    await world.segment("s1.1", ALICE, "thank you", rev=1, voice="V2", **FINAL)
    await world.segment("s2", ALICE, "nobody wrote", rev=1, at=5000, voice="V1", **FINAL)
    await world.segment("s2.1", ALICE, "here", rev=1, at=5400, voice="V2", **FINAL)
    said = await world.stores.utterances.of_conference("conf-0")
    assert [(one.segment, one.text) for one in said] == [
        ("s1", "a mistake, thank you"),
        ("s2", "nobody wrote"),
        ("s2.1", "here"),
    ]


async def test_a_removed_document_is_not_made_again(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "words")
    await ended(world)
    await room.send()
    (odt,) = [
        e for e, c in room.events.items() if c.get(wire.TRANSCRIPT, {}).get("format") == "odt"
    ]
    await world.give(redaction(world, odt, BOB))
    await world.segment("s2", ALICE, "late words", at=700)
    await documents_again(world)
    await room.send()
    newest = [c[wire.TRANSCRIPT] for c in room.events.values() if wire.TRANSCRIPT in c]
    assert {one["format"] for one in newest if one["rev"] == 2} == {"md", "vtt", "json"}
    (log,) = await world.stores.redactions.of_room(ROOM)
    assert (log.kind, log.items, log.by_user) == ("document", ["odt"], BOB)


async def test_words_of_a_meeting_of_long_ago(world: World) -> None:
    room = await call(world)
    await world.segment("s1", ALICE, "first words")
    await world.segment("s2", ALICE, "old secret", at=9000)
    await ended(world)
    await room.send()
    for _ in range(10):
        world.now_ms += 60_000
        await world.give(world.wish({"active": True, "transcript": True}))
        await world.give(world.wish({"active": False}))
        await documents_again(world)
    await room.send()
    assert all(c.id != "conf-0" for c in await world.conferences())
    await world.give(redaction(world, room.of("secret")))
    await documents_again(world)
    await room.send()
    assert [e for e in room.showing("secret") if e != room.of("secret")] == []
    papers = [c for e, c in room.events.items() if wire.TRANSCRIPT in c and e not in room.redacted]
    assert {c[wire.TRANSCRIPT]["rev"] for c in papers} == {2}
    assert all(c.id != "conf-0" for c in await world.conferences())
    assert await holding_words(world.stores, "secret") == []


@pytest.mark.parametrize("target", ["$nothing", "$e1"])
async def test_other_redactions_delete_nothing(world: World, target: str) -> None:
    """Of people's messages, and of the call card: the record goes on."""
    room = await call(world)
    await world.segment("s1", ALICE, "words")
    await room.send()
    assert "eu.colloque.card" in room.events["$e1"]
    await world.give(redaction(world, target))
    await ended(world)
    await room.send()
    assert len([c for c in room.events.values() if wire.TRANSCRIPT in c]) == FORMS
    assert await world.stores.redactions.of_room(ROOM) == []
