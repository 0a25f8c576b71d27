"""Bridges that share a room."""

from __future__ import annotations

import pytest_asyncio

from tests.support.rooms_world import Worlds
from tests.support.sites_world import Sites


@pytest_asyncio.fixture
async def sites(worlds: Worlds) -> Sites:
    """Two bridges in one room: a and b."""
    both = Sites()
    await both.open(worlds, "a", "b")
    return both
