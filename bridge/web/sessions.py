"""Who reads a page: a session for whoever proved with an OpenID token who they are.

`POST /api/session` {"openid_token": {...}} -> {"session", "expires_in", "user_id"}; later requests
carry `Authorization: Bearer <session>`; `DELETE /api/session` ends it. Kept in memory alone: after
a restart of the bridge the page asks for a new one. No cookie, so no other site's page can use it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from bridge.errors import ColloqueError
from bridge.matrix.admission import TooOften
from bridge.matrix.answers import matrix_error, read_object, refusal, section, text
from bridge.matrix.limits import Rate, RateLimit, Recent
from bridge.matrix.openid import OpenIdToken
from bridge.web.addresses import client_address

LIFETIME_S = 3600
PATH = "/api/session"
_SESSIONS = 10_000
# A ministry's agents share one address.
_ADDRESS_RATE = Rate(per_second=30.0, burst=300)
_USER_RATE = Rate(per_second=5.0, burst=60)
# Nothing that is read here is kept by a browser or a proxy on the way.
PRIVATE = {"Cache-Control": "no-store", "Pragma": "no-cache", "Vary": "Authorization"}

Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


class Identities(Protocol):
    """bridge.matrix.openid.OpenId."""

    async def user_of(self, token: OpenIdToken) -> str:
        """The Matrix id of a token's holder. Raises NotAuthorised, Refused, Unavailable."""


class NoSession(ColloqueError):
    """There is no session, or it has expired (HTTP 401): sign in again."""


class NotThere(ColloqueError):
    """There is no such thing, or it is none of theirs: the same answer (HTTP 404)."""


class Sessions:
    """The sessions of this bridge's pages, at most 10 000; the oldest goes first."""

    def __init__(
        self,
        openid: Identities,
        *,
        clock: Callable[[], float] = time.time,
        address_rate: Rate = _ADDRESS_RATE,
        user_rate: Rate = _USER_RATE,
    ) -> None:
        self._openid = openid
        self._clock = clock
        self._of_address = RateLimit(address_rate)
        self._of_user = RateLimit(user_rate)
        # By their digest: who reads this memory cannot use what it finds.
        self._known: Recent[bytes, str] = Recent(_SESSIONS)

    def routes(self) -> list[web.RouteDef]:
        """The routes of `PATH`."""
        return [web.post(PATH, self._begin), web.delete(PATH, self._end)]

    def open(self, user_id: str) -> str:
        """A new session of somebody whose name is proved."""
        token = secrets.token_urlsafe(32)
        self._known.put(_digest(token), user_id, until=self._clock() + LIFETIME_S)
        return token

    def user_of(self, request: web.Request) -> str:
        """The Matrix id of who asks. Raises NoSession."""
        token = _bearer(request)
        known, user_id = self._known.get(_digest(token), self._clock())
        if not token or not known or user_id is None:
            raise NoSession("no session")
        return user_id

    def guarded(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler for people with a session alone, told their Matrix id.

        Bounded by address and by person; its answers are for them only, and kept nowhere. What it
        raises becomes the answer that `refusal` knows for it.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                self._bounded(self._of_address, client_address(request))
                user_id = self.user_of(request)
                self._bounded(self._of_user, user_id)
                given = await handler(request, user_id)
            except ColloqueError as error:
                given = _refused(error)
            if not given.prepared:
                given.headers.update(PRIVATE)
            return given

        return answer

    async def _begin(self, request: web.Request) -> web.Response:
        try:
            self._bounded(self._of_address, client_address(request))
            token = section(await read_object(request), "openid_token")
            proof = OpenIdToken(text(token, "access_token"), text(token, "matrix_server_name"))
            user_id = await self._openid.user_of(proof)
            self._bounded(self._of_user, user_id)
        except ColloqueError as error:
            answer = _refused(error)
        else:
            opened = {"session": self.open(user_id), "expires_in": LIFETIME_S, "user_id": user_id}
            answer = web.json_response(opened)
        answer.headers.update(PRIVATE)
        return answer

    async def _end(self, request: web.Request) -> web.Response:
        # Ending what is not there is no error, and tells a guesser nothing.
        self._known.forget(_digest(_bearer(request)))
        return web.json_response({}, headers=PRIVATE)

    def _bounded(self, limit: RateLimit, key: str) -> None:
        if wait := limit.take(key, self._clock()):
            raise TooOften(wait)


def _refused(error: ColloqueError) -> web.Response:
    if isinstance(error, NotThere):
        return matrix_error(404, "M_NOT_FOUND", "There is no such thing, or it is not yours.")
    if isinstance(error, NoSession):
        return matrix_error(401, "M_UNKNOWN_TOKEN", "No session, or it has expired.")
    return refusal(error)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
