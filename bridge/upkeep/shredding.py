"""After something was deleted: overwriting it in the database's files, soon and once."""

from __future__ import annotations

import asyncio
import logging

from bridge.store import shredding
from bridge.store.database import DATABASE_ERRORS, Database
from bridge.store.redactions import RedactionLog

log = logging.getLogger(__name__)

EVERY_S = 30.0
REST_S = 0.2


class Shredding:
    """Looks at the log of deletions; `run()` works until cancelled."""

    def __init__(self, db: Database, redactions: RedactionLog, *, every_s: float = EVERY_S) -> None:
        self._db = db
        self._redactions = redactions
        self._every_s = every_s
        self._done = -1  # after a restart once, whatever was done before

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except DATABASE_ERRORS as error:
                log.warning("what was deleted is overwritten later: %s", error)

    async def look(self) -> None:
        """Overwrite what was deleted since the last look. Others may write between the steps."""
        last = await self._redactions.last()
        if last == self._done:
            return
        while await shredding.merge_index(self._db):  # noqa: ASYNC110 (a step each time)
            await asyncio.sleep(REST_S)
        await shredding.overwrite(self._db)
        self._done = last
