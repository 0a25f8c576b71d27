"""Meetings and the names of voices, on both databases."""

from __future__ import annotations

from dataclasses import replace

from bridge.store.database import Database
from bridge.store.meetings import Meeting, Meetings, VoiceNames

MEETING = Meeting(
    conference="c1",
    call_id="call",
    room_id="!a",
    room_name="Budget\0",
    title="Visio",
    started_ms=10,
    ended_ms=20,
    language="fr",
    encrypted=True,
    snapshot={"id": "c1"},
)


async def test_a_meeting_is_kept_and_found(db: Database) -> None:
    meetings = Meetings(db)
    known = replace(MEETING, room_name="Budget\ufffd")
    later = replace(known, conference="c2", started_ms=30, root="$root", encrypted=False)
    async with db.acquire() as conn, conn.transaction():
        await meetings.put(conn, MEETING)
        await meetings.put(conn, later)
        assert await meetings.get("c1", conn) == known
        assert await meetings.get("c3", conn) is None
    assert await meetings.of_room("!a") == [later, known]
    assert await meetings.of_room("!a", limit=1) == [later]
    assert await meetings.of_room("!a", before_ms=30) == [known]
    assert await meetings.of_room("!b") == []
    assert await meetings.of_call("!a", "call") == [known, later]
    assert await meetings.of_call("!b", "call") == []


async def test_what_is_known_of_a_meeting_is_replaced_and_its_root_stays(db: Database) -> None:
    meetings = Meetings(db)
    async with db.acquire() as conn, conn.transaction():
        await meetings.put(conn, replace(MEETING, root="$root"))
        await meetings.put(conn, replace(MEETING, ended_ms=99, snapshot={"id": "c1", "rev": 1}))
    found = await meetings.get("c1")
    assert found is not None
    assert (found.root, found.ended_ms, found.snapshot) == ("$root", 99, {"id": "c1", "rev": 1})


async def test_voices_are_named_in_one_meeting(db: Database) -> None:
    meetings, names = Meetings(db), VoiceNames(db)
    async with db.acquire() as conn, conn.transaction():
        await meetings.put(conn, MEETING)
        await names.put(conn, "c1", "@room:a", "V1", name="Anna", by="@bob:b")
        await names.put(conn, "c1", "@room:a", "V1", name="Anne Martin", by="@bob:b")
        await names.put(conn, "c2", "@room:a", "V1", name="Other", by="@bob:b")
    assert await names.of_conference("c1") == {("@room:a", "V1"): "Anne Martin"}
    async with db.acquire() as conn, conn.transaction():
        await meetings.delete(conn, "c1")
    assert await names.of_conference("c1") == {}
    assert await meetings.get("c1") is None
    assert await names.of_conference("c2") != {}
