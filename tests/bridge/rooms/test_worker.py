"""Rooms at work: waiting for what is away, setting aside what is broken, surviving a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import pytest

from bridge.matrix.client import HomeserverError, Unreachable
from bridge.rooms.worker import ATTEMPTS, Rooms
from bridge.store.inbox import Entry, NewEntry
from tests.support.rooms_world import ALICE, BOB, BOT, ROOM, T0, World, Worlds, state_event


@asynccontextmanager
async def at_work(rooms: Rooms) -> AsyncIterator[None]:
    task = asyncio.create_task(rooms.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_takes_handles_and_wakes(world: World) -> None:
    async with at_work(world.rooms):
        await world.rooms.take([world.message(ALICE, "!visio start")])
        await world.rooms.idle()
    assert world.woken == [ROOM]
    assert (await world.txns())[0] == "card:conf-0:0"


async def test_begins_with_what_waited_over_the_restart(worlds: Worlds) -> None:
    world = await worlds.open()
    await world.stores.inbox.commit([world.message(ALICE, "!visio help")], now_ms=T0)
    await worlds.close()
    again = await worlds.open()
    async with at_work(again.rooms):
        await again.bell.until(lambda: again.woken)
    assert len(await again.bodies()) == 1


@pytest.mark.parametrize(
    "error", [Unreachable("down", sent=False), HomeserverError(503), HomeserverError(429)]
)
async def test_waits_for_a_homeserver_that_is_away(world: World, error: Exception) -> None:
    world.homeserver.failure = error
    tries = 0
    gone = asyncio.Event()

    async def state(room_id: str) -> list[dict[str, Any]]:
        nonlocal tries
        tries += 1
        if tries > ATTEMPTS + 2:
            gone.set()
            world.homeserver.failure = None
            return [state_event("m.room.member", {"membership": "join"}, BOT)]
        raise error

    world.homeserver.state = state  # type: ignore[method-assign]
    world.rooms._first_rest_s = 0.001
    async with at_work(world.rooms):
        await world.rooms.take([world.message(ALICE, "!visio help")])
        await gone.wait()
        await world.rooms.idle()
    assert await world.set_aside() == []
    assert len(await world.bodies()) == 1


@pytest.mark.parametrize("error", [ValueError("a defect"), HomeserverError(400, "M_UNKNOWN")])
async def test_a_defect_is_set_aside_with_a_reference_and_blocks_nobody(
    world: World, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    handle, tries = world.conductor.handle, 0

    async def broken(entry: Entry) -> None:
        nonlocal tries
        if "start" in str(entry.payload):
            tries += 1
            raise error
        await handle(entry)

    world.conductor.handle = broken  # type: ignore[method-assign]
    world.rooms._first_rest_s = 0.001
    async with at_work(world.rooms):
        await world.rooms.take(
            [world.message(ALICE, "!visio start now"), world.message(ALICE, "!visio who")]
        )
        await world.rooms.idle()
    assert tries == ATTEMPTS
    (reason,) = await world.set_aside()
    reference = reason.split()[0]
    bodies = await world.bodies()
    assert bodies[0] == f"I could not carry out “!visio start now” (reference {reference})."
    assert bodies[1] == "Nobody is present."
    assert reference in caplog.text


async def test_a_broken_event_is_told_of_without_its_words(world: World) -> None:
    async def broken(entry: Entry) -> None:
        raise ValueError("a defect")

    world.conductor.handle = broken  # type: ignore[method-assign]
    world.rooms._first_rest_s = 0.001
    async with at_work(world.rooms):
        await world.rooms.take([world.enters(BOB, "P1")])
        await world.rooms.idle()
    (body,) = await world.bodies()
    assert body.startswith("An event of the call could not be handled (reference ")


async def test_segments_are_durable_when_the_call_returns(world: World) -> None:
    frame = world.heard("s1", BOB, "hello").payload
    broken: list[dict[str, Any]] = [{"type": "segment"}, {**frame, "room_id": None}]
    await world.rooms.segments([frame, *broken, frame])
    entry = await world.stores.inbox.next(ROOM)
    assert entry is not None
    assert (entry.kind, entry.key, entry.payload["text"]) == ("scribe", "s1:0", "hello")
    rows = await world.stores.db.fetch("SELECT 1 FROM inbox")
    assert len(rows) == 1


async def test_news_of_a_session_find_their_room(world: World) -> None:
    await world.give(world.wish({"active": True, "transcript": True}))
    await world.rooms.session({"conference": "of nobody", "state": "stopped"})
    assert world.woken == []
    lost = {"conference": "conf-0", "state": "failed", "detail": "lost"}
    await world.rooms.session(lost)
    assert await world.stores.inbox.next(ROOM) is None
    for state in ("listening", "failed", "failed", "stopped"):
        await world.rooms.session({"conference": "conf-0", "state": state, "detail": ""})
    assert world.woken == [ROOM] * 5
    rows = await world.stores.db.fetch("SELECT key FROM inbox WHERE kind = 'scribe' ORDER BY seq")
    assert [row["key"] for row in rows] == ["session:conf-0:failed", "session:conf-0:stopped"]


# ---- killed at any moment, and everything repeated


class Killed(BaseException):
    """The process is gone: nothing after this line runs."""


Deliver = Callable[[World], NewEntry]
SCENARIO: list[Deliver] = [
    lambda w: w.member(BOT, "invite", ALICE),
    lambda w: w.wish({"transcript": True, "captions": True}),
    lambda w: w.message(BOB, "!visio start"),
    lambda w: w.enters(ALICE, "P1"),
    lambda w: w.heard("s1", ALICE, "good morning", conference="conf-2000", at=100),
    lambda w: w.heard("s1", ALICE, "good morning!", conference="conf-2000", at=100, rev=1),
    lambda w: w.member(ALICE, "ban", BOB),
    lambda w: w.leaves(ALICE, "P1"),
    lambda w: w.message(BOB, "!visio stop"),
    lambda w: NewEntry(
        ROOM,
        "scribe",
        "session:conf-2000:stopped",
        {"type": "session", "conference": "conf-2000", "state": "stopped"},
    ),
]


async def deliver_all(world: World) -> None:
    """What homeserver, media server and scribe deliver until it is acknowledged, from the start."""
    world.count = 0
    for number, make in enumerate(SCENARIO):
        world.now_ms = T0 + number * 1000
        await world.give(make(world))


async def outcome(world: World) -> list[Any]:
    db = world.stores.db
    rows = [{**row, "seq": 0, "created_ms": 0} for row in await world.rows()]
    stored = [
        [dict(row) for row in await db.fetch(query)]
        for query in (
            "SELECT * FROM conference",
            "SELECT * FROM room",
            "SELECT * FROM utterance ORDER BY segment, rev",
            "SELECT identity, revoked_ms FROM call_grant ORDER BY identity",
            "SELECT kind, key, state FROM inbox ORDER BY seq",
        )
    ]
    return [rows, *stored]


class Reaper:
    """Counts the statements and commits of the database, and kills at a chosen one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.last: int | None = None
        for name in ("execute", "commit"):
            real = getattr(aiosqlite.Connection, name)
            monkeypatch.setattr(aiosqlite.Connection, name, self._counted(real))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.last:
                raise Killed
            return real(*args, **kwargs)

        return call

    def kill_at(self, number: int | None) -> None:
        self.count, self.last = 0, number


async def test_killed_at_any_statement_and_everything_repeated(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper = Reaper(monkeypatch)
    reference = await worlds.open("reference")
    await reference.grant(ALICE)
    reaper.kill_at(None)
    await deliver_all(reference)
    total, expected = reaper.count, await outcome(reference)
    assert total > 100
    # A prime step meets every kind of statement; all of them would take a minute.
    for statement in range(1, total, 7):
        victim = await worlds.open(f"killed-{statement}")
        await victim.grant(ALICE)
        reaper.kill_at(statement)
        with pytest.raises(Killed):
            await deliver_all(victim)
        reaper.kill_at(None)
        await worlds.close()
        again = await worlds.open(f"killed-{statement}")
        again.now_ms = victim.now_ms
        again.homeserver.gone = victim.homeserver.gone
        await again.give()
        await deliver_all(again)
        assert await outcome(again) == expected, statement
        await worlds.close()
