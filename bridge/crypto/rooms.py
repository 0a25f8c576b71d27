"""Which rooms are encrypted, and who is in them now.

A room that is encrypted once stays so, over restarts and whatever its state says later: nobody
turns a room's messages back to clear. Of one that is not, the state is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bridge.matrix import wire
from bridge.matrix.client import Homeserver
from bridge.matrix.limits import Recent
from bridge.store.database import Database
from bridge.store.text import dumped, loaded, storable_id

_ASK_AGAIN_S = 5.0
_REMEMBERED = 1000  # rooms
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a room's key is replaced, if nothing else asks for it."""

    messages: int = 100
    age: timedelta = timedelta(days=7)


class EncryptedRooms:
    """Rooms' encryption and members, asked of the homeserver and remembered for seconds."""

    def __init__(
        self,
        db: Database,
        homeserver: Homeserver,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._homeserver = homeserver
        self._clock_s = clock_s
        self._in_clear: Recent[str, None] = Recent(_REMEMBERED)
        self._members: Recent[str, list[str]] = Recent(_REMEMBERED)

    async def heard(self, events: Iterable[Any]) -> None:
        """Events of a transaction: a room is encrypted from the event that says so."""
        for event in events:
            if not isinstance(event, dict) or not storable_id(event.get("room_id")):
                continue
            room_id = event["room_id"]
            if event.get("type") == wire.MEMBER:
                self._members.forget(room_id)
            elif event.get("type") == wire.ENCRYPTION and event.get("state_key") == "":
                await self._encrypted(room_id, event.get("content"))

    async def encrypts(self, room_id: str) -> bool:
        """Whether messages of this room are encrypted. Raises HomeserverError, Unreachable."""
        known = await self._db.fetchval("SELECT 1 FROM e2ee_room WHERE room_id = $1", room_id)
        if known is not None:
            return True
        in_clear, _ = self._in_clear.get(room_id, self._clock_s())
        if in_clear:
            return False
        content = await self._homeserver.state_event(room_id, wire.ENCRYPTION)
        if content is None:
            self._in_clear.put(room_id, None, until=self._clock_s() + _ASK_AGAIN_S)
            return False
        await self._encrypted(room_id, content)
        return True

    async def rotation(self, room_id: str) -> Rotation:
        """What the room asks of its keys, within bounds: a key for each message helps nobody."""
        stored = await self._db.fetchval(
            "SELECT settings FROM e2ee_room WHERE room_id = $1", room_id
        )
        settings = {} if stored is None else loaded(stored)
        usual = Rotation()
        messages = _whole(settings.get("rotation_period_msgs")) or usual.messages
        age_ms = _whole(settings.get("rotation_period_ms")) or usual.age.total_seconds() * 1000
        return Rotation(
            messages=max(messages, 10),
            age=timedelta(milliseconds=min(max(age_ms, 3_600_000), 365 * _DAY_MS)),
        )

    async def members(self, room_id: str) -> list[str]:
        """Who is joined. Raises HomeserverError, Unreachable."""
        _, known = self._members.get(room_id, self._clock_s())
        if known is not None:
            return known
        members = sorted(await self._homeserver.members(room_id))
        self._members.put(room_id, members, until=self._clock_s() + _ASK_AGAIN_S)
        return members

    async def _encrypted(self, room_id: str, content: Any) -> None:
        settings = content if isinstance(content, dict) else {}
        await self._db.execute(
            "INSERT INTO e2ee_room (room_id, settings) VALUES ($1, $2)"
            " ON CONFLICT (room_id) DO UPDATE SET settings = excluded.settings",
            room_id,
            dumped(settings),
        )


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
