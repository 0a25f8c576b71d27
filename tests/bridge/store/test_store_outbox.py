"""The outbox's rows: once, in order, and what remains of them."""

from __future__ import annotations

import contextlib
from typing import Any

from bridge.store.database import Database
from bridge.store.outbox import Outbox, Outgoing, Queued


def _message(txn_id: str, room_id: str = "!a", **more: Any) -> Outgoing:
    content = {"msgtype": "m.notice", "body": txn_id}
    return Outgoing(**{"room_id": room_id, "txn_id": txn_id, "kind": "message", **more,
                       "content": more.get("content", content)})  # fmt: skip


async def _put(db: Database, *rows: Outgoing) -> Outbox:
    outbox = Outbox(db)
    async with db.acquire() as conn, conn.transaction():
        await outbox.put(conn, *rows, now_ms=5)
    return outbox


async def _next(outbox: Outbox, room_id: str = "!a") -> Queued:
    row = await outbox.next(room_id)
    assert row is not None
    return row


async def test_a_row_comes_out_as_it_went_in(db: Database) -> None:
    row = Outgoing(
        room_id="!a",
        txn_id="file:1",
        kind="file",
        content={"body": "é\ud800\0"},
        blob=b"\0\xff",
        media_type="text/vtt",
        file_name="compte rendu.vtt",
        if_forbidden={"body": "no"},
    )
    outbox = await _put(db, row)
    assert await _next(outbox) == Queued(seq=1, outgoing=row, size=2, mxc=None, attempts=0)


async def test_rows_wait_in_order_by_room(db: Database) -> None:
    outbox = await _put(db, _message("1", "!b"), _message("2"), _message("3", "!b"))
    assert await outbox.waiting_rooms() == ["!b", "!a"]
    assert await outbox.waiting() == 3
    await outbox.sent(await _next(outbox, "!b"), "$1")
    assert (await _next(outbox, "!b")).outgoing.txn_id == "3"
    assert await outbox.waiting_rooms() == ["!a", "!b"]


async def test_the_same_effect_twice_is_one_row(db: Database) -> None:
    outbox = await _put(db, _message("1"))
    await outbox.sent(await _next(outbox), "$1")
    await _put(db, _message("1"), _message("2"), _message("2"))
    assert (await _next(outbox)).outgoing.txn_id == "2"
    assert await outbox.waiting() == 1


async def test_a_row_is_part_of_the_transaction_that_puts_it(db: Database) -> None:
    outbox = Outbox(db)
    with contextlib.suppress(ZeroDivisionError):
        async with db.acquire() as conn, conn.transaction():
            await outbox.put(conn, _message("1"), now_ms=1)
            raise ZeroDivisionError
    assert await outbox.waiting() == 0


async def test_what_is_sent_leaves_only_its_event_id(db: Database) -> None:
    outbox = await _put(db, _message("1", blob=b"file", if_forbidden={"body": "no"}))
    assert await outbox.event_id("1") is None
    await outbox.sent(await _next(outbox), "$event")
    async with db.acquire() as conn, conn.transaction():
        assert await outbox.event_id("1", conn) == "$event"
    assert await outbox.event_id("2") is None
    row = await db.fetchrow("SELECT content, blob, if_forbidden FROM outbox")
    assert row is not None
    assert tuple(row) == ("{}", None, None)


async def test_an_uploaded_file_is_kept_until_its_message_is_sent(db: Database) -> None:
    # The room may become encrypted meanwhile: the file is then uploaded again, encrypted.
    outbox = await _put(db, _message("1", kind="file", blob=b"file"))
    await outbox.uploaded(await _next(outbox), "mxc://a/b")
    row = await _next(outbox)
    assert (row.mxc, row.outgoing.blob, row.size) == ("mxc://a/b", b"file", 4)
    await outbox.uploaded(row, "mxc://a/c", {"iv": "x"})
    row = await _next(outbox)
    assert (row.mxc, row.file_info) == ("mxc://a/c", {"iv": "x"})
    await outbox.sent(row, "$1")
    assert (
        await db.fetchval("SELECT blob FROM outbox WHERE txn_id = $1", row.outgoing.txn_id) is None
    )


async def test_find_tells_sent_waiting_and_refused_apart(db: Database) -> None:
    outbox = await _put(db, _message("sent"), _message("refused"), _message("waits", "!b"))
    await outbox.sent(await _next(outbox), "$1")
    await outbox.refused(await _next(outbox), "why", forbidden=False, now_ms=1)
    found = await outbox.find(["sent", "refused", "waits", "unknown"])
    assert {name: (sent.event_id, sent.waiting) for name, sent in found.items()} == {
        "sent": ("$1", False),
        "refused": (None, False),
        "waits": (None, True),
    }


async def test_a_delayed_row_stays_first_and_counts(db: Database) -> None:
    outbox = await _put(db, _message("1"), _message("2"))
    await outbox.delayed(await _next(outbox), "502")
    row = await _next(outbox)
    assert (row.outgoing.txn_id, row.attempts) == ("1", 1)


def _status(number: int) -> Outgoing:
    return Outgoing(
        room_id="!a",
        txn_id=f"status:{number}",
        kind="state",
        type="eu.colloque.conference.status",
        state_key="example.org",
        content={"rev": number},
        if_forbidden={"msgtype": "m.notice", "body": "I may not write here"},
    )


async def _forbid(outbox: Outbox, *, forbidden: bool = True) -> None:
    await outbox.refused(await _next(outbox), "403", forbidden=forbidden, now_ms=9)


async def test_refused_state_is_said_once_until_it_was_allowed_again(db: Database) -> None:
    outbox = await _put(db, _status(1), _status(2), _message("m"))
    await _forbid(outbox)
    await _forbid(outbox)
    assert (await _next(outbox)).outgoing.txn_id == "m"
    await outbox.sent(await _next(outbox), "$m")
    said = (await _next(outbox)).outgoing
    assert (said.kind, said.type, said.content["body"]) == (
        "message",
        "m.room.message",
        "I may not write here",
    )
    await outbox.sent(await _next(outbox), "$said")
    assert await outbox.waiting() == 0

    await _put(db, _status(3), _status(4))
    await outbox.sent(await _next(outbox), "$allowed")
    await _forbid(outbox)
    assert (await _next(outbox)).outgoing.content == said.content


async def test_refused_for_another_reason_is_not_said(db: Database) -> None:
    outbox = await _put(db, _status(1))
    await _forbid(outbox, forbidden=False)
    assert await outbox.waiting() == 0
