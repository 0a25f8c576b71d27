"""Every store test runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bridge import config
from bridge.store.database import Database, open_database
from tests.support import postgres
from tests.support.postgres import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = postgres.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of the test's own."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}/store #1?.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"store_{next(_numbers)}"
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def settings(database_url: str) -> config.Settings:
    return config.Settings(database=config.Database(url=database_url))


@pytest.fixture
async def db(settings: config.Settings) -> AsyncIterator[Database]:
    database = await open_database(settings)
    yield database
    await database.stop()
