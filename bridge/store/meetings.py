"""Meetings that are over, for as long as anything of them is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.store.database import Connection, Database, Scheme, holding
from bridge.store.text import dumped, loaded, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """One conference that is over. Times are Unix milliseconds.

    `snapshot`: the whole Conference as JSON. `root`: the event id of the call's card, None where
    it is not known.
    """

    conference: str
    call_id: str
    room_id: str
    room_name: str
    title: str
    started_ms: int
    ended_ms: int
    language: str
    encrypted: bool
    snapshot: dict[str, Any]
    root: str | None = None


class Meetings:
    """The meetings of all rooms. What is old begins here: pages, exports, corrections."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, conn: Connection, meeting: Meeting) -> None:
        """Store, or replace what is known of it; a root once known stays."""
        await conn.execute(_PUT, *_columns(meeting))

    async def get(self, conference: str, conn: Connection | None = None) -> Meeting | None:
        """One meeting by our own name for it, None where nothing of it is kept."""
        async with holding(self._db, conn) as held:
            row = await held.fetchrow("SELECT * FROM meeting WHERE conference = $1", conference)
        return None if row is None else _read(dict(row))

    async def of_room(
        self, room_id: str, *, limit: int = 200, before_ms: int | None = None
    ) -> list[Meeting]:
        """A room's meetings, the newest first; those begun before `before_ms`, where given."""
        rows = await self._db.fetch(
            "SELECT * FROM meeting WHERE room_id = $1 AND started_ms < $2"
            " ORDER BY started_ms DESC, conference LIMIT $3",
            room_id,
            before_ms if before_ms is not None else 2**62,
            limit,
        )
        return [_read(dict(row)) for row in rows]

    async def of_root(
        self, room_id: str, root: str | None, conn: Connection | None = None
    ) -> Meeting | None:
        """The meeting whose thread hangs below this event, None where there is none."""
        async with holding(self._db, conn) as held:
            row = await held.fetchrow(
                "SELECT * FROM meeting WHERE room_id = $1 AND root = $2"
                " ORDER BY started_ms DESC LIMIT 1",
                room_id,
                root,
            )
        return None if row is None else _read(dict(row))

    async def rooms(self, limit: int) -> list[str]:
        """Rooms with meetings, those with the newest first."""
        rows = await self._db.fetch(
            "SELECT room_id FROM meeting GROUP BY room_id"
            " ORDER BY MAX(started_ms) DESC, room_id LIMIT $1",
            limit,
        )
        return [row["room_id"] for row in rows]

    async def newest(
        self,
        *,
        rooms: Sequence[str],
        conferences: Sequence[str] = (),
        before: tuple[int, str] = (2**62, ""),
        limit: int,
    ) -> list[Meeting]:
        """Meetings of some rooms, and some others by name, the newest first: those after `before`,
        which is the start and the name of the last one of an earlier page."""
        query = _NEWEST if self._db.scheme == Scheme.SQLITE else _NEWEST_POSTGRES
        names = json.dumps(list(rooms)), json.dumps(list(conferences))
        rows = await self._db.fetch(query, *names, *before, limit)
        return [_read(dict(row)) for row in rows]

    async def of_call(
        self, room_id: str, call_id: str, conn: Connection | None = None
    ) -> list[Meeting]:
        """Our parts of one call, the oldest first."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(
                "SELECT * FROM meeting WHERE call_id = $1 AND room_id = $2 ORDER BY started_ms",
                call_id,
                room_id,
            )
        return [_read(dict(row)) for row in rows]

    async def delete(self, conn: Connection, conference: str) -> None:
        """Forget one meeting and who spoke with which voice."""
        await conn.execute("DELETE FROM voice_name WHERE conference = $1", conference)
        await conn.execute("DELETE FROM meeting WHERE conference = $1", conference)


class VoiceNames:
    """Who speaks with a voice of a shared microphone, remembered inside one meeting."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(
        self, conn: Connection, conference: str, speaker: str, voice: str, *, name: str, by: str
    ) -> None:
        """Name a voice, in place of an earlier name. `by`: who says so."""
        await conn.execute(
            "INSERT INTO voice_name (conference, speaker, voice, name, named_by)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (conference, speaker, voice)"
            " DO UPDATE SET name = excluded.name, named_by = excluded.named_by",
            conference,
            speaker,
            voice,
            plain(name),
            by,
        )

    async def of_conference(
        self, conference: str, conn: Connection | None = None
    ) -> dict[tuple[str, str], str]:
        """Names by (speaker, voice)."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(
                "SELECT speaker, voice, name FROM voice_name WHERE conference = $1", conference
            )
        return {(row["speaker"], row["voice"]): row["name"] for row in rows}


_NEWEST = (
    "SELECT * FROM meeting WHERE (room_id IN (SELECT value FROM json_each($1))"
    " OR conference IN (SELECT value FROM json_each($2))) AND (started_ms, conference) < ($3, $4)"
    " ORDER BY started_ms DESC, conference DESC LIMIT $5"
)
_NEWEST_POSTGRES = (
    "SELECT * FROM meeting WHERE (room_id IN (SELECT jsonb_array_elements_text($1::text::jsonb))"
    " OR conference IN (SELECT jsonb_array_elements_text($2::text::jsonb)))"
    " AND (started_ms, conference) < ($3, $4) ORDER BY started_ms DESC, conference DESC LIMIT $5"
)

_PUT = (
    "INSERT INTO meeting (conference, call_id, room_id, room_name, title, started_ms, ended_ms,"
    " language, encrypted, snapshot, root)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (conference) DO UPDATE"
    " SET call_id = excluded.call_id, room_name = excluded.room_name, title = excluded.title,"
    " started_ms = excluded.started_ms, ended_ms = excluded.ended_ms,"
    " language = excluded.language, encrypted = excluded.encrypted, snapshot = excluded.snapshot,"
    " root = COALESCE(excluded.root, meeting.root)"
)


def _columns(meeting: Meeting) -> tuple[Any, ...]:
    return (
        meeting.conference,
        meeting.call_id,
        meeting.room_id,
        plain(meeting.room_name),
        plain(meeting.title),
        meeting.started_ms,
        meeting.ended_ms,
        meeting.language,
        meeting.encrypted,
        dumped(meeting.snapshot),
        meeting.root,
    )


def _read(row: Mapping[str, Any]) -> Meeting:
    values = {**dict(row), "snapshot": loaded(row["snapshot"])}
    # SQLite has no truth values of its own.
    return Meeting(**{**values, "encrypted": bool(row["encrypted"])})
