"""A world for each test; `worlds` where a test restarts the bridge."""

from __future__ import annotations

import pytest_asyncio

from tests.support.rooms_world import World, Worlds


@pytest_asyncio.fixture
async def world(worlds: Worlds) -> World:
    """A bridge's rooms with an empty database."""
    return await worlds.open()
