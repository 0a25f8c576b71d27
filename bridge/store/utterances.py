"""What was said, by whom and when. Stored before it is posted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.domain import transcript
from bridge.store.database import Connection, Database, holding
from bridge.store.text import plain, read_words, written_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance(transcript.Utterance):
    """A final segment. Times are milliseconds since the conference's start.

    `speaker` is a Matrix id. `event_id`: the message that shows it, once the outbox sent it.
    A correction is a higher `rev` of the same segment; one without text says that it was deleted.
    `said_ms`: when it was begun, Unix milliseconds.
    """

    conference: str
    room_id: str
    device: str
    event_id: str | None = None
    said_ms: int = 0


class Utterances:
    """Every revision of every segment."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, conn: Connection, utterance: Utterance) -> bool:
        """Store. False where this revision of the segment is stored already."""
        stored = await conn.fetchval(_INSERT, *_columns(utterance))
        return stored is not None

    async def revisions(self, conference: str) -> list[Utterance]:
        """Every revision of every segment, in the order they were begun."""
        rows = await self._db.fetch(
            f"SELECT {_NAMES} FROM utterance WHERE conference = $1"  # noqa: S608 (constants)
            " ORDER BY start_ms, segment, rev",
            conference,
        )
        return [_read(dict(row)) for row in rows]

    async def history(self, conn: Connection, segment: str) -> list[Utterance]:
        """Every revision of one segment, the newest last."""
        rows = await conn.fetch(
            f"SELECT {_NAMES} FROM utterance WHERE segment = $1 ORDER BY rev",  # noqa: S608
            segment,
        )
        return [_read(dict(row)) for row in rows]

    async def latest(self, conn: Connection, segments: Iterable[str]) -> list[Utterance]:
        """The last revision of each of these, in the order they were begun."""
        found = [(await self.history(conn, segment))[-1:] for segment in segments]
        return sorted((u for one in found for u in one), key=lambda u: (u.start_ms, u.segment))

    async def messages(self, conference: str) -> dict[str, str]:
        """The message that shows each segment, by segment: its event id. Corrections are edits of
        it."""
        rows = await self._db.fetch(
            "SELECT u.segment, COALESCE(o.event_id, u.event_id) AS event_id FROM utterance u"
            " LEFT JOIN shown s ON s.segment = u.segment AND s.base = ''"
            " LEFT JOIN outbox o ON o.txn_id = s.txn_id"
            " WHERE u.conference = $1 ORDER BY u.rev DESC",
            conference,
        )
        return {row["segment"]: row["event_id"] for row in rows if row["event_id"]}

    async def empty(self, conn: Connection, tombstone: Utterance) -> None:
        """Delete the words of every revision of a segment. `tombstone` says that it is deleted."""
        await conn.execute(
            "UPDATE utterance SET text = '', words = '[]' WHERE segment = $1", tombstone.segment
        )
        await self.put(conn, tombstone)

    async def delete(self, conn: Connection, conference: str) -> None:
        """Delete everything of a conference, that it was deleted too."""
        await conn.execute("DELETE FROM utterance WHERE conference = $1", conference)

    async def rooms_of(self, speaker: str) -> list[str]:
        """Rooms where something of somebody was written down, here or at another site."""
        rows = await self._db.fetch(
            "SELECT DISTINCT room_id FROM utterance WHERE speaker = $1 AND text <> ''"
            " UNION SELECT DISTINCT m.room_id FROM peer_utterance p"
            " JOIN meeting m ON m.conference = p.conference"
            " WHERE p.speaker = $1 AND p.text <> ''",
            speaker,
        )
        return sorted(row["room_id"] for row in rows)

    async def of_speaker(
        self, conn: Connection, speaker: str, room_id: str = ""
    ) -> list[Utterance]:
        """Every revision with words of what somebody said, in all rooms or in one."""
        rows = await conn.fetch(
            f"SELECT {_NAMES} FROM utterance WHERE speaker = $1"  # noqa: S608 (constants)
            " AND (room_id = $2 OR $2 = '') AND text <> '' ORDER BY said_ms, segment, rev",
            speaker,
            room_id,
        )
        return [_read(dict(row)) for row in rows]

    async def of_conference(
        self, conference: str, conn: Connection | None = None
    ) -> list[Utterance]:
        """The last revision of each segment, in the order they were begun."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(_SELECT, conference)
        return [_read(dict(row)) for row in rows]


_NAMES = (
    "conference, segment, rev, room_id, speaker, device, display_name, text, language,"
    " start_ms, end_ms, engine, voice, words, editor, said_ms"
)

_INSERT = (
    f"INSERT INTO utterance ({_NAMES}, event_id)"  # noqa: S608 (constants)
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,"
    " $17)"
    " ON CONFLICT (segment, rev) DO NOTHING RETURNING rev"
)

_SELECT = (
    f"SELECT {', '.join('u.' + name.strip() for name in _NAMES.split(','))},"  # noqa: S608
    " COALESCE(u.event_id, o.event_id) AS event_id FROM utterance u"
    " LEFT JOIN shown s ON s.segment = u.segment AND s.base = ''"
    " LEFT JOIN outbox o ON o.txn_id = s.txn_id"
    " WHERE u.conference = $1 AND NOT EXISTS"
    " (SELECT 1 FROM utterance v WHERE v.segment = u.segment AND v.rev > u.rev)"
    " ORDER BY u.start_ms, u.end_ms, u.segment"
)


def _columns(utterance: Utterance) -> tuple[Any, ...]:
    return (
        utterance.conference,
        utterance.segment,
        utterance.rev,
        utterance.room_id,
        utterance.speaker,
        utterance.device,
        plain(utterance.display_name),
        plain(utterance.text),
        utterance.language,
        utterance.start_ms,
        utterance.end_ms,
        utterance.engine,
        utterance.voice,
        written_words(utterance.words),
        utterance.editor,
        utterance.said_ms,
        utterance.event_id,
    )


def _read(row: Mapping[str, Any]) -> Utterance:
    return Utterance(**{**dict(row), "words": read_words(row["words"])})
