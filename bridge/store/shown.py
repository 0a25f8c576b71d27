"""Which messages show which segments, and taking back what they say.

A row of the outbox that shows words names their segments. A message has no `base`; its edits have
the message's transaction id there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Message:
    """A message of utterances. `segments`: of which it shows the words, in no order."""

    txn_id: str
    segments: tuple[str, ...]


def documents_mark(conference: str) -> str:
    """What a document shows in place of a segment: everything of its conference."""
    return f"documents of {conference}"


class Shown:
    """Every method is part of a transaction of its caller."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def message_of(self, conn: Connection, segment: str) -> Message | None:
        """The message of a segment, None where there is none (any more)."""
        txn_id = await conn.fetchval(
            "SELECT txn_id FROM shown WHERE segment = $1 AND base = ''", segment
        )
        return None if txn_id is None else await self._message(conn, txn_id)

    async def of_event(self, conn: Connection, room_id: str, event_id: str) -> Message | None:
        """The message that this event is, or edits."""
        row = await conn.fetchrow(
            "SELECT s.txn_id, s.base FROM outbox o JOIN shown s ON s.txn_id = o.txn_id"
            " WHERE o.event_id = $1 AND o.room_id = $2 LIMIT 1",
            event_id,
            room_id,
        )
        return None if row is None else await self._message(conn, row["base"] or row["txn_id"])

    async def txn_of_event(self, conn: Connection, room_id: str, event_id: str) -> str | None:
        """What the outbox calls an event of ours."""
        value: str | None = await conn.fetchval(
            "SELECT txn_id FROM outbox WHERE event_id = $1 AND room_id = $2"
            " ORDER BY CASE WHEN state = 'merged' THEN 1 ELSE 0 END, seq LIMIT 1",
            event_id,
            room_id,
        )
        return value

    async def rows_of(self, conn: Connection, message: str) -> list[str]:
        """The message and its edits, by transaction id."""
        rows = await conn.fetch(
            "SELECT DISTINCT txn_id FROM shown WHERE txn_id = $1 OR base = $1 ORDER BY txn_id",
            message,
        )
        return [row["txn_id"] for row in rows]

    async def documents_of(self, conn: Connection, conference: str) -> list[str]:
        """Documents and summaries of a conference that were posted or wait, by transaction id."""
        rows = await conn.fetch(
            "SELECT txn_id FROM outbox WHERE kind IN ('file', 'message') AND (txn_id LIKE $1"
            " OR txn_id IN (SELECT txn_id FROM shown WHERE segment = $2)) ORDER BY seq",
            f"doc:{conference}:%",
            documents_mark(conference),
        )
        return [row["txn_id"] for row in rows]

    async def quoting(self, conn: Connection, room_id: str, event_id: str) -> list[str]:
        """Documents that repeat what somebody wrote in this event, by transaction id."""
        rows = await conn.fetch(
            "SELECT s.txn_id FROM shown s JOIN outbox o ON o.txn_id = s.txn_id"
            " WHERE s.segment = $1 AND o.room_id = $2 AND o.kind = 'file' ORDER BY o.seq",
            event_id,
            room_id,
        )
        return [row["txn_id"] for row in rows]

    async def withdraw(self, conn: Connection, txn_ids: Iterable[str]) -> None:
        """Empty these rows, and forget what they showed.

        Of one that waits the ciphertext stays until it is known whether the homeserver has it.
        """
        for txn_id in txn_ids:
            await conn.execute(
                "UPDATE outbox SET kind = 'withdrawn', content = '{}', blob = NULL,"
                " file_info = NULL, if_forbidden = NULL WHERE txn_id = $1",
                txn_id,
            )
            await conn.execute("DELETE FROM shown WHERE txn_id = $1", txn_id)

    async def _message(self, conn: Connection, txn_id: str) -> Message:
        rows = await conn.fetch(
            "SELECT segment FROM shown WHERE txn_id = $1 ORDER BY segment", txn_id
        )
        return Message(txn_id, tuple(row["segment"] for row in rows))
