"""Carrying out what rooms want of the media server and the homeserver once: mute, remove, invite.

Each errand is durable (bridge.store.errands) until its outcome is in the inbox, and harmless when
carried out again. What a state can say instead (who may be in a call, whether a scribe listens) is
the reconciler's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from bridge.errors import Unavailable
from bridge.matrix.client import HomeserverError
from bridge.rooms import news
from bridge.rooms.house import Stores
from bridge.rooms.news import CameBack
from bridge.rooms.turns import Turns
from bridge.store.database import DATABASE_ERRORS
from bridge.store.errands import Errand, Kind
from bridge.upkeep.callout import CallOut
from bridge.upkeep.chat import Chat
from bridge.upkeep.forgetting import Telling
from bridge.upkeep.hangup import HangUp
from bridge.upkeep.moderation import Hands, OtherSites
from bridge.upkeep.summaries import Summaries

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often errands are looked for although nobody told of one (after a restart)."""
REST_S = 0.5
PATIENCE_MS = 20_000
"""How long an errand waits for a part that does not answer, before that is said."""


class Homeserver(Protocol):
    """What errands ask of bridge.matrix.client.Homeserver."""

    async def invite(self, room_id: str, user_id: str) -> None: ...
    async def is_joined(self, room_id: str, user_id: str) -> bool: ...


class Errands:
    """Owner of the errands of all rooms. `run()` works until cancelled."""

    def __init__(
        self,
        stores: Stores,
        hands: Hands,
        other_sites: OtherSites,
        homeserver: Homeserver,
        *,
        callout: CallOut,
        hangup: HangUp,
        telling: Telling,
        take: Callable[[Sequence[Any]], Any],
        chat: Chat,
        summaries: Summaries,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        look_s: float = LOOK_S,
    ) -> None:
        self._stores = stores
        self._hands = hands
        self._other_sites = other_sites
        self._homeserver = homeserver
        self._take = take
        self._clock_ms = clock_ms
        self._look_s = look_s
        self._turns = Turns(self._turn)
        # What each does: one look, and what became of it; None where it goes on.
        self._kinds: dict[Kind, Callable[[Errand], Awaitable[CameBack | None]]] = {
            "mute": self._mute,
            "remove": self._remove,
            "invite": self._invite,
            "ring": callout.carry_out,
            "hangup": hangup.carry_out,
            "export": chat.carry_out,
            "summary": summaries.carry_out,
            "forget": lambda errand: telling.carry_out(errand, self._clock_ms()),
        }

    def wake(self, room_ids: Iterable[str]) -> None:
        """An entry of these rooms was handled: it may have sent us on an errand."""
        self._turns.wake(room_ids)

    async def run(self) -> None:
        """Carry out errands until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._turns.run())
            tasks.create_task(self._look())

    async def _look(self) -> None:
        while True:
            try:
                self.wake(await self._stores.errands.rooms())
            except DATABASE_ERRORS as error:
                log.error("errands cannot be read: %s", error)
            await asyncio.sleep(self._look_s)

    async def _turn(self, room_id: str) -> float | None:
        rest: float | None = None
        for errand in await self._stores.errands.of_room(room_id):
            try:
                outcome = await self._kinds[errand.kind](errand)
            except (Unavailable, HomeserverError) as error:
                log.info("errand %s waits: %s", errand.id, error)
                outcome = self._give_up(errand)
            if outcome is not None:
                await self._take([news.came_back(room_id, outcome)])
            if outcome is None or outcome.outcome == "ready":
                rest = REST_S
        return rest

    def _give_up(self, errand: Errand) -> CameBack | None:
        late = self._clock_ms() - errand.created_ms > PATIENCE_MS
        # The others end by themselves, and have something to undo then.
        asked = errand.kind in {"mute", "remove", "invite", "export"}
        return CameBack(errand.id, "unavailable") if late and asked else None

    async def _mute(self, errand: Errand) -> CameBack:
        here = await self._hands.take("mute", errand.room_id, errand.content["user_id"])
        there = await self._other_sites.ask("mute", errand)
        if there.refused:
            return CameBack(errand.id, "elsewhere", site=there.refused)
        found = here.connections or there.there
        return CameBack(errand.id, "done" if found else "absent", here.count + there.count)

    async def _remove(self, errand: Errand) -> CameBack:
        here = await self._hands.take("remove", errand.room_id, errand.content["user_id"])
        there = await self._other_sites.ask("remove", errand)
        if there.refused:
            return CameBack(errand.id, "elsewhere", site=there.refused)
        return CameBack(errand.id, "done", here.count + there.count)

    async def _invite(self, errand: Errand) -> CameBack:
        user_id = errand.content["user_id"]
        try:
            await self._homeserver.invite(errand.room_id, user_id)
        except HomeserverError as error:
            if not 400 <= error.status < 500 or error.status == 429:
                raise
            # Carried out already and joined since: Synapse then refuses a second invitation.
            joined = await self._homeserver.is_joined(errand.room_id, user_id)
            return CameBack(errand.id, "done" if joined else "refused")
        return CameBack(errand.id, "done")
