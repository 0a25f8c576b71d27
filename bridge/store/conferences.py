"""The conference of each room, as the pure machine's snapshot."""

from __future__ import annotations

from typing import Any

from bridge import ids
from bridge.store.database import Connection, Database, holding
from bridge.store.text import dumped, loaded


class Conferences:
    """At most one snapshot per room: the conference that runs, or the last that ran."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self, conn: Connection | None, room_id: str) -> dict[str, Any] | None:
        """The room's snapshot, None where there never was a conference."""
        async with holding(self._db, conn) as held:
            text = await held.fetchval(
                "SELECT snapshot FROM conference WHERE room_id = $1", room_id
            )
            return None if text is None else loaded(text)

    async def save(
        self, conn: Connection, room_id: str, snapshot: dict[str, Any], *, active: bool
    ) -> None:
        """Replace the room's snapshot. `active`: the conference has not ended."""
        await conn.execute(
            "INSERT INTO conference (room_id, media_room, active, snapshot)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT (room_id) DO UPDATE"
            " SET active = excluded.active, snapshot = excluded.snapshot",
            room_id,
            ids.media_room(room_id),
            active,
            dumped(snapshot),
        )

    async def active(self) -> list[str]:
        """Rooms with a conference that has not ended."""
        rows = await self._db.fetch(
            "SELECT room_id FROM conference WHERE active = $1 ORDER BY room_id", True
        )
        return [row["room_id"] for row in rows]

    async def room_of(self, media_room: str) -> str | None:
        """The Matrix room behind a media room that a conference was held in."""
        value: str | None = await self._db.fetchval(
            "SELECT room_id FROM conference WHERE media_room = $1", media_room
        )
        return value
