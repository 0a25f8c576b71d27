"""Encryption over a database, on SQLite and PostgreSQL: what is kept, and whom it believes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge import config
from bridge.crypto import NoSession, ToDevice, Undecryptable, repairs
from bridge.crypto.engine import Engine, open_engine
from bridge.matrix import wire
from bridge.matrix.http import Unreachable
from bridge.store.database import open_database
from bridge.store.inbox import Inbox, NewEntry
from tests.support.key_server import KeyServer

ROOM = "!room"
BOT, BOB, EVE = "@visio:near", "@bob:far", "@eve:evil.example"
KIND = "test.keys"
_EVENTS = itertools.count()
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What does not depend on the kind of database."""


@asynccontextmanager
async def open_as(
    server: KeyServer, user_id: str, url: str, folder: Path, *, ready: bool = True
) -> AsyncIterator[Engine]:
    """One life of a device; the same folder and database are its next."""
    settings = config.Settings(
        database=config.Database(url=url), data_dir=str(folder / "data"), base=folder
    )
    async with AsyncExitStack() as stack:
        db = await open_database(settings)
        stack.push_async_callback(db.stop)
        account: Any = server.account(user_id)
        engine = await open_engine(settings, db, account)
        task = asyncio.create_task(engine.run())
        try:
            if ready:
                async with asyncio.timeout(20):
                    await engine.ready.wait()
            yield engine
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class World:
    """A bot on the database under test, and people with devices of their own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.server = KeyServer()
        self.server.rooms[ROOM] = [BOT, BOB]
        self.server.encrypted.add(ROOM)
        self.came: asyncio.Queue[ToDevice] = asyncio.Queue()
        self._url = url
        self._folder = folder

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[Engine]:
        folder = self._folder / "bot"
        folder.mkdir(exist_ok=True)
        async with open_as(self.server, BOT, self._url, folder, ready=False) as bot:
            bot.on_to_device(KIND, self.came.put)
            async with asyncio.timeout(20):
                await bot.ready.wait()
            yield bot

    def person(self, user_id: str, device: str = "one") -> Any:
        folder = self._folder / f"{user_id.partition(':')[0]}-{device}"
        return open_as(self.server, user_id, f"sqlite:{folder}/client.db", folder)

    async def deliver(self, to: Engine, user_id: str) -> dict[str, Any]:
        transaction = self.server.transaction(user_id)
        await to.take(transaction)
        return transaction

    async def next(self) -> ToDevice:
        async with asyncio.timeout(20):
            return await self.came.get()


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return World(database_url, tmp_path)


async def sealed_by(who: Engine, sender: str, body: str, **more: Any) -> dict[str, Any]:
    """An event as their homeserver shows it."""
    content = {"msgtype": wire.TEXT, "body": body, **more}
    event_type, sealed = await who.encrypt(ROOM, wire.MESSAGE, content)
    assert event_type == wire.ENCRYPTED
    return {
        "room_id": ROOM,
        "event_id": f"$event{next(_EVENTS)}",
        "sender": sender,
        "type": event_type,
        "origin_server_ts": 1_700_000_000_000,
        "content": sealed,
    }


async def opened(who: Engine, event: dict[str, Any]) -> dict[str, Any]:
    """Read as soon as the sender's device list is."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await who.decrypt(event)
            except Undecryptable as error:
                if error.session is None:
                    raise
            await asyncio.sleep(0.02)


async def test_both_ways_and_again_after_a_restart(world: World) -> None:
    async with world.person(BOB) as bob:
        async with world.bot() as bot:
            device = bot.device_id
            event = await sealed_by(bob, BOB, "hello", **{wire.RELATES_TO: {"rel_type": "x"}})
            await world.deliver(bot, BOT)
            clear = await opened(bot, event)
            assert clear["type"] == wire.MESSAGE
            assert clear["content"]["body"] == "hello"
            assert clear["content"][wire.RELATES_TO] == {"rel_type": "x"}
            first = await sealed_by(bot, BOT, "hello too")
            await world.deliver(bob, BOB)
            assert (await opened(bob, first))["content"]["body"] == "hello too"
        unread = await sealed_by(bob, BOB, "are you back?")
        async with world.bot() as bot:
            assert bot.device_id == device
            assert (await bot.decrypt(unread))["content"]["body"] == "are you back?"
            second = await sealed_by(bot, BOT, "I am")
            assert second["content"]["session_id"] == first["content"]["session_id"]
            assert not world.server.inbox.get(BOB), "bob has the key already"
            assert (await bob.decrypt(second))["content"]["body"] == "I am"
            assert await bot.current(ROOM, second["content"])
            await bob.send_to_device(BOT, device, KIND, {"index": 1})
            await world.deliver(bot, BOT)
            came = await world.next()
            assert came == ToDevice(
                sender=BOB, device=bob.device_id, type=KIND, content={"index": 1}
            )
            assert not await bot._machine.db.fetchval("SELECT COUNT(*) FROM e2ee_to_device")


async def test_a_repeated_transaction_changes_nothing(world: World) -> None:
    async with world.person(BOB) as bob:
        async with world.bot() as bot:
            await bob.send_to_device(BOT, bot.device_id, KIND, {"index": 1})
            event = await sealed_by(bob, BOB, "hello")
            transaction = await world.deliver(bot, BOT)
            await world.next()
            await bot.take(transaction)
            await opened(bot, event)
        async with world.bot() as bot:
            await bot.take(transaction)
            await bob.send_to_device(BOT, bot.device_id, KIND, {"index": 2})
            await world.deliver(bot, BOT)
            assert (await world.next()).content == {"index": 2}
            assert world.came.empty()
            assert not bot._machine.wedged


@ON_SQLITE
async def test_a_transaction_the_database_refuses_is_taken_when_it_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.person(BOB) as bob, world.bot() as bot:
        event = await sealed_by(bob, BOB, "hello")
        transaction = world.server.transaction(BOT)

        async def full(*_: Any) -> set[str]:
            raise OSError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(Inbox, "unlock", full)
            with pytest.raises(OSError, match="the disk is full"):
                await bot.take(transaction)
        with pytest.raises(Undecryptable):
            await bot.decrypt(event)
        await bot.take(transaction)
        assert (await opened(bot, event))["content"]["body"] == "hello"


async def test_a_message_waits_for_its_handler_over_a_restart(world: World) -> None:
    async with world.person(BOB) as bob:
        async with world.bot() as bot:
            failing = asyncio.Event()

            async def fails(_: ToDevice) -> None:
                failing.set()
                raise Unreachable("the test says so", sent=False)

            bot.on_to_device(KIND, fails)
            await bob.send_to_device(BOT, bot.device_id, KIND, {"key": "secret of the call"})
            await world.deliver(bot, BOT)
            async with asyncio.timeout(20):
                await failing.wait()
            stored = await bot._machine.db.fetchval("SELECT content FROM e2ee_to_device")
            assert "secret" not in stored
        async with world.bot():
            assert (await world.next()).content == {"key": "secret of the call"}


@ON_SQLITE
async def test_an_event_is_believed_once_and_of_its_sender_alone(world: World) -> None:
    world.server.rooms[ROOM].append(EVE)
    async with world.person(BOB) as bob, world.person(EVE) as eve, world.bot() as bot:
        event = await sealed_by(bob, BOB, "!visio start")
        await world.deliver(bot, BOT)
        await opened(bot, event)
        await opened(bot, event)  # the same event: an entry that is handled again
        replayed = {**event, "event_id": "$replayed"}
        with pytest.raises(Undecryptable, match="repeats"):
            await bot.decrypt(replayed)
        elsewhere = {**event, "room_id": "!other", "event_id": "$elsewhere"}
        with pytest.raises(Undecryptable, match="did not come"):
            await bot.decrypt(elsewhere)
        # Eve has bob's key as a member of the room, and her homeserver says what she likes.
        await world.deliver(eve, EVE)
        stolen = {**event, "sender": EVE, "event_id": "$stolen"}
        with pytest.raises(Undecryptable, match="not known as the sender's"):
            await bot.decrypt(stolen)


@ON_SQLITE
async def test_a_room_key_is_taken_from_the_device_that_made_it(world: World) -> None:
    async with world.person(BOB) as bob, world.person(EVE) as eve, world.bot() as bot:
        event = await sealed_by(bob, BOB, "hello")
        await world.deliver(bot, BOT)
        assert await opened(bot, event)
        session = await bob._machine.store.get_outbound_group_session(ROOM)
        key = {
            "algorithm": wire.MEGOLM,
            "room_id": ROOM,
            "session_id": session.id,
            "session_key": session.session_key,
        }
        await eve.send_to_device(BOT, bot.device_id, wire.ROOM_KEY, key)
        forwarded = {**key, "sender_key": bob._machine.own.identity_key}
        await eve.send_to_device(BOT, bot.device_id, wire.FORWARDED_ROOM_KEY, forwarded)
        await eve.send_to_device(BOT, bot.device_id, wire.ROOM_KEY, {**key, "session_id": "x" * 43})
        await eve.send_to_device(BOT, bot.device_id, wire.ROOM_KEY, {**key, "session_key": "é"})
        await world.deliver(bot, BOT)
        row = await bot._machine.db.fetchrow("SELECT sender_key FROM crypto_megolm_inbound_session")
        assert row is not None
        assert row["sender_key"] == bob._machine.own.identity_key
        assert (await bot.decrypt(await sealed_by(bob, BOB, "still readable")))["content"]


@ON_SQLITE
async def test_garbage_sent_to_the_device_is_passed_over(world: World) -> None:
    async with world.person(BOB) as bob, world.bot() as bot:
        own = bot._machine.own.identity_key
        contents: list[Any] = [
            {},
            {"algorithm": wire.OLM},
            {"algorithm": wire.OLM, "sender_key": 3, "ciphertext": {own: {}}},
            {"algorithm": wire.OLM, "sender_key": "a" * 43, "ciphertext": {own: {"type": 9}}},
            {
                "algorithm": wire.OLM,
                "sender_key": "a" * 43,
                "ciphertext": {own: {"type": 0, "body": "é\0"}},
            },
            {
                "algorithm": wire.OLM,
                "sender_key": "a" * 43,
                "ciphertext": {own: {"type": 1, "body": "AAAA"}},
            },
        ]
        to = {"to_user_id": BOT, "to_device_id": bot.device_id}
        garbage: list[Any] = [
            {**to, "type": wire.ENCRYPTED, "sender": EVE, "content": content}
            for content in contents
        ]
        garbage += [{}, 3, {**to, "type": KIND, "sender": EVE, "content": {"index": 1}}]
        await bob.send_to_device(BOT, bot.device_id, KIND, {"index": 2})
        transaction = world.server.transaction(BOT)
        transaction["de.sorunome.msc2409.to_device"][:0] = garbage
        transaction["org.matrix.msc3202.device_lists"] = {"changed": [BOB, 3, "\0"], "left": None}
        await bot.take(transaction)
        assert (await world.next()).content == {"index": 2}, "and nothing in clear is acted on"
        assert world.came.empty()


async def test_who_comes_gets_the_key_and_who_left_none(world: World) -> None:
    async with world.bot() as bot, world.person(BOB) as bob:
        first = await sealed_by(bot, BOT, "one")
        await bot.take({"events": [_joins(EVE)]})
        world.server.rooms[ROOM].append(EVE)
        async with world.person(EVE) as eve:
            second = await sealed_by(bot, BOT, "two")
            assert second["content"]["session_id"] == first["content"]["session_id"]
            await world.deliver(eve, EVE)
            assert (await opened(eve, second))["content"]["body"] == "two"
            with pytest.raises(Undecryptable):
                await eve.decrypt(first)  # said before she came
        assert await bot.current(ROOM, second["content"])
        world.server.rooms[ROOM].remove(EVE)
        await bot.take({"events": [_joins(EVE)]})
        assert not await bot.current(ROOM, second["content"]), "eve has its key"
        third = await sealed_by(bot, BOT, "three")
        assert third["content"]["session_id"] != first["content"]["session_id"]
        assert all(m["to_device_id"] == bob.device_id for m in world.server.inbox[BOB])
        assert not world.server.inbox.get(EVE)


def _joins(user_id: str) -> dict[str, Any]:
    return {"type": wire.MEMBER, "room_id": ROOM, "state_key": user_id, "content": {}}


@ON_SQLITE
async def test_a_server_that_does_not_answer_keeps_nobody_else_from_reading(world: World) -> None:
    world.server.rooms[ROOM].append("@somebody:dead.example")
    world.server.dead.add("dead.example")
    async with world.bot() as bot, world.person(BOB) as bob:
        event = await sealed_by(bot, BOT, "hello")
        await world.deliver(bob, BOB)
        assert (await opened(bob, event))["content"]["body"] == "hello"
        asked = world.server.queries
        await sealed_by(bot, BOT, "and again")
        assert world.server.queries == asked, "it is left alone for a minute"


@ON_SQLITE
@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_a_key_that_could_not_be_sent_is_sent_when_it_is_tried_again(
    world: World, answered: int
) -> None:
    """The homeserver fails at the query of devices, the claim of keys, or the sending."""
    async with world.bot() as bot, world.person(BOB) as bob:
        world.server.lost_after = answered
        with pytest.raises(Unreachable):
            await sealed_by(bot, BOT, "hello")
        event = await sealed_by(bot, BOT, "hello")
        await world.deliver(bob, BOB)
        assert (await opened(bob, event))["content"]["body"] == "hello"


@ON_SQLITE
async def test_a_room_stays_encrypted_whatever_its_state_says(world: World) -> None:
    async with world.bot() as bot:
        assert await bot.encrypts(ROOM)
        assert not await bot.encrypts("!clear")
        world.server.encrypted.clear()
    async with world.bot() as bot:
        assert await bot.encrypts(ROOM)
        turned_on = {
            "type": wire.ENCRYPTION,
            "room_id": "!clear",
            "state_key": "",
            "content": {"algorithm": wire.MEGOLM, "rotation_period_msgs": 1, "other": None},
        }
        await bot.take({"events": [turned_on, {"room_id": 3}, 4]})
        assert await bot.encrypts("!clear")
        assert (await bot._rooms.rotation("!clear")).messages == 10
        kind, content = await bot.encrypt(ROOM, wire.REACTION, {"x": 1})
        assert (kind, content) == (wire.REACTION, {"x": 1})


async def test_another_secret_makes_a_new_device_of_the_same_database(
    world: World, tmp_path: Path
) -> None:
    async with world.person(BOB) as bob:
        async with world.bot() as bot:
            old = bot.device_id
            await sealed_by(bob, BOB, "hello")
            await world.deliver(bot, BOT)
        secret = tmp_path / "bot/data/encryption.key"
        assert secret.stat().st_mode & 0o777 == 0o600
        secret.unlink()
        async with world.bot() as bot:
            assert bot.device_id != old
            assert world.server.removed == [old]
            await bob.missed()
            event = await sealed_by(bob, BOB, "hello again")
            await world.deliver(bot, BOT)
            assert (await opened(bot, event))["content"]["body"] == "hello again"
            with pytest.raises(NoSession):
                await bob.send_to_device(BOT, old, KIND, {})


async def test_entries_locked_for_a_key_are_unlocked_when_it_comes(world: World) -> None:
    async with world.person(BOB) as bob, world.bot() as bot:
        woken: list[set[str]] = []
        bot.on_unlocked = woken.append
        event = await sealed_by(bob, BOB, "hello")
        inbox = Inbox(bot._machine.db)
        await inbox.commit([NewEntry(ROOM, "matrix", event["event_id"], event)], now_ms=1)
        entry = await inbox.next(ROOM)
        assert entry is not None
        await inbox.lock(entry, event["content"]["session_id"])
        assert await inbox.next(ROOM) is None
        await world.deliver(bot, BOT)
        assert woken == [{ROOM}]
        assert await inbox.next(ROOM) == entry


@ON_SQLITE
async def test_a_session_that_was_lost_is_begun_anew(world: World) -> None:
    """As after a backup was brought back: bob's client goes on with a session we have not."""
    async with world.person(BOB) as bob:
        bob.on_to_device("test.other", world.came.put)
        async with world.bot() as bot:
            await bob.send_to_device(BOT, bot.device_id, KIND, {"index": 1})
            await world.deliver(bot, BOT)
            await world.next()
            await bot.send_to_device(BOB, bob.device_id, "test.other", {"index": 2})
            await world.deliver(bob, BOB)
            await world.next()
            # From here on bob's messages are no pre-key messages any more.
            await bot._machine.db.execute("DELETE FROM crypto_olm_session")
            bot._machine.store.forget()
            await bot._machine.load()
            await bob.send_to_device(BOT, bot.device_id, KIND, {"index": 3})
            await world.deliver(bot, BOT)
            async with asyncio.timeout(20):
                while not world.server.inbox.get(BOB):  # noqa: ASYNC110 - a plain list
                    await asyncio.sleep(0.01)
            await world.deliver(bob, BOB)
            await bob.send_to_device(BOT, bot.device_id, KIND, {"index": 4})
            await world.deliver(bot, BOT)
            assert (await world.next()).content == {"index": 4}
            assert world.came.empty(), "what was lost is lost, and nothing comes twice"


@ON_SQLITE
async def test_old_room_keys_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.person(BOB) as bob:
        async with world.bot() as bot:
            event = await sealed_by(bob, BOB, "hello")
            await world.deliver(bot, BOT)
            await opened(bot, event)
        monkeypatch.setattr(repairs, "_KEPT_DAYS", -1)
        async with world.bot() as bot, asyncio.timeout(20):
            while await _rows(bot):  # noqa: ASYNC110 - the database's
                await asyncio.sleep(0.01)


async def _rows(engine: Engine) -> int:
    count = await engine._machine.db.fetchval(
        "SELECT (SELECT COUNT(*) FROM crypto_megolm_inbound_session)"
        " + (SELECT COUNT(*) FROM crypto_message_index) + (SELECT COUNT(*) FROM e2ee_seen)"
    )
    return int(count)
