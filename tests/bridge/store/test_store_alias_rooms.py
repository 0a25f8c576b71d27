"""Rooms made for an alias, on both databases."""

from __future__ import annotations

from bridge.store.alias_rooms import AliasRoom, AliasRooms
from bridge.store.database import Database


async def test_rooms_are_known_until_they_are_forgotten(db: Database) -> None:
    store = AliasRooms(db)
    first = AliasRoom(room_id="!1", alias="#visio_été:a", created_ms=1_700_000_000_000)
    second = AliasRoom(room_id="!2", alias="#visio_b:a", created_ms=1_700_000_000_001)
    for room in (second, first, first):
        await store.put(room)
    assert await store.before(1_700_000_000_002) == [first, second]
    assert await store.before(1_700_000_000_001) == [first]
    await store.forget("!1")
    assert await store.before(1_700_000_000_002) == [second]
