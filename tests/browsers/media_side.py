"""What a site's sfu says of a call, asked as any operator would: by its server API."""

from __future__ import annotations

from livekit import api
from livekit.protocol import models

from bridge import ids
from bridge.dev.site import Site
from bridge.media.keys import api_key


async def participants(site: Site, room_id: str) -> list[models.ParticipantInfo]:
    """Who is connected to this sfu for the room's call, the scribe too."""
    assert site.settings is not None
    key = api_key(site.settings)
    async with api.LiveKitAPI(site.settings.media.api_url, key.key, key.secret) as server:
        query = api.ListParticipantsRequest(room=ids.media_room(room_id))
        return list((await server.room.list_participants(query)).participants)


async def tracks(site: Site, room_id: str) -> list[models.TrackInfo]:
    """What is published there."""
    return [track for one in await participants(site, room_id) for track in one.tracks]
