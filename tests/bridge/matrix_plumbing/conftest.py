"""A fake homeserver, the bot's client of it, and a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge import config
from bridge.matrix.client import Homeserver
from bridge.store.database import Database, open_database
from tests.support.homeserver import REGISTRATION, SERVER_NAME, FakeHomeserver


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    settings = config.Settings(database=config.Database(url=f"sqlite:{tmp_path}/bridge.db"))
    database = await open_database(settings)
    yield database
    await database.stop()


@pytest.fixture
async def fake() -> AsyncIterator[FakeHomeserver]:
    async with FakeHomeserver() as server:
        yield server


@pytest.fixture
async def client(fake: FakeHomeserver) -> AsyncIterator[Homeserver]:
    homeserver = Homeserver(fake.address, SERVER_NAME, REGISTRATION, timeout_s=5)
    yield homeserver
    await homeserver.close()
