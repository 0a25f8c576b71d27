"""Rows that have done their work, and that nothing asks for any more."""

from __future__ import annotations

from bridge.store.database import Database

HORIZON_MS = 30 * 24 * 3_600_000
"""How long a handled entry is known by its key. Homeservers repeat a transaction until it is
acknowledged, Synapse after pauses of at most nine minutes; media server and scribe within minutes;
a bridge that was away reads what it missed, from the newest entry of each room on. A month is the
longest that a machine of these may have been away with something unacknowledged."""

BATCH = 500


async def sweep(db: Database, now_ms: int) -> int:
    """Delete at most BATCH rows each of inbox and outbox; how many."""
    before_ms, deleted = now_ms - HORIZON_MS, 0
    async with db.acquire() as conn, conn.transaction():
        for statement in (_INBOX, _OUTBOX):
            deleted += len(await conn.fetch(statement, before_ms, BATCH))
    return deleted


# A room's first entry says since when it is known (Inbox.first_heard_of).
_INBOX = """DELETE FROM inbox WHERE seq IN (
    SELECT seq FROM inbox i WHERE received_ms < $1 AND state IN ('done', 'set_aside')
        AND EXISTS (SELECT 1 FROM inbox f WHERE f.room_id = i.room_id AND f.seq < i.seq)
    ORDER BY seq LIMIT $2) RETURNING seq"""

# Cards and documents are what later messages hang below or take back; what shows words stays as
# long as the words (bridge.store.shown).
_OUTBOX = """DELETE FROM outbox WHERE seq IN (
    SELECT seq FROM outbox o WHERE created_ms < $1 AND state IN ('sent', 'refused', 'merged')
        AND txn_id NOT LIKE 'card:%' AND txn_id NOT LIKE 'call:%' AND txn_id NOT LIKE 'doc:%'
        AND NOT EXISTS (SELECT 1 FROM shown s WHERE s.txn_id = o.txn_id OR s.base = o.txn_id)
    ORDER BY seq LIMIT $2) RETURNING seq"""
