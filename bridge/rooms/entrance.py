"""Asking a room whether somebody comes into its call: its wish, its power levels, its call.

The doors ask before they give a token; the conductor and the reconciler ask of whoever is there
all the same, since a token that was given once opens the media server's door for an hour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bridge.domain import entry
from bridge.domain.conference import Conference, read_conferences
from bridge.domain.entry import Reason
from bridge.errors import Refused, Unavailable
from bridge.matrix.client import HomeserverError
from bridge.rooms import facts as room_facts
from bridge.rooms import news
from bridge.rooms.facts import Facts
from bridge.rooms.house import House, Stores
from bridge.store.grants import Grant
from bridge.store.inbox import NewEntry

RESERVED_MS = 20_000
"""So long a place is kept for somebody who got a token and has not connected yet."""


class Homeserver(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def state(self, room_id: str) -> list[dict[str, Any]]: ...


class Entrance:
    """For the doors (bridge.matrix.admission). `take` commits inbox entries."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        homeserver: Homeserver,
        *,
        take: Callable[[Sequence[NewEntry]], Any],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._house = house
        self._stores = stores
        self._homeserver = homeserver
        self._take = take
        self._clock_ms = clock_ms

    async def allow(self, room_id: str, user_id: str) -> bool:
        """Whether this member may also be heard and seen. Raises Refused and Unavailable."""
        facts = await self._facts(room_id)
        running = running_of(read_conferences(await self._stores.conferences.load(None, room_id)))
        room, rules = facts.room(self._house.defaults), self._house.entry
        grants = await self._stores.grants.of_room(room_id)
        held = held_by(user_id, grants, running)
        reason = entry.refusal(user_id, room, running, held=held, rules=rules)
        if reason is None and self._places_taken(user_id, room, running, grants):
            reason = "full"
        if reason == "waiting" and running is not None:
            await self._take([news.knocked(room_id, running.id, user_id)])
        if reason is not None:
            raise Refused(reason)
        if running is None and await self._stores.errands.hanging_up(room_id):
            # A client that comes back by itself would start the call again.
            raise Refused("call_ended")
        return entry.may_publish(user_id, room, running, rules=rules)

    def _places_taken(
        self,
        user_id: str,
        room: entry.Room,
        running: Conference | None,
        grants: Sequence[Grant],
    ) -> bool:
        """Whether those who are there and those on their way are as many as the room wants."""
        most = room.wish.max_participants
        if most is None:
            return False
        present = {stay.user_id for stay in running.present} if running else set()
        since_ms = self._clock_ms() - RESERVED_MS
        valid = (grant for grant in grants if grant.revoked_ms is None)
        coming = {grant.user_id for grant in valid if grant.granted_ms > since_ms}
        return user_id not in present and len((present | coming) - {user_id}) >= most

    async def _facts(self, room_id: str) -> Facts:
        stored = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        if stored.known:
            return stored
        try:
            state = await self._homeserver.state(room_id)
        except HomeserverError as error:
            if error.status not in {403, 404}:
                raise Unavailable("homeserver_unavailable") from error
            return stored  # the bot is not there
        return room_facts.from_state(state, self._house.bot)


def running_of(conferences: Sequence[Conference]) -> Conference | None:
    """The conference that runs, of a room's conferences with the newest first."""
    newest = conferences[0] if conferences else None
    return newest if newest is not None and newest.phase == "running" else None


def held_by(user_id: str, grants: Sequence[Grant], running: Conference | None) -> bool:
    """Whether somebody was let into the call that runs."""
    valid = [g.granted_ms for g in grants if g.user_id == user_id and g.revoked_ms is None]
    return entry.holds(running, user_id, valid)


def refusal(house: House, facts: Facts, running: Conference | None, grant: Grant) -> Reason | None:
    """Why somebody with this grant, who is in the media room, must not be there."""
    held = held_by(grant.user_id, [grant], running)
    room = facts.room(house.defaults)
    return entry.refusal(grant.user_id, room, running, held=held, rules=house.entry)


def may_publish(house: House, facts: Facts, running: Conference | None, user_id: str) -> bool:
    """Whether others hear and see this person now."""
    return entry.may_publish(user_id, facts.room(house.defaults), running, rules=house.entry)
