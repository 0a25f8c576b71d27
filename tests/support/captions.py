"""What tests of captions share, and a feed with nobody in it for tests of what lies beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bridge.matrix.client import Member
from bridge.rooms.house import Stores
from bridge.store.database import Database
from bridge.web.feed import Feed


class NoRooms:
    """A homeserver whose rooms are empty."""

    async def members(self, room_id: str) -> dict[str, Member]:
        return {}


def quiet_feed(db: Database) -> Feed:
    """A feed that nobody looks after."""
    return Feed(
        Stores.over(db),
        NoRooms(),
        service_url="https://visio.example",
        sessions=dict,
        wake=lambda rooms: None,
        shows=lambda conference: True,
    )


async def until(holds: Callable[[], object], limit_s: float = 20.0) -> None:
    """Return once it holds. Raises TimeoutError."""
    async with asyncio.timeout(limit_s):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)
