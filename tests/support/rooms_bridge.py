"""A bridge's rooms against a real homeserver; media server and scribe are stood in for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from bridge import config
from bridge.dev.certificates import ensure_authority
from bridge.matrix import appservice, registration
from bridge.matrix.client import Homeserver
from bridge.matrix.outbox import Sender
from bridge.matrix.own_membership import OwnMembership
from bridge.matrix.registration import Registration
from bridge.rooms.conductor import Conductor
from bridge.rooms.entrance import Entrance
from bridge.rooms.house import House, Stores
from bridge.rooms.worker import Rooms
from bridge.store.database import open_database
from bridge.upkeep.callout import CallOut
from bridge.upkeep.chat import Chat
from bridge.upkeep.errands import Errands
from bridge.upkeep.forgetting import Telling
from bridge.upkeep.hangup import HangUp
from bridge.upkeep.hearing import Hearing, ScribeAccess, encrypted_calls
from bridge.upkeep.media_keys import MediaKeys
from bridge.upkeep.moderation import Hands, OtherSites
from bridge.upkeep.reconcile import Reconciler
from bridge.upkeep.summaries import Summaries
from tests.support.rooms_world import Bell, NoLinks, StandInMedia, StandInScribe
from tests.support.synapse import Synapse, free_ports


class Bridge:
    """Appservice port, rooms, reconciler and sender of one bridge."""

    def __init__(self, folder: Path, server: Synapse, granted: Registration) -> None:
        self.settings = config.Settings(
            homeserver=config.Homeserver(address=server.client_url, server_name=server.server_name),
            database=config.Database(url=f"sqlite:{folder}/rooms.db"),
            conference=config.Conference(language="en"),
        )
        self.bot = granted.bot(server.server_name)
        self._granted = granted
        self.bell = Bell()
        self.media, self.scribe = StandInMedia(self.bell), StandInScribe(self.bell)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.stores = Stores.over(await open_database(self.settings))
            stack.push_async_callback(self.stores.db.stop)
            homeserver = Homeserver(
                self.settings.homeserver.address,
                self.settings.homeserver.server_name,
                self._granted,
            )
            stack.push_async_callback(homeserver.close)
            parts = self._wired(homeserver)
            await self._listen(stack)
            await homeserver.ensure_registered()
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            running = [tasks.create_task(part.run()) for part in parts]
            await homeserver.ping()
            yield
            for task in running:
                task.cancel()

    def _wired(self, homeserver: Homeserver) -> list[Any]:
        house = House.of(self.settings, self.bot)
        sender = Sender(self.stores.db, homeserver, first_pause_s=0.1)

        def handled(room_ids: Iterable[str]) -> None:
            for room_id in room_ids:
                sender.wake(room_id)
                reconciler.wake([room_id])
                errands.wake([room_id])
            self.bell.ring()

        conductor = Conductor(house, self.stores, homeserver)
        registry = CollectorRegistry()
        self.rooms = Rooms(self.stores, conductor, on_handled=handled, registry=registry)
        access = ScribeAccess(url="ws://media", token=lambda room, identity: "token")
        place = OwnMembership(homeserver, "https://visio.a")
        hearing = Hearing(
            self.bot,
            self.scribe,
            access,
            take=self.rooms.take,
            members=homeserver,
            place=place,
            keys=MediaKeys(
                encrypted_calls(self.stores.conferences), self.stores.grants.of_user, handled
            ),
        )
        reconciler = Reconciler(
            house, self.stores, self.media, hearing, take=self.rooms.take, members=homeserver
        )
        errands = Errands(
            self.stores,
            Hands(self.stores, self.media),
            OtherSites(self.stores, NoLinks()),
            homeserver,
            callout=CallOut(house, self.stores, place),
            hangup=HangUp(house, self.stores, homeserver, hold_ms=500),
            chat=Chat(house, self.stores.errands, homeserver),
            summaries=Summaries(house, self.stores, None),
            telling=Telling(self.stores.errands, NoLinks()),
            take=self.rooms.take,
        )
        self.entrance = Entrance(house, self.stores, homeserver, take=self.rooms.take)
        return [sender, self.rooms, reconciler, place, errands]

    async def _listen(self, stack: AsyncExitStack) -> None:
        app = appservice.routes(
            self.stores.inbox,
            self._granted,
            self.rooms.wake,
            server_name=self.settings.homeserver.server_name,
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = int(self._granted.url.rpartition(":")[2])
        await web.TCPSite(runner, "127.0.0.1", port).start()


@asynccontextmanager
async def synapse_with_bot(folder: Path) -> AsyncIterator[tuple[Synapse, Registration]]:
    """A running homeserver that knows an application service of ours."""
    client_port, federation_port, bridge_port = free_ports(3)
    server = Synapse(
        folder / "homeserver",
        client_port=client_port,
        federation_port=federation_port,
        authority=ensure_authority(folder),
    )
    settings = config.Settings(
        homeserver=config.Homeserver(server_name=server.server_name),
        appservice=config.Appservice(listen=f"127.0.0.1:{bridge_port}"),
    )
    path = folder / "registration.yaml"
    path.write_text(registration.generate(settings), encoding="utf-8")
    await server.start([path])
    try:
        yield server, registration.read(path)
    finally:
        await server.stop()
