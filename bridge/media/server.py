"""The media server as the bridge sees it: LiveKit's RoomService, of our own sfu or of a cluster.

Nothing else of the bridge speaks to a media server, so one is exchanged for another by a setting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from google.protobuf.message import DecodeError
from livekit.api.room_service import RoomService
from livekit.api.twirp_client import ServerError, ServerErrorCode
from livekit.protocol import models, room

from bridge.errors import Unavailable
from bridge.media.keys import ApiKey

UNAVAILABLE = "media_unavailable"
"""Key of the sentence said when the media server does not answer."""


@dataclass(frozen=True, slots=True)
class MediaTrack:
    """Something a participant publishes."""

    sid: str
    kind: Literal["audio", "video", "data"]
    source: str  # MICROPHONE, CAMERA, SCREEN_SHARE ...
    muted: bool


@dataclass(frozen=True, slots=True)
class MediaParticipant:
    """Someone connected to a room, as the media server reports them."""

    identity: str
    sid: str
    name: str
    state: str  # JOINING, JOINED, ACTIVE, DISCONNECTED
    agent: bool
    joined_ms: int  # Unix milliseconds
    tracks: tuple[MediaTrack, ...]
    can_publish: bool = True


@dataclass(frozen=True, slots=True)
class MediaRoom:
    """A room of the media server."""

    name: str
    sid: str
    metadata: str
    participants: int
    created_ms: int  # Unix milliseconds


class MediaServer:
    """RoomService of a LiveKit-compatible server. Every call may raise `Unavailable`.

    What is asked of something already gone (removing a participant who left, deleting a room that
    ended) is not an error: the wish is fulfilled, and the call answers False.
    """

    def __init__(self, api_url: str, key: ApiKey, *, timeout_s: float = 5.0) -> None:
        self._api_url = api_url
        self._key = key
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def create_room(
        self,
        name: str,
        *,
        metadata: str = "",
        empty_timeout_s: int = 300,
        departure_timeout_s: int = 20,
    ) -> MediaRoom:
        """Make a room; one of that name stays as it is and is returned."""
        wish = room.CreateRoomRequest(
            name=name,
            metadata=metadata,
            empty_timeout=empty_timeout_s,
            departure_timeout=departure_timeout_s,
        )
        async with self._answering():
            return _room(await self._service().create_room(wish))

    async def delete_room(self, name: str) -> bool:
        """End a room and disconnect everybody in it. False: there was none."""
        async with self._answering():
            try:
                await self._service().delete_room(room.DeleteRoomRequest(room=name))
            except ServerError as error:
                return _absent(error)
        return True

    async def rooms(self, names: Sequence[str] = ()) -> list[MediaRoom]:
        """The rooms that exist now; those of `names` if any are given."""
        async with self._answering():
            answer = await self._service().list_rooms(room.ListRoomsRequest(names=list(names)))
        return [_room(one) for one in answer.rooms]

    async def participants(self, name: str) -> list[MediaParticipant]:
        """Who is in a room now. Empty for a room that does not exist."""
        async with self._answering():
            try:
                answer = await self._service().list_participants(
                    room.ListParticipantsRequest(room=name)
                )
            except ServerError as error:
                _absent(error)
                return []
        return [_participant(one) for one in answer.participants]

    async def remove(self, name: str, identity: str) -> bool:
        """Disconnect one participant. False: they were not there."""
        async with self._answering():
            try:
                await self._service().remove_participant(
                    room.RoomParticipantIdentity(room=name, identity=identity)
                )
            except ServerError as error:
                return _absent(error)
        return True

    async def permit(self, name: str, identity: str, *, can_publish: bool) -> bool:
        """Let a participant send sound and picture, or only listen. False: they were not there.

        The rest is as every call token gives it (bridge.media.tokens): LiveKit takes the rights
        as a whole.
        """
        permission = models.ParticipantPermission(
            can_subscribe=True,
            can_publish=can_publish,
            can_publish_data=True,
            can_update_metadata=True,
        )
        wish = room.UpdateParticipantRequest(room=name, identity=identity, permission=permission)
        async with self._answering():
            try:
                await self._service().update_participant(wish)
            except ServerError as error:
                return _absent(error)
        return True

    async def mute(self, name: str, identity: str, track_sid: str, *, muted: bool = True) -> bool:
        """Mute a participant's track. False: no such participant or track."""
        async with self._answering():
            try:
                await self._service().mute_published_track(
                    room.MuteRoomTrackRequest(
                        room=name, identity=identity, track_sid=track_sid, muted=muted
                    )
                )
            except ServerError as error:
                return _absent(error)
        return True

    async def send_data(
        self, name: str, payload: bytes, *, topic: str = "", to: Sequence[str] = ()
    ) -> bool:
        """Send a reliable data packet to all, or to the identities `to`. False: no such room."""
        packet = room.SendDataRequest(
            room=name,
            data=payload,
            kind=models.DataPacket.Kind.RELIABLE,
            destination_identities=list(to),
        )
        if topic:
            packet.topic = topic
        async with self._answering():
            try:
                await self._service().send_data(packet)
            except ServerError as error:
                return _absent(error)
        return True

    async def reachable(self) -> bool:
        """Whether the server answers and takes our key."""
        try:
            await self.rooms(["-"])
        except Unavailable:
            return False
        return True

    async def close(self) -> None:
        """End the connections. The object cannot be used afterwards."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Whatever goes wrong on the way is one thing to the caller: the server is not to be had.

        The limit is set here: livekit-api hands `timeout=None` to aiohttp, which is no limit at all
        and overrules the session's.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (aiohttp.ClientError, TimeoutError, OSError, DecodeError) as error:
            raise Unavailable(UNAVAILABLE, reason=type(error).__name__) from error
        except ServerError as error:
            raise Unavailable(UNAVAILABLE, reason=f"{error.status} {error.code}") from error

    def _service(self) -> RoomService:
        if self._session is None:  # made here because aiohttp wants a running loop
            self._session = aiohttp.ClientSession()
        # failover=False: that is a feature of LiveKit's own cloud; ours is to say "not now" soon.
        return RoomService(
            self._session, self._api_url, self._key.key, self._key.secret, failover=False
        )


def _absent(error: ServerError) -> bool:
    """False where the server says that the thing does not exist; otherwise the error goes on."""
    if error.code == ServerErrorCode.NOT_FOUND:
        return False
    raise error


def _room(one: models.Room) -> MediaRoom:
    created_ms = one.creation_time_ms or one.creation_time * 1000
    return MediaRoom(one.name, one.sid, one.metadata, one.num_participants, created_ms)


def _participant(one: models.ParticipantInfo) -> MediaParticipant:
    return MediaParticipant(
        identity=one.identity,
        sid=one.sid,
        name=one.name,
        state=_name(models.ParticipantInfo.State, one.state),
        agent=one.kind == models.ParticipantInfo.Kind.AGENT,
        joined_ms=one.joined_at_ms or one.joined_at * 1000,
        tracks=tuple(_track(track) for track in one.tracks),
        can_publish=one.permission.can_publish,
    )


_TRACK_KINDS: dict[int, Literal["audio", "video", "data"]] = {
    models.TrackType.AUDIO: "audio",
    models.TrackType.VIDEO: "video",
}


def _track(track: models.TrackInfo) -> MediaTrack:
    kind = _TRACK_KINDS.get(track.type, "data")
    return MediaTrack(track.sid, kind, _name(models.TrackSource, track.source), track.muted)


def _name(enum: Any, value: int) -> str:
    """The name of an enum's value; its number where a newer server knows one we do not."""
    return str(enum.Name(value)) if value in enum.values() else str(value)
