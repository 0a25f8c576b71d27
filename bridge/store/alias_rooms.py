"""Rooms the bot made for an alias and nobody has come into yet."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasRoom:
    """One such room."""

    room_id: str
    alias: str
    created_ms: int


class AliasRooms:
    """All of them, the oldest first."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, room: AliasRoom) -> None:
        """Remember a room that was made."""
        await self._db.execute(
            "INSERT INTO alias_room (room_id, alias, created_ms) VALUES ($1, $2, $3)"
            " ON CONFLICT (room_id) DO NOTHING",
            room.room_id,
            room.alias,
            room.created_ms,
        )

    async def before(self, at_ms: int) -> list[AliasRoom]:
        """Those made before then."""
        rows = await self._db.fetch(
            "SELECT room_id, alias, created_ms FROM alias_room WHERE created_ms < $1"
            " ORDER BY created_ms, room_id",
            at_ms,
        )
        return [AliasRoom(**dict(row)) for row in rows]

    async def forget(self, room_id: str) -> None:
        """Somebody has come into it, or it is gone."""
        await self._db.execute("DELETE FROM alias_room WHERE room_id = $1", room_id)
