"""Who does not want to be written down: in one room, or everywhere."""

from __future__ import annotations

from bridge.store.database import Connection, Database, holding

EVERYWHERE = ""
"""Instead of a room id."""


class OptedOut:
    """Since when somebody opted out, in Unix milliseconds."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, conn: Connection, user_id: str, room_id: str, *, now_ms: int) -> None:
        """They opt out; who has already did so then."""
        await conn.execute(
            "INSERT INTO opted_out (user_id, room_id, since_ms) VALUES ($1, $2, $3)"
            " ON CONFLICT (user_id, room_id) DO NOTHING",
            user_id,
            room_id,
            now_ms,
        )

    async def remove(self, conn: Connection, user_id: str, room_id: str) -> None:
        """They may be written down again."""
        await conn.execute(
            "DELETE FROM opted_out WHERE user_id = $1 AND room_id = $2", user_id, room_id
        )

    async def remove_all(self, conn: Connection, user_id: str) -> None:
        """The same in every room."""
        await conn.execute("DELETE FROM opted_out WHERE user_id = $1", user_id)

    async def of_room(self, room_id: str, conn: Connection | None = None) -> dict[str, int]:
        """Who is not written down in this room, and since when."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(
                "SELECT user_id, min(since_ms) AS since_ms FROM opted_out"
                " WHERE room_id = $1 OR room_id = '' GROUP BY user_id ORDER BY user_id",
                room_id,
            )
            return {str(row["user_id"]): int(row["since_ms"]) for row in rows}
