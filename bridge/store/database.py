"""Opening the database: SQLite by default, PostgreSQL for more than one machine, the same SQL.

`mautrix.util.async_db` gives both one dialect (`$1` parameters) and numbered migrations. Three of
its habits lose data here, so both kinds of database are opened through the subclasses below:

* the connection a task holds is found through a context variable, which a task *started inside* a
  transaction inherits: it would go on using the connection after the pool lent it to another.
  Here a connection is reused by the very task that acquired it and by no other;
* on SQLite a cancelled transaction is neither committed nor rolled back (`except Exception` does
  not see CancelledError), and its half of the work is committed by the next one;
* SQLite transactions begin deferred, so that one that reads first can fail when it writes.

SQLite has one connection: transactions follow each other. So never await the network, or another
task that needs the database, inside one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import asyncpg
from mautrix.util import async_db
from mautrix.util.async_db import Scheme, UpgradeTable
from mautrix.util.async_db.aiosqlite import SQLiteDatabase, TxnConnection
from mautrix.util.async_db.asyncpg import PostgresDatabase
from mautrix.util.async_db.errors import UnsupportedDatabaseVersion
from yarl import URL

from bridge.config import Settings
from bridge.errors import ConfigError
from bridge.store.schema import upgrades

__all__ = ["DATABASE_ERRORS", "Connection", "Database", "Scheme", "holding", "open_database"]

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
"""What a database that is gone, locked or full raises: worth trying again later."""

_SQLITE_SETUP = (
    "PRAGMA journal_mode = WAL",
    # NORMAL would lose the last commits when the machine loses power, after they were acknowledged.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    # What is deleted is overwritten: words that somebody had deleted must not lie in free pages.
    "PRAGMA secure_delete = ON",
)


class Connection(async_db.Connection):
    """A connection inside `acquire()`: execute, fetch, fetchrow, fetchval and transactions.

    Real ones are mautrix's own objects; this class says what its `transaction()` really returns.
    """

    def transaction(self) -> AbstractAsyncContextManager[None]:  # type: ignore[override]
        """All or nothing. Inside another transaction of the connection, a part of it."""
        return cast("AbstractAsyncContextManager[None]", super().transaction())


_held: ContextVar[tuple[async_db.Database, asyncio.Task[Any] | None, Connection] | None] = (
    ContextVar("colloque_connection", default=None)
)


@asynccontextmanager
async def _acquire(db: async_db.Database) -> AsyncIterator[Connection]:
    held, task = _held.get(), asyncio.current_task()
    if held is not None and held[0] is db and held[1] is task:
        yield held[2]
        return
    async with db.acquire_direct() as conn:
        own = cast("Connection", conn)
        token = _held.set((db, task, own))
        try:
            yield own
        finally:
            _held.reset(token)


class Database(async_db.Database):
    """A pool of connections, and the same in one call: execute, fetch, fetchrow, fetchval."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]:  # type: ignore[override]
        """A connection for this task; inside another `acquire()` of the task, the same one."""
        return _acquire(self)

    def reading(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for reads that may take long: nobody who writes has to wait for them."""
        return _acquire(self)


class _Postgres(Database, PostgresDatabase):
    pass


class _SqliteConnection(TxnConnection):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        # A bridge that fails before it closes its database must end, not wait for this thread.
        # (Until aiosqlite 0.21 the connection was the thread.)
        thread: Any = getattr(self, "_thread", self)
        thread.daemon = True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:  # type: ignore[override]
        if self.in_transaction:
            yield
            return
        try:
            await self.execute("BEGIN IMMEDIATE")
            yield
            await self.commit()
        except BaseException:
            # Also when cancelled while BEGIN or COMMIT runs in the connection's thread: calls run
            # there in order, and rolling back where nothing is open does nothing.
            await asyncio.shield(self.rollback())
            raise


class _Sqlite(Database, SQLiteDatabase):
    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        # With WAL who reads on a connection of their own sees what is committed and locks nobody.
        conn = _SqliteConnection(self._path)
        _ = await conn
        try:
            conn.row_factory = sqlite3.Row
            await conn.execute("PRAGMA query_only = ON")
            yield cast("Connection", conn)
        finally:
            # A statement that goes on after its task was cancelled or timed out must end first.
            await conn.interrupt()
            await asyncio.shield(conn.close())

    async def start(self) -> None:
        conn = _SqliteConnection(self._path)
        _ = await conn
        try:
            for command in _SQLITE_SETUP:
                await conn.execute(command)
        except BaseException:
            await conn.close()
            raise
        conn.row_factory = sqlite3.Row
        self._pool.put_nowait(conn)
        self._conns = 1
        try:
            await async_db.Database.start(self)
        except BaseException:
            await self.stop()
            raise


async def open_database(settings: Settings) -> Database:
    """Open the configured database and bring its tables up to date.

    Raises ConfigError, in one line without a password, where that cannot be done.
    """
    url = settings.database.url
    if url.startswith(("sqlite:", "sqlite3:")):
        return await _open_sqlite(settings.path(_sqlite_path(url)).absolute())
    if url.startswith(("postgres://", "postgresql://")):
        return await _open_postgres(url)
    raise ConfigError("`database.url` must begin with sqlite: or postgresql://")


@asynccontextmanager
async def holding(db: Database, conn: Connection | None) -> AsyncIterator[Connection]:
    """`conn` itself where the caller has one, else a connection for the length of the block."""
    if conn is not None:
        yield conn
        return
    async with db.acquire() as own:
        yield own


def _sqlite_path(url: str) -> str:
    # sqlite:PATH and SQLAlchemy's sqlite:///PATH; the path is taken as it is written.
    path = url.partition(":")[2]
    return path[2:] if path.startswith("///") else path


async def _open_sqlite(path: Path) -> Database:
    # Built, not parsed: `yarl` would read `#` and `?` of a text as query and fragment.
    url = URL.build(scheme="sqlite", path=str(path))
    db = _Sqlite(url, upgrade_table=_table())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        await db.start()
    except UnsupportedDatabaseVersion as error:
        raise ConfigError(_too_new(str(path))) from error
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"`database.url`: {path} cannot be opened: {error}") from error
    return db


async def _open_postgres(url: str) -> Database:
    # mautrix ends the process on an internal error of asyncpg unless told not to.
    args = {"min_size": 1, "max_size": 10, "meow_exit_on_ice": False, "command_timeout": 30}
    shown = _without_password(url)
    try:
        db = _Postgres(URL(url), upgrade_table=_table(), db_args=args)
        await db.start()
    except UnsupportedDatabaseVersion as error:
        raise ConfigError(_too_new(shown)) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise ConfigError(f"`database.url`: {shown} cannot be opened: {error}") from error
    return db


def _without_password(url: str) -> str:
    try:
        parsed = URL(url)
    except ValueError:
        return "postgresql://…"
    return str(parsed.with_query(None).with_user(None))


def _too_new(where: str) -> str:
    return f"`database.url`: {where} was written by a newer version of Colloque"


def _table() -> UpgradeTable:
    table = UpgradeTable(version_table_name="colloque_version", database_name="colloque database")
    for description, step in upgrades:
        table.register(step, description=description)
    return table
