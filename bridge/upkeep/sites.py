"""The other sites of our rooms, wired: what they are told, what they may ask, what is fetched."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from aiohttp import web

from bridge.errors import Unavailable
from bridge.matrix.client import Homeserver, HomeserverError
from bridge.peers import door
from bridge.peers.door import Door
from bridge.peers.links import Links, Revs
from bridge.peers.way import FedProxy, ToDevice, Way
from bridge.rooms.house import House, Stores
from bridge.store.inbox import NewEntry
from bridge.upkeep.exchange import Exchange
from bridge.upkeep.moderation import Hands, Moderation
from bridge.upkeep.shares import Shares

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """`to_device.take` is given the bot's to-device messages of type `way.TO_DEVICE`."""

    exchange: Exchange
    shares: Shares
    links: Links
    door: Door
    to_device: ToDevice

    @classmethod
    def of(
        cls,
        house: House,
        stores: Stores,
        homeserver: Homeserver,
        *,
        hands: Hands,
        take: Callable[[Sequence[NewEntry]], Awaitable[None]],
        device_id: str,
    ) -> Sites:
        """All parts. `device_id`: the bot's device."""
        revs = Revs(lambda: time.time_ns() // 1_000_000)
        exchange = Exchange(
            house,
            stores,
            homeserver,
            take=take,
            tell=lambda server, told: links.tell(server, told),
            revs=revs,
        )
        moderation = Moderation(house, stores, hands, take=take)
        doorway = Door(house.server_name, house.allow_servers, exchange, homeserver, moderation)
        to_device = ToDevice(homeserver, device_id, doorway.answer)
        links = Links(Way(FedProxy(homeserver), to_device), exchange.answered, revs)
        shares = Shares(house, stores, links, take=take)
        return cls(exchange=exchange, shares=shares, links=links, door=doorway, to_device=to_device)

    def routes(self) -> list[web.RouteDef]:
        """To mount on the homeserver's port, where its token is checked."""
        return door.routes(self.door)

    def wake(self, room_ids: Iterable[str]) -> None:
        """Something of these rooms has changed here."""
        rooms = list(room_ids)
        self.exchange.wake(rooms)
        self.shares.wake(rooms)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self.links.run())
                tasks.create_task(self.exchange.run())
                tasks.create_task(self.shares.run())
        finally:
            await self.to_device.close()

    async def _listen(self) -> None:
        """Be there for questions by to-device, where the homeserver gives the bot a device."""
        while True:
            try:
                await self.to_device.listen()
                return
            except HomeserverError as error:
                if error.status in {400, 404}:
                    log.info("other bridges cannot ask by to-device: %s", error)
                    return
            except Unavailable as error:
                log.info("the bot has no device yet: %s", error)
            await asyncio.sleep(5)
