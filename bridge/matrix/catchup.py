"""Taking in what the homeserver forgot to deliver.

Synapse moves its "delivered to application services" position when it has queued an event in memory
(synapse/handlers/appservice.py: `set_appservice_last_pos` after `enqueue_for_appservice`). What
waits in that queue behind a transaction in flight is gone when it restarts: in a busy room, the
last thing that was said. So after either side was away, and from time to time where a conference
runs, the bot reads the rooms' recent events and puts them in the inbox, which knows what it has.
An event that was lost is then handled late, not never.

Not through `/sync`, which Synapse does not give to an application service's own user. So an
invitation that was lost stays lost (a person sees that the bot did not come, and repeats it).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from bridge.matrix import wire
from bridge.matrix.appservice import entry_of
from bridge.matrix.client import Homeserver, HomeserverError
from bridge.matrix.http import object_of
from bridge.store.database import Database
from bridge.store.inbox import Inbox, NewEntry
from bridge.store.marks import Marks

log = logging.getLogger(__name__)

_OVERLAP_MS = 10 * 60_000  # servers' clocks differ, and federation is late
_PAGES = 20  # of 100 events: what is missed beyond that in one room stays missed


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class CatchUp:
    """Remembers for each room until when it is complete."""

    def __init__(
        self,
        db: Database,
        homeserver: Homeserver,
        on_commit: Callable[[set[str]], None],
        *,
        now_ms: Callable[[], int] = _clock_ms,
    ) -> None:
        self._inbox = Inbox(db)
        self._marks = Marks(db)
        self._homeserver = homeserver
        self._on_commit = on_commit
        self._now_ms = now_ms

    async def once(self, room_ids: Iterable[str] | None = None) -> set[str]:
        """Look into these rooms (all the bot is in); returns those that had something new.

        A room this database never heard of has nothing to catch up with: what was said in it
        before was said to another. Raises HomeserverError or Unreachable where the homeserver
        fails in the middle; nothing is lost by that.
        """
        if room_ids is None:
            room_ids = await self._homeserver.joined_rooms()
        found: set[str] = set()
        for room_id in room_ids:
            found |= await self._room(room_id)
        if found:
            log.info("taken in what the homeserver had not delivered in %d rooms", len(found))
            self._on_commit(found)
        return found

    async def _room(self, room_id: str) -> set[str]:
        now_ms, name = self._now_ms(), f"caught up:{room_id}"
        mark = await self._marks.get(name)
        since_ms = await self._inbox.first_heard_of(room_id) if mark is None else int(mark)
        if since_ms is None:
            return set()
        try:
            events = await self._events_since(room_id, since_ms - _OVERLAP_MS)
        except HomeserverError as error:
            if error.status not in {403, 404}:
                raise
            return set()  # we are not in that room any more
        rooms = await self._inbox.commit(self._entries(room_id, events), now_ms=now_ms)
        await self._marks.put(name, str(now_ms))
        return rooms

    async def _events_since(self, room_id: str, since_ms: int) -> list[dict[str, Any]]:
        """The room's events since then, oldest first; none from before the bot came."""
        events: list[dict[str, Any]] = []
        path = f"/_matrix/client/v3/rooms/{quote(room_id, safe='')}/messages"
        query = {"dir": "b", "limit": "100"}
        for _ in range(_PAGES):
            page = await self._homeserver.object("GET", path, query=query)
            newest_first = _objects(page.get("chunk"))
            recent = [event for event in newest_first if _sent_ms(event) >= since_ms]
            after = self._after_our_join(recent)
            events += after
            # Clocks differ within a page, so only a page of nothing but old events is the end.
            if not recent or len(after) < len(recent) or not isinstance(page.get("end"), str):
                break
            query["from"] = page["end"]
        return events[::-1]

    def _after_our_join(self, newest_first: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for index, event in enumerate(newest_first):
            if _joins(event, self._homeserver.user_id):
                return newest_first[:index]
        return newest_first

    def _entries(self, room_id: str, events: list[dict[str, Any]]) -> list[NewEntry]:
        found = (
            entry_of({**event, "room_id": room_id}, self._homeserver.user_id)
            for event in _standing(events)
        )
        return [entry for entry in found if entry is not None]


def _standing(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without state that later state has replaced.

    What replaced it may have been delivered long ago; taken in after it, an invitation would throw
    out of the call whoever has accepted it.
    """
    last = {_place(event): event for event in events}
    return [event for event in events if _place(event) is None or last[_place(event)] is event]


def _place(event: dict[str, Any]) -> tuple[object, object] | None:
    """Which piece of the room's state the event is; None: it is none."""
    return (event.get("type"), event["state_key"]) if "state_key" in event else None


def _joins(event: dict[str, Any], user_id: str) -> bool:
    """Whether this event is the user's coming (and not a new name of theirs)."""
    if event.get("type") != wire.MEMBER or event.get("state_key") != user_id:
        return False
    before = object_of(object_of(event.get("unsigned")).get("prev_content")).get("membership")
    return object_of(event.get("content")).get("membership") == "join" != before


def _sent_ms(event: dict[str, Any]) -> int:
    value = event.get("origin_server_ts")
    return value if isinstance(value, int) else 0


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
