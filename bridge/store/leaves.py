"""Leaves that clients handed over to us (table delegated_leave)."""

from __future__ import annotations

from bridge.domain.leaves import Leave
from bridge.store.database import Database


class Leaves:
    """One row for each delayed event of a participant."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, leave: Leave) -> None:
        """Store. Older ones of the same participant are from now on replaced."""
        async with self._db.acquire() as conn, conn.transaction():
            await conn.execute(
                "UPDATE delegated_leave SET replaced = $4"
                " WHERE media_room = $1 AND identity = $2 AND delay_id <> $3",
                leave.media_room,
                leave.identity,
                leave.delay_id,
                True,
            )
            await conn.execute(
                "INSERT INTO delegated_leave (media_room, identity, delay_id, alias, room_id,"
                " user_id, timeout_ms, asked_ms, connected, replaced)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
                " ON CONFLICT (media_room, identity, delay_id) DO UPDATE"
                " SET timeout_ms = excluded.timeout_ms, asked_ms = excluded.asked_ms,"
                " replaced = excluded.replaced",
                leave.media_room,
                leave.identity,
                leave.delay_id,
                leave.alias,
                leave.room_id,
                leave.user_id,
                leave.timeout_ms,
                leave.asked_ms,
                leave.connected,
                leave.replaced,
            )

    async def connected(self, leave: Leave) -> None:
        """Its participant was seen: from now on they can be gone."""
        await self._db.execute(
            "UPDATE delegated_leave SET connected = $4"
            " WHERE media_room = $1 AND identity = $2 AND delay_id = $3",
            leave.media_room,
            leave.identity,
            leave.delay_id,
            True,
        )

    async def drop(self, leave: Leave) -> None:
        """Nothing is left to do for it."""
        await self._db.execute(
            "DELETE FROM delegated_leave WHERE media_room = $1 AND identity = $2 AND delay_id = $3",
            leave.media_room,
            leave.identity,
            leave.delay_id,
        )

    async def all(self) -> list[Leave]:
        """Every one, oldest first."""
        rows = await self._db.fetch(
            "SELECT media_room, identity, delay_id, alias, room_id, user_id, timeout_ms, asked_ms,"
            " connected, replaced FROM delegated_leave ORDER BY asked_ms, delay_id"
        )
        return [
            Leave(
                **{
                    **dict(row),
                    "connected": bool(row["connected"]),
                    "replaced": bool(row["replaced"]),
                }
            )
            for row in rows
        ]
