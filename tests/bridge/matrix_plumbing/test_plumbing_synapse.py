"""Inbox and outbox against a real Synapse that is killed, and a bridge that dies, in mid-sentence.

The bridge here is an echo: what people say goes through the inbox, and what it answers through the
outbox, in one transaction. Every message must be echoed once, in order, whatever dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bridge import config
from bridge.matrix import appservice, wire
from bridge.matrix.catchup import CatchUp
from bridge.matrix.client import Homeserver, HomeserverError
from bridge.matrix.outbox import Sender
from bridge.matrix.registration import Registration
from bridge.store.database import Database, open_database
from bridge.store.inbox import Entry, Inbox
from bridge.store.outbox import Outbox, Outgoing
from tests.support.synapse import Person, Synapse

pytestmark = pytest.mark.homeserver


class Echo:
    """One life of the bridge: `die()` ends it without a word, as SIGKILL would."""

    def __init__(self, folder: Path, granted: Registration, server: Synapse) -> None:
        self.granted = granted
        self.server = server
        self.database = config.Settings(database=config.Database(url=f"sqlite:{folder}/echo.db"))
        self.client = Homeserver(server.client_url, server.server_name, granted, timeout_s=10)
        self.lose_answers = 0
        self.transactions: list[str] = []
        self.cut = asyncio.Event()
        self._news = asyncio.Event()

    async def live(self) -> None:
        self.db: Database = await open_database(self.database)
        self.inbox, self.outbox = Inbox(self.db), Outbox(self.db)
        self.sender = Sender(self.db, self.client, first_pause_s=0.05)
        app = appservice.routes(
            self.inbox,
            self.granted,
            lambda rooms: self._news.set(),
            server_name=self.server.server_name,
        )
        app.middlewares.insert(0, self._answers_get_lost)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        port = int(self.granted.url.rpartition(":")[2])
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self.sender.run())]
        self.catch_up = CatchUp(self.db, self.client, lambda rooms: self._news.set())
        try:
            await self.client.ensure_registered()
            await self.client.ping()
            await self.catch_up.once()
        except BaseException:
            await self.die()
            raise

    async def die(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        await self.client.close()
        await self.db.stop()

    @property
    def _answers_get_lost(self) -> Any:
        @web.middleware
        async def middleware(
            request: web.Request, handler: Callable[[web.Request], Any]
        ) -> web.StreamResponse:
            response: web.StreamResponse = await handler(request)
            if "/transactions/" in request.path:
                self.transactions.append(request.match_info["txn"])
                if self.lose_answers > 0:
                    # Committed, and the process dies before it could say so.
                    self.lose_answers -= 1
                    self.cut.set()
                    assert request.transport is not None
                    request.transport.abort()
            return response

        return middleware

    async def _work(self) -> None:
        while True:
            self._news.clear()
            for room_id in await self.inbox.waiting_rooms():
                while (entry := await self.inbox.next(room_id)) is not None:
                    await self._handle(entry)
            self.sender.wake()
            await self._news.wait()

    async def _handle(self, entry: Entry) -> None:
        value = wire.parse(entry.payload)
        invited = isinstance(value, wire.MemberChange) and value.membership == "invite"
        if invited and entry.payload["state_key"] == self.client.user_id:
            await self.client.join(entry.room_id)
        async with self.db.acquire() as conn, conn.transaction():
            if isinstance(value, wire.IncomingMessage):
                content = {"msgtype": "m.notice", "body": f"echo {value.body}"}
                row = Outgoing(
                    room_id=value.room_id,
                    txn_id=f"echo:{value.event_id}",
                    kind="message",
                    content=content,
                )
                await self.outbox.put(conn, row, now_ms=1)
            await self.inbox.done(conn, entry)


@pytest.fixture
async def echo(tmp_path: Path, registered: tuple[Synapse, Registration]) -> AsyncIterator[Echo]:
    server, granted = registered
    echo = Echo(tmp_path, granted, server)
    await echo.live()
    yield echo
    await echo.die()


async def _person(server: Synapse) -> Person:
    return await server.ensure_person("alice", "a password of alice")


async def _room(echo: Echo, alice: Person, **more: Any) -> str:
    room_id = await alice.create_room("Budget", invite=[echo.client.user_id], **more)
    await alice.wait_for(
        room_id,
        lambda event: (
            event["type"] == "m.room.member"
            and event["state_key"] == echo.client.user_id
            and event["content"]["membership"] == "join"
        ),
    )
    return room_id


async def _echoes(alice: Person, room_id: str, count: int, timeout: float = 40) -> list[str]:
    """The echoes in the room, once the last of `count` is there."""
    last = f"echo {count - 1}"
    await alice.wait_for(
        room_id, lambda event: event["content"].get("body") == last, timeout=timeout
    )
    return [
        event["content"]["body"]
        for event in await alice.messages(room_id)
        if event["content"].get("msgtype") == "m.notice"
    ]


def _expected(count: int) -> list[str]:
    return [f"echo {number}" for number in range(count)]


async def test_a_transaction_whose_answer_was_lost_is_handled_once(echo: Echo) -> None:
    alice = await _person(echo.server)
    room_id = await _room(echo, alice)
    echo.lose_answers = 1
    await alice.say(room_id, "0")
    await asyncio.wait_for(echo.cut.wait(), 20)
    await echo.die()
    before = len(echo.transactions)
    for number in range(1, 4):
        await alice.say(room_id, str(number))
    await echo.live()  # pings: Synapse delivers at once what waits
    assert await _echoes(alice, room_id, 4) == _expected(4)
    assert echo.transactions[before] == echo.transactions[before - 1]  # it did come again


async def test_a_bridge_that_dies_again_and_again(echo: Echo) -> None:
    alice = await _person(echo.server)
    room_id = await _room(echo, alice)
    for number in range(24):
        await alice.say(room_id, str(number))
        if number % 6 == 5:
            echo.lose_answers = number % 4
            await echo.die()
            await echo.live()
            echo.lose_answers = 0
    await echo.client.ping()
    assert await _echoes(alice, room_id, 24) == _expected(24)


async def test_a_homeserver_that_is_killed_in_mid_sentence(echo: Echo) -> None:
    """It forgets our transaction ids, and may count its own from 1 again; nothing is doubled.

    What waits in Synapse's memory for its turn to be delivered is lost with it: catching up makes
    that good.
    """
    alice = await _person(echo.server)
    room_id = await _room(echo, alice)
    await echo.catch_up.once()
    for number in range(15):
        await alice.say(room_id, str(number))
    await echo.server.kill()  # echoes are on their way, and events to us
    await echo.server.start()
    await echo.catch_up.once()
    for number in range(15, 20):
        await alice.say(room_id, str(number))
    await echo.server.restart()
    await echo.catch_up.once()
    for number in range(20, 25):
        await alice.say(room_id, str(number))
    assert await _echoes(alice, room_id, 25) == _expected(25)


async def test_what_was_never_delivered_is_caught_up_with(echo: Echo) -> None:
    alice = await _person(echo.server)
    old = await _room(echo, alice)
    await alice.say(old, "0")
    await _echoes(alice, old, 1)
    await echo.catch_up.once()
    await echo.die()
    for number in range(1, 12):
        await alice.say(old, str(number))
    # A homeserver that forgets us while we are away: it delivers none of that.
    await echo.server.stop()
    _forget_transactions(echo.server)
    await echo.server.start()
    await echo.live()
    assert await _echoes(alice, old, 12) == _expected(12)


def _forget_transactions(server: Synapse) -> None:
    with (
        contextlib.closing(sqlite3.connect(server.data_dir / "homeserver.db")) as database,
        database,
    ):
        assert database.execute("DELETE FROM application_services_txns").rowcount > 0
        database.execute("UPDATE application_services_state SET state = 'up'")


async def test_catching_up_takes_in_nothing_said_before_we_came(echo: Echo) -> None:
    alice = await _person(echo.server)
    room_id = await alice.create_room("Long ago")
    for number in range(3):
        await alice.say(room_id, f"before {number}")
    await alice.invite(room_id, echo.client.user_id)
    await alice.wait_for(
        room_id, lambda e: e["type"] == "m.room.member" and e["sender"] == echo.client.user_id
    )
    await alice.say(room_id, "0")
    assert await _echoes(alice, room_id, 1) == ["echo 0"]
    await echo.catch_up.once()
    assert await echo.inbox.next(room_id) is None
    assert await echo.outbox.waiting() == 0


async def test_state_threads_and_files_in_a_real_room(echo: Echo) -> None:
    alice = await _person(echo.server)
    room_id = await _room(echo, alice)
    thread = {"rel_type": "m.thread", "event_id": "outbox:card"}
    rows = [
        Outgoing(
            room_id=room_id,
            txn_id="status",
            kind="state",
            type=wire.CONFERENCE_STATUS,
            state_key=echo.server.server_name,
            content={"active": True},
            if_forbidden={"msgtype": "m.notice", "body": "I lack the power"},
        ),
        Outgoing(
            room_id=room_id,
            txn_id="card",
            kind="message",
            content={"msgtype": "m.notice", "body": "card"},
        ),
        Outgoing(
            room_id=room_id,
            txn_id="file",
            kind="file",
            content={"m.relates_to": thread},
            blob=b"WEBVTT\n",
            media_type="text/vtt",
            file_name="transcript.vtt",
        ),
    ]
    async with echo.db.acquire() as conn, conn.transaction():
        await echo.outbox.put(conn, *rows, now_ms=1)
    echo.sender.wake(room_id)
    await alice.wait_for(room_id, lambda e: e["content"].get("body") == "I lack the power")
    file = (await alice.wait_for(room_id, lambda e: e["content"].get("msgtype") == "m.file"))[
        "content"
    ]
    assert await alice.attachment(file["file"]) == b"WEBVTT\n"
    assert (file["filename"], file["info"]) == (
        "transcript.vtt",
        {"mimetype": "text/vtt", "size": 7},
    )
    assert file["m.relates_to"]["event_id"] == await echo.outbox.event_id("card")


async def test_membership_is_what_it_is_now(echo: Echo) -> None:
    alice = await _person(echo.server)
    bob = await echo.server.ensure_person("bob", "a password of bob")
    with_bot = await _room(echo, alice)
    without_bot = await alice.create_room("Private")
    client = echo.client
    for room_id in (with_bot, without_bot):
        assert not await client.is_joined(room_id, bob.user_id)
        await alice.invite(room_id, bob.user_id)
        assert not await client.is_joined(room_id, bob.user_id)
        await bob.join(room_id)
        assert await client.is_joined(room_id, bob.user_id)
    assert (await client.members(with_bot))[bob.user_id] == {"display_name": "bob"}
    assert await client.display_name(with_bot, bob.user_id) == "bob"
    # A bot that was thrown out is shown the room as it was then: bob still in it.
    await alice.kick(with_bot, client.user_id)
    for room_id in (with_bot, without_bot):
        await alice.ban(room_id, bob.user_id)
        assert not await client.is_joined(room_id, bob.user_id)
    assert not await client.is_joined("!nonsense", bob.user_id)
    assert not await client.is_joined(with_bot, "nonsense")
    with pytest.raises(HomeserverError) as caught:
        await client.members(with_bot)
    assert caught.value.status == 403
    assert (await client.openid_token())["matrix_server_name"] == echo.server.server_name
