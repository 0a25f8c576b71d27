"""What the bridge will say in rooms, stored in the transaction that decided it.

`bridge.matrix.outbox.Sender` sends the rows of a room strictly in order. A row's `txn_id` names its
effect: putting the same effect twice stores it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bridge.store.database import Connection, Database, Scheme, holding
from bridge.store.text import dumped, loaded, plain

Kind = Literal["message", "state", "merge", "file", "redaction", "withdrawn"]


Content = dict[str, Any]
Choose = Callable[[Content, Sequence[Content]], tuple[Content, Sequence[int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One event for a room.

    A string `"outbox:<txn_id>"` anywhere in `content` is replaced, when this row is sent, by the
    event id that row got. kind "file": `blob` is uploaded and `content` gets url, info and
    filename. kind "redaction": `content` is {"redacts": event id, "reason"?: text}. kind "merge":
    what is in `content` and not in the room's state event goes into it, as it is when this row is
    sent; nothing is changed where there is no such event. kind "state"
    refused for lack of power: the message `if_forbidden` goes out instead, unless it did the time
    before. `not_after_ms`: what was not sent until then is not sent any more. kind "withdrawn":
    what it said was deleted before the homeserver is known to have it. `segments`: of which
    utterances it shows words; `base`: the row whose message it edits.
    """

    room_id: str
    txn_id: str
    kind: Kind
    content: dict[str, Any]
    type: str = "m.room.message"
    state_key: str = ""
    blob: bytes | None = None
    media_type: str = ""
    file_name: str = ""
    if_forbidden: dict[str, Any] | None = None
    not_after_ms: int | None = None
    segments: tuple[str, ...] = ()
    base: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A stored row that waits to be sent.

    `size`: bytes of its file. `mxc`: where that was uploaded already; `file_info`: how to decrypt
    it there, None where it lies in clear. `sealed`: its content as it was encrypted to be sent.
    """

    seq: int
    outgoing: Outgoing
    size: int
    mxc: str | None
    attempts: int
    sealed: dict[str, Any] | None = None
    file_info: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a row. `event_id` is None while it waits and where it was refused."""

    room_id: str
    event_id: str | None
    waiting: bool


class Outbox:
    """The rows of all rooms."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, conn: Connection, *rows: Outgoing, now_ms: int) -> None:
        """Store rows behind what their rooms have waiting. A txn_id known already is ignored."""
        for row in rows:
            await conn.execute(_INSERT, *_columns(row), now_ms)
            for segment in row.segments:
                await conn.execute(_SHOW, row.txn_id, segment, row.base)

    async def event_id(self, txn_id: str, conn: Connection | None = None) -> str | None:
        """The event this row became, None where it is not sent (yet)."""
        async with holding(self._db, conn) as held:
            value: str | None = await held.fetchval(
                "SELECT event_id FROM outbox WHERE txn_id = $1", txn_id
            )
            return value

    async def adopt(self, conn: Connection, room_id: str, txn_id: str, event_id: str) -> None:
        """Let `txn_id` name an event that another site sent. What it names already stays."""
        await conn.execute(_ADOPT, room_id, txn_id, event_id)

    async def waiting_rooms(self) -> list[str]:
        """Rooms with something to send, the one that waits longest first."""
        rows = await self._db.fetch(
            "SELECT room_id FROM outbox WHERE state = 'waiting' GROUP BY room_id ORDER BY MIN(seq)"
        )
        return [row["room_id"] for row in rows]

    async def files_waiting(self, room_id: str, conn: Connection) -> int:
        """How many files a room still has to be sent."""
        return int(
            await conn.fetchval(
                "SELECT COUNT(*) FROM outbox"
                " WHERE room_id = $1 AND kind = 'file' AND state = 'waiting'",
                room_id,
            )
        )

    async def waiting(self) -> int:
        """How many rows wait, for the metrics."""
        return int(await self._db.fetchval("SELECT COUNT(*) FROM outbox WHERE state = 'waiting'"))

    async def next(self, room_id: str) -> Queued | None:
        """The room's first waiting row."""
        row = await self._db.fetchrow(
            "SELECT * FROM outbox WHERE room_id = $1 AND state = 'waiting' ORDER BY seq LIMIT 1",
            room_id,
        )
        return None if row is None else _queued(dict(row))

    async def gather(self, row: Queued, choose: Choose) -> Queued:
        """Let a waiting message say what other waiting messages of its room say.

        `choose` gets its content and those of the utterances that wait behind it, and answers with
        a content and which of them (by their place) are in it: these are not sent any more.
        """
        # What is deleted meanwhile must not be written back.
        lock = " FOR UPDATE" if self._db.scheme == Scheme.POSTGRES else ""
        async with self._db.acquire() as conn, conn.transaction():
            rows = await conn.fetch(_UTTERANCES + lock, row.outgoing.room_id, row.seq, GATHERED)
            if not rows or rows[0]["seq"] != row.seq:
                return row
            first, *later = (loaded(one["content"]) for one in rows)
            content, places = choose(first, later)
            if not places:
                return row
            await conn.execute(
                "UPDATE outbox SET content = $2 WHERE seq = $1", row.seq, dumped(content)
            )
            for place in places:
                await self._merge(conn, rows[place + 1], row.outgoing.txn_id)
        return replace(row, outgoing=replace(row.outgoing, content=content))

    async def _merge(self, conn: Connection, row: Any, into: str) -> None:
        await conn.execute(
            "UPDATE outbox SET state = 'merged', content = '{}', reason = $2 WHERE seq = $1",
            row["seq"],
            into,
        )
        await conn.execute(
            "UPDATE shown SET txn_id = $2 WHERE txn_id = $1 AND base = ''", row["txn_id"], into
        )

    async def find(self, txn_ids: Iterable[str]) -> dict[str, Sent]:
        """What became of these rows; unknown ones are left out."""
        found = {}
        async with self._db.acquire() as conn:
            for txn_id in txn_ids:
                row = await conn.fetchrow(
                    "SELECT room_id, event_id, state FROM outbox WHERE txn_id = $1", txn_id
                )
                if row is not None:
                    found[txn_id] = Sent(
                        room_id=row["room_id"],
                        event_id=row["event_id"],
                        waiting=row["state"] == "waiting",
                    )
        return found

    async def uploaded(
        self, row: Queued, mxc: str, file_info: dict[str, Any] | None = None
    ) -> None:
        """Remember where the file lies, so that it is uploaded once."""
        await self._db.execute(
            "UPDATE outbox SET mxc = $2, file_info = $3 WHERE seq = $1",
            row.seq,
            mxc,
            None if file_info is None else dumped(file_info),
        )

    async def sealed(self, row: Queued, content: dict[str, Any]) -> None:
        """Remember what it looks like encrypted, before it is sent: so that it is found again."""
        await self._db.execute(
            "UPDATE outbox SET sealed = $2 WHERE seq = $1", row.seq, dumped(content)
        )

    async def sent(self, row: Queued, event_id: str) -> None:
        """The homeserver has it: only the event id is kept."""
        async with self._db.acquire() as conn, conn.transaction():
            await conn.execute(
                "UPDATE outbox SET state = 'sent', event_id = $2, content = '{}', blob = NULL,"
                " sealed = NULL, file_info = NULL, if_forbidden = NULL, reason = NULL"
                " WHERE seq = $1",
                row.seq,
                event_id,
            )
            await conn.execute(
                "UPDATE outbox SET state = 'sent', event_id = $3, reason = NULL"
                " WHERE room_id = $1 AND state = 'merged' AND reason = $2",
                row.outgoing.room_id,
                row.outgoing.txn_id,
                event_id,
            )

    async def delayed(self, row: Queued, reason: str) -> None:
        """Count an attempt that may be repeated."""
        await self._db.execute(
            "UPDATE outbox SET attempts = attempts + 1, reason = $2 WHERE seq = $1",
            row.seq,
            plain(reason)[:2000],
        )

    async def refused(self, row: Queued, reason: str, *, forbidden: bool, now_ms: int) -> None:
        """The homeserver will never take it. `forbidden`: for lack of power in the room."""
        async with self._db.acquire() as conn, conn.transaction():
            if forbidden and row.outgoing.if_forbidden is not None:
                await self._put_substitute(conn, row, row.outgoing.if_forbidden, now_ms)
            await conn.execute(
                "UPDATE outbox SET state = 'refused', reason = $2, blob = NULL, sealed = NULL,"
                " content = '{}' WHERE seq = $1",
                row.seq,
                plain(reason)[:2000],
            )
            await conn.execute(
                "UPDATE outbox SET state = 'refused'"
                " WHERE room_id = $1 AND state = 'merged' AND reason = $2",
                row.outgoing.room_id,
                row.outgoing.txn_id,
            )

    async def _put_substitute(
        self, conn: Connection, row: Queued, content: dict[str, Any], now_ms: int
    ) -> None:
        """Say it once: not again while the same state of the room goes on being refused."""
        state = row.outgoing
        before = await conn.fetchval(
            "SELECT state FROM outbox WHERE room_id = $1 AND kind = 'state' AND type = $2"
            " AND state_key = $3 AND seq < $4 AND state <> 'waiting' ORDER BY seq DESC LIMIT 1",
            state.room_id,
            state.type,
            state.state_key,
            row.seq,
        )
        if before == "refused":
            return
        txn = hashlib.sha256(state.txn_id.encode()).hexdigest()[:24]
        substitute = Outgoing(
            room_id=state.room_id, txn_id=f"forbidden:{txn}", kind="message", content=content
        )
        await self.put(conn, substitute, now_ms=now_ms)


GATHERED = 200
"""Utterances of a room that are looked through for what one message can say."""

_UTTERANCES = (
    "SELECT seq, txn_id, content FROM outbox WHERE room_id = $1 AND state = 'waiting'"
    " AND seq >= $2 AND kind = 'message' AND EXISTS"
    " (SELECT 1 FROM shown WHERE shown.txn_id = outbox.txn_id AND shown.base = '')"
    " ORDER BY seq LIMIT $3"
)

_SHOW = (
    "INSERT INTO shown (txn_id, segment, base) VALUES ($1, $2, $3)"
    " ON CONFLICT (txn_id, segment) DO NOTHING"
)

_INSERT = (
    "INSERT INTO outbox (room_id, txn_id, kind, type, state_key, content, blob, size,"
    " media_type, file_name, if_forbidden, not_after_ms, created_ms)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    " ON CONFLICT (txn_id) DO NOTHING"
)

_ADOPT = (
    "INSERT INTO outbox (room_id, txn_id, kind, type, state_key, content, size, media_type,"
    " file_name, created_ms, state, event_id)"
    " VALUES ($1, $2, 'message', '', '', '{}', 0, '', '', 0, 'sent', $3)"
    " ON CONFLICT (txn_id) DO NOTHING"
)


def _columns(row: Outgoing) -> tuple[Any, ...]:
    return (
        row.room_id,
        row.txn_id,
        row.kind,
        row.type,
        row.state_key,
        dumped(row.content),
        row.blob,
        len(row.blob or b""),
        row.media_type,
        plain(row.file_name),
        None if row.if_forbidden is None else dumped(row.if_forbidden),
        row.not_after_ms,
    )


def _queued(row: dict[str, Any]) -> Queued:
    outgoing = Outgoing(
        room_id=row["room_id"],
        txn_id=row["txn_id"],
        kind=row["kind"],
        type=row["type"],
        state_key=row["state_key"],
        content=loaded(row["content"]),
        blob=row["blob"],
        media_type=row["media_type"],
        file_name=row["file_name"],
        if_forbidden=None if row["if_forbidden"] is None else loaded(row["if_forbidden"]),
        not_after_ms=row["not_after_ms"],
    )
    return Queued(
        seq=row["seq"],
        outgoing=outgoing,
        size=row["size"],
        mxc=row["mxc"],
        attempts=row["attempts"],
        sealed=None if row["sealed"] is None else loaded(row["sealed"]),
        file_info=None if row["file_info"] is None else loaded(row["file_info"]),
    )
