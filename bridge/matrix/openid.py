"""Who holds an OpenID token: the homeserver that issued it is asked (Matrix C-S API, "OpenID").

Anybody may name any homeserver, so the question is asked with tied hands (guarded.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bridge.config import Settings
from bridge.domain.policy import server_admitted
from bridge.errors import ColloqueError, Refused, Unavailable
from bridge.ids import server_of
from bridge.matrix.discovery import InvalidServerName, Resolver, Unresolvable
from bridge.matrix.guarded import FAILURES, Guarded, ask
from bridge.matrix.limits import Recent

USERINFO = "/_matrix/federation/v1/openid/userinfo"
_AT_ONCE = 64  # verifications under way; more wait, within their own time limit
_REMEMBER_S = 60.0  # how long an answer is believed without asking again; tokens live an hour


class NotAuthorised(ColloqueError):
    """The token does not prove who its holder is (HTTP 401)."""


@dataclass(frozen=True, slots=True)
class OpenIdToken:
    """What a client got from `…/openid/request_token`."""

    access_token: str = field(repr=False)
    matrix_server_name: str


class OpenId:
    """Verifies OpenID tokens of any homeserver."""

    def __init__(
        self,
        settings: Settings,
        *,
        resolver: Resolver | None = None,
        allowed: Callable[[str], bool] | None = None,
        well_known_port: int = 443,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        federation = settings.federation
        self._own = settings.homeserver
        self._admitted = tuple(federation.allow_servers)
        self._clock = clock
        self._guarded = Guarded(
            federation,
            resolver=resolver,
            allowed=allowed,
            well_known_port=well_known_port,
            clock=clock,
        )
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._known: Recent[bytes, str] = Recent(5000)

    async def user_of(self, token: OpenIdToken) -> str:
        """The Matrix id of a token's holder.

        Raises NotAuthorised (a bad token, or a server that may not be asked), Refused (a server
        whose users are not admitted here), Unavailable (the homeserver does not answer).
        """
        server = token.matrix_server_name
        if not server_admitted(server, self._admitted, self._own.server_name):
            raise Refused("server_not_admitted", server=server)
        fingerprint = hashlib.sha256(f"{server}\0{token.access_token}".encode()).digest()
        known, user_id = self._known.get(fingerprint, self._clock())
        if not known or user_id is None:
            user_id = _subject(await self._ask(token), server)
            self._known.put(fingerprint, user_id, until=self._clock() + _REMEMBER_S)
        return user_id

    async def close(self) -> None:
        """Let the resolver's threads end."""
        await self._guarded.close()

    async def _ask(self, token: OpenIdToken) -> bytes:
        server = token.matrix_server_name
        try:
            async with asyncio.timeout(self._guarded.timeout_s), self._slots:
                status, body = await self._userinfo(token)
        except (InvalidServerName, Unresolvable) as error:
            raise NotAuthorised("this homeserver cannot be asked") from error
        except FAILURES as error:
            raise Unavailable("homeserver_unavailable", server=server) from error
        if status >= 500 or status == 429:
            raise Unavailable("homeserver_unavailable", server=server)
        if status != 200:
            raise NotAuthorised("the homeserver does not know this token")
        return body

    async def _userinfo(self, token: OpenIdToken) -> tuple[int, bytes]:
        query = {"access_token": token.access_token}
        if token.matrix_server_name == self._own.server_name:
            # Our own homeserver is where the administrator says, not where DNS says.
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                url = self._own.address.rstrip("/") + USERINFO
                return await ask(session, "GET", url, query=query)
        at = await self._guarded.discovery.destination(token.matrix_server_name)
        return await self._guarded.get(at, USERINFO, query)


def _subject(body: bytes, server: str) -> str:
    try:
        subject: Any = json.loads(body)["sub"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotAuthorised("the homeserver's answer names nobody") from error
    # A homeserver speaks for its own users only (lk-jwt-service GHSA-rq24-fh66-rq7x).
    if not is_user_id(subject) or server_of(subject) != server:
        raise NotAuthorised("the homeserver's answer names a user of another server")
    return str(subject)


def is_user_id(value: object) -> bool:
    """Whether a JSON value has the shape of a Matrix user id (`@localpart:server`)."""
    return (
        isinstance(value, str)
        and value.isprintable()
        and len(value.encode(errors="replace")) <= 255
        and value[:1] == "@"
        and all(value[1:].partition(":"))
    )
