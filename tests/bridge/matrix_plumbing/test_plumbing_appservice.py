"""The homeserver's way in: stored before it is acknowledged, and garbage harms nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import ClientSession, web

from bridge.matrix import appservice
from bridge.store.database import Database
from bridge.store.inbox import Inbox, NewEntry
from tests.support.homeserver import BOT, REGISTRATION, SERVER_NAME

_AUTH = {"Authorization": f"Bearer {REGISTRATION.hs_token}"}


def _message(number: int, room_id: str = "!a", **more: Any) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "room_id": room_id,
        "event_id": f"${number}",
        "sender": "@alice:x",
        "origin_server_ts": 1,
        "content": {"msgtype": "m.text", "body": f"message {number}"},
        **more,
    }


class Door:
    """The application on a free port, as the homeserver sees it."""

    def __init__(self, inbox: Inbox) -> None:
        self.committed: list[set[str]] = []
        self.inbox = inbox
        self.url = ""

    async def _make_room(self, alias: str) -> bool:
        return alias == "#visio_budget:fake.test"

    async def start(self) -> web.AppRunner:
        app = appservice.routes(
            self.inbox,
            REGISTRATION,
            self.committed.append,
            server_name=SERVER_NAME,
            make_room=self._make_room,
            now_ms=lambda: 42,
        )
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        return runner

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, **what: Any
    ) -> tuple[int, Any]:
        async with (
            ClientSession() as http,
            http.request(
                method,
                f"{self.url}/_matrix/app/v1/{path}",
                headers=_AUTH if headers is None else headers,
                **what,
            ) as response,
        ):
            return response.status, await response.json()

    async def push(self, *events: Any, txn: str = "1", **what: Any) -> tuple[int, Any]:
        return await self.request("PUT", f"transactions/{txn}", json={"events": events}, **what)


@pytest.fixture
async def door(db: Database) -> AsyncIterator[Door]:
    door = Door(Inbox(db))
    runner = await door.start()
    yield door
    await runner.cleanup()


async def _stored(db: Database) -> list[str]:
    return [row["key"] for row in await db.fetch("SELECT key FROM inbox ORDER BY seq")]


async def test_events_are_stored_in_order_before_the_answer(db: Database, door: Door) -> None:
    assert await door.push(_message(1), _message(2, "!b"), _message(3)) == (200, {})
    assert await _stored(db) == ["$1", "$2", "$3"]
    assert door.committed == [{"!a", "!b"}]
    entry = await door.inbox.next("!b")
    assert entry is not None
    assert (entry.kind, entry.payload, entry.received_ms) == ("matrix", _message(2, "!b"), 42)


async def test_a_repeated_transaction_wakes_nobody(db: Database, door: Door) -> None:
    await door.push(_message(1))
    assert await door.push(_message(1)) == (200, {})
    assert door.committed == [{"!a"}]


async def test_the_same_transaction_id_with_other_events_is_not_a_repetition(
    db: Database, door: Door
) -> None:
    """Synapse on SQLite counts transactions from 1 again after a restart."""
    await door.push(_message(1), txn="1")
    await door.push(_message(2), txn="1")
    assert await _stored(db) == ["$1", "$2"]


class BrokenInbox(Inbox):
    """A database that fails the first time."""

    broken = True

    async def commit(self, entries: Sequence[NewEntry], *, now_ms: int) -> set[str]:
        if self.broken:
            self.broken = False
            raise sqlite3.OperationalError("disk I/O error")
        return await super().commit(entries, now_ms=now_ms)


async def test_what_could_not_be_stored_is_not_acknowledged(db: Database) -> None:
    door = Door(BrokenInbox(db))
    runner = await door.start()
    status, answer = await door.push(_message(1))
    assert (status, answer["errcode"]) == (503, "M_UNKNOWN")
    assert await door.push(_message(1)) == (200, {})
    assert await _stored(db) == ["$1"]
    assert door.committed == [{"!a"}]
    await runner.cleanup()


async def test_unreadable_events_do_not_hold_up_the_others(db: Database, door: Door) -> None:
    events = [
        None,
        3,
        {},
        _message(1, event_id="$" + "x" * 255),
        _message(2, room_id="!nul\0"),
        _message(3, event_id="$\ud800"),
        _message(4, content="x"),
        _message(5),
    ]
    assert await door.push(*events) == (200, {})
    assert await _stored(db) == ["$5"]


async def test_our_own_words_are_not_news_but_our_own_membership_is(
    db: Database, door: Door
) -> None:
    kicked = _message(
        2, type="m.room.member", state_key=BOT, content={"membership": "leave"}, sender="@mod:x"
    )
    assert await door.push(_message(1, sender=BOT), kicked) == (200, {})
    assert await _stored(db) == ["$2"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b'{"events": {}}', b'{"events"', b"\xff\xfe", b"[" * 200_000,
     b'{"events": [' + b"1" * 5000 + b"]}"],
)  # fmt: skip
async def test_a_malformed_transaction_is_refused_and_the_next_is_taken(
    db: Database, door: Door, body: bytes
) -> None:
    status, answer = await door.request("PUT", "transactions/1", data=body)
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")
    assert await door.push(_message(1)) == (200, {})
    assert await _stored(db) == ["$1"]


async def test_a_large_transaction_is_taken(db: Database, door: Door) -> None:
    events = [
        _message(number, content={"msgtype": "m.text", "body": "x" * 60_000})
        for number in range(100)
    ]
    assert await door.push(*events) == (200, {})
    assert len(await _stored(db)) == 100


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": REGISTRATION.hs_token},
        {"Authorization": f"Bearer {REGISTRATION.as_token}"},
        {"Authorization": "Bearer é"},
    ],
)
async def test_only_the_homeserver_comes_in(
    db: Database, door: Door, headers: dict[str, str]
) -> None:
    status, answer = await door.push(_message(1), headers=headers)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    status, _ = await door.request(
        "PUT",
        f"transactions/1?access_token={REGISTRATION.hs_token}",
        headers=headers,
        json={"events": [_message(1)]},
    )
    assert status == 403
    assert await _stored(db) == []


async def test_queries_and_ping(door: Door) -> None:
    assert await door.request("GET", f"users/{BOT}") == (200, {})
    assert (await door.request("GET", "users/@other:fake.test"))[0] == 404
    assert (await door.request("GET", "rooms/%23room:fake.test"))[0] == 404
    assert await door.request("POST", "ping", json={"transaction_id": "x"}) == (200, {})


async def test_a_room_is_made_for_an_alias(door: Door) -> None:
    assert await door.request("GET", "rooms/%23visio_budget%3Afake.test") == (200, {})
    status, answer = await door.request("GET", "rooms/%23visio_other%3Afake.test")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")
    assert (await door.request("GET", "rooms/%23visio_budget%3Afake.test", {}))[0] == 403
