"""Token doors behind the homeserver: it authenticates and passes on `…/rtc/livekit/…` (MSC4512).

Neither an OpenID token nor a public address of ours is needed: the homeserver says who asks
(`X-Matrix-User-Identifier` of a client, `X-Matrix-Origin` of another homeserver) and proves itself
with the `hs_token`. Mounted on the port the homeserver knows, beside `/transactions`.

Field names differ between drafts of MSC4195; both shapes are read:
`member: {id, claimed_device_id}` (matrix-js-sdk 43) and the flat `member_id` (ruma 0.25.2). The
flat one names no device, so a member id of the form `<user id>:<device>`, as Element Call makes it
in its compatible mode, is taken apart, and otherwise the device in the hash is empty.
"""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bridge.config import Settings
from bridge.errors import ColloqueError
from bridge.ids import ROOM_CALL, server_of
from bridge.matrix.admission import Admission, Ask, BadAsk
from bridge.matrix.answers import (
    delay,
    mandatory_delay,
    matrix_error,
    optional_text,
    read_object,
    refusal,
    section,
    text,
)
from bridge.matrix.openid import NotAuthorised

_VERSION = r"{version:unstable/[^/]+|v\d+}"
_CLIENT = f"/_matrix/client/{_VERSION}/rtc/livekit"
_FEDERATION = f"/_matrix/federation/{_VERSION}/rtc/livekit"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def rtc_routes(settings: Settings, hs_token: str, admission: Admission) -> list[web.RouteDef]:
    """The routes to add to the appservice's application."""
    proxy = _RtcProxy(settings, hs_token, admission)
    return [
        web.post(f"{_CLIENT}/get_token", proxy.guarded(proxy.client_token)),
        web.post(f"{_CLIENT}/delegate_delayed_leave", proxy.guarded(proxy.delegated_leave)),
        web.post(f"{_FEDERATION}/get_token", proxy.guarded(proxy.federation_token)),
        web.route("*", f"{_CLIENT}/{{rest:.*}}", proxy.guarded(_unrecognized)),
        web.route("*", f"{_FEDERATION}/{{rest:.*}}", proxy.guarded(_unrecognized)),
    ]


class _RtcProxy:
    def __init__(self, settings: Settings, hs_token: str, admission: Admission) -> None:
        self._own_server = settings.homeserver.server_name
        self._own_urls = {
            settings.media.public_url.rstrip("/"),
            settings.web.public_url.rstrip("/"),
        }
        self._expected = f"Bearer {hs_token}".encode()
        self._admission = admission

    def guarded(self, handler: Handler) -> Handler:
        """The handler for the homeserver alone, with errors as Matrix answers."""

        async def guard(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, self._expected):
                return matrix_error(403, "M_FORBIDDEN", "This is for the homeserver only.")
            try:
                return await handler(request)
            except ColloqueError as error:
                return refusal(error)

        return guard

    async def client_token(self, request: web.Request) -> web.Response:
        """A user of our own homeserver asks."""
        user_id, body = await self._client(request)
        if self._is_elsewhere(body):
            return await _unrecognized(request)
        return await self._token(body, user_id)

    async def delegated_leave(self, request: web.Request) -> web.Response:
        """A user of our own homeserver hands their leave over."""
        user_id, body = await self._client(request)
        if self._is_elsewhere(body):
            return await _unrecognized(request)
        ask = dataclasses.replace(self._ask(body, user_id), delay=mandatory_delay(body))
        await self._admission.delegate(ask)
        return web.json_response({})

    async def _client(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        user_id = request.headers.get("X-Matrix-User-Identifier", "")
        if server_of(user_id) != self._own_server:
            raise NotAuthorised("the homeserver names no user of its own")
        return user_id, await read_object(request)

    def _is_elsewhere(self, body: dict[str, Any]) -> bool:
        # Another site's media server. 404 tells the client to go to that site's own doors.
        return optional_text(body, "server_name") not in {"", self._own_server}

    async def federation_token(self, request: web.Request) -> web.Response:
        """Another homeserver asks for one of its users."""
        origin = request.headers.get("X-Matrix-Origin", "")
        body = await read_object(request)
        member = body.get("member")
        claimed = member.get("claimed_user_id", "") if isinstance(member, dict) else ""
        user_id = optional_text(body, "user_id") or claimed
        # A homeserver speaks for its own users only.
        if not origin or not isinstance(user_id, str) or server_of(user_id) != origin:
            raise NotAuthorised("the user is not of the server that asks")
        return await self._token(body, user_id)

    async def _token(self, body: dict[str, Any], user_id: str) -> web.Response:
        admitted = await self._admission.admit(self._ask(body, user_id))
        return web.json_response({"jwt": admitted.jwt, "url": admitted.url})

    def _ask(self, body: dict[str, Any], user_id: str) -> Ask:
        url = optional_text(body, "url").rstrip("/")
        if url and url not in self._own_urls:
            raise BadAsk("this media server is not ours", "M_INVALID_PARAM")
        member_id, device_id = _member(body, user_id)
        return Ask(
            room_id=text(body, "room_id"),
            user_id=user_id,
            device_id=device_id,
            member_id=member_id,
            slot_id=optional_text(body, "slot_id") or ROOM_CALL,
            delay=delay(body),
        )


def _member(body: dict[str, Any], user_id: str) -> tuple[str, str]:
    """Member id and device id, of either shape."""
    if "member" not in body:
        member_id = text(body, "member_id")
        prefix = f"{user_id}:"
        device = member_id.removeprefix(prefix) if member_id.startswith(prefix) else ""
        return member_id, optional_text(body, "device_id") or device
    member = section(body, "member")
    claimed = optional_text(member, "claimed_user_id")
    if claimed and claimed != user_id:
        raise NotAuthorised("the member is somebody else")
    return text(member, "id"), optional_text(member, "claimed_device_id")


async def _unrecognized(_request: web.Request) -> web.Response:
    return matrix_error(404, "M_UNRECOGNIZED", "Unrecognized request")
