"""The sender in encrypted rooms: nothing in clear, nothing twice although each ciphertext is new.

Encryption is stood in for: what it makes is numbered, so that a second one would be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.matrix import wire
from bridge.matrix.attachments import unseal
from bridge.matrix.client import Homeserver
from bridge.matrix.outbox import Sender
from bridge.store.database import Database
from bridge.store.outbox import Outbox, Outgoing
from tests.support.homeserver import FakeHomeserver

ROOM = "!room:fake.test"


class StandInEncryption:
    def __init__(self) -> None:
        self.rooms = {ROOM}
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.session = 1
        self.failures = 0

    async def encrypts(self, room_id: str) -> bool:
        return room_id in self.rooms

    async def encrypt(
        self, room_id: str, event_type: str, content: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("homeserver_unavailable")
        if room_id not in self.rooms:
            return event_type, content
        self.made.append((event_type, content))
        return wire.ENCRYPTED, {"ciphertext": f"c{len(self.made)}", "session_id": self.session}

    async def current(self, room_id: str, sealed: dict[str, Any]) -> bool:
        return bool(sealed["session_id"] == self.session)


@pytest.fixture
def encryption() -> StandInEncryption:
    return StandInEncryption()


@asynccontextmanager
async def sending(
    db: Database, client: Homeserver, encryption: StandInEncryption
) -> AsyncIterator[None]:
    task = asyncio.create_task(Sender(db, client, encryption=encryption, first_pause_s=0.02).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def put(db: Database, row: Outgoing) -> None:
    async with db.acquire() as conn, conn.transaction():
        await Outbox(db).put(conn, row, now_ms=1)


async def empty(db: Database) -> None:
    async with asyncio.timeout(20):
        while await Outbox(db).waiting():  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)


def message(txn_id: str = "m1") -> Outgoing:
    content = {"msgtype": wire.NOTICE, "body": txn_id}
    return Outgoing(room_id=ROOM, txn_id=txn_id, kind="message", content=content)


def sent(fake: FakeHomeserver) -> list[tuple[str, str]]:
    events = fake.room(ROOM).events
    return [(event["type"], event["content"].get("ciphertext")) for event in events]


@pytest.mark.parametrize("how", ["cut", "hang"])
async def test_an_encrypted_message_whose_answer_was_lost_is_found_by_its_ciphertext(
    db: Database,
    fake: FakeHomeserver,
    client: Homeserver,
    encryption: StandInEncryption,
    how: Any,
) -> None:
    fake.fault("/send/m.room.encrypted/m1", after=how, forget=True)
    await put(db, message())
    async with sending(db, client, encryption):
        if how == "cut":
            await empty(db)
        else:
            await fake.wait_for(lambda: bool(fake.room(ROOM).events))
    if how == "hang":  # killed in the middle: the next process looks before it sends
        async with sending(db, client, encryption):
            await empty(db)
    assert sent(fake) == [(wire.ENCRYPTED, "c1")]
    assert await Outbox(db).event_id("m1") == fake.room(ROOM).events[0]["event_id"]


async def test_it_is_encrypted_anew_where_somebody_left_since(
    db: Database, fake: FakeHomeserver, client: Homeserver, encryption: StandInEncryption
) -> None:
    fake.fault("/send/m.room.encrypted/m1", before="hang")
    await put(db, message())
    async with sending(db, client, encryption):
        await fake.wait_for(lambda: any("/m1" in path for _, path in fake.requests))
    encryption.session = 2
    async with sending(db, client, encryption):
        await empty(db)
    assert sent(fake) == [(wire.ENCRYPTED, "c2")]


async def test_it_waits_while_it_cannot_be_encrypted(
    db: Database, fake: FakeHomeserver, client: Homeserver, encryption: StandInEncryption
) -> None:
    encryption.failures = 2
    await put(db, message())
    async with sending(db, client, encryption):
        await empty(db)
    assert sent(fake) == [(wire.ENCRYPTED, "c1")]
    assert encryption.made[0][1][wire.TXN] == "m1"


async def test_a_file_is_encrypted_once_whatever_its_room(
    db: Database, fake: FakeHomeserver, client: Homeserver, encryption: StandInEncryption
) -> None:
    """Uploaded for a clear room, and that becomes encrypted before its message is sent."""
    encryption.rooms.clear()
    row = Outgoing(
        room_id=ROOM,
        txn_id="f1",
        kind="file",
        content={},
        blob=b"abc",
        media_type="text/plain",
        file_name="a.txt",
    )
    fake.fault("/send/m.room.message/f1", before="hang")
    await put(db, row)
    async with sending(db, client, encryption):
        await fake.wait_for(lambda: any("/f1" in path for _, path in fake.requests))
    encryption.rooms.add(ROOM)
    fake.fault("/send/m.room.encrypted/f1", before="cut")
    async with sending(db, client, encryption):
        await empty(db)
    (_, content), *_ = encryption.made
    ((mxc, (data, *told)),) = fake.uploads.items()
    assert told == ["application/octet-stream", "encrypted"]
    assert (content["file"]["url"], "url" in content) == (mxc, False)
    assert unseal(data, content["file"]) == b"abc"
