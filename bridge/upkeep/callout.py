"""Having something in the room that a ring can belong to, for as long as it rings.

Phones ring only while somebody is in the call (Element X) and stop when nobody is (Element Web). So
the bot itself is in it until a person is: never beside one, and never in a call it did not begin
to ring for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from bridge.domain.conference import read_conferences
from bridge.domain.membership import Membership
from bridge.domain.ringing import Ring
from bridge.matrix.client import HomeserverError
from bridge.matrix.own_membership import TooManyCalls
from bridge.rooms import facts as room_facts
from bridge.rooms.house import House, Stores
from bridge.rooms.memberships import picture
from bridge.rooms.news import CameBack
from bridge.store.errands import Errand

log = logging.getLogger(__name__)


class OwnMembership(Protocol):
    """bridge.matrix.own_membership.OwnMembership."""

    async def publish(self, room_id: str, *, intent: Any, holder: str = "") -> str: ...
    async def withdraw(self, room_id: str, *, holder: str = "") -> None: ...


class CallOut:
    """Carries out errands of kind "ring"."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        own: OwnMembership,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._stores = stores
        self._house = house
        self._own = own
        self._clock_ms = clock_ms
        self._refused: set[str] = set()

    async def carry_out(self, errand: Errand) -> CameBack | None:
        """One look. "ready": the ring can go out. "done": it is over. None: it goes on."""
        ring = await self._ring(errand)
        if ring is None or not ring.live:
            await self._own.withdraw(errand.room_id, holder=errand.id)
            self._refused.discard(errand.id)
            return CameBack(errand.id, "done")
        event_id = await self._footing(errand)
        if ring.state == "asked":
            return CameBack(errand.id, "ready", event_id=event_id)
        return None

    async def _ring(self, errand: Errand) -> Ring | None:
        snapshot = await self._stores.conferences.load(None, errand.room_id)
        for conference in read_conferences(snapshot):
            for ring in conference.rings:
                if ring.id == errand.content["ring"]:
                    return ring
        return None

    async def _footing(self, errand: Errand) -> str:
        """The event that the ring belongs to: a person's membership, else the bot's own."""
        people = await self._people(errand.room_id)
        if people:
            await self._own.withdraw(errand.room_id, holder=errand.id)
            return people[0].event_id
        if errand.id in self._refused:
            return ""
        try:
            return await self._own.publish(errand.room_id, intent="video", holder=errand.id)
        except (HomeserverError, TooManyCalls) as error:
            if isinstance(error, HomeserverError) and error.status != 403:
                raise
            log.info("the bot cannot be in the call of %s: %s", errand.room_id, error)
            self._refused.add(errand.id)
            return ""

    async def _people(self, room_id: str) -> tuple[Membership, ...]:
        """Who says to be in the call, the first of them first; no bots."""
        facts = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        said = await self._stores.memberships.of_room(None, room_id)
        return picture(said, facts, self._house, now_ms=self._clock_ms()).members
