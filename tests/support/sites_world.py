"""Several bridges that share one room: each with its own database, joined by what they ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import Unavailable
from bridge.matrix import references
from bridge.peers.door import Door
from bridge.peers.links import Links, Revs
from bridge.peers.way import Refusal
from bridge.upkeep.exchange import Exchange
from bridge.upkeep.moderation import Moderation
from bridge.upkeep.shares import Shares
from tests.support.rooms_world import ROOM, World, Worlds, state_event


@dataclass
class Site:
    """One bridge. `alive` False: it asks nothing and answers nothing."""

    world: World
    sites: Sites
    alive: bool = True
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        house, stores, take = self.world.house, self.world.stores, self.world.rooms.take
        revs = Revs(lambda: self.world.now_ms)
        self.exchange = Exchange(
            house,
            stores,
            self.sites,
            take=take,
            tell=lambda server, told: self.links.tell(server, told),
            revs=revs,
            clock_ms=lambda: self.world.now_ms,
            look_s=0.02,
        )
        self.links = Links(
            self,
            self.exchange.answered,
            revs,
            distance_s=0.0,
            first_pause_s=0.02,
        )
        self.shares = Shares(house, stores, self.links, take=take, rest_s=0.05)
        self.world.links = self.links
        moderation = Moderation(house, stores, self.world.hands, take=take)
        self.door = Door(
            house.server_name, house.allow_servers, self.exchange, self.sites, moderation
        )

    @property
    def name(self) -> str:
        return self.world.server

    async def ask(self, server: str, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """The way to the other bridges, as `bridge.peers.way.Way` is one."""
        other = self.sites.of[server]
        if not (self.alive and other.alive):
            raise Unavailable("homeserver_unavailable")
        self.asked.append((server, kind, body))
        status, answer = await other.door.answer(self.name, kind, body)
        if status == 429:
            raise Unavailable("homeserver_unavailable")
        if status != 200:
            raise Refusal(status, answer["error"])
        return answer

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in (self.world.rooms, self.links, self.exchange, self.shares):
                tasks.create_task(part.run())
            if self.sites.on_errands:
                tasks.create_task(self.world.errands.run())

    def hide(self, server: str) -> None:
        """This site's homeserver does not know (yet) that another's bot is in the room."""
        bot, homeserver = f"@visio:{server}", self.world.homeserver
        homeserver.gone.add(bot)
        homeserver.unseen.add(bot)

    def handled(self, room_ids: list[str]) -> None:
        self.exchange.wake(room_ids)
        self.shares.wake(room_ids)

    async def give(self, *entries: Any) -> None:
        """News for this site, handled by its worker."""
        await self.world.rooms.take(entries)
        await self.world.rooms.idle()


@dataclass
class Sites:
    """All of them and the room's timeline: `(server, event id, content)`."""

    of: dict[str, Site] = field(default_factory=dict)
    timeline: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    redacted: set[str] = field(default_factory=set)
    states: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    servers: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    on_errands: bool = False
    """Whether errands are done by themselves; else a test has them done when it wants."""

    async def is_server_joined(self, room_id: str, server: str) -> bool:
        return server in self.servers

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        return user_id not in self.strangers

    async def open(self, worlds: Worlds, *names: str) -> None:
        """Bridges of these servers, all in the room."""
        self.servers = set(names)
        for name in names:
            world = await worlds.open(name, server=name)
            world.homeserver.levels = {
                "users": {"@alice:a": 100, **{f"@visio:{server}": 50 for server in names}}
            }
            world.homeserver.more_state = [
                state_event("m.room.member", {"membership": "join"}, f"@visio:{server}")
                for server in names
            ]
            self.of[name] = Site(world, self)
            world.listeners.append(self.of[name].handled)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(site.run()) for site in self.of.values()]
            running.append(tasks.create_task(self._send()))
            for site in self.of.values():
                await site.give(site.world.wish({"transcript": True, "language": "en"}))
            yield
            for task in running:
                task.cancel()

    async def pass_time(self, ms: int) -> None:
        """Let time pass in steps in which every site looks around."""
        end_ms = next(iter(self.of.values())).world.now_ms + ms
        while (now_ms := next(iter(self.of.values())).world.now_ms) < end_ms:
            for site in self.of.values():
                site.world.now_ms = min(end_ms, now_ms + 2_000)
            await until(self._all_looked)

    def _all_looked(self) -> bool:
        return all(site.exchange.looked_ms == site.world.now_ms for site in self.of.values())

    # ---- the room's timeline

    async def _send(self) -> None:
        """What the senders do: event ids for what is in the outboxes, in order."""
        while True:
            for site in self.of.values():
                if site.alive:
                    await self._deliver(site)
            await asyncio.sleep(0.01)

    async def _deliver(self, site: Site) -> None:
        outbox = site.world.stores.outbox
        while (row := await outbox.next(ROOM)) is not None:
            known = await outbox.find(references.mentioned(row.outgoing.content))
            events = {txn: sent.event_id for txn, sent in known.items() if sent.event_id}
            try:
                content = references.resolve(row.outgoing.content, events)
            except references.TargetNotSent:
                await outbox.refused(row, "its target was not sent", forbidden=False, now_ms=0)
                continue
            event_id = f"${site.name}-{row.seq}"
            if row.outgoing.kind == "redaction":
                self.redacted.add(content["redacts"])
            elif row.outgoing.kind == "state":
                self.states[row.outgoing.type, row.outgoing.state_key] = content
            else:
                if row.outgoing.kind == "file":
                    content["blob"] = row.outgoing.blob
                self.timeline.append((site.name, event_id, content))
            await outbox.sent(row, event_id)

    def cards(self) -> dict[str, dict[str, Any]]:
        """What each card shows now: event id to its newest content."""
        shown: dict[str, dict[str, Any]] = {}
        for _, event_id, content in self.timeline:
            if "eu.colloque.card" not in content or event_id in self.redacted:
                continue
            relation = content.get("m.relates_to") or {}
            if relation.get("rel_type") == "m.replace":
                if relation["event_id"] not in self.redacted:
                    shown[relation["event_id"]] = content["m.new_content"]
            else:
                shown[event_id] = content
        return shown

    def standing(self) -> dict[str, dict[str, Any]]:
        """The cards that stand for a call."""
        return {
            event_id: content
            for event_id, content in self.cards().items()
            if content["eu.colloque.card"]["phase"] != "moved"
        }

    def with_key(self, key: str) -> list[tuple[str, dict[str, Any]]]:
        return [(server, content) for server, _, content in self.timeline if key in content]


async def until(holds: Any) -> None:
    """Return once `holds()` (or what it awaits) is true."""
    async with asyncio.timeout(20):
        while True:
            answer = holds()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.01)
