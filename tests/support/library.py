"""Meetings that were held, in the stores as a bridge leaves them; and the archive over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bridge.config import Settings
from bridge.domain.conference import Conference, Span
from bridge.domain.stays import Stay
from bridge.matrix.readers import Policy, Readers
from bridge.rooms.house import House, Stores
from bridge.rooms.record import meeting
from bridge.store.database import Database
from bridge.store.utterances import Utterance
from bridge.web.archive import Archive
from bridge.web.challenges import Challenges

STARTED = 1_790_000_000_000
MINUTE = 60_000


def archive_over(
    settings: Settings,
    database: Database,
    rooms: Any,
    *,
    policy: Policy = "members",
    encrypted: bool = False,
    **more: Any,
) -> Archive:
    """The archive as bridge/app.py makes it. `rooms`: a homeserver, or what stands in for it."""
    house = House.of(settings, "@visio:example.org")
    readers = Readers(rooms, policy, **more)
    return Archive(house, Stores.over(database), readers, encrypted=encrypted)


def challenges(
    site: str = "https://visio.example.org", *, bot: str = "@visio:example.org", **more: Any
) -> Challenges:
    """Those of a bridge that admits everybody."""
    return Challenges(
        bot=bot,
        device_id="COLLOQUE",
        site=site,
        admitted=lambda _server: True,
        **more,
    )


def held(name: str, room_id: str, people: Sequence[str], **more: Any) -> Conference:
    """A conference of ten minutes that is over; all were there the whole time."""
    stays = tuple(
        Stay(
            identity=f"{user_id}:D",
            sid=f"PA_{user_id}",
            user_id=user_id,
            device_id="D",
            display_name=user_id[1:].partition(":")[0].capitalize(),
            joined_ms=STARTED,
            left_ms=STARTED + 10 * MINUTE,
        )
        for user_id in people
    )
    conference = Conference(
        id=name,
        room_id=room_id,
        started_ms=STARTED,
        started_by=people[0] if people else "",
        phase="ended",
        ended_ms=STARTED + 10 * MINUTE,
        stays=stays,
        spans=(Span(0),),
        utterances=1,
        media_closed=True,
    )
    return replace(conference, **more)


async def keep(
    stores: Stores, c: Conference, said: Sequence[Utterance], *, name: str, root: str | None = None
) -> None:
    """Store a conference and what was said in it."""
    async with stores.db.acquire() as conn, conn.transaction():
        await stores.meetings.put(conn, meeting(c, room_name=name, root=root))
        for utterance in said:
            assert await stores.utterances.put(conn, utterance)


def utterance(c: Conference, number: int, speaker: str, text: str, **more: Any) -> Utterance:
    """Something said, ten seconds after what was said before it."""
    start_ms = number * 10_000
    said = Utterance(
        conference=c.id,
        segment=f"{c.id}-{number}",
        rev=0,
        room_id=c.room_id,
        speaker=speaker,
        device="D",
        display_name=speaker[1:].partition(":")[0].capitalize(),
        text=text,
        language="fr",
        start_ms=start_ms,
        end_ms=start_ms + 4_000,
        engine="e",
        said_ms=c.started_ms + start_ms,
    )
    return replace(said, **more)
