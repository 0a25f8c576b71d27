"""What tests of several parts of the bridge share."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.matrix.registration import Registration
from tests.support import postgres
from tests.support.postgres import PostgresServer
from tests.support.rooms_bridge import synapse_with_bot
from tests.support.rooms_world import Worlds
from tests.support.synapse import Synapse

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registered(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Synapse, Registration]]:
    """A homeserver of the file's own that knows the bot."""
    async with synapse_with_bot(tmp_path_factory.mktemp("registered")) as running:
        yield running


@pytest_asyncio.fixture
async def worlds(tmp_path: Path) -> AsyncIterator[Worlds]:
    """Opens the same database again and again, as restarts of the bridge do."""
    factory = Worlds(tmp_path)
    yield factory
    await factory.close()
