"""Telling the other sites of a room what was deleted here, until each has taken note."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from bridge.errors import Unavailable
from bridge.peers.messages import ForgetAsked
from bridge.peers.way import Refusal
from bridge.rooms.news import CameBack
from bridge.store.errands import Errand, Errands

log = logging.getLogger(__name__)

SITE_S = 5.0
PATIENCE_MS = 30 * 24 * 3_600_000
"""A site that is gone for so long is given up, with a line in the log."""


class Links(Protocol):
    """What is asked of bridge.peers.links.Links."""

    async def forget(self, server: str, asked: ForgetAsked) -> None: ...


class Telling:
    """Carries out errands of kind "forget"."""

    def __init__(self, errands: Errands, links: Links, *, site_s: float = SITE_S) -> None:
        self._errands = errands
        self._links = links
        self._site_s = site_s

    async def carry_out(self, errand: Errand, now_ms: int) -> CameBack | None:
        """Tell each site once. None while one does not answer."""
        late = now_ms - errand.created_ms > PATIENCE_MS
        left = [site for site in errand.content["sites"] if not await self._told(site, errand)]
        if left and not late:
            if left != errand.content["sites"]:
                await self._errands.note(errand.id, {**errand.content, "sites": left})
            return None
        for site in left:
            log.error("%s was never told what was deleted (errand %s)", site, errand.id)
        return CameBack(errand.id, "done")

    async def _told(self, site: str, errand: Errand) -> bool:
        asked = ForgetAsked(
            room_id=errand.room_id,
            call=errand.content["call"],
            segments=tuple(errand.content["segments"]),
        )
        try:
            async with asyncio.timeout(self._site_s):
                await self._links.forget(site, asked)
        except (Unavailable, TimeoutError) as error:
            log.info("%s is told later what was deleted: %s", site, error)
            return False
        except Refusal as error:
            # A bridge of an older version: it sees the deletion when it asks for the words again.
            log.warning("%s does not take note of what was deleted: %s", site, error)
        return True
