"""Deleting what is older than it is kept, in small steps: records of calls, rows that are done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from bridge.rooms import facts as room_facts
from bridge.rooms import news
from bridge.rooms.house import House, Stores
from bridge.store import sweeping
from bridge.store.database import DATABASE_ERRORS
from bridge.store.inbox import NewEntry

log = logging.getLogger(__name__)

EVERY_S = 600.0
REST_S = 15.0
"""Between steps: fifty redactions take ten seconds of the homeserver's measure."""
ROOMS = 100_000
MEETINGS = 10_000


class Retention:
    """Owner of the sweep. `take` is durable when it returns."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        *,
        take: Callable[[Sequence[NewEntry]], Awaitable[None]],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        every_s: float = EVERY_S,
        rest_s: float = REST_S,
    ) -> None:
        self._house = house
        self._stores = stores
        self._take = take
        self._clock_ms = clock_ms
        self._every_s = every_s
        self._rest_s = rest_s

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            more = False
            try:
                more = await self.look()
            except DATABASE_ERRORS as error:
                log.warning("what is too old is deleted later: %s", error)
            await asyncio.sleep(self._rest_s if more else self._every_s)

    async def look(self) -> bool:
        """One step for every old record, and one batch of rows. Whether there is more."""
        now_ms = self._clock_ms()
        swept = await sweeping.sweep(self._stores.db, now_ms)
        steps = [
            news.expired(room_id, conference, now_ms)
            for room_id in await self._stores.meetings.rooms(ROOMS)
            for conference in await self._old(room_id, now_ms)
        ]
        if steps:
            await self._take(steps)
        return bool(steps) or swept >= sweeping.BATCH

    async def _old(self, room_id: str, now_ms: int) -> list[str]:
        facts = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        kept_ms = facts.keep_ms(
            days=self._house.retention_days, most_days=self._house.retention_days_max
        )
        if kept_ms is None:
            return []
        meetings = await self._stores.meetings.of_room(room_id, limit=MEETINGS)
        return [one.conference for one in meetings if one.ended_ms + kept_ms <= now_ms]
