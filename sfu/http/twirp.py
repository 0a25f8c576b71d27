"""RoomService over Twirp: POST /twirp/livekit.RoomService/<Method>, protobuf or JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from livekit.protocol import room

from sfu.http.ws import DRAINING
from sfu.signal import admin, token
from sfu.signal.registry import Registry
from sfu.signal.session import Moment
from sfu.signal.signalling import Signalling

log = logging.getLogger(__name__)

_STATUS = {
    "malformed": 400,
    "invalid_argument": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "bad_route": 404,
    "failed_precondition": 412,
    "unimplemented": 501,
    "unavailable": 503,
}


class TwirpError(Exception):
    """An error of the Twirp protocol (twitchtv.github.io/twirp/docs/spec_v7.html)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Method:
    """One call: its request, the right it needs, and what it does."""

    request: type[Message]
    right: str
    call: Callable[[Any, Moment], Message]


class RoomService:
    """The server API. `settle` is called for a room after it was changed."""

    def __init__(
        self,
        registry: Registry,
        keys: Mapping[str, str],
        clock: Callable[[], Moment],
        settle: Callable[[Signalling], None],
    ) -> None:
        self._registry = registry
        self._keys = keys
        self._clock = clock
        self._settle = settle
        self._methods = {
            "CreateRoom": Method(room.CreateRoomRequest, "create", self._create),
            "ListRooms": Method(room.ListRoomsRequest, "list", self._list),
            "DeleteRoom": Method(room.DeleteRoomRequest, "create", self._delete),
            "ListParticipants": Method(room.ListParticipantsRequest, "admin", self._participants),
            "GetParticipant": Method(room.RoomParticipantIdentity, "admin", self._participant),
            "RemoveParticipant": Method(room.RoomParticipantIdentity, "admin", self._remove),
            "MutePublishedTrack": Method(room.MuteRoomTrackRequest, "admin", self._mute),
            "UpdateParticipant": Method(room.UpdateParticipantRequest, "admin", self._update),
            "UpdateSubscriptions": Method(
                room.UpdateSubscriptionsRequest, "admin", self._subscriptions
            ),
            "SendData": Method(room.SendDataRequest, "admin", self._send_data),
            "UpdateRoomMetadata": Method(
                room.UpdateRoomMetadataRequest, "admin", self._room_metadata
            ),
        }

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/twirp/livekit.RoomService/{method}", self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """One call."""
        try:
            return await self._answer(request)
        except TwirpError as error:
            body = {"code": error.code, "msg": str(error)}
            return web.json_response(body, status=_STATUS[error.code])

    async def _answer(self, request: web.Request) -> web.Response:
        now = self._clock()
        claims = self._claims(request, now)
        method = self._methods.get(request.match_info["method"])
        if method is None:
            raise TwirpError("bad_route", "no such method")
        text = request.content_type == "application/json"
        message = _read(method.request(), await request.read(), text)
        _authorize(claims, method.right, message)
        try:
            answer = method.call(message, now)
        except admin.NotFound as error:
            raise TwirpError("not_found", str(error)) from error
        except admin.Impossible as error:
            raise TwirpError("failed_precondition", str(error)) from error
        return _write(answer, text)

    def _claims(self, request: web.Request, now: Moment) -> token.Claims:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        try:
            return token.verify(bearer if scheme.lower() == "bearer" else "", self._keys, now.wall)
        except token.BadToken as error:
            raise TwirpError("unauthenticated", str(error)) from error

    def _room(self, name: str) -> Signalling:
        found = self._registry.find(name)
        if found is None:
            raise TwirpError("not_found", "requested room does not exist")
        return found

    # -- calls --------------------------------------------------------------------------------

    def _create(self, request: room.CreateRoomRequest, now: Moment) -> Message:
        if not request.name or len(request.name) > 256:
            raise TwirpError("invalid_argument", "a room needs a name of at most 256 characters")
        if self._registry.draining and self._registry.find(request.name) is None:
            raise TwirpError("unavailable", DRAINING)
        signalling = self._registry.create(request, now)
        self._settle(signalling)
        return signalling.room.info()

    def _list(self, request: room.ListRoomsRequest, now: Moment) -> Message:
        wanted = set(request.names)
        rooms = self._registry.rooms.items()
        infos = [s.room.info() for name, s in rooms if not wanted or name in wanted]
        return room.ListRoomsResponse(rooms=infos)

    def _delete(self, request: room.DeleteRoomRequest, now: Moment) -> Message:
        signalling = self._registry.delete(request.room, now)
        if signalling is None:
            raise TwirpError("not_found", "requested room does not exist")
        self._settle(signalling)
        return room.DeleteRoomResponse()

    def _participants(self, request: room.ListParticipantsRequest, now: Moment) -> Message:
        people = self._room(request.room).room.participants.values()
        return room.ListParticipantsResponse(participants=[p.info() for p in people])

    def _participant(self, request: room.RoomParticipantIdentity, now: Moment) -> Message:
        return admin.participant_of(self._room(request.room), request.identity).info()

    def _remove(self, request: room.RoomParticipantIdentity, now: Moment) -> Message:
        # LiveKit documents no unit; what is too large for seconds is milliseconds.
        before = request.revoke_token_ts or now.wall
        before = before / 1000 if before > 1e11 else before
        self._registry.revoke(request.room, request.identity, before)
        signalling = self._room(request.room)
        admin.remove_participant(signalling, request.identity, now)
        self._settle(signalling)
        return room.RemoveParticipantResponse()

    def _mute(self, request: room.MuteRoomTrackRequest, now: Moment) -> Message:
        signalling = self._room(request.room)
        track = admin.mute_track(signalling, request)
        self._settle(signalling)
        return room.MuteRoomTrackResponse(track=track)

    def _update(self, request: room.UpdateParticipantRequest, now: Moment) -> Message:
        signalling = self._room(request.room)
        info = admin.update_participant(signalling, request)
        self._settle(signalling)
        return info

    def _subscriptions(self, request: room.UpdateSubscriptionsRequest, now: Moment) -> Message:
        signalling = self._room(request.room)
        admin.update_subscriptions(signalling, request)
        self._settle(signalling)
        return room.UpdateSubscriptionsResponse()

    def _send_data(self, request: room.SendDataRequest, now: Moment) -> Message:
        admin.send_data(self._room(request.room), request)
        return room.SendDataResponse()

    def _room_metadata(self, request: room.UpdateRoomMetadataRequest, now: Moment) -> Message:
        signalling = self._room(request.room)
        info = admin.update_metadata(signalling, request.metadata)
        self._settle(signalling)
        return info


def _authorize(claims: token.Claims, right: str, request: Any) -> None:
    grants = claims.grants
    allowed = {
        "create": grants.room_create,
        "list": grants.room_list,
        # Administration is of one room: the one the token names.
        "admin": grants.room_admin and grants.room == getattr(request, "room", ""),
    }
    if not allowed[right]:
        raise TwirpError("permission_denied", "the token does not allow this")


def _read(message: Message, body: bytes, text: bool) -> Message:
    try:
        if text:
            json_format.Parse(body or b"{}", message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        raise TwirpError("malformed", "the request body could not be read") from error
    return message


def _write(message: Message, text: bool) -> web.Response:
    if text:
        body = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)
        return web.Response(text=body, content_type="application/json")
    return web.Response(body=message.SerializeToString(), content_type="application/protobuf")
