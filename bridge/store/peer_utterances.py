"""What was said at other sites in the same call, as their bridges told it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.domain import transcript
from bridge.store.database import Connection, Database, holding
from bridge.store.text import plain, read_words, written_words


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUtterance(transcript.Utterance):
    """One revision of a segment of a site. Times are milliseconds since the call's start.

    `conference`: our own part of the call.
    """

    conference: str
    site: str


class PeerUtterances:
    """Kept apart from our own: no site can change or hide what was said at another."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, utterances: Sequence[PeerUtterance]) -> None:
        """Store; revisions that are stored already stay as they are.

        One without text says that its segment was deleted: no words of it are kept here either.
        """
        async with self._db.acquire() as conn, conn.transaction():
            for utterance in utterances:
                await conn.execute(_INSERT, *_columns(utterance))
                if not utterance.text:
                    await self.empty(
                        conn, utterance.conference, utterance.site, (utterance.segment,)
                    )

    async def empty(
        self, conn: Connection, conference: str, site: str, segments: Iterable[str]
    ) -> None:
        """Delete the words of every revision of these segments of a site."""
        for segment in segments:
            await conn.execute(
                "UPDATE peer_utterance SET text = '', words = '[]'"
                " WHERE conference = $1 AND site = $2 AND segment = $3 AND text <> ''",
                conference,
                site,
                segment,
            )

    async def delete(self, conn: Connection, conference: str) -> None:
        """Delete everything of a conference."""
        await conn.execute("DELETE FROM peer_utterance WHERE conference = $1", conference)

    async def of_speaker(
        self, conn: Connection, speaker: str, room_id: str = ""
    ) -> list[PeerUtterance]:
        """Copies of what somebody said at other sites, with words, in all rooms or in one."""
        rows = await conn.fetch(
            "SELECT * FROM peer_utterance WHERE speaker = $1 AND text <> ''"
            " AND ($2 = '' OR conference IN (SELECT conference FROM meeting WHERE room_id = $2))"
            " ORDER BY conference, start_ms, segment, rev",
            speaker,
            room_id,
        )
        return [PeerUtterance(**{**dict(row), "words": read_words(row["words"])}) for row in rows]

    async def count(
        self, conference: str, site: str, conn: Connection | None = None
    ) -> tuple[int, int]:
        """How many revisions, and how many segments, there are of a site."""
        async with holding(self._db, conn) as held:
            row = await held.fetchrow(
                "SELECT COUNT(*) AS revisions,"
                " COUNT(DISTINCT CASE WHEN text <> '' THEN segment END) AS segments"
                " FROM peer_utterance WHERE conference = $1 AND site = $2",
                conference,
                site,
            )
        return (0, 0) if row is None else (row["revisions"], row["segments"])

    async def of_conference(
        self, conference: str, conn: Connection | None = None
    ) -> list[PeerUtterance]:
        """Every revision of every site, in the order they were begun."""
        async with holding(self._db, conn) as held:
            rows = await held.fetch(
                "SELECT * FROM peer_utterance WHERE conference = $1"
                " ORDER BY start_ms, site, segment, rev",
                conference,
            )
        return [PeerUtterance(**{**dict(row), "words": read_words(row["words"])}) for row in rows]


_INSERT = (
    "INSERT INTO peer_utterance (conference, site, segment, rev, speaker, display_name, text,"
    " language, start_ms, end_ms, engine, voice, words, editor)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    " ON CONFLICT (conference, site, segment, rev) DO NOTHING"
)


def _columns(utterance: PeerUtterance) -> tuple[Any, ...]:
    return (
        utterance.conference,
        utterance.site,
        utterance.segment,
        utterance.rev,
        utterance.speaker,
        plain(utterance.display_name),
        plain(utterance.text),
        plain(utterance.language),
        utterance.start_ms,
        utterance.end_ms,
        plain(utterance.engine),
        utterance.voice,
        written_words(utterance.words),
        utterance.editor,
    )
