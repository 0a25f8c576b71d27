"""How far something was read, by name."""

from __future__ import annotations

from bridge.store.database import Database


class Marks:
    """One text per name."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, name: str) -> str | None:
        """The mark, None before it was ever set."""
        value: str | None = await self._db.fetchval("SELECT value FROM mark WHERE name = $1", name)
        return value

    async def put(self, name: str, value: str) -> None:
        """Move the mark."""
        await self._db.execute(
            "INSERT INTO mark (name, value) VALUES ($1, $2)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            value,
        )
