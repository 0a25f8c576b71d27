"""Ending a call for everybody, against clients that come back by themselves.

MatrixRTC has no message that ends a call. A membership whose state is emptied is written again at
once by the client it belongs to ("forced re-join" of matrix-js-sdk). So for a few seconds the room
asks a power level of call members that they do not have, the memberships are emptied, each client
is refused its return and takes the call for ended; then the level is put back.

Putting it back must happen whatever happens to us: what it was is stored before it is changed, and
the errand is there until it has been put back. Only a value that is still ours is put back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bridge.domain.policy import Power
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError
from bridge.rooms import facts as room_facts
from bridge.rooms.house import House, Stores
from bridge.rooms.news import CameBack
from bridge.store.errands import Errand

log = logging.getLogger(__name__)

HOLD_MS = 8_000
"""How long nobody comes back: a client's sync and its attempt to return must fit in."""


class Homeserver(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def state(self, room_id: str) -> list[dict[str, Any]]: ...
    async def state_event(
        self, room_id: str, event_type: str, state_key: str = ""
    ) -> dict[str, Any] | None: ...
    async def send_state(
        self, room_id: str, event_type: str, state_key: str, content: dict[str, Any]
    ) -> str: ...


class HangUp:
    """Carries out errands of kind "hangup"."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        homeserver: Homeserver,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        hold_ms: int = HOLD_MS,
    ) -> None:
        self._house = house
        self._stores = stores
        self._homeserver = homeserver
        self._clock_ms = clock_ms
        self._hold_ms = hold_ms

    async def carry_out(self, errand: Errand) -> CameBack | None:
        """One look: begin, hold, or put back. "weak": nothing held anybody off."""
        content = errand.content
        if "until_ms" not in content:
            content = await self._begin(errand)
        if self._clock_ms() < content["until_ms"]:
            await self._hold(errand.room_id, content)
            return None
        return await self._put_back(errand, content)

    async def _begin(self, errand: Errand) -> Mapping[str, Any]:
        """Decide the level, and write down what it was before anything is changed."""
        levels = await self._levels(errand.room_id)
        facts = room_facts.from_json(await self._stores.rooms.get(None, errand.room_id))
        power = Power(levels, facts.create, facts.creator)
        content = {
            **errand.content,
            "until_ms": self._clock_ms() + self._hold_ms,
            "level": power.level_above_others(self._house.bot, wire.CALL_MEMBER),
            "before": _asked_of_members(levels),
        }
        if content["level"] is None:
            # Once only: whoever comes back does so each time.
            content["came_back"] = await self._clear(errand.room_id)
        await self._stores.errands.note(errand.id, content)
        return content

    async def _hold(self, room_id: str, content: Mapping[str, Any]) -> None:
        """Raise the level where it is not raised, then empty what memberships there are."""
        level = content["level"]
        if level is None:
            return
        levels = await self._levels(room_id)
        if levels is not None and _asked_of_members(levels) == content["before"]:
            await self._set(room_id, levels, level)
        await self._clear(room_id)

    async def _put_back(self, errand: Errand, content: Mapping[str, Any]) -> CameBack:
        level = content["level"]
        if level is None:
            return CameBack(errand.id, "weak" if content["came_back"] else "done")
        levels = await self._levels(errand.room_id)
        if levels is None or _asked_of_members(levels) != level:
            # Somebody else has changed it since, or we never did.
            return CameBack(errand.id, "done")
        try:
            await self._set(errand.room_id, levels, content["before"])
        except HomeserverError as error:
            if error.status != 403:
                raise
            log.warning("the power levels of %s cannot be put back", errand.room_id)
            return CameBack(errand.id, "stuck")
        return CameBack(errand.id, "done")

    async def _levels(self, room_id: str) -> dict[str, Any] | None:
        try:
            return await self._homeserver.state_event(room_id, wire.POWER_LEVELS)
        except HomeserverError as error:
            if error.status != 403:
                raise
            return None  # not in the room any more

    async def _set(self, room_id: str, levels: Mapping[str, Any], level: object) -> None:
        """Change what the room asks of call members, and nothing else. None: no entry."""
        before = levels.get("events")
        events = {**before} if isinstance(before, dict) else {}
        events.pop(wire.CALL_MEMBER, None)
        if level is not None:
            events[wire.CALL_MEMBER] = level
        content = {**levels, "events": events}
        await self._homeserver.send_state(room_id, wire.POWER_LEVELS, "", content)

    async def _clear(self, room_id: str) -> int:
        """Empty every membership that the room lets us empty. How many there were."""
        try:
            state = await self._homeserver.state(room_id)
        except HomeserverError as error:
            if error.status != 403:
                raise
            return 0
        keys = [str(event["state_key"]) for event in state if self._is_membership(event)]
        for key in keys:
            try:
                await self._homeserver.send_state(room_id, wire.CALL_MEMBER, key, {})
            except HomeserverError as error:
                if not 400 <= error.status < 500 or error.status == 429:
                    raise
                log.info("membership %s of %s is not emptied: %s", key, room_id, error)
        return len(keys)

    def _is_membership(self, event: Mapping[str, Any]) -> bool:
        mine = str(event.get("state_key")).startswith(f"_{self._house.bot}_")
        return event.get("type") == wire.CALL_MEMBER and bool(event.get("content")) and not mine


def _asked_of_members(levels: Mapping[str, Any] | None) -> object:
    """The room's own entry for call members, as it stands there; None where there is none."""
    events = levels.get("events") if levels else None
    return events.get(wire.CALL_MEMBER) if isinstance(events, dict) else None
