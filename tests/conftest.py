"""What tests of every part share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.synapse import Synapse, federated


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def homeserver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Synapse]:
    """One homeserver without an appservice, shared by the whole run: leave it running."""
    server = await Synapse.create(tmp_path_factory.mktemp("homeserver"))
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def federation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Synapse]]:
    """Two homeservers that federate, shared by the whole run: leave them running."""
    servers = await federated(tmp_path_factory.mktemp("federation"))
    yield servers
    await asyncio.gather(*(server.stop() for server in servers))
