"""Overwriting what was deleted, in the database's own files.

SQLite: `secure_delete` fills what is freed with zeros, but the write-ahead log and the full-text
index keep what they were told until they are brought together; that is done here.

PostgreSQL keeps dead rows until VACUUM, and its own log and backups beyond that: VACUUM is asked
for here, the rest is the administrator's (docs/operations.md).
"""

from __future__ import annotations

from bridge.store.database import Database, Scheme

_PAGES = -200
"""Of the index in one step; negative: all of it is brought together, little by little."""
_NOTHING_LEFT = 2
"""SQLite: a step that changes fewer rows had nothing to do."""
_TABLES = ("utterance", "peer_utterance", "outbox", "inbox", "voice_name", "meeting")


async def merge_index(db: Database) -> bool:
    """One step of bringing the full-text index together; whether anything is left to do."""
    if db.scheme != Scheme.SQLITE:
        return False
    async with db.acquire() as conn:
        before = await conn.fetchval("SELECT total_changes()")
        await conn.execute(
            "INSERT INTO search_words (search_words, rank) VALUES ('merge', $1)", _PAGES
        )
        after = await conn.fetchval("SELECT total_changes()")
    return int(after) - int(before) >= _NOTHING_LEFT


async def overwrite(db: Database) -> None:
    """Let nothing that was deleted stand in the files any more, as far as SQL reaches."""
    if db.scheme == Scheme.SQLITE:
        await db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    for table in _TABLES:
        await db.execute(f"VACUUM {table}")
