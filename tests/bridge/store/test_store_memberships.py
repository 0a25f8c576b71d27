"""Memberships of calls on both databases."""

from __future__ import annotations

from dataclasses import replace

from bridge.domain.membership import Membership
from bridge.store.database import Database
from bridge.store.memberships import Memberships

ONE = Membership(
    room_id="!r",
    user_id="@alice:a",
    device_id="DÉV",
    kind="state",
    key="_@alice:a_DÉV_m.call",
    event_id="$1",
    member_id="@alice:a:DÉV",
    service_url="https://visio.a",
    created_ms=1_700_000_000_000,
    sent_ms=1_700_000_000_001,
    expires_ms=1_700_014_400_000,
)
STICKY = replace(ONE, kind="sticky", key="uuid", event_id="$2", intent="audio")
ELSEWHERE = replace(ONE, room_id="!other", expires_ms=5)


async def test_a_room_has_what_was_saved_last(db: Database) -> None:
    store = Memberships(db)
    assert await store.of_room(None, "!r") == []
    async with db.acquire() as conn, conn.transaction():
        await store.save(conn, "!r", [], [ONE, STICKY])
        await store.save(conn, "!other", [], [ELSEWHERE])
        assert await store.of_room(conn, "!r") == [ONE, STICKY]
    newer = replace(ONE, event_id="$3", selection="oldest_membership", expires_ms=9)
    async with db.acquire() as conn, conn.transaction():
        await store.save(conn, "!r", [ONE, STICKY], [newer])
    assert await store.of_room(None, "!r") == [newer]
    assert await store.of_room(None, "!other") == [ELSEWHERE]


async def test_saving_the_same_again_changes_nothing(db: Database) -> None:
    store = Memberships(db)
    async with db.acquire() as conn, conn.transaction():
        await store.save(conn, "!r", [], [ONE])
        await store.save(conn, "!r", [ONE], [ONE])
        await store.save(conn, "!r", [], [ONE])  # after a step back in time: it is there already
    assert await store.of_room(None, "!r") == [ONE]


async def test_the_rooms_with_a_call(db: Database) -> None:
    store = Memberships(db)
    async with db.acquire() as conn, conn.transaction():
        await store.save(conn, "!r", [], [ONE, STICKY])
        await store.save(conn, "!other", [], [ELSEWHERE])
    assert await store.rooms(now_ms=4) == ["!other", "!r"]
    assert await store.rooms(now_ms=5) == ["!r"]
    assert await store.rooms(now_ms=ONE.expires_ms) == []
