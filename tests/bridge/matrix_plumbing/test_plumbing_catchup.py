"""Catching up with what a homeserver forgot to deliver."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.matrix.catchup import CatchUp
from bridge.matrix.client import Homeserver
from bridge.store.database import Database
from bridge.store.inbox import Inbox, NewEntry
from tests.support.homeserver import BOT, FakeHomeserver

ROOM = "!room:fake.test"
MINUTE = 60_000
NOW = 100 * MINUTE


class World:
    """A room, a clock, and what the inbox has of it."""

    def __init__(self, db: Database, fake: FakeHomeserver, client: Homeserver) -> None:
        self.fake = fake
        self.now = NOW
        self.woken: list[set[str]] = []
        self.inbox = Inbox(db)
        self.db = db
        self.catch_up = CatchUp(db, client, self.woken.append, now_ms=lambda: self.now)

    def said(self, body: str, ts: int = NOW, **more: Any) -> dict[str, Any]:
        event = {
            "type": "m.room.message",
            "sender": "@alice:x",
            "origin_server_ts": ts,
            "content": {"msgtype": "m.text", "body": body},
            **more,
        }
        self.fake.add_event(ROOM, event)
        return self.fake.room(ROOM).events[-1]

    def bot(self, membership: str, before: str | None) -> None:
        unsigned = {} if before is None else {"prev_content": {"membership": before}}
        self.said(
            "",
            type="m.room.member",
            state_key=BOT,
            sender=BOT,
            content={"membership": membership},
            unsigned=unsigned,
        )

    async def delivered(self, event: dict[str, Any], now_ms: int = NOW) -> None:
        entry = NewEntry(ROOM, "matrix", event["event_id"], event)
        await self.inbox.commit([entry], now_ms=now_ms)

    async def taken(self) -> list[str]:
        """Bodies in the inbox, in order."""
        bodies = []
        while (entry := await self.inbox.next(ROOM)) is not None:
            bodies.append(entry.payload["content"].get("body", ""))
            async with self.db.acquire() as conn, conn.transaction():
                await self.inbox.done(conn, entry)
        return [body for body in bodies if body]


@pytest.fixture
def world(db: Database, fake: FakeHomeserver, client: Homeserver) -> World:
    return World(db, fake, client)


async def test_what_is_missing_is_taken_in_once_and_in_order(world: World) -> None:
    await world.delivered(world.said("one"))
    world.said("two")
    await world.delivered(world.said("three"))
    world.said("four")
    world.said("ours", sender=BOT)
    assert await world.catch_up.once() == {ROOM}
    assert world.woken == [{ROOM}]
    assert await world.taken() == ["one", "three", "two", "four"]
    assert await world.catch_up.once([ROOM]) == set()
    assert world.woken == [{ROOM}]


async def test_more_than_a_page_is_read_to_the_last_time(world: World) -> None:
    await world.delivered(world.said("long ago", ts=0), now_ms=0)
    world.now = 20 * MINUTE
    await world.catch_up.once()
    for number in range(50):
        world.said(f"old {number}", ts=9 * MINUTE)  # before the last time and its margin
    for number in range(250):
        world.said(f"new {number}", ts=21 * MINUTE)
    await world.catch_up.once()
    assert await world.taken() == ["long ago", *(f"new {number}" for number in range(250))]


async def test_what_was_said_before_the_bot_came_is_not_for_it(world: World) -> None:
    world.said("private")
    world.bot("join", "invite")
    world.bot("join", "join")  # a new name is not a coming
    await world.delivered(world.said("one"))
    world.said("two")
    await world.catch_up.once()
    assert await world.taken() == ["one", "two"]


async def test_a_room_the_database_does_not_know_is_left_alone(world: World) -> None:
    world.said("start a conference, last year")
    assert await world.catch_up.once() == set()
    assert await world.taken() == []


async def test_a_room_the_bot_had_to_leave_does_not_stop_the_others(world: World) -> None:
    await world.delivered(world.said("one"))
    world.said("two")
    del world.fake.room(ROOM).members[BOT]
    assert await world.catch_up.once([ROOM]) == set()
    assert await world.catch_up.once() == set()
    assert await world.taken() == ["one"]


async def test_of_a_piece_of_state_only_the_last_is_taken_in(world: World) -> None:
    # An invitation from just before the bot came, and the coming that was delivered: taken in
    # late, the invitation would say that somebody is not in the room who is.
    def member(membership: str, user: str) -> dict[str, Any]:
        content = {"membership": membership, "body": f"{user} {membership}"}
        return world.said("", type="m.room.member", state_key=user, sender=user, content=content)

    member("invite", "@carol:x")
    await world.delivered(member("join", "@carol:x"))
    member("invite", "@dave:x")
    member("join", "@dave:x")
    assert await world.catch_up.once() == {ROOM}
    assert await world.taken() == ["@carol:x join", "@dave:x join"]
