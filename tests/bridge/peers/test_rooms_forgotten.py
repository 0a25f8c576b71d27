"""A bridge whose database was lost: it reads a room that another site speaks of, once."""

from __future__ import annotations

from typing import Any

from tests.support.rooms_world import BOT, ROOM
from tests.support.sites_world import Site, Sites

REPORT: dict[str, Any] = {"version": 1, "room_id": ROOM, "rev": 1, "seen": 0}


async def forget(site: Site) -> None:
    await site.world.stores.db.execute("DELETE FROM room WHERE room_id = $1", ROOM)


async def test_a_room_that_was_forgotten_is_read_and_the_peer_answered(sites: Sites) -> None:
    a = sites.of["a"]
    async with sites.at_work():
        await forget(a)
        status, _ = await a.door.answer("b", "report", REPORT)
        assert status == 200
        assert await a.exchange.bridges(ROOM) == {"a", "b"}


async def test_a_room_the_bot_is_not_in_is_not_read_and_asked_about_once(sites: Sites) -> None:
    a = sites.of["a"]
    async with sites.at_work():
        await forget(a)
        sites.strangers.add(BOT)
        assert (await a.door.answer("b", "report", REPORT))[0] == 403
        sites.strangers.discard(BOT)
        assert (await a.door.answer("b", "report", REPORT))[0] == 403
        a.world.now_ms += 61_000
        assert (await a.door.answer("b", "report", REPORT))[0] == 200
