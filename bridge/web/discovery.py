"""How clients find this token service, for homeservers that do not tell them themselves.

A reverse proxy may route two addresses here: `/.well-known/matrix/client` of the server name, and
`/_matrix/client/unstable/org.matrix.msc4143/rtc/transports` of the homeserver (MSC4143). Both name
`web.public_url` letter by letter: Element Call takes two spellings for two media servers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from bridge.config import Settings
from bridge.errors import Unavailable
from bridge.matrix.admission import TooOften
from bridge.matrix.answers import matrix_error, refusal
from bridge.matrix.limits import Rate, RateLimit
from bridge.matrix.whoami import Whoami
from bridge.web.addresses import client_address

WELL_KNOWN = "/.well-known/matrix/client"
TRANSPORTS = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
PATHS = frozenset({WELL_KNOWN, TRANSPORTS})
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
}
_MAX_TOKEN = 4096
# Clients keep the answer for a day; an agency's agents share one address and arrive together.
_ADDRESS_RATE = Rate(per_second=20.0, burst=200)


def service_url(settings: Settings) -> str:
    """`livekit_service_url`, as every document and every membership must spell it."""
    return settings.web.public_url.rstrip("/")


def transports(settings: Settings) -> list[dict[str, str]]:
    """What clients are told of us (MSC4143: `rtc_transports`, and `rtc_foci` before it)."""
    return [{"type": "livekit", "livekit_service_url": service_url(settings)}]


def well_known(settings: Settings) -> dict[str, object]:
    """The whole of `/.well-known/matrix/client`."""
    homeserver = settings.homeserver
    base_url = (homeserver.public_address or homeserver.address).rstrip("/")
    return {
        "m.homeserver": {"base_url": base_url},
        "org.matrix.msc4143.rtc_foci": transports(settings),
    }


class Discovery:
    """The two documents. The application puts `CORS` on each answer, errors included."""

    def __init__(
        self,
        settings: Settings,
        *,
        whoami: Whoami | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._whoami = whoami or Whoami(settings.homeserver.address)
        self._clock = clock
        self._limit = RateLimit(_ADDRESS_RATE)

    def routes(self) -> list[web.RouteDef]:
        """GET, HEAD and OPTIONS."""
        return [
            web.get(WELL_KNOWN, self._well_known),
            web.get(TRANSPORTS, self._transports),
            *(web.options(path, _preflight) for path in sorted(PATHS)),
        ]

    async def _well_known(self, _request: web.Request) -> web.Response:
        headers = {"Cache-Control": "public, max-age=300"}
        return web.json_response(well_known(self._settings), headers=headers)

    async def _transports(self, request: web.Request) -> web.Response:
        """For users of our homeserver, as the homeserver itself would answer."""
        token = _bearer(request)
        if not token:
            return matrix_error(401, "M_MISSING_TOKEN", "Missing access token")
        if wait := self._limit.take(client_address(request), self._clock()):
            return refusal(TooOften(wait))
        try:
            user_id = await self._whoami.user_of(token)
        except Unavailable as error:
            return refusal(error)
        if user_id is None:
            return matrix_error(401, "M_UNKNOWN_TOKEN", "Unrecognised access token")
        headers = {"Cache-Control": "no-store"}
        return web.json_response({"rtc_transports": transports(self._settings)}, headers=headers)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and len(token) <= _MAX_TOKEN else ""


async def _preflight(_request: web.Request) -> web.Response:
    return web.Response()
