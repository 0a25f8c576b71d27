"""The inbox: once, in order, across restarts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bridge import config
from bridge.store.database import Database, open_database
from bridge.store.inbox import Entry, Inbox, NewEntry


def _event(number: int, room_id: str = "!a") -> NewEntry:
    return NewEntry(room_id, "matrix", f"${number}", {"number": number})


async def _drain(db: Database, inbox: Inbox, room_id: str) -> list[str]:
    keys = []
    while (entry := await inbox.next(room_id)) is not None:
        keys.append(entry.key)
        async with db.acquire() as conn, conn.transaction():
            await inbox.done(conn, entry)
    return keys


async def test_an_entry_comes_out_as_it_went_in(db: Database) -> None:
    inbox = Inbox(db)
    payload = {"text": "Zoé \ud800 \0", "list": [1, None, True], "big": 2**53}
    assert await inbox.commit([NewEntry("!a", "media", "w1", payload)], now_ms=17) == {"!a"}
    assert await inbox.next("!a") == Entry(
        seq=1, room_id="!a", kind="media", key="w1", payload=payload, received_ms=17, attempts=0
    )
    assert await inbox.next("!b") is None


async def test_each_room_in_order(db: Database) -> None:
    inbox = Inbox(db)
    rooms = await inbox.commit([_event(n, "!ab"[: 1 + n % 2] + "r") for n in range(10)], now_ms=1)
    assert rooms == {"!r", "!ar"}
    assert await inbox.waiting_rooms() == ["!r", "!ar"]
    assert await _drain(db, inbox, "!r") == ["$0", "$2", "$4", "$6", "$8"]
    assert await inbox.waiting_rooms() == ["!ar"]


async def test_a_known_key_is_nothing_new_before_and_after_it_was_handled(db: Database) -> None:
    inbox = Inbox(db)
    await inbox.commit([_event(1), _event(1)], now_ms=1)
    assert await inbox.commit([_event(1)], now_ms=2) == set()
    assert await _drain(db, inbox, "!a") == ["$1"]
    assert await inbox.commit([_event(1), _event(2)], now_ms=3) == {"!a"}
    assert await _drain(db, inbox, "!a") == ["$2"]


async def test_the_same_key_of_another_kind_is_new(db: Database) -> None:
    inbox = Inbox(db)
    await inbox.commit([NewEntry("!a", "media", "1", {})], now_ms=1)
    assert await inbox.commit([NewEntry("!a", "scribe", "1", {})], now_ms=1) == {"!a"}


async def test_done_and_effects_are_one(db: Database) -> None:
    inbox = Inbox(db)
    await inbox.commit([_event(1)], now_ms=1)
    entry = await inbox.next("!a")
    assert entry is not None
    with contextlib.suppress(ZeroDivisionError):
        async with db.acquire() as conn, conn.transaction():
            await inbox.done(conn, entry)
            raise ZeroDivisionError
    assert await inbox.next("!a") == entry


async def test_what_was_said_is_dropped_when_done(db: Database) -> None:
    inbox = Inbox(db)
    await inbox.commit([_event(1)], now_ms=1)
    await _drain(db, inbox, "!a")
    assert await db.fetchval("SELECT payload FROM inbox") is None


async def test_a_failing_entry_is_tried_again_and_then_set_aside(db: Database) -> None:
    inbox = Inbox(db)
    await inbox.commit([_event(1), _event(2)], now_ms=1)
    for attempt in range(3):
        entry = await inbox.next("!a")
        assert entry is not None
        assert (entry.key, entry.attempts) == ("$1", attempt)
        await inbox.failed(entry, f"broken \0 {attempt}", give_up=attempt == 2)
    entry = await inbox.next("!a")
    assert entry is not None
    assert entry.key == "$2"
    row = await db.fetchrow("SELECT * FROM inbox WHERE state = 'set_aside'")
    assert row is not None
    assert (row["key"], row["reason"], row["attempts"]) == ("$1", "broken \ufffd 2", 3)
    assert row["payload"] is not None


async def test_all_or_nothing(db: Database) -> None:
    inbox = Inbox(db)
    bad = NewEntry("!a", "matrix", "$2", {"x": object()})
    with pytest.raises(TypeError):
        await inbox.commit([_event(1), bad], now_ms=1)
    assert await inbox.waiting_rooms() == []


async def test_entries_survive_a_restart(settings: config.Settings) -> None:
    first = await open_database(settings)
    await Inbox(first).commit([_event(1), _event(2)], now_ms=1)
    await first.stop()
    second = await open_database(settings)
    inbox = Inbox(second)
    assert await inbox.waiting_rooms() == ["!a"]
    assert await inbox.commit([_event(2), _event(3)], now_ms=2) == {"!a"}
    assert await _drain(second, inbox, "!a") == ["$1", "$2", "$3"]
    await second.stop()


async def test_many_commits_at_once_lose_nothing_and_keep_each_sources_order(db: Database) -> None:
    inbox = Inbox(db)

    async def source(name: int) -> None:
        for number in range(10):
            await inbox.commit([NewEntry("!a", "scribe", f"{name}:{number}", {})], now_ms=1)

    await asyncio.gather(*(source(name) for name in range(5)))
    keys = await _drain(db, inbox, "!a")
    assert len(keys) == 50
    for name in range(5):
        mine = [key for key in keys if key.startswith(f"{name}:")]
        assert mine == [f"{name}:{number}" for number in range(10)]


async def test_when_a_room_was_first_heard_of(db: Database) -> None:
    inbox = Inbox(db)
    assert await inbox.first_heard_of("!a") is None
    await inbox.commit([_event(1)], now_ms=7)
    await inbox.commit([_event(2)], now_ms=9)
    await _drain(db, inbox, "!a")
    assert await inbox.first_heard_of("!a") == 7
