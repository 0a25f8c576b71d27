"""Small facts about each room, as JSON: its wish as last read, what was said to it already."""

from __future__ import annotations

from typing import Any

from bridge.store.database import Connection, Database, holding
from bridge.store.text import dumped, loaded


class Rooms:
    """One JSON object per room; whoever writes it decides what is in it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, conn: Connection | None, room_id: str) -> dict[str, Any]:
        """The room's facts, empty for a room nothing is known about."""
        async with holding(self._db, conn) as held:
            text = await held.fetchval("SELECT facts FROM room WHERE room_id = $1", room_id)
            return {} if text is None else loaded(text)

    async def put(self, conn: Connection, room_id: str, facts: dict[str, Any]) -> None:
        """Replace the room's facts."""
        await conn.execute(
            "INSERT INTO room (room_id, facts) VALUES ($1, $2)"
            " ON CONFLICT (room_id) DO UPDATE SET facts = excluded.facts",
            room_id,
            dumped(facts),
        )
