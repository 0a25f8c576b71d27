"""`!visio export`: which call, which forms, with or without what was written meanwhile."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

import pytest

from bridge.crypto import Undecryptable
from bridge.matrix.client import Unreachable
from bridge.rooms import requests_record
from bridge.rooms.requests_record import Wanted, wanted
from bridge.store.inbox import NewEntry
from bridge.upkeep import chat
from bridge.upkeep.chat import Chat
from tests.support.rooms_world import ALICE, BOB, BOT, ROOM, T0, World

CAROL = "@carol:c.example"


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("", Wanted(("odt",))),
        ("md", Wanted(("md",))),
        ("Word, .VTT and json", Wanted(("docx", "vtt", "json"))),
        ("md avec le tchat", Wanted(("md",), chat=True)),
        ("with chat", Wanted(("odt",), chat=True)),
        ("présences", Wanted(("csv",))),
        ("md md md", Wanted(("md",))),
        ("pdf", Wanted((), unknown="pdf")),
    ],
)
def test_what_is_wanted(arguments: str, read: Wanted) -> None:
    assert wanted(arguments) == read


async def a_call(world: World, *words: str) -> None:
    """A call with these words of Bob's, over."""
    await world.give(world.wish({"active": True, "transcript": True}))
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    for number, text in enumerate(words):
        await world.segment(f"s{world.now_ms - T0}-{number}", BOB, text, at=1000 * number)
    world.now_ms += 60_000
    await world.say(ALICE, "!visio stop")


async def errands(world: World) -> None:
    await world.errands._turn(ROOM)
    await world.give()


async def exported(world: World) -> list[dict[str, Any]]:
    """Files that were asked for: those made by themselves have a revision at the end."""
    rows = [row for row in await world.rows() if row["kind"] == "file"]
    return [row for row in rows if len(row["txn_id"].rpartition(":")[2]) == 12]


async def test_a_form_is_posted_in_the_calls_thread(world: World) -> None:
    await a_call(world, "hello")
    await world.say(BOB, "!visio export docx and vtt")
    word, captions = await exported(world)
    assert word["txn_id"].startswith("doc:conf-0:docx:")
    assert word["file_name"] == "transcript.docx"
    assert word["content"]["m.relates_to"]["event_id"] == "outbox:card:conf-0:0"
    assert word["content"]["eu.colloque.transcript"]["format"] == "docx"
    assert zipfile.is_zipfile(BytesIO(word["blob"]))
    assert b"<v Bob>hello</v>" in captions["blob"]


async def test_asked_below_a_card_it_is_that_call(world: World) -> None:
    await a_call(world, "the first")
    for card in await world.rows():
        if card["txn_id"] == "card:conf-0:0":
            await world.stores.db.execute(
                "UPDATE outbox SET event_id = '$root', state = 'sent' WHERE txn_id = $1",
                card["txn_id"],
            )
    world.now_ms += 1000
    await world.say(ALICE, "!visio start")
    await world.say(ALICE, "!visio export md")
    assert b"the first" in (await exported(world))[0]["blob"]  # nothing was said in the second
    thread = {"rel_type": "m.thread", "event_id": "$root"}
    await world.say(ALICE, "!visio export json", **{"m.relates_to": thread})
    row = (await exported(world))[-1]
    assert json.loads(row["blob"])["conference"] == "conf-0"


async def test_a_call_the_room_has_forgotten_is_still_exported(world: World) -> None:
    await a_call(world, "long ago")
    await world.stores.db.execute("UPDATE meeting SET root = '$old'")
    await world.stores.db.execute("DELETE FROM conference")
    await world.say(ALICE, "!visio export md")
    assert (await world.bodies())[-1].startswith("There is no call with a transcript")
    thread = {"rel_type": "m.thread", "event_id": "$old"}
    await world.say(ALICE, "!visio exporter md", **{"m.relates_to": thread})
    assert b"long ago" in (await exported(world))[0]["blob"]


async def test_nothing_said_is_attendance_alone(world: World) -> None:
    await a_call(world)
    await world.say(ALICE, "!visio export md csv")
    (row,) = await exported(world)
    assert row["file_name"] == "attendance.csv"
    await world.say(ALICE, "!visio export md")
    assert (await world.bodies())[-1].startswith("Nothing was transcribed")
    await world.say(ALICE, "!visio exporter pdf")
    assert "Je ne connais pas « pdf »" in (await world.bodies())[-1]
    assert len(await exported(world)) == 1


async def test_nobody_fills_the_disk_by_asking(world: World) -> None:
    await a_call(world, "hello")
    for _ in range(requests_record.MOST_WAITING + 5):
        await world.say(ALICE, "!visio export md with chat")
        await world.say(BOB, "!visio export md srt")
    waiting = [e for e in await world.stores.errands.of_room(ROOM) if e.kind == "export"]
    assert len(waiting) + len(await exported(world)) <= requests_record.MOST_WAITING
    assert (await world.bodies())[-1].startswith("Several documents are already waiting")
    await world.stores.db.execute("UPDATE outbox SET state = 'sent' WHERE kind = 'file'")
    await world.stores.db.execute("DELETE FROM errand")
    before = len(await exported(world))
    await world.say(BOB, "!visio export md")
    assert len(await exported(world)) == before + 1


def message(at_ms: int, sender: str, body: str, **more: Any) -> dict[str, Any]:
    content = {"msgtype": "m.text", "body": body, **more.pop("content", {})}
    return {
        "type": "m.room.message",
        "event_id": f"${at_ms}{sender}",
        "sender": sender,
        "origin_server_ts": T0 + at_ms,
        "content": content,
        **more,
    }


def edit(of: str, sender: str, body: str) -> dict[str, Any]:
    new = {"msgtype": "m.text", "body": body}
    content = {
        **new,
        "body": f"* {body}",
        "m.new_content": new,
        "m.relates_to": {"rel_type": "m.replace", "event_id": of},
    }
    return {**message(0, sender, ""), "content": content, "event_id": "$edit"}


IN_THREAD = {"m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}}
ELSEWHERE = {"m.relates_to": {"rel_type": "m.thread", "event_id": "$other"}}


async def test_chat_is_people_in_the_room_and_the_thread_as_they_left_it(world: World) -> None:
    relations = {"m.relations": {"m.replace": edit("$1", BOB, "the right link")}}
    forged = {"m.relations": {"m.replace": edit("$1", BOB, "a lie")}}
    redacted = {**message(9000, BOB, ""), "content": {}}
    world.homeserver.history = [
        message(61_000, BOB, "after the end"),
        message(10_000, CAROL, "> <@a> quoted\n\nyes", content=IN_THREAD),
        redacted,
        message(8000, BOB, "another thread", content=ELSEWHERE),
        message(7000, BOB, "!visio who"),
        message(6000, BOT, "a notice of ours"),
        message(5500, "@visio:b", "of another site's bot"),
        message(5000, BOB, "news", content={"msgtype": "m.notice"}),
        edit("$1", BOB, "the right link"),
        message(3000, CAROL, "mine", unsigned=forged),
        message(2000, BOB, "the wrong link", unsigned=relations),
        {"type": "m.room.message", "origin_server_ts": T0 + 1500, "content": 3},
        message(-1000, BOB, "before the call"),
    ]
    reader = Chat(world.house, world.stores.errands, world.homeserver)
    read = await reader.read(ROOM, T0, T0 + 60_000, root="$root")
    assert [(m["author"], m["text"], m["name"], m["at_ms"] - T0) for m in read.messages] == [
        (BOB, "the right link", "", 2000),
        (CAROL, "mine", "Carol", 3000),
        (CAROL, "yes", "Carol", 10_000),
    ]
    assert read.unread == 0


async def test_history_is_read_page_by_page_and_no_further_than_needed(world: World) -> None:
    world.homeserver.history = [message(at, BOB, f"m{at}") for at in range(30_000, -90_000, -200)]
    asked: list[str] = []
    page = world.homeserver.page

    async def counted(room_id: str, start: str, limit: int) -> Any:
        asked.append(start)
        return await page(room_id, start, limit)

    world.homeserver.page = counted  # type: ignore[method-assign]
    reader = Chat(world.house, world.stores.errands, world.homeserver)
    read = await reader.read(ROOM, T0, T0 + 60_000, root="")
    assert len(read.messages) == 151
    assert [m["at_ms"] for m in read.messages] == sorted(m["at_ms"] for m in read.messages)
    assert asked == ["0", "100", "200"]
    world.homeserver.history = []
    assert (await reader.read(ROOM, T0, T0 + 60_000, root="")).messages == []


async def test_who_floods_a_room_floods_no_document(world: World) -> None:
    flood = [message(50_000, BOB, "x" * 9000) for _ in range(chat.PAGES * chat.A_PAGE + 500)]
    world.homeserver.history = flood
    reader = Chat(world.house, world.stores.errands, world.homeserver)
    read = await reader.read(ROOM, T0, T0 + 60_000, root="")
    assert chat.MESSAGES <= len(read.messages) <= chat.MESSAGES + chat.A_PAGE
    assert {len(m["text"]) for m in read.messages} == {chat.LONGEST}


class Opens:
    """Decrypts what has a key."""

    async def decrypt(self, event: dict[str, Any]) -> dict[str, Any]:
        if "plain" not in event["content"]:
            raise Undecryptable("its key did not come")
        return {**event, "type": "m.room.message", "content": event["content"]["plain"]}


async def test_encrypted_chat_is_read_where_it_can_be_and_counted_where_not(world: World) -> None:
    plain = {"msgtype": "m.text", "body": "secret"}
    world.homeserver.history = [
        {**message(4000, BOB, ""), "type": "m.room.encrypted", "content": {"ciphertext": "?"}},
        {**message(3000, BOB, ""), "type": "m.room.encrypted", "content": {}},  # redacted
        {**message(2500, BOT, ""), "type": "m.room.encrypted", "content": {"ciphertext": "ours"}},
        {**message(2000, BOB, ""), "type": "m.room.encrypted", "content": {"plain": plain}},
    ]
    for crypto, texts, unread in ((Opens(), ["secret"], 1), (None, [], 2)):
        reader = Chat(world.house, world.stores.errands, world.homeserver, crypto=crypto)
        read = await reader.read(ROOM, T0, T0 + 60_000, root="")
        assert ([m["text"] for m in read.messages], read.unread) == (texts, unread)


async def test_an_export_with_chat(world: World) -> None:
    await a_call(world, "hello", "goodbye")
    world.homeserver.history = [message(500, CAROL, "the agenda: https://x.example")]
    event_id = await world.say(ALICE, "!visio export md with chat")
    answer = (await world.rows())[-1]["content"]
    assert answer["body"].startswith("I read the messages written during the call")
    assert answer["m.relates_to"] == {"m.in_reply_to": {"event_id": event_id}}
    assert await exported(world) == []
    await errands(world)
    (row,) = await exported(world)
    text = row["blob"].decode()
    assert "**Carol** [0:00] *(chat)*: the agenda: https://x.example" in text
    assert text.index("hello goodbye") < text.index("agenda")
    left = await world.stores.errands.of_room(ROOM)
    assert [errand for errand in left if errand.kind == "export"] == []


async def test_a_redacted_message_takes_the_documents_along_that_repeat_it(world: World) -> None:
    await a_call(world, "hello")
    said = message(500, CAROL, "a secret")
    world.homeserver.history = [said]
    await world.say(ALICE, "!visio export md with chat")
    await errands(world)
    await world.say(ALICE, "!visio export md")
    with_chat, without = await exported(world)
    await world.give(world.event("m.room.redaction", CAROL, {"redacts": said["event_id"]}))
    rows = {row["txn_id"]: row for row in await world.rows()}
    assert rows[with_chat["txn_id"]]["kind"] == "withdrawn"
    assert rows[with_chat["txn_id"]]["blob"] is None
    taken_back = rows[f"gone:{with_chat['txn_id']}"]["content"]
    assert taken_back == {"redacts": f"outbox:{with_chat['txn_id']}"}
    assert rows[without["txn_id"]]["kind"] == "file"
    assert f"gone:{without['txn_id']}" not in rows


async def test_a_homeserver_that_does_not_answer_is_told_of(world: World) -> None:
    await a_call(world, "hello")
    await world.say(ALICE, "!visio export md with chat")
    world.homeserver.failure = Unreachable("down", sent=False)
    await errands(world)
    assert await exported(world) == []
    world.now_ms += 30_000
    await errands(world)
    assert "does not answer" in (await world.bodies())[-1]
    left = await world.stores.errands.of_room(ROOM)
    assert [errand for errand in left if errand.kind == "export"] == []


async def test_the_site_that_has_the_record_answers_everybody(world: World) -> None:
    await a_call(world, "hello")
    bot_of_b = world.member("@visio:b", "join", "@visio:b")
    await world.give(bot_of_b)
    await world.say("@bob:b", "!visio export md")
    assert b"hello" in (await exported(world))[0]["blob"]
    await world.stores.db.execute("DELETE FROM conference")
    before = len(await world.rows())
    await world.say("@bob:b", "!visio export md")
    assert len(await world.rows()) == before  # nothing known here: their own site says so


async def test_what_was_deleted_meanwhile_is_not_exported(world: World) -> None:
    await a_call(world, "hello")
    await world.say(ALICE, "!visio export md with chat")
    await world.stores.db.execute("DELETE FROM conference")
    await world.stores.db.execute("DELETE FROM meeting")
    await errands(world)
    assert await exported(world) == []
    late = NewEntry(ROOM, "media", "again", {"event": "colloque.errand", "errand": "no"})
    await world.give(late)
