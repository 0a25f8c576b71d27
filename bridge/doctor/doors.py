"""A call token by each door, for the bot itself in its own room."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import jwt

from bridge.doctor.findings import Remark, failed, ok
from bridge.doctor.http import NoAnswer, Reply, ask
from bridge.doctor.visit import DEVICE, Visit
from bridge.doctor.web import ORIGIN
from bridge.ids import ROOM_CALL, media_room
from bridge.matrix.http import MatrixApi
from bridge.media.server import MediaServer

MEMBER = "doctor"
"""The same in every walk, so that the bridge keeps one grant and not one a walk."""
_THROUGH_HOMESERVER = "/_matrix/client/unstable/io.element.msc4195/rtc/livekit/get_token"


async def openid_token(visit: Visit) -> dict[str, Any]:
    """A fresh OpenID token of the bot. Raises HomeserverError and Unreachable."""
    api = MatrixApi(visit.settings.homeserver.address, visit.registration.as_token, timeout_s=8)
    path = f"/_matrix/client/v3/user/{quote(visit.bot, safe='')}/openid/request_token"
    try:
        return await api.object("POST", path, body={})
    finally:
        await api.close()


async def sfu_get(visit: Visit) -> Remark:
    """The door of Element Call and Element X today."""
    body = {
        "room": visit.own_room,
        "openid_token": await openid_token(visit),
        "device_id": DEVICE,
    }
    return await _door(visit, "/sfu/get", body)


async def get_token(visit: Visit) -> Remark:
    """MSC4195's door."""
    member = {"id": MEMBER, "claimed_user_id": visit.bot, "claimed_device_id": DEVICE}
    body = {
        "room_id": visit.own_room,
        "slot_id": ROOM_CALL,
        "openid_token": await openid_token(visit),
        "member": member,
    }
    return await _door(visit, "/get_token", body)


async def _door(visit: Visit, path: str, body: dict[str, Any]) -> Remark:
    _remove_media_room(visit)
    try:
        reply = await ask("POST", visit.page + path, body=body, headers=ORIGIN)
    except NoAnswer as error:
        return failed("route.down", url=visit.page + path, reason=str(error))
    if reply.status == 401:
        return failed("door.openid", path=path, address=visit.settings.homeserver.address)
    return _answered(visit, reply, path)


def _answered(visit: Visit, reply: Reply, path: str) -> Remark:
    if reply.status == 503:
        return failed("door.unavailable", path=path, error=str(reply.object.get("error", "")))
    if reply.status != 200:
        return failed("door.refused", path=path, status=reply.shown)
    try:
        jwt.decode(
            str(reply.object.get("jwt", "")),
            visit.key.secret,
            algorithms=["HS256"],
            issuer=visit.key.key,
            leeway=120,
        )
    except jwt.PyJWTError as error:
        return failed("door.key", path=path, reason=str(error))
    url = str(reply.object.get("url", ""))
    if url != visit.settings.media.public_url:
        return failed("door.url", path=path, found=url, wanted=visit.settings.media.public_url)
    return ok("door.fine", ms=reply.ms)


async def through_homeserver(visit: Visit) -> Remark:
    """The homeserver authenticates and passes the request on to the bridge (MSC4512)."""
    _remove_media_room(visit)
    body = {
        "room_id": visit.own_room,
        "slot_id": ROOM_CALL,
        "url": visit.settings.media.public_url,
        "member": {"id": MEMBER, "claimed_device_id": DEVICE},
    }
    reply = await visit.matrix("POST", _THROUGH_HOMESERVER, body)
    path = str(visit.settings.path(visit.settings.appservice.registration))
    if reply.status == 404:
        return failed("proxy.off", path=path)
    if reply.status in {502, 504}:
        return failed("proxy.unreachable", path=path, status=reply.shown)
    if reply.status == 403 and "homeserver only" in str(reply.object.get("error", "")):
        return failed("ping.token", path=path, url=visit.registration.url, id=visit.registration.id)
    return _answered(visit, reply, _THROUGH_HOMESERVER)


def _remove_media_room(visit: Visit) -> None:
    """The bridge makes the media room of the doctor's own Matrix room: nobody needs it after."""

    async def remove() -> None:
        media = MediaServer(visit.settings.media.api_url, visit.key, timeout_s=3)
        try:
            await media.delete_room(media_room(visit.own_room))
        finally:
            await media.close()

    visit.undo.push_async_callback(remove)
