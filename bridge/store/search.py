"""Full-text search over everything that was said: SQLite's FTS5, PostgreSQL's tsvector.

What is looked for and how is decided in bridge.domain.search; here the two databases are asked the
same in their own ways. Found is only what lies in the given rooms and meetings: rights come from
outside, and without them nothing is asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge.domain import search as terms_of
from bridge.domain.search import Term, Word
from bridge.store.database import Connection, Database, Scheme

_BATCH = 100
"""Segments put into the index in one transaction: SQLite has one writer, which others wait for."""
MOST_HITS = 100
_AT_ONCE = 4
_LONGEST_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where may be looked: whole rooms, and single meetings of others. `encrypted`: also in
    meetings of encrypted calls."""

    rooms: Sequence[str] = ()
    conferences: Sequence[str] = ()
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What else a hit must be. Times are Unix milliseconds of the meeting's start; `who` is a
    Matrix id, or a part of a speaker's name."""

    room: str = ""
    who: str = ""
    from_ms: int = 0
    to_ms: int = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An utterance that was found, best first. `start_ms` counts from the conference's start, of
    other sites' from the call's; `said_ms` is a Unix time, 0 where it is not known.

    `event_id`: the message that shows it, None for other sites' and where it was not sent.
    """

    conference: str
    room_id: str
    room_name: str
    title: str
    meeting_language: str
    started_ms: int
    site: str
    segment: str
    speaker: str
    display_name: str
    voice: str
    voice_name: str
    text: str
    language: str
    start_ms: int
    said_ms: int
    event_id: str | None


class Search:
    """The index over utterances and peers' utterances."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sqlite = db.scheme == Scheme.SQLITE
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def refresh(self, limit: int = _BATCH) -> int:
        """Index what was written since. How many segments were looked at: below `limit`, all."""
        async with self._db.acquire() as conn, conn.transaction():
            dirty = await conn.fetch(_DIRTY if self._sqlite else _DIRTY_POSTGRES, limit)
            for row in dirty:
                await self._renew(conn, row["conference"], row["site"], row["segment"])
            removed = any(row["removed"] for row in dirty)
            if removed and self._sqlite:
                # FTS5 only marks what is deleted until its segments are merged.
                await conn.execute("INSERT INTO search_words (search_words) VALUES ('optimize')")
        if removed and not self._sqlite:
            await self._db.execute("VACUUM search_entry")  # likewise: dead rows keep their words
        return len(dirty)

    async def languages(self) -> list[str]:
        """In which languages something was said."""
        rows = await self._db.fetch("SELECT DISTINCT language FROM search_entry")
        return [row["language"] for row in rows]

    async def find(
        self,
        terms: Sequence[Term],
        scope: Scope,
        only: Filter | None = None,
        *,
        limit: int = 20,
        offset: int = 0,
    ) -> list[Hit]:
        """At most `limit` (100) utterances with all the terms, best first, after `offset` others.

        What was stored a moment ago is in the index first, unless very much was. Raises one of
        DATABASE_ERRORS, a TimeoutError after 10 s.
        """
        if not terms or not (scope.rooms or scope.conferences):
            return []
        await self.refresh()
        only = only or Filter()
        asked = _FIND if self._sqlite else _FIND_POSTGRES
        query = _match(terms) if self._sqlite else _tsquery(terms)
        async with self._slots, asyncio.timeout(_LONGEST_S), self._db.reading() as conn:
            rows = await conn.fetch(
                asked,
                query,
                json.dumps(list(scope.rooms)),
                json.dumps(list(scope.conferences)),
                scope.encrypted,
                only.room,
                _like(only.who),
                only.from_ms,
                only.to_ms,
                min(limit, MOST_HITS),
                offset,
            )
            hits = [await _hit(conn, dict(row)) for row in rows]
        return [hit for hit in hits if hit is not None]

    async def _renew(self, conn: Connection, conference: str, site: str, segment: str) -> None:
        """Put the newest revision of a segment into the index, in place of any other."""
        key = (conference, site, segment)
        if self._sqlite:
            await conn.execute(_DROP_WORDS, *key)
        await conn.execute(_DROP_ENTRY, *key)
        await conn.execute(_CLEAN, *key)
        said = await _said(conn, *key)
        if said is None or not said["text"].strip():
            return
        words = terms_of.words(terms_of.spelled(said["text"]), said["language"])
        names = (said["speaker"], said["display_name"], said["voice_name"])
        who = terms_of.spelled(" ".join(names)).casefold()
        if not self._sqlite:
            await conn.execute(_ADD_POSTGRES, *key, said["language"], who, _tsvector(words))
            return
        number = await conn.fetchval(_ADD, *key, said["language"], who)
        letters = " ".join(word.letters for word in words)
        stems = " ".join(word.stem for word in words)
        await conn.execute(_ADD_WORDS, number, letters, stems)


async def _said(
    conn: Connection, conference: str, site: str, segment: str
) -> dict[str, Any] | None:
    """The newest revision of a segment; None where there is none, or it is not what counts."""
    if site:
        # No site can put its words in place of ours (bridge.rooms.record.merged).
        ours = await conn.fetchval("SELECT 1 FROM utterance WHERE segment = $1 LIMIT 1", segment)
        if ours:
            return None
        row = await conn.fetchrow(_PEERS, conference, site, segment)
    else:
        row = await conn.fetchrow(_OWN, segment)
    return None if row is None else dict(row)


async def _hit(conn: Connection, found: dict[str, Any]) -> Hit | None:
    said = await _said(conn, found["conference"], found["site"], found["segment"])
    if said is None:  # deleted a moment ago
        return None
    return Hit(**{name: value for name, value in {**said, **found}.items() if name in _HIT})


_HIT = frozenset(Hit.__dataclass_fields__)

_DIRTY = "SELECT conference, site, segment, removed FROM search_dirty ORDER BY rowid LIMIT $1"
# Locked: whoever writes the same segment meanwhile waits, and notes it anew.
_DIRTY_POSTGRES = (
    "SELECT conference, site, segment, removed FROM search_dirty LIMIT $1 FOR UPDATE SKIP LOCKED"
)
_KEY = "conference = $1 AND site = $2 AND segment = $3"
_DROP_WORDS = f"DELETE FROM search_words WHERE rowid IN (SELECT id FROM search_entry WHERE {_KEY})"  # noqa: S608
_DROP_ENTRY = f"DELETE FROM search_entry WHERE {_KEY}"  # noqa: S608 (constants)
_CLEAN = f"DELETE FROM search_dirty WHERE {_KEY}"  # noqa: S608 (constants)
_ADD = (
    "INSERT INTO search_entry (conference, site, segment, language, who)"
    " VALUES ($1, $2, $3, $4, $5) RETURNING id"
)
_ADD_POSTGRES = (
    "INSERT INTO search_entry (conference, site, segment, language, who, terms)"
    " VALUES ($1, $2, $3, $4, $5, $6::text::tsvector)"
)
_ADD_WORDS = "INSERT INTO search_words (rowid, letters, stems) VALUES ($1, $2, $3)"

# A correction is an edit of the first message, so that one is what a link opens.
_OWN = (
    "SELECT u.speaker, u.display_name, u.voice, u.text, u.language, u.start_ms,"
    " u.said_ms, COALESCE(n.name, '') AS voice_name,"
    " COALESCE((SELECT o.event_id FROM shown s JOIN outbox o ON o.txn_id = s.txn_id"
    "  WHERE s.segment = u.segment AND s.base = '' AND o.event_id IS NOT NULL LIMIT 1),"
    "  (SELECT v.event_id FROM utterance v WHERE v.segment = u.segment"
    "  AND v.event_id IS NOT NULL ORDER BY v.rev LIMIT 1)) AS event_id"
    " FROM utterance u LEFT JOIN voice_name n ON n.conference = u.conference"
    " AND n.speaker = u.speaker AND n.voice = u.voice"
    " WHERE u.segment = $1 ORDER BY u.rev DESC LIMIT 1"
)
_PEERS = (
    "SELECT u.speaker, u.display_name, u.voice, u.text, u.language, u.start_ms,"
    " 0 AS said_ms, '' AS voice_name, NULL AS event_id FROM peer_utterance u"
    " WHERE u.conference = $1 AND u.site = $2 AND u.segment = $3 ORDER BY u.rev DESC LIMIT 1"
)

_MEETING = (
    "e.conference, e.site, e.segment, m.room_id, m.room_name, m.title, m.started_ms,"
    " m.language AS meeting_language"
)
_ONLY = (
    " AND (m.encrypted = $4 OR NOT m.encrypted) AND ($5 = '' OR m.room_id = $5)"
    " AND e.who LIKE $6 ESCAPE '\\' AND m.started_ms >= $7 AND m.started_ms < $8"
)
_ORDER = " ORDER BY score, m.started_ms DESC, e.id LIMIT $9 OFFSET $10"
_FIND = (
    f"SELECT {_MEETING}, bm25(search_words) AS score FROM search_words"  # noqa: S608 (constants)
    " JOIN search_entry e ON e.id = search_words.rowid"
    " JOIN meeting m ON m.conference = e.conference"
    " WHERE search_words MATCH $1 AND (m.room_id IN (SELECT value FROM json_each($2))"
    f" OR m.conference IN (SELECT value FROM json_each($3))){_ONLY}{_ORDER}"
)
_FIND_POSTGRES = (
    f"SELECT {_MEETING}, -ts_rank(e.terms, $1::text::tsquery, 1) AS score"  # noqa: S608 (constants)
    " FROM search_entry e JOIN meeting m ON m.conference = e.conference"
    " WHERE e.terms @@ $1::text::tsquery"
    " AND (m.room_id IN (SELECT jsonb_array_elements_text($2::text::jsonb))"
    f" OR m.conference IN (SELECT jsonb_array_elements_text($3::text::jsonb))){_ONLY}{_ORDER}"
).replace("$5 = ''", "$5::text = ''")


def _match(terms: Sequence[Term]) -> str:
    """The query of FTS5. Words are letters and digits alone: none can leave its quotes."""
    return " AND ".join(f"({_ways(term)})" for term in terms)


def _ways(term: Term) -> str:
    exactly = f'letters : "{" ".join(term.letters)}"'
    if term.prefix:
        return f"{exactly} *"
    return " OR ".join([exactly, *(f'stems : "{" ".join(stems)}"' for stems in term.stems)])


def _tsvector(words: Sequence[Word]) -> str:
    """Letters and stem of each word at its place, told apart by their first sign."""
    last = 16_383  # positions beyond are the last one (PostgreSQL manual, 12.11)
    return " ".join(
        f"'w{word.letters}':{min(at, last)} 's{word.stem}':{min(at, last)}"
        for at, word in enumerate(words, start=1)
    )


def _tsquery(terms: Sequence[Term]) -> str:
    return " & ".join(f"({_ways_postgres(term)})" for term in terms)


def _ways_postgres(term: Term) -> str:
    exactly = _following("w", term.letters)
    if term.prefix:
        return f"{exactly}:*"
    return " | ".join([exactly, *(_following("s", stems) for stems in term.stems)])


def _following(kind: str, words: Sequence[str]) -> str:
    joined = " <-> ".join(f"'{kind}{word}'" for word in words)
    return joined if len(words) == 1 else f"({joined})"


def _like(who: str) -> str:
    """The pattern of a name, in which `%` and `_` mean themselves."""
    folded = terms_of.spelled(who).casefold()
    for sign in "\\%_":
        folded = folded.replace(sign, f"\\{sign}")
    return f"%{folded}%"
