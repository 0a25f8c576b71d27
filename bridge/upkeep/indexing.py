"""Keeps the search current with what was said: soon after it was stored, and after a restart."""

from __future__ import annotations

import asyncio
import logging

from bridge.store.database import DATABASE_ERRORS
from bridge.store.search import Search

log = logging.getLogger(__name__)

BATCH = 25
"""Small, since on SQLite others wait while a batch is written: about 0.1 s."""


class Indexing:
    """Puts into the index what the stores' triggers noted (bridge.store.search)."""

    def __init__(self, search: Search, *, every_s: float = 2.0, rest_s: float = 0.05) -> None:
        self._search = search
        self._every_s = every_s
        self._rest_s = rest_s

    async def run(self) -> None:
        """Work until cancelled. Between batches others may write."""
        while True:
            try:
                more = await self._search.refresh(BATCH) == BATCH
            except DATABASE_ERRORS as error:
                log.warning("the search could not be brought up to date: %s", error)
                more = False
            await asyncio.sleep(self._rest_s if more else self._every_s)
