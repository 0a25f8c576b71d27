"""What was deleted: when, where, by whom and why. Never the words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bridge.store.database import Connection, Database
from bridge.store.text import plain

What = Literal["utterance", "peer_utterance", "document", "meeting"]
Why = Literal["redacted", "asked", "person", "retention", "replaced", "elsewhere"]
"""By a redaction of the message; by command; an erasure of one person's words; too old; by the
last pass; at the site where it was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """`items`: segments, or forms of documents. `by_user`: '' where it was the bridge itself."""

    at_ms: int
    room_id: str
    conference: str
    kind: What
    items: Sequence[str]
    by_user: str
    why: Why


class RedactionLog:
    """One row for each deletion, kept for good."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, conn: Connection, done: Redaction) -> None:
        """Note a deletion, in its transaction."""
        await conn.execute(
            "INSERT INTO redaction_log (at_ms, room_id, conference, kind, items, by_user, why)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            done.at_ms,
            done.room_id,
            done.conference,
            done.kind,
            json.dumps(list(done.items)),
            plain(done.by_user),
            done.why,
        )

    async def last(self) -> int:
        """The number of the newest row, 0 where there is none."""
        return int(await self._db.fetchval("SELECT COALESCE(MAX(seq), 0) FROM redaction_log"))

    async def of_room(self, room_id: str) -> list[Redaction]:
        """What was deleted in a room, the oldest first."""
        rows = await self._db.fetch(
            "SELECT at_ms, room_id, conference, kind, items, by_user, why FROM redaction_log"
            " WHERE room_id = $1 ORDER BY seq",
            room_id,
        )
        return [Redaction(**{**dict(row), "items": json.loads(row["items"])}) for row in rows]
