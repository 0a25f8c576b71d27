"""Grants, conferences, utterances and room facts."""

from __future__ import annotations

import dataclasses
from typing import Any

from bridge import ids
from bridge.store.conferences import Conferences
from bridge.store.database import Database
from bridge.store.grants import Grant, Grants
from bridge.store.marks import Marks
from bridge.store.outbox import Outbox, Outgoing
from bridge.store.rooms import Rooms
from bridge.store.utterances import Utterance, Utterances


def _grant(identity: str = "@bob:b:DEV", user: str = "@bob:b", **more: Any) -> Grant:
    values: dict[str, Any] = {
        "media_room": "media",
        "identity": identity,
        "room_id": "!a",
        "user_id": user,
        "device_id": "DEV",
        "granted_ms": 1,
        **more,
    }
    return Grant(**values)


async def test_a_grant_is_found_by_identity_person_and_room(db: Database) -> None:
    grants = Grants(db)
    bob, phone = _grant(), _grant("hash", member_id="m1", granted_ms=2)
    alice, elsewhere = _grant("x", "@alice:a", granted_ms=3), _grant(room_id="!b", media_room="m2")
    for grant in (bob, phone, alice, elsewhere):
        await grants.put(grant)
    assert await grants.of_identity("media", "hash") == phone
    assert await grants.of_identity("media", "nobody") is None
    assert await grants.of_user("!a", "@bob:b") == [bob, phone]
    assert await grants.of_room("!a") == [bob, phone, alice]
    assert await grants.room_of("m2") == "!b"
    assert await grants.room_of("m3") is None


async def test_revoking_names_what_was_valid_and_spares_others(db: Database) -> None:
    grants = Grants(db)
    bob, alice = _grant(), _grant("x", "@alice:a")
    await grants.put(bob)
    await grants.put(alice)
    revoked = dataclasses.replace(bob, revoked_ms=7)
    async with db.acquire() as conn, conn.transaction():
        assert await grants.revoke(conn, "!a", "@bob:b", now_ms=7) == [revoked]
        assert await grants.revoke(conn, "!a", "@bob:b", now_ms=8) == []
    assert await grants.revoked_in("!a") == [revoked]
    assert await grants.of_identity("media", "x") == alice


async def test_a_new_grant_lets_in_again(db: Database) -> None:
    grants = Grants(db)
    await grants.put(_grant())
    async with db.acquire() as conn, conn.transaction():
        await grants.revoke(conn, "!a", "@bob:b", now_ms=7)
    again = _grant(granted_ms=9)
    async with db.acquire() as conn, conn.transaction():
        await grants.put(again, conn)
    assert await grants.of_room("!a") == [again]
    assert await grants.revoked_in("!a") == []


async def test_a_conference_is_one_snapshot_per_room(db: Database) -> None:
    conferences = Conferences(db)
    assert await conferences.load(None, "!a") is None
    async with db.acquire() as conn, conn.transaction():
        await conferences.save(conn, "!a", {"id": "one"}, active=True)
        await conferences.save(conn, "!b", {"id": "two"}, active=True)
        assert await conferences.load(conn, "!a") == {"id": "one"}
    assert await conferences.active() == ["!a", "!b"]
    async with db.acquire() as conn, conn.transaction():
        await conferences.save(conn, "!a", {"id": "one", "ended": True}, active=False)
    assert await conferences.active() == ["!b"]
    assert await conferences.load(None, "!a") == {"id": "one", "ended": True}
    assert await conferences.room_of(ids.media_room("!a")) == "!a"
    assert await conferences.room_of("elsewhere") is None


def _utterance(segment: str = "s1", rev: int = 1, **more: Any) -> Utterance:
    values: dict[str, Any] = {
        "conference": "c1",
        "segment": segment,
        "rev": rev,
        "room_id": "!a",
        "speaker": "@bob:b",
        "device": "DEV",
        "display_name": "Bob",
        "text": "hello",
        "language": "en",
        "start_ms": 10,
        "end_ms": 20,
        "engine": "pocketsphinx",
        "voice": "V1",
        "words": (("hel\u2019lo", 10, 20),),
        "editor": "@anne:a",
        "said_ms": 1_700_000_000_010,
        **more,
    }
    return Utterance(**values)


async def test_an_utterance_is_stored_once_and_read_in_order_of_speech(db: Database) -> None:
    utterances = Utterances(db)
    late, early = _utterance("s2", start_ms=30, end_ms=40), _utterance("s1")
    other = _utterance("s3", conference="c2")
    async with db.acquire() as conn, conn.transaction():
        assert [await utterances.put(conn, one) for one in (late, early, late, other)] == [
            True,
            True,
            False,
            True,
        ]
        assert await utterances.of_conference("c1", conn) == [early, late]
    assert await utterances.of_conference("nothing") == []


async def test_a_correction_replaces_and_knows_the_message_it_edits(db: Database) -> None:
    utterances, outbox = Utterances(db), Outbox(db)
    async with db.acquire() as conn, conn.transaction():
        for rev, text in ((1, "helo"), (2, "hello")):
            await utterances.put(conn, _utterance(rev=rev, text=text))
            row = Outgoing(
                room_id="!a",
                txn_id=f"utt:s1:{rev}",
                kind="message",
                content={},
                segments=("s1",),
                base="utt:s1:1" if rev == 2 else "",
            )
            await outbox.put(conn, row, now_ms=1)
    assert await utterances.of_conference("c1") == [_utterance(rev=2)]
    for event_id in ("$first", "$second"):
        row_waiting = await outbox.next("!a")
        assert row_waiting is not None
        await outbox.sent(row_waiting, event_id)
    assert await utterances.of_conference("c1") == [_utterance(rev=2, event_id="$first")]


async def test_a_name_that_no_database_holds_is_stored_all_the_same(db: Database) -> None:
    utterances = Utterances(db)
    async with db.acquire() as conn, conn.transaction():
        await utterances.put(conn, _utterance(display_name="Bo\0b\ud800", text="é 🎉"))
    (stored,) = await utterances.of_conference("c1")
    assert (stored.display_name, stored.text) == ("Bo\ufffdb?", "é 🎉")


async def test_room_facts(db: Database) -> None:
    rooms = Rooms(db)
    assert await rooms.get(None, "!a") == {}
    async with db.acquire() as conn, conn.transaction():
        await rooms.put(conn, "!a", {"direct": True})
        await rooms.put(conn, "!a", {"direct": False, "said": ["power"]})
        assert await rooms.get(conn, "!a") == {"direct": False, "said": ["power"]}


async def test_marks_move(db: Database) -> None:
    marks = Marks(db)
    assert await marks.get("read") is None
    await marks.put("read", "1")
    await marks.put("read", "2")
    await marks.put("other", "3")
    assert await marks.get("read") == "2"
