"""Keeping the pictures of rooms' calls true: what nobody announces is looked for.

- Homeservers do not tell an application service of state that changes by state resolution: the
  state of a room with a call is read again when the call starts, and every few minutes.
- A client that crashed without a scheduled leave stays in the call for hours, rings nobody's phone
  and is given everybody's media keys. Where it says to be at *our* media server, and is not there
  for a minute in which we see both, its membership is cleared. Other sites' are theirs to clear.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.domain.conference import read_conferences
from bridge.domain.membership import Membership, Picture
from bridge.errors import Unavailable
from bridge.ids import media_room
from bridge.media.server import MediaParticipant
from bridge.rooms import facts as room_facts
from bridge.rooms import memberships, news
from bridge.rooms.house import House, Stores
from bridge.store.database import DATABASE_ERRORS
from bridge.store.inbox import NewEntry

log = logging.getLogger(__name__)

LOOK_S = 5.0
GHOST_MS = 60_000
REREAD_MS = 300_000
LONGEST_PATIENCE_MS = 3_600_000


class Media(Protocol):
    """What the janitor asks of bridge.media.server.MediaServer."""

    async def participants(self, name: str) -> list[MediaParticipant]: ...


@dataclass(slots=True)
class _Watched:
    """A room with a call. `absent_ms`: since when which membership (event id) is seen absent."""

    reread_ms: int
    conference: str = ""
    absent_ms: dict[str, int] | None = None


class Janitor:
    """Looks at every room with a call, every few seconds. Changes nothing itself: `take` does."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        media: Media,
        *,
        take: Callable[[Sequence[NewEntry]], Any],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        ghost_ms: int = GHOST_MS,
        reread_ms: int = REREAD_MS,
        look_s: float = LOOK_S,
    ) -> None:
        self._house = house
        self._stores = stores
        self._media = media
        self._take = take
        self._clock_ms = clock_ms
        self._ghost_ms = ghost_ms
        self._reread_ms = reread_ms
        self._look_s = look_s
        self._rooms: dict[str, _Watched] = {}
        self._patience: dict[tuple[str, str, str], tuple[int, int]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except DATABASE_ERRORS as error:
                log.error("rooms with a call are not known: the database fails: %s", error)
            except Exception:  # the task's top level: it looks again
                log.exception("looking at rooms with a call failed")
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look at every room once."""
        now_ms = self._clock_ms()
        active = await self._stores.conferences.active()
        said = await self._stores.memberships.rooms(now_ms=now_ms)
        rooms = dict.fromkeys([*active, *said])
        self._forget(rooms, now_ms)
        answers = True
        for room_id in rooms:
            facts = room_facts.from_json(await self._stores.rooms.get(None, room_id))
            if not facts.joined:
                continue
            stored = await self._stores.memberships.of_room(None, room_id)
            await self._read_again(room_id, stored, now_ms)
            picture = memberships.picture(stored, facts, self._house, now_ms=now_ms)
            answers = answers and await self._look_for_ghosts(room_id, picture, now_ms)
        if not answers:
            # Whoever is not seen now may be there: the minute begins anew for all of them.
            for watched in self._rooms.values():
                watched.absent_ms = None

    def _forget(self, rooms: dict[str, None], now_ms: int) -> None:
        for room_id in [room_id for room_id in self._rooms if room_id not in rooms]:
            # Whose call comes and goes all the time has its state read no more often.
            if now_ms - self._rooms[room_id].reread_ms >= self._reread_ms:
                del self._rooms[room_id]
            else:
                self._rooms[room_id].absent_ms = None
        old = [key for key, (_, at_ms) in self._patience.items() if now_ms - at_ms > 2 * _DAY_MS]
        for key in old:
            del self._patience[key]

    # ---- the room's state

    async def _read_again(self, room_id: str, stored: list[Membership], now_ms: int) -> None:
        conferences = read_conferences(await self._stores.conferences.load(None, room_id))
        running = next((c.id for c in conferences if c.phase == "running"), "")
        watched = self._rooms.get(room_id)
        if watched is None:
            watched = self._rooms[room_id] = _Watched(now_ms - self._reread_ms)
        started = running not in {"", watched.conference}
        if started or now_ms - watched.reread_ms >= self._reread_ms:
            watched.reread_ms, watched.conference = now_ms, running
            await self._take([news.reread(room_id, now_ms)])
        expired = [one.expires_ms for one in stored if one.expires_ms <= now_ms]
        if running and expired:
            await self._take([news.due(room_id, running, max(expired))])

    # ---- ghosts

    async def _look_for_ghosts(self, room_id: str, picture: Picture, now_ms: int) -> bool:
        """False where the media server does not answer."""
        watched = self._rooms[room_id]
        ours = [one for one in picture.at(self._house.service_url) if one.kind == "state"]
        if not ours:
            watched.absent_ms = None
            return True
        try:
            there = await self._there(room_id)
        except Unavailable as error:
            log.info("nobody is looked for in room %s: %s", room_id, error)
            return False
        before = watched.absent_ms or {}
        absent = [one for one in ours if not _is_there(one, there)]
        watched.absent_ms = {one.event_id: before.get(one.event_id, now_ms) for one in absent}
        for one in absent:
            if now_ms - watched.absent_ms[one.event_id] >= self._patience_ms(one):
                await self._clear(one, now_ms)
        return True

    async def _there(self, room_id: str) -> tuple[set[str], set[tuple[str, str]]]:
        """Identities in the media room, and the devices they were granted to."""
        name = media_room(room_id)
        identities = {one.identity for one in await self._media.participants(name)}
        grants = await self._stores.grants.of_room(room_id)
        devices = {(g.user_id, g.device_id) for g in grants if g.identity in identities}
        return identities, devices

    def _patience_ms(self, one: Membership) -> int:
        times = self._patience.get((one.room_id, one.user_id, one.device_id), (0, 0))[0]
        return min(self._ghost_ms << 2 * times, max(LONGEST_PATIENCE_MS, self._ghost_ms))

    async def _clear(self, one: Membership, now_ms: int) -> None:
        # A client that lives and cannot reach the media says at once again that it is there:
        # its room's state must not fill up with that.
        key = (one.room_id, one.user_id, one.device_id)
        self._patience[key] = (min(self._patience.get(key, (0, 0))[0] + 1, 8), now_ms)
        watched = self._rooms[one.room_id]
        if watched.absent_ms is not None:
            watched.absent_ms[one.event_id] = now_ms
        log.info("%s says to be in the call of %s, and is not there", one.user_id, one.room_id)
        await self._take([news.ghost(one.room_id, one.event_id)])


_DAY_MS = 24 * 3_600_000


def _is_there(one: Membership, there: tuple[set[str], set[tuple[str, str]]]) -> bool:
    # By device too: the same device may have asked at the other door, and has another identity.
    identities, devices = there
    return one.identity in identities or (one.user_id, one.device_id) in devices
