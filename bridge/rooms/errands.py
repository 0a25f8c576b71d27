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
from bridge.ids import media_room
from bridge.matrix.client import HomeserverError
from bridge.media.server import MediaParticipant
from bridge.rooms import news
from bridge.rooms.callout import CallOut
from bridge.rooms.hangup import HangUp
from bridge.rooms.house import Stores
from bridge.rooms.news import CameBack
from bridge.rooms.turns import Turns
from bridge.store.database import DATABASE_ERRORS
from bridge.store.errands import Errand, Kind

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often errands are looked for although nobody told of one (after a restart)."""
REST_S = 0.5
PATIENCE_MS = 20_000
"""How long an errand waits for a part that does not answer, before that is said."""


class Media(Protocol):
    """What errands ask of bridge.media.server.MediaServer."""

    async def participants(self, name: str) -> list[MediaParticipant]: ...
    async def mute(
        self, name: str, identity: str, track_sid: str, *, muted: bool = True
    ) -> bool: ...
    async def remove(self, name: str, identity: str) -> bool: ...


class Homeserver(Protocol):
    """What errands ask of bridge.matrix.client.Homeserver."""

    async def invite(self, room_id: str, user_id: str) -> None: ...
    async def is_joined(self, room_id: str, user_id: str) -> bool: ...


class Errands:
    """Owner of the errands of all rooms. `run()` works until cancelled."""

    def __init__(
        self,
        stores: Stores,
        media: Media,
        homeserver: Homeserver,
        *,
        callout: CallOut,
        hangup: HangUp,
        take: Callable[[Sequence[Any]], Any],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        look_s: float = LOOK_S,
    ) -> None:
        self._stores = stores
        self._media = media
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
        asked = errand.kind in {"mute", "remove", "invite"}
        return CameBack(errand.id, "unavailable") if late and asked else None

    async def _mute(self, errand: Errand) -> CameBack:
        name = media_room(errand.room_id)
        present = await self._of_person(errand)
        for participant in present:
            for track in participant.tracks:
                if track.source == "MICROPHONE" and not track.muted:
                    await self._media.mute(name, participant.identity, track.sid)
        microphones = [t for p in present for t in p.tracks if t.source == "MICROPHONE"]
        # All that are there, muted by us or not: after a restart ours look like their own.
        return CameBack(errand.id, "done" if present else "absent", len(microphones))

    async def _remove(self, errand: Errand) -> CameBack:
        present = await self._of_person(errand)
        for participant in present:
            await self._media.remove(media_room(errand.room_id), participant.identity)
        return CameBack(errand.id, "done", len(present))

    async def _of_person(self, errand: Errand) -> list[MediaParticipant]:
        grants = await self._stores.grants.of_user(errand.room_id, errand.content["user_id"])
        identities = {grant.identity for grant in grants}
        present = await self._media.participants(media_room(errand.room_id))
        return [participant for participant in present if participant.identity in identities]

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
