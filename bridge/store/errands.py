"""What has to be done outside the database because of something in a room: small, durable, few.

An errand is put down in the transaction that decided it and taken away in the transaction that
knows what came of it. In between it may be carried out more than once: each is harmless to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bridge.store.database import Connection, Database, holding
from bridge.store.text import dumped, loaded

Kind = Literal["mute", "remove", "invite", "ring", "hangup", "export", "summary", "forget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One thing to do. `content` is for whoever carries it out and whoever tells of it."""

    id: str
    room_id: str
    kind: Kind
    content: Mapping[str, Any]
    created_ms: int


class Errands:
    """The errands of all rooms, the oldest first."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, conn: Connection, errand: Errand) -> None:
        """Store one; an id known already is left as it is."""
        await conn.execute(
            "INSERT INTO errand (id, room_id, kind, content, created_ms)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
            errand.id,
            errand.room_id,
            errand.kind,
            dumped(dict(errand.content)),
            errand.created_ms,
        )

    async def rooms(self) -> list[str]:
        """Rooms with an errand."""
        rows = await self._db.fetch("SELECT DISTINCT room_id FROM errand ORDER BY room_id")
        return [row["room_id"] for row in rows]

    async def of_room(self, room_id: str, conn: Connection | None = None) -> list[Errand]:
        """What is to be done in a room."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(
                "SELECT * FROM errand WHERE room_id = $1 ORDER BY created_ms, id", room_id
            )
            return [_errand(dict(row)) for row in rows]

    async def hanging_up(self, room_id: str) -> bool:
        """Whether a call of the room is being ended for everybody at this moment."""
        found = await self._db.fetchval(
            "SELECT COUNT(*) FROM errand WHERE room_id = $1 AND kind = 'hangup'", room_id
        )
        return bool(found)

    async def get(self, conn: Connection, errand_id: str) -> Errand | None:
        """One errand, None where it is done."""
        row = await conn.fetchrow("SELECT * FROM errand WHERE id = $1", errand_id)
        return None if row is None else _errand(dict(row))

    async def note(self, errand_id: str, content: Mapping[str, Any]) -> None:
        """Write down how far an errand is, before the next step is taken."""
        await self._db.execute(
            "UPDATE errand SET content = $2 WHERE id = $1", errand_id, dumped(dict(content))
        )

    async def done(self, errand_id: str, conn: Connection | None = None) -> None:
        """Take one away."""
        async with holding(self._db, conn) as held:
            await held.execute("DELETE FROM errand WHERE id = $1", errand_id)


def _errand(row: dict[str, Any]) -> Errand:
    return Errand(**{**row, "content": loaded(row["content"])})
