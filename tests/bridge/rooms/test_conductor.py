"""What comes of an entry: rows for the room, the conference, grants."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bridge.domain.conference import from_json
from bridge.matrix.client import HomeserverError, Unreachable
from bridge.rooms import news
from bridge.rooms.ledger import EARLIER
from bridge.store.inbox import NewEntry
from tests.support.rooms_world import ALICE, BOB, BOT, EVE, ROOM, T0, World, state_event

START = ["card:conf-0:0", "status:conf-0:0"]


def files(rows: list[dict[str, Any]]) -> list[str]:
    return [row["file_name"] for row in rows if row["kind"] == "file"]


async def test_start_shows_card_status_and_wish(world: World) -> None:
    event_id = await world.say(BOB, "!visio démarrer")
    rows = await world.rows()
    assert [row["txn_id"] for row in rows] == [*START, f"wish:matrix:{event_id}:2"]
    card, status, wish = (row["content"] for row in rows)
    assert card["msgtype"] == "m.notice"
    assert "https://visio.a/#/room/%21room" in card["body"]
    assert "Started by Bob" in card["body"]
    assert card["eu.colloque.card"] == {
        "version": 1,
        "conference": "conf-0",
        "phase": "running",
        "started_ms": T0,
    }
    assert (rows[1]["type"], rows[1]["state_key"]) == ("eu.colloque.conference.status", "a")
    assert (status["active"], status["card"]) == (True, "outbox:card:conf-0:0")
    assert wish == {"version": 1, "active": True}
    assert world.homeserver.reads == 1


async def test_start_again_names_the_call_that_runs(world: World) -> None:
    await world.say(ALICE, "!visio start")
    event_id = await world.say(BOB, "!visio start")
    last = (await world.rows())[-1]
    assert last["content"]["body"].startswith("A call is in progress already: https://visio.a")
    assert last["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": event_id}}
    assert len(await world.conferences()) == 1


async def test_answers_go_into_the_thread_they_were_asked_in(world: World) -> None:
    relation = {"rel_type": "m.thread", "event_id": "$root"}
    event_id = await world.say(ALICE, "!visio help", **{"m.relates_to": relation})
    assert (await world.rows())[-1]["content"]["m.relates_to"] == {
        **relation,
        "is_falling_back": False,
        "m.in_reply_to": {"event_id": event_id},
    }


@pytest.mark.parametrize(
    ("sender", "content"),
    [
        (BOT, {}),
        (ALICE, {"msgtype": "m.notice"}),
        (ALICE, {"eu.colloque.txn": "say:1"}),
        (
            ALICE,
            {
                "m.relates_to": {"rel_type": "m.replace", "event_id": "$x"},
                "m.new_content": {"body": "!visio start"},
            },
        ),
        (ALICE, {"body": 3}),
        (ALICE, {"body": "good morning"}),
    ],
)
async def test_no_command(world: World, sender: str, content: dict[str, Any]) -> None:
    await world.say(sender, "!visio start", **content)
    assert await world.rows() == []


async def test_an_old_start_is_answered_and_starts_nothing(world: World) -> None:
    entry = world.message(ALICE, "!visio start")
    world.now_ms += 7 * 60_000
    await world.give(entry)
    assert "You asked 7 min ago" in (await world.bodies())[0]
    assert await world.conferences() == []


async def test_people_of_a_server_that_is_not_admitted(world: World) -> None:
    await world.say(EVE, "!visio start")
    assert await world.bodies() == [
        "This service is not open to accounts of the server evil.example."
    ]


@pytest.mark.parametrize(
    ("starter", "stopper", "stops"),
    [(BOB, BOB, True), (BOB, ALICE, True), (ALICE, BOB, False)],
)
async def test_who_stops(world: World, starter: str, stopper: str, stops: bool) -> None:
    await world.say(starter, "!visio start")
    await world.say(stopper, "!visio stop")
    (conference,) = await world.conferences()
    assert (conference.phase == "ended") is stops
    bodies = await world.bodies()
    if stops:
        assert bodies[-1] == "* 📞 Video conference ended"
        assert (await world.rows())[-1]["content"]["active"] is False
    else:
        assert bodies[-1].startswith("Only the person who started the call")


async def test_stop_without_a_call(world: World) -> None:
    await world.say(ALICE, "!visio stop")
    assert await world.bodies() == ["No call is in progress."]


async def test_answers_about_the_call(world: World) -> None:
    await world.say(ALICE, "!visio status")
    await world.say(ALICE, "!visio who")
    await world.say(ALICE, "!visio start")
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    world.now_ms += 2000
    await world.say(ALICE, "!visio status")
    await world.say(ALICE, "!visio qui")
    await world.say(ALICE, "!visio strat")
    await world.say(ALICE, "!visio gibberish")
    await world.say(ALICE, "!visio")
    bodies = await world.bodies()
    assert bodies[:2] == [
        "No call in progress. Captions: off. Transcript: off. Entry: open to members.",
        "Nobody is present.",
    ]
    assert bodies[-5].startswith("Call in progress for 2 s: 1 person present.")
    assert bodies[-4:] == [
        "En ligne (1 personne) : Bob",
        "I do not know the command “strat”; did you mean !visio start?",
        "I do not know the command “gibberish”. Type !visio help.",
        "What you can type:",
    ]


async def test_transcript_by_command(world: World) -> None:
    await world.say(BOB, "!visio transcript on")
    await world.say(ALICE, "!visio transcript")
    await world.say(ALICE, "!visio transcript perhaps")
    event_id = await world.say(ALICE, "!visio transcript on")
    bodies = await world.bodies()
    assert bodies[0].startswith("Only a moderator of the room")
    assert bodies[1:3] == ["Transcript: off.", "Transcript: off."]
    assert bodies[3] == "Type !visio transcript on, or !visio transcript off."
    assert bodies[4].startswith("The transcript is on")
    rows = await world.rows()
    assert rows[-2]["txn_id"].startswith(f"wish:matrix:{event_id}")
    assert rows[-2]["content"] == {"version": 1, "transcript": True}
    await world.say(BOB, "!visio start")
    await world.say(BOB, "!visio transcript off")
    (conference,) = await world.conferences()
    assert conference.transcript is False


async def test_without_power_one_sentence_and_the_commands_work(world: World) -> None:
    world.homeserver.levels = {"users": {ALICE: 100}}
    await world.say(ALICE, "!visio start")
    await world.say(ALICE, "!visio transcript on")
    await world.say(ALICE, "!visio stop")
    rows = await world.rows()
    assert all(row["kind"] == "message" for row in rows)
    said = [body for body in await world.bodies() if "power level 50" in body]
    assert len(said) == 1
    (conference,) = await world.conferences()
    assert (conference.transcript, conference.phase) == (True, "ending")
    # Given power, lost again: it is said again, once.
    for users in ({BOT: 50}, {}):
        levels = {"users": {ALICE: 100, **users}}
        await world.give(world.event("m.room.power_levels", ALICE, levels, ""))
        await world.say(ALICE, "!visio transcript off")
    said = [body for body in await world.bodies() if "power level 50" in body]
    assert len(said) == 2


async def test_refused_state_has_its_sentence_ready(world: World) -> None:
    await world.say(ALICE, "!visio start")
    state = [row for row in await world.rows() if row["kind"] == "state"]
    assert all("power level 50" in row["if_forbidden"] for row in state)


async def test_invitation_is_accepted_with_one_short_sentence(world: World) -> None:
    await world.give(world.member(BOT, "invite", ALICE))
    assert world.homeserver.joined == [(ROOM, ["a"])]
    assert await world.bodies() == [
        "Hello, I run video conferences in this room; type !visio help."
    ]
    await world.give(world.member(BOT, "join", BOT))
    assert len(await world.bodies()) == 1


async def test_invitation_into_a_room_with_a_wish(world: World) -> None:
    wish = {"active": True, "transcript": True, "language": "fr"}
    world.homeserver.more_state = [state_event("eu.colloque.conference", wish)]
    await world.give(world.member(BOT, "invite", BOB))
    (conference,) = await world.conferences()
    assert (conference.started_by, conference.transcript) == (BOB, True)
    assert (await world.bodies())[0].startswith("Bonjour")


async def test_invitation_by_a_stranger_is_left_aside(world: World) -> None:
    await world.give(world.member(BOT, "invite", EVE))
    assert world.homeserver.joined == []
    assert await world.rows() == []


@pytest.mark.parametrize("status", [403, 404])
async def test_a_withdrawn_invitation(world: World, status: int) -> None:
    world.homeserver.failure = HomeserverError(status, "M_FORBIDDEN")
    await world.give(world.member(BOT, "invite", ALICE))
    assert await world.rows() == []


@pytest.mark.parametrize("error", [HomeserverError(429), Unreachable("down", sent=False)])
async def test_an_invitation_is_tried_again(world: World, error: Exception) -> None:
    world.homeserver.failure = error
    entry = world.member(BOT, "invite", ALICE)
    with pytest.raises(type(error)):
        await world.give(entry)
    world.homeserver.failure = None
    await world.give()
    assert len(await world.bodies()) == 1


async def test_the_wish_starts_changes_and_ends_a_call(world: World) -> None:
    await world.give(world.wish({"active": True, "captions": True, "x": 1}))
    (conference,) = await world.conferences()
    assert (conference.started_by, conference.captions) == (ALICE, True)
    await world.give(world.wish({"active": True, "transcript": True}))
    (conference,) = await world.conferences()
    assert (conference.captions, conference.transcript) == (False, True)
    await world.give(world.wish({"active": False}))
    (conference,) = await world.conferences()
    assert conference.phase == "ending"
    # What a person wrote is not written over.
    assert not [row for row in await world.rows() if row["type"] == "eu.colloque.conference"]


async def test_the_wish_is_withdrawn_when_the_call_ends_otherwise(world: World) -> None:
    await world.give(world.wish({"active": True, "x": 1}))
    await world.say(ALICE, "!visio stop")
    wishes = [r for r in await world.rows() if r["type"] == "eu.colloque.conference"]
    assert [row["content"] for row in wishes] == [{"version": 1, "active": False, "x": 1}]


@pytest.mark.parametrize(
    ("sender", "ago_ms"), [(EVE, 0), (ALICE, 6 * 60_000), (BOT, 0)], ids=["foreign", "old", "own"]
)
async def test_a_wish_that_starts_nothing(world: World, sender: str, ago_ms: int) -> None:
    await world.give(world.wish({"active": True}, sender, ago_ms))
    assert await world.conferences() == []


async def test_a_wish_with_mistakes_is_answered(world: World) -> None:
    await world.give(world.wish({"captions": "yes", "language": "tlh"}))
    bodies = await world.bodies()
    assert bodies[0].endswith("“captions” must be true or false.")
    assert bodies[1].endswith("“language” must be one of the languages fr, en.")


async def test_a_wish_repeated_by_its_settings_starts_no_second_call(world: World) -> None:
    await world.give(world.wish({"active": True}))
    await world.say(ALICE, "!visio stop")
    await world.give(world.wish({"active": False, "captions": True}))
    assert len(await world.conferences()) == 1


async def test_an_encrypted_room_gets_no_record_in_clear_text(world: World) -> None:
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    world.homeserver.more_state = [state_event("m.room.encryption", encryption)]
    await world.give(world.member(BOT, "invite", ALICE))
    assert "encrypted" in (await world.bodies())[0]
    await world.give(world.wish({"active": True, "transcript": True}))
    (conference,) = await world.conferences()
    assert not conference.listening
    await world.say(ALICE, "!visio transcript on")
    assert (await world.bodies())[-1].startswith("This room is encrypted")


async def test_encryption_switched_on_ends_the_transcript(world: World) -> None:
    await world.give(world.wish({"active": True, "transcript": True}))
    await world.give(world.event("m.room.encryption", ALICE, {"algorithm": "x"}, ""))
    (conference,) = await world.conferences()
    assert (conference.phase, conference.transcript) == ("running", False)


async def test_the_first_to_join_the_media_starts_the_call(world: World) -> None:
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    (conference,) = await world.conferences()
    assert (conference.started_by, conference.started_name) == (BOB, "Bob")
    assert [stay.device_id for stay in conference.present] == ["D"]
    # Nobody wished for it, so no wish is written.
    assert (await world.txns()) == START


async def test_who_has_no_valid_grant_is_not_in_the_call(world: World) -> None:
    await world.give(world.enters(EVE, "P1"))
    await world.grant(BOB, revoked_ms=T0)
    await world.give(world.enters(BOB, "P2"))
    assert await world.conferences() == []


async def test_a_joining_told_late_does_not_start_the_call_again(world: World) -> None:
    await world.grant(BOB)
    await world.say(ALICE, "!visio start")
    before = world.enters(BOB, "P1")
    world.now_ms += 1000
    await world.say(ALICE, "!visio stop")
    await world.give(before)
    assert len(await world.conferences()) == 1
    world.now_ms += 1000
    await world.give(world.enters(BOB, "P2"))
    assert len(await world.conferences()) == 1, "the end took the token back"
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P3"))
    assert len(await world.conferences()) == 2


async def test_a_joining_announced_long_ago_is_left_to_be_seen(world: World) -> None:
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1", ago_ms=6 * 60_000))
    assert await world.conferences() == []


async def test_people_come_and_go(world: World) -> None:
    await world.grant(ALICE)
    await world.grant(BOB)
    await world.give(world.enters(ALICE, "P1"), world.enters(BOB, "P2"))
    world.now_ms += 5000
    await world.give(NewEntry(ROOM, "media", "due1", {"event": "colloque.due", "at_ms": T0}))
    assert "Present: Alice, Bob (2 people)" in (await world.rows())[-1]["content"]["body"]
    await world.give(world.leaves(ALICE, "P1"), world.leaves(BOB, "P2"))
    world.now_ms += 60_000
    await world.give(NewEntry(ROOM, "media", "due2", {"event": "colloque.due", "at_ms": T0}))
    (conference,) = await world.conferences()
    assert conference.phase == "ended"
    body = [r for r in await world.rows() if r["kind"] == "message"][-1]["content"]["body"]
    assert "Took part: Alice, Bob (2 people, 2 servers)" in body
    assert "Duration: 5 s" in body


async def test_media_room_finished(world: World) -> None:
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    payload = {"event": "room_finished", "room": {"sid": "RM1"}}
    await world.give(NewEntry(ROOM, "media", "EVf", payload))
    (conference,) = await world.conferences()
    assert (conference.phase, conference.open) == ("ended", False)
    assert await world.stores.conferences.active() == []


@pytest.mark.parametrize("membership", ["leave", "ban"])
async def test_losing_the_room_revokes_the_grants(world: World, membership: str) -> None:
    await world.grant(BOB)
    await world.grant(ALICE)
    await world.give(world.member(BOB, membership, ALICE))
    revoked = await world.stores.grants.revoked_in(ROOM)
    assert [grant.user_id for grant in revoked] == [BOB]


async def test_the_bot_removed_from_the_room_ends_everything(world: World) -> None:
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"), world.member(BOT, "leave", ALICE))
    assert len(await world.stores.grants.revoked_in(ROOM)) == 1
    (conference,) = await world.conferences()
    assert conference.phase == "ended"
    reads = world.homeserver.reads
    await world.say(ALICE, "!visio status")
    assert world.homeserver.reads == reads + 1  # its state is read anew


async def test_names_are_kept_true(world: World) -> None:
    await world.say(BOB, "!visio start")
    await world.give(world.member(BOB, "join", BOB, displayname="Robert\u202e"))
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    await world.say(BOB, "!visio who")
    assert (await world.bodies())[-1] == "Present (1 person): Robert"


async def test_without_a_homeserver_people_have_at_least_their_own_name(world: World) -> None:
    await world.say(ALICE, "!visio start")
    world.homeserver.failure = Unreachable("down", sent=False)
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    await world.say(ALICE, "!visio who")
    assert (await world.bodies())[-1] == "Present (1 person): bob"


# ---- what is said


async def wished_call(world: World) -> None:
    await world.give(world.wish({"active": True, "transcript": True}))
    for user in (ALICE, BOB):
        await world.grant(user)
        await world.give(world.enters(user, f"P-{user}"))


async def test_an_utterance_has_the_speaker_of_the_grant(world: World) -> None:
    await wished_call(world)
    await world.segment("s1", BOB, " Good <morning> ", at=1500)
    row = (await world.rows())[-1]
    assert row["txn_id"] == "utt:s1:0"
    content = row["content"]
    assert content["body"] == "Bob : Good <morning>"
    assert "Bob : </strong>Good &lt;morning&gt;" in content["formatted_body"]
    assert content["eu.colloque.utterance"] == {
        "version": 1,
        "conference": "conf-0",
        "segment": "s1",
        "rev": 0,
        "speaker": BOB,
        "device": "D",
        "voice": None,
        "text": "Good <morning>",
        "language": "en",
        "start_ms": 1500,
        "end_ms": 2000,
        "engine": "test",
    }
    assert content["com.beeper.per_message_profile"]["displayname"] == "Bob"
    assert content["m.relates_to"]["event_id"] == "outbox:card:conf-0:0"
    (stored,) = await world.stores.utterances.of_conference("conf-0")
    assert (stored.speaker, stored.text) == (BOB, "Good <morning>")


async def test_a_correction_is_an_edit(world: World) -> None:
    await wished_call(world)
    await world.segment("s1", BOB, "god morning")
    await world.segment("s1", BOB, "good morning", rev=1)
    content = (await world.rows())[-1]["content"]
    assert content["m.relates_to"] == {"rel_type": "m.replace", "event_id": "outbox:utt:s1:0"}
    assert content["body"] == "* Bob : good morning"
    assert content["m.new_content"]["eu.colloque.utterance"]["rev"] == 1
    (conference,) = await world.conferences()
    assert conference.utterances == 1


async def test_what_somebody_said_before_being_kicked_is_theirs(world: World) -> None:
    await wished_call(world)
    await world.give(world.member(BOB, "leave", ALICE))
    await world.segment("s1", BOB, "a last word")
    assert (await world.bodies())[-1] == "Bob : a last word"


@pytest.mark.parametrize(
    "more",
    [
        {"conference": "of another world"},
        {"identity": "@nobody:x:D"},
        {"text": "  "},
        {"start_ms": "soon"},
        {"end_ms": None},
        {"text": 5},
    ],
)
async def test_what_is_no_utterance(world: World, more: dict[str, Any]) -> None:
    await wished_call(world)
    before = await world.txns()
    await world.segment("s1", BOB, "hello", **more)
    assert await world.txns() == before


async def test_captions_alone_leave_nothing_in_the_room(world: World) -> None:
    await world.give(world.wish({"active": True, "captions": True}))
    await world.grant(BOB)
    await world.segment("s1", BOB, "off the record")
    assert await world.stores.utterances.of_conference("conf-0") == []
    assert (await world.txns())[: len(START)] == START
    (told,) = (await world.bodies())[1:]
    assert told.startswith("What is said in this call is shown on screen as captions")
    assert "Nothing of it is kept" in told


async def test_the_homeserver_is_not_needed_to_keep_what_is_said(world: World) -> None:
    await wished_call(world)
    world.homeserver.failure = Unreachable("down", sent=False)
    await world.segment("s1", BOB, "hello")
    assert (await world.txns())[-1] == "utt:s1:0"


async def test_documents_at_the_end_and_again_after_a_late_segment(world: World) -> None:
    await wished_call(world)
    await world.segment("s1", BOB, "hello", at=100)
    await world.say(ALICE, "!visio stop")
    assert files(await world.rows()) == []
    await world.segment("s2", ALICE, "goodbye", at=900)
    stopped = {"type": "session", "conference": "conf-0", "state": "stopped"}
    await world.give(NewEntry(ROOM, "scribe", "session:conf-0:stopped", stopped))
    rows = await world.rows()
    forms = ("md", "odt", "vtt", "json")
    assert files(rows) == [f"transcript.{form}" for form in forms]
    document = rows[-4]
    assert document["txn_id"] == "doc:conf-0:md:1"
    assert document["media_type"] == "text/markdown"
    assert document["content"]["eu.colloque.transcript"]["format"] == "md"
    assert document["content"]["m.relates_to"]["event_id"] == "outbox:card:conf-0:0"
    text = bytes(document["blob"]).decode()
    assert text.index("hello") < text.index("goodbye")
    assert "The room" in text
    assert "Transcript in the thread: 2 utterances" in rows[-5]["content"]["body"]
    await world.segment("s3", BOB, "wait", at=700)
    world.now_ms += 10_000
    await world.give(NewEntry(ROOM, "media", "due1", {"event": "colloque.due", "at_ms": T0}))
    rows = await world.rows()
    assert [r["txn_id"] for r in rows if r["kind"] == "file"][4:] == [
        f"doc:conf-0:{form}:2" for form in forms
    ]
    assert b"wait" in bytes(rows[-1]["blob"])


async def test_the_record_says_who_was_there_when(world: World) -> None:
    await wished_call(world)
    world.now_ms += 5000
    await world.give(world.leaves(BOB, f"P-{BOB}"))
    world.now_ms += 2000
    await world.give(world.enters(BOB, "PC"))
    await world.segment("s1", BOB, "hello", at=100)
    world.now_ms += 3000
    await world.say(ALICE, "!visio stop")
    stopped = {"type": "session", "conference": "conf-0", "state": "stopped"}
    await world.give(NewEntry(ROOM, "scribe", "session:conf-0:stopped", stopped))
    written = json.loads(bytes((await world.rows())[-1]["blob"]))
    there = {person["user_id"]: person for person in written["participants"]}
    assert [len(there[user]["stays"]) for user in (ALICE, BOB)] == [1, 2]
    assert [there[user]["present_ms"] for user in (ALICE, BOB)] == [10_000, 8000]
    assert there[BOB]["spoken_ms"] == 500


async def test_a_late_segment_of_an_earlier_conference_is_posted_there(world: World) -> None:
    await wished_call(world)
    await world.say(ALICE, "!visio stop")
    world.now_ms += 1000
    await world.say(ALICE, "!visio start")
    await world.segment("s1", BOB, "of the first call")
    row = (await world.rows())[-1]
    assert row["content"]["m.relates_to"]["event_id"] == "outbox:card:conf-0:0"
    world.now_ms += 20_000
    await world.give(NewEntry(ROOM, "media", "due1", {"event": "colloque.due", "at_ms": T0}))
    assert "doc:conf-0:md:1" in await world.txns()
    assert [c.phase for c in await world.conferences()] == ["running", "ended"]


async def test_a_failing_scribe_is_told_of_once(world: World) -> None:
    await wished_call(world)
    for number in (1, 2):
        failed = {"type": "session", "conference": "conf-0", "state": "failed"}
        await world.give(NewEntry(ROOM, "scribe", f"failed{number}", failed))
    said = [body for body in await world.bodies() if "I keep trying" in body]
    assert len(said) == 1


async def test_sessions_of_no_account(world: World) -> None:
    await wished_call(world)
    before = await world.txns()
    for number, (conference, state) in enumerate([("x", "failed"), ("conf-0", "listening")]):
        frame = {"type": "session", "conference": conference, "state": state}
        await world.give(NewEntry(ROOM, "scribe", f"s{number}", frame))
    assert await world.txns() == before


async def test_garbage_is_done_with(world: World) -> None:
    await world.give(
        NewEntry(ROOM, "matrix", "$g1", {"type": 1}),
        NewEntry(ROOM, "media", "g2", {"event": "participant_joined", "participant": 3}),
        NewEntry(ROOM, "media", "g3", {"event": "participant_left", "participant": {}}),
        NewEntry(ROOM, "media", "g4", {"event": "track_published"}),
        NewEntry(ROOM, "media", "g5", {"event": "colloque.closed", "conference": "none"}),
        NewEntry(ROOM, "scribe", "g6", {"type": "segment"}),
        world.event("m.room.topic", ALICE, {}, ""),
        world.event("org.matrix.msc3401.call.member", ALICE, {}, "_x"),
        world.event("m.room.redaction", ALICE, {"redacts": "$x"}),
    )
    assert await world.rows() == []
    assert await world.stores.inbox.waiting_rooms() == []


# ---- two bridges in one room


@pytest.mark.parametrize(
    ("others", "sender", "ours"),
    [
        ([], BOB, True),
        (["@visio:b"], BOB, False),
        (["@visio:b"], ALICE, True),
        (["@visio:0"], "@carol:b", False),
        (["@visio:z"], "@carol:b", True),
        (["@other:b"], BOB, True),
    ],
)
async def test_each_site_answers_its_own(
    world: World, others: list[str], sender: str, ours: bool
) -> None:
    joined = {"membership": "join"}
    world.homeserver.more_state = [state_event("m.room.member", joined, key) for key in others]
    await world.say(sender, "!visio start")
    assert bool(await world.conferences()) is ours


async def test_an_old_invitation_told_late_throws_nobody_out(world: World) -> None:
    await world.grant(BOB)
    await world.give(world.member(BOB, "invite", stale=True))
    assert [g.revoked_ms for g in await world.stores.grants.of_room(ROOM)] == [None]


async def test_another_bridge_comes_and_goes(world: World) -> None:
    await world.say(BOB, "!visio who")
    await world.give(world.member("@visio:b", "join", "@visio:b"))
    await world.say(BOB, "!visio who")
    await world.give(world.member("@visio:b", "leave", "@visio:b"))
    await world.say(BOB, "!visio who")
    assert len(await world.bodies()) == 2


# ---- rooms the bot is not in


async def a_call_without_the_bot(world: World) -> None:
    world.homeserver.failure = HomeserverError(403, "M_FORBIDDEN")
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    world.homeserver.failure = None


async def test_a_call_in_a_room_without_the_bot_is_silent_and_not_written_down(
    world: World,
) -> None:
    # Even where the administrator's default is to transcribe.
    wishes = replace(world.house.defaults, transcript=True, captions=True)
    world.conductor._house = replace(world.house, defaults=wishes)
    await a_call_without_the_bot(world)
    (conference,) = await world.conferences()
    assert (conference.phase, conference.listening) == ("running", False)
    assert await world.rows() == []


async def test_the_bot_that_is_invited_into_a_running_call_shows_its_card(world: World) -> None:
    await a_call_without_the_bot(world)
    await world.give(world.member(BOT, "invite", ALICE))
    txns = await world.txns()
    assert txns[1] == "card:conf-0:0"
    assert len(await world.bodies()) == 2


async def test_what_was_due_stays_due_when_the_clock_is_put_back(world: World) -> None:
    await world.say(ALICE, "!visio start")
    world.now_ms -= 1000
    due = {"event": "colloque.due", "at_ms": T0 + 60_000}
    await world.give(NewEntry(ROOM, "media", "due1", due))
    (conference,) = await world.conferences()
    assert conference.phase == "ended"


async def test_voices_and_words_of_a_segment_are_kept_and_shown(world: World) -> None:
    await world.grant(ALICE)
    await world.give(world.wish({"active": True, "transcript": True}))
    words = [["hello", 10, 400], ["all", 410, 500]]
    await world.segment("s1", ALICE, "hello all", voice="V2", words=words)
    await world.segment("s2", ALICE, "garbage", voice=["V2"])
    await world.segment("s3", ALICE, "garbage", words=[["hello"]])
    (kept,) = await world.stores.utterances.of_conference("conf-0")
    assert (kept.voice, kept.words) == ("V2", (("hello", 10, 400), ("all", 410, 500)))
    assert kept.said_ms == T0
    assert "Alice \N{EN DASH} voice 2 : hello all" in await world.bodies()


async def test_a_meeting_is_kept_when_the_room_has_forgotten_it(world: World) -> None:
    await world.grant(ALICE)
    for _ in range(EARLIER + 3):
        await world.give(world.wish({"active": True, "transcript": True}))
        await world.give(world.wish({"active": False}))
        world.now_ms += 60_000
        await world.give(news.due(ROOM, "any", world.now_ms))
    assert len(await world.conferences()) == EARLIER + 1
    meetings = await world.stores.meetings.of_room(ROOM)
    assert len(meetings) == EARLIER + 3
    assert meetings[-1].conference == "conf-0"
    assert from_json(meetings[-1].snapshot).ended_ms == T0
    # One that had neither words nor the wish for them leaves nothing.
    await world.give(world.wish({"active": True}))
    await world.give(world.wish({"active": False}))
    assert len(await world.stores.meetings.of_room(ROOM)) == EARLIER + 3
