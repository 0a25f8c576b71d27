"""Every store test runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge import config
from bridge.store.database import Database, open_database


@pytest.fixture
def settings(database_url: str) -> config.Settings:
    return config.Settings(database=config.Database(url=database_url))


@pytest.fixture
async def db(settings: config.Settings) -> AsyncIterator[Database]:
    database = await open_database(settings)
    yield database
    await database.stop()
