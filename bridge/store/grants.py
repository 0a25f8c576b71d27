"""Who was given a call token: the person behind each identity of a media room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.store.database import Connection, Database, holding


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A token that was given. `revoked_ms` is set when the person lost the room since."""

    media_room: str
    identity: str
    room_id: str
    user_id: str
    device_id: str
    granted_ms: int
    member_id: str | None = None
    revoked_ms: int | None = None


class Grants:
    """One grant per identity of a media room; the last one counts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, grant: Grant, conn: Connection | None = None) -> None:
        """Store, in place of an earlier grant of the same identity and of its revocation."""
        async with holding(self._db, conn) as held:
            await held.execute(_UPSERT, *_columns(grant))

    async def renew(self, grant: Grant, *, granted_ms: int) -> None:
        """Given again, unless it has been revoked meanwhile."""
        await self._db.execute(
            "UPDATE call_grant SET granted_ms = $3"
            " WHERE media_room = $1 AND identity = $2 AND revoked_ms IS NULL",
            grant.media_room,
            grant.identity,
            granted_ms,
        )

    async def of_identity(self, media_room: str, identity: str) -> Grant | None:
        """The grant of one participant, revoked or not."""
        row = await self._db.fetchrow(
            "SELECT * FROM call_grant WHERE media_room = $1 AND identity = $2", media_room, identity
        )
        return None if row is None else Grant(**dict(row))

    async def of_user(self, room_id: str, user_id: str) -> list[Grant]:
        """Every grant of a person in a Matrix room, revoked or not."""
        return _grants(
            await self._db.fetch(
                "SELECT * FROM call_grant WHERE room_id = $1 AND user_id = $2"
                " ORDER BY granted_ms, identity",
                room_id,
                user_id,
            )
        )

    async def of_room(self, room_id: str, conn: Connection | None = None) -> list[Grant]:
        """Every grant of a Matrix room, revoked or not."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(
                "SELECT * FROM call_grant WHERE room_id = $1 ORDER BY granted_ms, identity", room_id
            )
            return _grants(rows)

    async def revoke(
        self, conn: Connection, room_id: str, user_id: str, *, now_ms: int
    ) -> list[Grant]:
        """Revoke what a person holds in a room. Returns the grants that were valid until now."""
        rows = await conn.fetch(
            "UPDATE call_grant SET revoked_ms = $3"
            " WHERE room_id = $1 AND user_id = $2 AND revoked_ms IS NULL RETURNING *",
            room_id,
            user_id,
            now_ms,
        )
        return _grants(rows)

    async def revoked_in(self, room_id: str) -> list[Grant]:
        """The revoked grants of a Matrix room: whoever joins with one is removed."""
        return [grant for grant in await self.of_room(room_id) if grant.revoked_ms is not None]

    async def room_of(self, media_room: str) -> str | None:
        """The Matrix room behind a media room that somebody was let into."""
        value: str | None = await self._db.fetchval(
            "SELECT room_id FROM call_grant WHERE media_room = $1 LIMIT 1", media_room
        )
        return value


_UPSERT = (
    "INSERT INTO call_grant (media_room, identity, room_id, user_id, device_id, member_id,"
    " granted_ms, revoked_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    " ON CONFLICT (media_room, identity) DO UPDATE SET room_id = excluded.room_id,"
    " user_id = excluded.user_id, device_id = excluded.device_id,"
    " member_id = excluded.member_id, granted_ms = excluded.granted_ms,"
    " revoked_ms = excluded.revoked_ms"
)


def _columns(grant: Grant) -> tuple[Any, ...]:
    return (
        grant.media_room,
        grant.identity,
        grant.room_id,
        grant.user_id,
        grant.device_id,
        grant.member_id,
        grant.granted_ms,
        grant.revoked_ms,
    )


def _grants(rows: list[Any]) -> list[Grant]:
    return [Grant(**dict(row)) for row in rows]
