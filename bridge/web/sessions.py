"""Who reads a page: a session of one of two kinds, by what proved who they are.

`POST /api/session` {"challenge", "secret"}, after `POST /api/session/challenge` {"user_id"}, opens
all that its reader may read (challenges.py: a proof made for this bridge alone).
`POST /api/session` {"openid_token", "room"} opens the live captions of that room and nothing else:
such a token may have been shown to another site, which shows it on (docs/decisions/0012).
Either answers {"session", "expires_in", "user_id"}; later requests carry
`Authorization: Bearer <session>`; `DELETE /api/session` ends it. Kept in memory alone: after a
restart of the bridge the page asks for a new one. No cookie, so no other site's page can use it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from aiohttp import web

from bridge.errors import ColloqueError
from bridge.matrix.admission import BadAsk, TooOften
from bridge.matrix.answers import matrix_error, read_object, refusal, section, text
from bridge.matrix.limits import Rate, RateLimit, Recent
from bridge.matrix.openid import OpenIdToken
from bridge.matrix.wire import REASON
from bridge.web.addresses import client_address
from bridge.web.challenges import Challenges, NoChallenge, NotProved

LIFETIME_S = 3600
PATH = "/api/session"
CHALLENGE = f"{PATH}/challenge"
_SESSIONS = 10_000
_LONGEST_ID = 255
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
    """There is no session for this, or it has expired (HTTP 401): sign in again."""


class NotThere(ColloqueError):
    """There is no such thing, or it is none of theirs: the same answer (HTTP 404)."""


@dataclass(frozen=True, slots=True)
class _Session:
    """`room_id`: the one room whose captions it opens; None: all that its reader may read."""

    user_id: str
    room_id: str | None


class Sessions:
    """The sessions of this bridge's pages, at most 10 000; the oldest goes first."""

    def __init__(
        self,
        openid: Identities,
        challenges: Challenges,
        *,
        clock: Callable[[], float] = time.time,
        address_rate: Rate = _ADDRESS_RATE,
        user_rate: Rate = _USER_RATE,
    ) -> None:
        self._openid = openid
        self._challenges = challenges
        self._clock = clock
        self._of_address = RateLimit(address_rate)
        self._of_user = RateLimit(user_rate)
        # By their digest: who reads this memory cannot use what it finds.
        self._known: Recent[bytes, _Session] = Recent(_SESSIONS)

    def routes(self) -> list[web.RouteDef]:
        """The routes of `PATH` and `CHALLENGE`."""
        return [
            web.post(CHALLENGE, self._ask),
            web.post(PATH, self._begin),
            web.delete(PATH, self._end),
        ]

    def open(self, user_id: str) -> str:
        """A new session of somebody who proved to us alone who they are."""
        return self._opened(_Session(user_id, None))

    def open_room(self, user_id: str, room_id: str) -> str:
        """A new session for one room's live captions."""
        return self._opened(_Session(user_id, room_id))

    def user_of(self, request: web.Request, room_id: str | None = None) -> str:
        """The Matrix id of who asks. Raises NoSession.

        `room_id`: of whose captions they ask; None for everything else.
        """
        token = _bearer(request)
        known, session = self._known.get(_digest(token), self._clock())
        if not token or not known or session is None or session.room_id not in {None, room_id}:
            raise NoSession("no session")
        return session.user_id

    def guarded(
        self, handler: Handler, *, room_of: Callable[[web.Request], str] | None = None
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler for people with a session alone, told their Matrix id.

        Sessions for one room pass only where `room_of` says which room a request is about.
        Bounded by address and by person; its answers are for them only, and kept nowhere. What it
        raises becomes the answer that `refusal` knows for it.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                self._bounded(self._of_address, client_address(request))
                user_id = self.user_of(request, room_of(request) if room_of else None)
                self._bounded(self._of_user, user_id)
                given = await handler(request, user_id)
            except ColloqueError as error:
                given = _refused(error)
            if not given.prepared:
                given.headers.update(PRIVATE)
            return given

        return answer

    async def _ask(self, request: web.Request) -> web.Response:
        try:
            user_id = text(await read_object(request), "user_id")
            answer = web.json_response(
                asdict(self._challenges.ask(user_id, client_address(request)))
            )
        except ColloqueError as error:
            answer = _refused(error)
        answer.headers.update(PRIVATE)
        return answer

    async def _begin(self, request: web.Request) -> web.Response:
        try:
            self._bounded(self._of_address, client_address(request))
            asked = await read_object(request)
            proved = await (self._reader(asked) if "challenge" in asked else self._watcher(asked))
            self._bounded(self._of_user, proved.user_id)
        except ColloqueError as error:
            answer = _refused(error)
        else:
            opened = {"session": self._opened(proved), "expires_in": LIFETIME_S}
            answer = web.json_response({**opened, "user_id": proved.user_id})
        answer.headers.update(PRIVATE)
        return answer

    async def _reader(self, asked: dict[str, Any]) -> _Session:
        user_id = await self._challenges.user_of(text(asked, "challenge"), text(asked, "secret"))
        return _Session(user_id, None)

    async def _watcher(self, asked: dict[str, Any]) -> _Session:
        token = section(asked, "openid_token")
        proof = OpenIdToken(text(token, "access_token"), text(token, "matrix_server_name"))
        room_id = text(asked, "room")
        if len(room_id) > _LONGEST_ID:
            raise BadAsk("`room` is not a room's id", "M_INVALID_PARAM")
        return _Session(await self._openid.user_of(proof), room_id)

    def _opened(self, session: _Session) -> str:
        token = secrets.token_urlsafe(32)
        self._known.put(_digest(token), session, until=self._clock() + LIFETIME_S)
        return token

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
        return matrix_error(401, "M_UNKNOWN_TOKEN", "No session for this, or it has expired.")
    if isinstance(error, NoChallenge):
        return matrix_error(401, "M_UNKNOWN_TOKEN", "No such challenge, or it has expired.")
    if isinstance(error, NotProved):
        why = "The homeserver has not passed the proof on yet."
        return matrix_error(401, "M_UNAUTHORIZED", why, None, **{REASON: "not_proved"})
    return refusal(error)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
