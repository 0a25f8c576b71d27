"""What the scribe must not forget: final segments until the bridge has them, written before they
are sent; and until when each conference was listened to.

One SQLite file, owned by one scribe process (a second one on the same file is refused). All work
happens on one thread of its own, because a commit waits for the disk and audio does not.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bridge.scribe.frames import Frame

T = TypeVar("T")


class SpoolError(Exception):
    """The spool cannot be opened; `str(error)` is one clear line."""


class Spool:
    """Segments not yet acknowledged, in the order they were written."""

    def __init__(self, database: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._thread = thread

    @classmethod
    async def open(cls, file: Path) -> Spool:
        """Open or create. Raises SpoolError where the file is in use, or is something else."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        loop = asyncio.get_running_loop()
        try:
            database = await loop.run_in_executor(thread, _connect, file)
        except (sqlite3.Error, OSError) as error:
            thread.shutdown(wait=False)
            raise SpoolError(f"the spool {file} cannot be used: {error}") from error
        return cls(database, thread)

    async def put(self, segment: Frame) -> None:
        """Keep one segment frame; on disk when this returns. The same key again is ignored."""
        await self._run(lambda: self._put(segment))

    async def after(self, position: int, limit: int = 100) -> list[tuple[int, Frame]]:
        """Up to `limit` segments with a position above `position`, oldest first."""
        return await self._run(lambda: self._after(position, limit))

    async def ack(self, keys: Iterable[str]) -> None:
        """Forget segments that the bridge has made durable; unknown keys are ignored."""
        rows = [(key,) for key in keys]
        await self._run(lambda: self._ack(rows))

    async def listening(self, until_ms: Mapping[str, int]) -> None:
        """Until when these conferences were listened to (Unix ms)."""
        rows = list(until_ms.items())
        if rows:
            await self._run(lambda: self._listening(rows))

    async def listened_until(self, conference: str) -> int | None:
        """When a conference was last listened to (Unix ms), by this process or one before it."""
        return await self._run(lambda: self._listened_until(conference))

    async def forget(self, conference: str) -> None:
        """A conference is listened to no more, as was wanted."""
        await self._run(lambda: self._forget(conference))

    async def close(self) -> None:
        await self._run(self._database.close)
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _put(self, segment: Frame) -> None:
        with self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO segment (key, frame) VALUES (?, ?)",
                (segment["key"], json.dumps(segment, ensure_ascii=False)),
            )

    def _after(self, position: int, limit: int) -> list[tuple[int, Frame]]:
        rows = self._database.execute(
            "SELECT position, frame FROM segment WHERE position > ? ORDER BY position LIMIT ?",
            (position, limit),
        )
        return [(position, json.loads(frame)) for position, frame in rows]

    def _ack(self, rows: list[tuple[str]]) -> None:
        with self._database:
            self._database.executemany("DELETE FROM segment WHERE key = ?", rows)

    def _listening(self, rows: list[tuple[str, int]]) -> None:
        with self._database:
            self._database.executemany(
                "INSERT INTO listened (conference, until_ms) VALUES (?, ?)"
                " ON CONFLICT (conference) DO UPDATE SET until_ms = excluded.until_ms",
                rows,
            )

    def _listened_until(self, conference: str) -> int | None:
        row = self._database.execute(
            "SELECT until_ms FROM listened WHERE conference = ?", (conference,)
        ).fetchone()
        return None if row is None else int(row[0])

    def _forget(self, conference: str) -> None:
        with self._database:
            self._database.execute("DELETE FROM listened WHERE conference = ?", (conference,))


def _connect(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    database = sqlite3.connect(file, timeout=1)
    # EXCLUSIVE: the lock is held until close, so two scribes can never share one spool.
    # FULL: a segment survives a power cut from the moment `put` returns.
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
        database.execute(f"PRAGMA {pragma}")
    with database:
        # AUTOINCREMENT: a position is never used twice, or a segment could be skipped.
        database.execute(
            "CREATE TABLE IF NOT EXISTS segment (position INTEGER PRIMARY KEY AUTOINCREMENT,"
            " key TEXT NOT NULL UNIQUE, frame TEXT NOT NULL)"
        )
        database.execute(
            "CREATE TABLE IF NOT EXISTS listened"
            " (conference TEXT PRIMARY KEY, until_ms INTEGER NOT NULL)"
        )
    return database
