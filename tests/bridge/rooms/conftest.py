"""A world for each test; `worlds` where a test restarts the bridge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.rooms_world import World, Worlds


@pytest_asyncio.fixture
async def worlds(tmp_path: Path) -> AsyncIterator[Worlds]:
    """Opens the same database again and again, as restarts of the bridge do."""
    factory = Worlds(tmp_path)
    yield factory
    await factory.close()


@pytest_asyncio.fixture
async def world(worlds: Worlds) -> World:
    """A bridge's rooms with an empty database."""
    return await worlds.open()
