"""A record from the store as a file, for an administrator: beside a bridge that runs, or without.

Nothing is changed, and no homeserver is asked: what was written in chat is not in it.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from bridge.config import DocumentForm, Settings
from bridge.domain.conference import Conference, from_json, read_conferences
from bridge.domain.documents import FORMS
from bridge.errors import UserError
from bridge.rooms import facts, record
from bridge.rooms.house import House, Stores
from bridge.store.database import open_database
from bridge.text import Language


async def export(
    settings: Settings,
    form: DocumentForm,
    *,
    room: str = "",
    conference: str = "",
    language: Language | None = None,
) -> bytes:
    """One document of a call: that of this name, or the last of the room.

    Raises UserError where there is none, ConfigError where the store cannot be opened.
    """
    async with AsyncExitStack() as stack:
        db = await open_database(settings)
        stack.push_async_callback(db.stop)
        stores = Stores.over(db)
        c = await (_named(stores, conference) if conference else _last(stores, room))
        if c is None:
            raise UserError("export.unknown", what=conference or room)
        known = facts.from_json(await stores.rooms.get(None, c.room_id))
        written = await record.load(
            House.of(settings, ""),
            stores,
            c,
            room_name=known.name,
            now_ms=time.time_ns() // 1_000_000,
        )
        return FORMS[form].write(written, language or c.language)


async def _last(stores: Stores, room: str) -> Conference | None:
    kept = read_conferences(await stores.conferences.load(None, room))
    meetings = await stores.meetings.of_room(room, limit=1)
    kept += [from_json(meeting.snapshot) for meeting in meetings]
    return next((c for c in kept if c.said), kept[0] if kept else None)


async def _named(stores: Stores, conference: str) -> Conference | None:
    meeting = await stores.meetings.get(conference)
    if meeting is not None:
        return from_json(meeting.snapshot)
    for room in await stores.conferences.active():
        for c in read_conferences(await stores.conferences.load(None, room)):
            if conference in {c.id, c.call_id}:
                return c
    return None
