"""The meetings that somebody may read: rights and stores brought together, for the page's API.

Whatever is not to be read by who asks is answered as what does not exist.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from bridge.domain.conference import Conference, from_json
from bridge.domain.documents import Record
from bridge.domain.search import Term, read_query
from bridge.matrix.readers import Readers
from bridge.rooms.house import House, Stores
from bridge.rooms.record import record
from bridge.store.meetings import Meeting
from bridge.store.search import Filter, Hit, Scope
from bridge.web.sessions import NotThere

MOST_ROOMS = 500
"""Rooms looked through at once; of more, those with the newest meetings."""
MOST_CALLS = 300
"""Meetings whose readers are found one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What somebody may read: whole rooms, and single meetings of others. `complete`: False where
    there are more rooms than were looked through."""

    rooms: tuple[str, ...]
    conferences: tuple[str, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A meeting that its reader may read. `withheld`: its words are read in the room alone."""

    meeting: Meeting
    conference: Conference
    withheld: bool


class Archive:
    """Finds and opens meetings for people."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        readers: Readers,
        *,
        encrypted: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._house = house
        self._stores = stores
        self._readers = readers
        self._encrypted = encrypted
        self._clock = clock

    async def shelf(self, user_id: str, room_id: str = "") -> Shelf:
        """What this person may read, in all rooms or in one. Raises Unavailable."""
        known = [room_id] if room_id else await self._stores.meetings.rooms(MOST_ROOMS + 1)
        rooms = known[:MOST_ROOMS]
        inside = set(await self._readers.rooms(user_id, rooms))
        shows = await asyncio.gather(*(self._readers.shows_newcomers(room) for room in inside))
        open_ = {room for room, shown in zip(inside, shows, strict=True) if shown}
        if self._readers.policy == "members_then":
            single = [room for room in rooms if room not in open_]
        else:
            single = [room for room in rooms if room in inside - open_]
        return Shelf(
            rooms=tuple(room for room in rooms if room in open_),
            conferences=tuple(await self._calls(user_id, single)),
            complete=len(known) <= MOST_ROOMS,
        )

    async def page(self, shelf: Shelf, before: tuple[int, str], limit: int) -> list[Opened]:
        """Meetings on a shelf, the newest first."""
        meetings = await self._stores.meetings.newest(
            rooms=shelf.rooms, conferences=shelf.conferences, before=before, limit=limit
        )
        return [self._opened(meeting) for meeting in meetings]

    async def open(self, user_id: str, conference: str) -> Opened:
        """One meeting. Raises NotThere, Unavailable."""
        meeting = await self._stores.meetings.get(conference)
        if meeting is None:
            # As long as for a meeting that somebody else may read: the time tells nothing either.
            await self._readers.may_read(user_id, f"!{conference}")
            raise NotThere(conference)
        if not await self._may_read(user_id, meeting):
            raise NotThere(conference)
        return self._opened(meeting)

    async def record(self, opened: Opened) -> Record:
        """What was said and who was there. Raises NotThere where it is withheld."""
        if opened.withheld:
            raise NotThere(opened.meeting.conference)
        stores, c = self._stores, opened.conference
        return record(
            self._house,
            c,
            await stores.utterances.of_conference(c.id),
            await stores.peer_utterances.of_conference(c.id),
            voices=await stores.voice_names.of_conference(c.id),
            room_name=opened.meeting.room_name,
            now_ms=int(self._clock() * 1000),
        )

    async def messages(self, opened: Opened) -> dict[str, str]:
        """The event id of the message that shows a segment, by segment."""
        return await self._stores.utterances.messages(opened.conference.id)

    async def find(
        self, shelf: Shelf, query: str, only: Filter, *, limit: int, offset: int
    ) -> tuple[tuple[Term, ...], list[Hit]]:
        """What was looked for, and utterances on the shelf with all of it, best first."""
        terms = read_query(query, ("fr", "en", *await self._stores.search.languages()))
        scope = Scope(rooms=shelf.rooms, conferences=shelf.conferences, encrypted=self._encrypted)
        hits = await self._stores.search.find(terms, scope, only, limit=limit, offset=offset)
        return terms, hits

    async def _calls(self, user_id: str, rooms: list[str]) -> list[str]:
        """Single meetings of rooms that this person may not read as a whole."""
        if not rooms:
            return []
        meetings = await self._stores.meetings.newest(rooms=rooms, limit=MOST_CALLS)
        may = await asyncio.gather(*(self._may_read(user_id, meeting) for meeting in meetings))
        return [m.conference for m, readable in zip(meetings, may, strict=True) if readable]

    async def _may_read(self, user_id: str, meeting: Meeting) -> bool:
        people = {stay.user_id for stay in from_json(meeting.snapshot).people}
        return await self._readers.may_read_call(
            user_id, meeting.room_id, root=meeting.root, took_part=user_id in people
        )

    def _opened(self, meeting: Meeting) -> Opened:
        return Opened(
            meeting=meeting,
            conference=from_json(meeting.snapshot),
            withheld=meeting.encrypted and not self._encrypted,
        )
