"""The one durable, ordered door into the bridge.

Whatever happens to a room (Matrix event, webhook of the media server, segment of the scribe) is
committed here before it is acknowledged to where it came from. Each room's worker takes the entries
in order; its effects and the done-mark are one transaction, so an entry acts once or not at all.

An entry is known by (kind, key) for ever: homeservers, media servers and scribes all repeat
themselves after a failure. Never by Matrix transaction id: Synapse on SQLite counts
those from 1 again when it restarts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bridge.store.database import Connection, Database
from bridge.store.text import dumped, loaded, plain

Kind = Literal["matrix", "media", "scribe", "peer"]


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Something that happened. `key`: event id, webhook id, or segment id and revision."""

    room_id: str
    kind: Kind
    key: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed entry that waits. `attempts`: how often handling it failed so far."""

    seq: int
    room_id: str
    kind: Kind
    key: str
    payload: dict[str, Any]
    received_ms: int
    attempts: int


class Inbox:
    """The entries of all rooms."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # PostgreSQL gives numbers when a row is written, not when it is committed: two commits at
        # once could show the second row of a room before the first.
        self._one_commit = asyncio.Lock()

    async def commit(self, entries: Sequence[NewEntry], *, now_ms: int) -> set[str]:
        """Store all entries or none. Returns the rooms that got something not known before."""
        rooms: set[str] = set()
        async with (
            self._one_commit,
            self._db.acquire() as conn,
            conn.transaction(),
        ):
            for entry in entries:
                if await self._insert(conn, entry, now_ms):
                    rooms.add(entry.room_id)
        return rooms

    async def waiting_rooms(self) -> list[str]:
        """Rooms with entries to handle, the one that waits longest first."""
        rows = await self._db.fetch(
            "SELECT room_id FROM inbox WHERE state = 'waiting' GROUP BY room_id ORDER BY MIN(seq)"
        )
        return [row["room_id"] for row in rows]

    async def next(self, room_id: str) -> Entry | None:
        """The room's first waiting entry. It stays first until `done` or given up."""
        row = await self._db.fetchrow(
            "SELECT seq, room_id, kind, key, payload, received_ms, attempts FROM inbox"
            " WHERE room_id = $1 AND state = 'waiting' ORDER BY seq LIMIT 1",
            room_id,
        )
        if row is None:
            return None
        return Entry(**{**dict(row), "payload": loaded(row["payload"])})

    async def first_heard_of(self, room_id: str) -> int | None:
        """When the first entry of this room came (milliseconds), None for an unknown room."""
        value: int | None = await self._db.fetchval(
            "SELECT MIN(received_ms) FROM inbox WHERE room_id = $1", room_id
        )
        return value

    async def done(self, conn: Connection, entry: Entry) -> None:
        """Mark as handled, inside the transaction of its effects. Drops what it said."""
        await conn.execute(
            "UPDATE inbox SET state = 'done', payload = NULL WHERE seq = $1", entry.seq
        )

    async def failed(self, entry: Entry, reason: str, *, give_up: bool) -> None:
        """Count a failure. `give_up` sets the entry aside, kept with its reason."""
        await self._db.execute(
            "UPDATE inbox SET attempts = attempts + 1, reason = $2, state = $3 WHERE seq = $1",
            entry.seq,
            plain(reason)[:2000],
            "set_aside" if give_up else "waiting",
        )

    async def lock(self, entry: Entry, key: str) -> None:
        """Put an entry by until `unlock(key)` or `unlock_old`. Others of its room go on."""
        await self._db.execute(
            "UPDATE inbox SET state = 'locked', reason = $2 WHERE seq = $1", entry.seq, key
        )

    async def unlock(self, conn: Connection, key: str) -> set[str]:
        """What was locked by this key waits again. Returns the rooms it is in."""
        rows = await conn.fetch(
            "UPDATE inbox SET state = 'waiting' WHERE state = 'locked' AND reason = $1"
            " RETURNING room_id",
            key,
        )
        return {row["room_id"] for row in rows}

    async def unlock_old(self, before_ms: int) -> set[str]:
        """The same for what came before that time, whatever it was locked by."""
        rows = await self._db.fetch(
            "UPDATE inbox SET state = 'waiting' WHERE state = 'locked' AND received_ms < $1"
            " RETURNING room_id",
            before_ms,
        )
        return {row["room_id"] for row in rows}

    async def set_aside(self, conn: Connection, entry: Entry, reason: str) -> None:
        """It cannot be handled, ever; inside the transaction that says so. Drops what it said."""
        await conn.execute(
            "UPDATE inbox SET state = 'set_aside', payload = NULL, reason = $2 WHERE seq = $1",
            entry.seq,
            plain(reason)[:2000],
        )

    async def empty(self, conn: Connection, kind: Kind, prefix: str) -> None:
        """Drop what entries said that were set aside after failures, by the start of their key."""
        await conn.execute(
            "UPDATE inbox SET payload = NULL WHERE kind = $1 AND state = 'set_aside'"
            " AND SUBSTR(key, 1, $2) = $3",
            kind,
            len(prefix),
            prefix,
        )

    async def _insert(self, conn: Connection, entry: NewEntry, now_ms: int) -> bool:
        seq = await conn.fetchval(
            "INSERT INTO inbox (room_id, kind, key, payload, received_ms)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, key) DO NOTHING RETURNING seq",
            entry.room_id,
            entry.kind,
            entry.key,
            dumped(entry.payload),
            now_ms,
        )
        return seq is not None
