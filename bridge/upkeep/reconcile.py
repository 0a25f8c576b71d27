"""Bringing the media server and the scribe to what the stored conferences want.

Neither knows transactions. So nothing is sent to them from a transaction: after each committed
entry, and every few seconds, what is wanted is compared with what is there, and the difference is
acted on. What is seen there and was never announced (a lost webhook) becomes an inbox entry.
A restart, a missed message and a repeated one all end in the same place.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from bridge.domain.conference import Conference, read_conferences
from bridge.errors import Unavailable
from bridge.ids import media_room
from bridge.media.server import MediaParticipant, MediaRoom
from bridge.rooms import facts as room_facts
from bridge.rooms import news
from bridge.rooms.house import House, Stores
from bridge.rooms.turns import Turns
from bridge.store.grants import Grant
from bridge.store.inbox import NewEntry
from bridge.upkeep import occupancy
from bridge.upkeep.hearing import Hearing
from bridge.upkeep.occupancy import Call, Occupancy

log = logging.getLogger(__name__)

SEE_S = 1.5
"""How often rooms with a call are compared although nothing was announced."""
DUE_S = 0.5
"""How often it is looked whether something is due."""


class Media(occupancy.Media, Protocol):
    """What the reconciler asks of bridge.media.server.MediaServer."""

    async def create_room(
        self, name: str, *, metadata: str = "", empty_timeout_s: int = 300
    ) -> MediaRoom: ...
    async def delete_room(self, name: str) -> bool: ...
    async def rooms(self, names: Sequence[str] = ()) -> list[MediaRoom]: ...
    async def participants(self, name: str) -> list[MediaParticipant]: ...


class Reconciler:
    """Owner of everything that is not transactional. `run()` works until cancelled."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        media: Media,
        hearing: Hearing,
        *,
        take: Callable[[Sequence[NewEntry]], Any],
        members: occupancy.Members,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        see_s: float = SEE_S,
        due_s: float = DUE_S,
    ) -> None:
        self._house = house
        self._stores = stores
        self._media = media
        self._hearing = hearing
        self._take = take
        self._occupancy = Occupancy(house, media, members, take=take)
        self._clock_ms = clock_ms
        self._see_s = see_s
        self._due_s = due_s
        self._turns = Turns(self._turn, rest_after_error_s=2.0)

    def wake(self, room_ids: Iterable[str]) -> None:
        """Something of these rooms has changed."""
        self._turns.wake(room_ids)

    async def run(self) -> None:
        """Compare until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._turns.run())
            tasks.create_task(self._every(self._due_s, self._look_for_due))
            tasks.create_task(self._every(self._see_s, self._look_around))

    async def _every(self, seconds: float, look: Callable[[], Any]) -> None:
        while True:
            try:
                await look()
            except Unavailable as error:
                log.info("not now: %s", error)
            except Exception:  # the task's top level: it looks again
                log.exception("looking around failed")
            await asyncio.sleep(seconds)

    async def _look_for_due(self) -> None:
        now_ms = self._clock_ms()
        for room_id in await self._stores.conferences.active():
            for conference in await self._conferences(room_id):
                at_ms = conference.due_ms(self._house.rules)
                if at_ms is not None and at_ms <= now_ms:
                    await self._take([news.due(room_id, conference.id, at_ms)])

    async def _look_around(self) -> None:
        """Wake the rooms with a call, and those where somebody is in the media without one."""
        # Read before the conferences: a session that begins meanwhile is no stranger.
        sessions = self._hearing.sessions
        active = set(await self._stores.conferences.active())
        self.wake(active)
        for room in await self._media.rooms():
            room_id = await self._room_of(room.name)
            if room_id is not None and room_id not in active:
                self.wake([room_id])
        await self._stop_strangers(sessions, active)

    async def _room_of(self, name: str) -> str | None:
        # A media server may be shared: rooms that nobody got a token of ours for are not ours.
        by_grant = await self._stores.grants.room_of(name)
        return by_grant or await self._stores.conferences.room_of(name)

    async def _turn(self, room_id: str) -> float | None:
        conferences = await self._conferences(room_id)
        try:
            # The scribe first: it shall hear of the end before it is thrown out of the room.
            facts = room_facts.from_json(await self._stores.rooms.get(None, room_id))
            grants = await self._grants(room_id)
            opted_out = await self._stores.opted_out.of_room(room_id)
            await self._hearing.bring(room_id, conferences, facts, list(grants.values()), opted_out)
            await self._bring_media(room_id, conferences)
        except Unavailable as error:
            log.info("room %s: %s", room_id, error)
            return 1.0
        return None

    async def _conferences(self, room_id: str) -> list[Conference]:
        return read_conferences(await self._stores.conferences.load(None, room_id))

    async def _grants(self, room_id: str) -> dict[str, Grant]:
        """The grants of the room's call, by identity."""
        name = media_room(room_id)
        of_room = await self._stores.grants.of_room(room_id)
        return {grant.identity: grant for grant in of_room if grant.media_room == name}

    # ---- media

    async def _bring_media(self, room_id: str, conferences: list[Conference]) -> None:
        name = media_room(room_id)
        newest = conferences[0] if conferences else None
        running = newest if newest is not None and newest.phase == "running" else None
        if running is not None:
            await self._create(name, running)
        elif newest is not None and not newest.media_closed:
            await self._media.delete_room(name)
            await self._take([news.closed(room_id, newest.id)])
            return
        present = await self._media.participants(name)
        grants = await self._grants(room_id)
        facts = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        scribes = self._hearing.identities(conferences)
        call = Call(room_id, name, facts, running, grants, scribes)
        await self._occupancy.settle(call, present)

    async def _create(self, name: str, conference: Conference) -> None:
        # The bridge ends an empty call by itself; the media server's own limit is for a bridge
        # that does not come back.
        await self._media.create_room(
            name,
            metadata=json.dumps({"eu.colloque.conference": conference.id}),
            empty_timeout_s=self._house.rules.empty_timeout_ms // 1000 + 60,
        )

    async def _stop_strangers(self, sessions: list[str], active: set[str]) -> None:
        """End sessions of conferences that no room knows (a database was put back in time)."""
        known = {c.id for room_id in active for c in await self._conferences(room_id)}
        for conference in [session for session in sessions if session not in known]:
            await self._hearing.stop(conference)
