"""Who may read what was said in a room: whoever the room itself would show it to.

The homeserver is asked, each time but for some seconds of memory, so a kick closes the page too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, Protocol

from bridge.errors import Unavailable
from bridge.matrix.client import HomeserverError
from bridge.matrix.limits import Recent

Policy = Literal["members", "members_then"]

REMEMBER_S = 20.0
_AT_ONCE = 16
_OPEN = frozenset({"shared", "world_readable"})
"""Values of m.room.history_visibility with which members read what was before them."""


class Rooms(Protocol):
    """What is asked of the homeserver (bridge.matrix.client.Homeserver)."""

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        """Whether a user is a joined member of a room now."""

    async def was_joined(self, room_id: str, user_id: str, event_id: str) -> bool:
        """Whether a user was a joined member when an event was sent."""

    async def state_event(
        self, room_id: str, event_type: str, state_key: str = ""
    ) -> dict[str, Any] | None:
        """Content of one state event, None where there is none."""


class Readers:
    """Asks for rights. One for the whole bridge: what is remembered and how much is asked at once
    is bounded over all who ask."""

    def __init__(
        self,
        homeserver: Rooms,
        policy: Policy = "members",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._homeserver = homeserver
        self._policy = policy
        self._clock = clock
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._known: Recent[tuple[str, ...], bool] = Recent(50_000)

    @property
    def policy(self) -> Policy:
        """Whether those who left the room may go on reading what was said while they were in."""
        return self._policy

    async def may_read(self, user_id: str, room_id: str) -> bool:
        """Whether this person is, now, a joined member of this room.

        Raises Unavailable where the homeserver does not answer.
        """
        joined = self._homeserver.is_joined
        return await self._asked(("in", room_id, user_id), lambda: joined(room_id, user_id))

    async def may_read_call(
        self, user_id: str, room_id: str, *, root: str | None, took_part: bool
    ) -> bool:
        """Whether this person may read one call of a room. `root`: its first message, if known.

        Members may, as far as the room's m.room.history_visibility shows newcomers what was said
        before them; whoever was there then may where the policy lets them. Raises Unavailable.
        """
        inside = await self.may_read(user_id, room_id)
        if inside and await self.shows_newcomers(room_id):
            return True
        if not inside and self._policy != "members_then":
            return False
        return took_part or await self._was_there(user_id, room_id, root)

    async def rooms(self, user_id: str, room_ids: Iterable[str]) -> list[str]:
        """Those of the rooms that this person is a member of now. Raises Unavailable."""
        wanted = list(dict.fromkeys(room_ids))
        answers = await asyncio.gather(*(self.may_read(user_id, room_id) for room_id in wanted))
        return [room_id for room_id, inside in zip(wanted, answers, strict=True) if inside]

    async def shows_newcomers(self, room_id: str) -> bool:
        """Whether the room shows its members what was said before they came. Raises Unavailable."""

        async def ask() -> bool:
            content = await self._homeserver.state_event(room_id, "m.room.history_visibility")
            # Absent means shared (Matrix C-S API, "Room History Visibility").
            return (content or {}).get("history_visibility", "shared") in _OPEN

        return await self._asked(("history", room_id), ask)

    async def _was_there(self, user_id: str, room_id: str, root: str | None) -> bool:
        if root is None:
            return False
        was = self._homeserver.was_joined
        key = ("then", room_id, user_id, root)
        return await self._asked(key, lambda: was(room_id, user_id, root))

    async def _asked(self, key: tuple[str, ...], ask: Callable[[], Awaitable[bool]]) -> bool:
        known, value = self._known.get(key, self._clock())
        if known and value is not None:
            return value
        try:
            async with self._slots:
                value = await ask()
        except HomeserverError as error:
            if error.status not in {403, 404}:
                raise Unavailable("homeserver_unavailable") from error
            value = False  # the bot is not there any more: nobody can be vouched for
        # What once was stays so; a right to read may be gone in a moment.
        keep_s = 3600.0 if value and key[0] == "then" else REMEMBER_S
        self._known.put(key, value, until=self._clock() + keep_s)
        return value
