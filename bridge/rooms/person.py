"""One person's words, for a request of theirs: all that is kept, and having it deleted."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from typing import Any

from bridge.config import Settings
from bridge.rooms import news
from bridge.rooms.house import Stores
from bridge.store.database import open_database


async def export(settings: Settings, user_id: str, *, room: str = "") -> bytes:
    """Everything kept of what somebody said, and where, as JSON.

    Raises ConfigError where the store cannot be opened.
    """
    async with AsyncExitStack() as stack:
        db = await open_database(settings)
        stack.push_async_callback(db.stop)
        stores = Stores.over(db)
        async with db.acquire() as conn:
            said = await stores.utterances.of_speaker(conn, user_id, room)
            copies = await stores.peer_utterances.of_speaker(conn, user_id, room)
        found = {
            "version": 1,
            "user_id": user_id,
            "utterances": [{**_words(one), "room_id": one.room_id, "site": ""} for one in said],
            "copies": [{**_words(one), "site": one.site} for one in copies],
        }
        return (json.dumps(found, ensure_ascii=False, indent=2) + "\n").encode()


async def erase(settings: Settings, user_id: str, *, room: str = "", dry_run: bool) -> list[str]:
    """Have everything deleted that somebody said; the rooms concerned.

    The order is put into the inbox: the running bridge carries it out within seconds (one that does
    not run, at its next start), so that messages and documents are redacted, too.
    """
    async with AsyncExitStack() as stack:
        db = await open_database(settings)
        stack.push_async_callback(db.stop)
        stores = Stores.over(db)
        rooms = [one for one in await stores.utterances.rooms_of(user_id) if room in {"", one}]
        if not dry_run:
            now_ms = time.time_ns() // 1_000_000
            orders = [news.erase(one, user_id, now_ms) for one in rooms]
            await stores.inbox.commit(orders, now_ms=now_ms)
        return rooms


def _words(one: Any) -> dict[str, Any]:
    names = ("conference", "segment", "rev", "text", "language", "start_ms", "end_ms", "voice")
    return {name: getattr(one, name) for name in (*names, "engine", "editor")}
