"""The doors every MatrixRTC client knows: `/sfu/get`, `/get_token`, `/delegate_delayed_leave`.

They speak as lk-jwt-service does, so that Element Call and Element X need nothing special. The
difference is behind `Admission`: a token is for members of the room only.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bridge.errors import ColloqueError
from bridge.ids import ROOM_CALL
from bridge.matrix.admission import Admission, Admitted, Ask, Delay, TooOften
from bridge.matrix.answers import (
    delay,
    mandatory_delay,
    optional_text,
    read_object,
    refusal,
    section,
    text,
)
from bridge.matrix.limits import Rate, RateLimit
from bridge.matrix.openid import NotAuthorised, OpenId, OpenIdToken
from bridge.web.addresses import client_address

DOORS = frozenset({"/sfu/get", "/get_token", "/delegate_delayed_leave"})
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": (
        "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"
    ),
}
# A ministry's agents share one address, and its meetings start on the hour.
_ADDRESS_RATE = Rate(per_second=30.0, burst=300)

Door = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class TokenDoors:
    """Who asks is proved by an OpenID token of their homeserver."""

    def __init__(
        self,
        admission: Admission,
        openid: OpenId,
        *,
        clock: Callable[[], float] = time.time,
        address_rate: Rate = _ADDRESS_RATE,
    ) -> None:
        self._admission = admission
        self._openid = openid
        self._clock = clock
        self._limit = RateLimit(address_rate)

    def routes(self) -> list[web.RouteDef]:
        """The routes. The application puts `CORS` on each answer of theirs, errors included."""
        return [
            web.post("/sfu/get", self._door(self._sfu_get)),
            web.post("/get_token", self._door(self._get_token)),
            # Element Call finds out with an empty request whether this exists: any answer but 404.
            web.post("/delegate_delayed_leave", self._door(self._delegate)),
            *(web.options(path, _preflight) for path in sorted(DOORS)),
            *(web.route("*", path, _other_method) for path in sorted(DOORS)),
        ]

    def _door(self, door: Door) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                answer = await self._answer(request, door)
            except ColloqueError as error:
                answer = refusal(error)
            answer.headers["Cache-Control"] = "no-store"
            return answer

        return answer

    async def _answer(self, request: web.Request, door: Door) -> web.Response:
        if wait := self._limit.take(client_address(request), self._clock()):
            raise TooOften(wait)
        return web.json_response(await door(await read_object(request)))

    async def _sfu_get(self, body: dict[str, Any]) -> dict[str, Any]:
        room_id, device_id = text(body, "room"), text(body, "device_id")
        handed_over = delay(body)
        user_id = await self._openid.user_of(_openid_token(body))
        ask = Ask(room_id=room_id, user_id=user_id, device_id=device_id, delay=handed_over)
        return _token(await self._admission.admit(ask))

    async def _get_token(self, body: dict[str, Any]) -> dict[str, Any]:
        return _token(await self._admission.admit(await self._member(body, delay(body))))

    async def _delegate(self, body: dict[str, Any]) -> dict[str, Any]:
        await self._admission.delegate(await self._member(body, mandatory_delay(body)))
        return {}

    async def _member(self, body: dict[str, Any], handed_over: Delay | None) -> Ask:
        member = section(body, "member")
        claimed, member_id = text(member, "claimed_user_id"), text(member, "id")
        device_id, room_id = text(member, "claimed_device_id"), text(body, "room_id")
        slot_id = optional_text(body, "slot_id") or ROOM_CALL
        user_id = await self._openid.user_of(_openid_token(body))
        if claimed != user_id:
            raise NotAuthorised("the member is somebody else")
        return Ask(
            room_id=room_id,
            user_id=user_id,
            device_id=device_id,
            member_id=member_id,
            slot_id=slot_id,
            delay=handed_over,
        )


def _token(admitted: Admitted) -> dict[str, Any]:
    return {"url": admitted.url, "jwt": admitted.jwt}


def _openid_token(body: dict[str, Any]) -> OpenIdToken:
    token = section(body, "openid_token")
    return OpenIdToken(text(token, "access_token"), text(token, "matrix_server_name"))


async def _other_method(request: web.Request) -> web.Response:
    raise web.HTTPMethodNotAllowed(request.method, ["POST", "OPTIONS"])


async def _preflight(_request: web.Request) -> web.Response:
    return web.Response()
