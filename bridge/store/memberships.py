"""Who says that they are in a room's call: the memberships of each room, as last heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields
from typing import Any

from bridge.domain.membership import Membership
from bridge.store.database import Connection, Database, holding


class Memberships:
    """One row for each place of a room: a state key, or a sticky key of its sender."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of_room(self, conn: Connection | None, room_id: str) -> list[Membership]:
        """All of a room, expired ones too."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(
                f"SELECT {_NAMES} FROM membership WHERE room_id = $1 ORDER BY kind, place",  # noqa: S608
                room_id,
            )
            return [_membership(row) for row in rows]

    async def save(
        self,
        conn: Connection,
        room_id: str,
        before: Iterable[Membership],
        after: Iterable[Membership],
    ) -> None:
        """Make the room's rows `after`, where they are `before`."""
        was = {(one.kind, one.place): one for one in before}
        shall = {(one.kind, one.place): one for one in after}
        for kind, place in was.keys() - shall.keys():
            await conn.execute(
                "DELETE FROM membership WHERE room_id = $1 AND kind = $2 AND place = $3",
                room_id,
                kind,
                place,
            )
        for key, one in shall.items():
            if was.get(key) != one:
                await conn.execute(_UPSERT, one.place, *astuple(one))

    async def rooms(self, *, now_ms: int) -> list[str]:
        """Rooms in whose call somebody says to be."""
        rows = await self._db.fetch(
            "SELECT DISTINCT room_id FROM membership WHERE expires_ms > $1 ORDER BY room_id", now_ms
        )
        return [row["room_id"] for row in rows]


_FIELDS = [f.name for f in fields(Membership)]
_NAMES = ", ".join(_FIELDS)
_UPSERT = (
    f"INSERT INTO membership (place, {_NAMES})"  # noqa: S608
    f" VALUES ({', '.join(f'${n + 1}' for n in range(len(_FIELDS) + 1))})"
    " ON CONFLICT (room_id, kind, place) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _FIELDS)
)


def _membership(row: Any) -> Membership:
    return Membership(**dict(row))
