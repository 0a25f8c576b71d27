"""A room with a call, its captions at the public port, and a clock that stands still."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web

from bridge.matrix.client import HomeserverError, Member
from bridge.matrix.openid import OpenIdToken
from bridge.web.caption_door import CaptionDoor
from bridge.web.feed import Feed
from bridge.web.sessions import Sessions
from tests.support.captions import until
from tests.support.library import challenges
from tests.support.rooms_world import ALICE, BOB, ROOM, World, Worlds

ON = {"active": True, "captions": True, "spoken_language": "en"}


class Door:
    """The homeserver: who is in the room, as the world knows it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down = False
        self.asked = 0

    async def members(self, room_id: str) -> dict[str, Member]:
        self.asked += 1
        if self.down:
            raise HomeserverError(502, "M_UNKNOWN")
        names = self.world.homeserver.names
        gone = self.world.homeserver.gone
        return {u: Member(display_name=n) for u, n in names.items() if u not in gone}

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        return user_id in await self.members(room_id)

    async def user_of(self, token: OpenIdToken) -> str:
        return token.access_token


@dataclass
class Stream:
    """One watcher's events as they came: (event, data, id)."""

    status: int
    headers: Mapping[str, str]
    events: list[tuple[str, Any, str]] = field(default_factory=list)
    comments: int = 0
    over: bool = False

    def of(self, kind: str) -> list[Any]:
        return [data for event, data, _ in self.events if event == kind]

    @property
    def texts(self) -> list[str]:
        return [one["text"] for one in self.of("caption")]

    @property
    def state(self) -> str:
        states = self.of("state")
        return str(states[-1]["captions"]) if states else ""

    async def read(self, answer: aiohttp.ClientResponse) -> None:
        block: dict[str, str] = {}
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                block[name] = value
            elif block:
                data = json.loads(block["data"])
                self.events.append((block["event"], data, block.get("id", "")))
                block = {}
        self.over = True


@dataclass
class Screening:
    """The feed at work. `now`: its clock, in seconds."""

    world: World
    door: Door
    feed: Feed
    sessions: Sessions
    url: str
    http: aiohttp.ClientSession
    now: float
    woken: list[str]

    async def call(self, wish: Mapping[str, Any] = ON) -> None:
        """A call with Alice in it."""
        await self.world.give(self.world.wish(dict(wish)))
        await self.world.grant(ALICE)
        await self.world.give(self.world.enters(ALICE, "P1"))
        self.feed.wake([ROOM])

    def said(self, segment: str, text: str, *, final: bool = True, **more: Any) -> None:
        frame = {
            "type": "caption",
            "conference": "conf-0",
            "segment": segment,
            "identity": f"{ALICE}:D",
            "text": text,
            "final": final,
            "language": "en",
            "start_ms": 100,
            "voice": "",
        }
        self.feed.take({**frame, **more})

    @asynccontextmanager
    async def watching(
        self, user: str = BOB, *, room: str = ROOM, token: str = "", **headers: str
    ) -> AsyncIterator[Stream]:
        """Somebody's stream, until they go."""
        token = token or self.sessions.open_room(user, room)
        headers = {"Authorization": f"Bearer {token}", **headers}
        query = {"room": room} if room else {}
        async with self.http.get(self.url, params=query, headers=headers) as answer:
            stream = Stream(answer.status, answer.headers)
            if answer.status != 200:
                stream.events.append(("error", await answer.json(), ""))
            reading = asyncio.create_task(stream.read(answer))
            if answer.status == 200:
                await until(lambda: stream.events)
            yield stream
            reading.cancel()


@pytest_asyncio.fixture
async def screening(worlds: Worlds) -> AsyncIterator[Screening]:
    """A feed that looks again twenty times a second."""
    world = await worlds.open()
    door, woken = Door(world), list[str]()
    made: list[Screening] = []
    feed = Feed(
        world.stores,
        door,
        service_url="https://visio.a",
        sessions=lambda: {"conf-0": "listening"},
        wake=woken.extend,
        shows=lambda conference: not conference.encrypted,
        clock=lambda: made[0].now if made else 0.0,
        clock_ms=lambda: int(world.now_ms + (made[0].now if made else 0.0) * 1000),
        look_s=0.05,
        rest_s=0.01,
    )
    sessions = Sessions(door, challenges(), clock=lambda: made[0].now)
    app = web.Application()
    app.add_routes(CaptionDoor(feed, sessions, door, heartbeat_s=0.1, check_s=0.05).routes())
    app.on_shutdown.append(feed.ended)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/captions"
    async with aiohttp.ClientSession() as http:
        made.append(Screening(world, door, feed, sessions, url, http, 1000.0, woken))
        running = asyncio.create_task(feed.run())
        yield made[0]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await runner.cleanup()
