"""Who holds an OpenID token: the homeserver that issued it is asked (Matrix C-S API, "OpenID").

Anybody may name any homeserver, so the question is asked with tied hands: only checked addresses
are connected to, nothing is redirected, time and size of the answer are limited.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from bridge.config import Settings
from bridge.errors import ColloqueError, Refused, Unavailable
from bridge.ids import server_of
from bridge.matrix.discovery import (
    Destination,
    Discovery,
    InvalidServerName,
    Resolver,
    SystemResolver,
    Unresolvable,
    is_public,
)
from bridge.matrix.limits import Recent

USERINFO = "/_matrix/federation/v1/openid/userinfo"
MAX_ANSWER_BYTES = 64 * 1024
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
        self._admitted = frozenset(federation.allow_servers)
        self._timeout_s = float(federation.openid_timeout_s)
        self._tls = _tls(verify=federation.verify_certificates)
        self._clock = clock
        self._resolver = resolver or SystemResolver()
        self._discovery = Discovery(
            self._well_known,
            resolver=self._resolver,
            allowed=allowed or (_any if federation.allow_private_addresses else is_public),
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
        if "*" not in self._admitted and server not in {*self._admitted, self._own.server_name}:
            raise Refused("server_not_admitted", server=server)
        fingerprint = hashlib.sha256(f"{server}\0{token.access_token}".encode()).digest()
        known, user_id = self._known.get(fingerprint, self._clock())
        if not known or user_id is None:
            user_id = _subject(await self._ask(token), server)
            self._known.put(fingerprint, user_id, until=self._clock() + _REMEMBER_S)
        return user_id

    async def close(self) -> None:
        """Let the resolver's threads end."""
        if isinstance(self._resolver, SystemResolver):
            self._resolver.close()

    async def _ask(self, token: OpenIdToken) -> bytes:
        server = token.matrix_server_name
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                status, body = await self._userinfo(token)
        except (InvalidServerName, Unresolvable) as error:
            raise NotAuthorised("this homeserver cannot be asked") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
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
                return await _get(session, self._own.address.rstrip("/") + USERINFO, query, {})
        at = await self._discovery.destination(token.matrix_server_name)
        async with self._session(at) as session:
            return await _get(session, at.url + USERINFO, query, {"Host": at.host_header})

    async def _well_known(self, at: Destination, path: str) -> bytes | None:
        url = f"https://{at.host}{path}" if at.port == 443 else at.url + path
        try:
            # Half of the time: a server without a web server must leave time for the question.
            async with asyncio.timeout(self._timeout_s / 2), self._session(at) as session:
                status, body = await _get(session, url, {}, {})
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        return body if status == 200 else None

    def _session(self, at: Destination) -> aiohttp.ClientSession:
        # A connector for one question: the pinned addresses are this question's alone.
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(at.addresses), use_dns_cache=False, ssl=self._tls, force_close=True
        )
        return aiohttp.ClientSession(connector=connector, auto_decompress=False)


class AnswerTooLong(ValueError):
    """The answer is longer than any honest one."""


async def _get(
    session: aiohttp.ClientSession, url: str, query: dict[str, str], headers: dict[str, str]
) -> tuple[int, bytes]:
    # identity, and no decompression: a few kilobytes of gzip can be gigabytes of text.
    headers = {**headers, "Accept": "application/json", "Accept-Encoding": "identity"}
    async with session.get(url, params=query, headers=headers, allow_redirects=False) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(8192):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise AnswerTooLong(f"more than {MAX_ANSWER_BYTES} bytes")
        return answer.status, bytes(body)


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


def _tls(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:  # development: homeservers with certificates of their own making
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _any(_address: str) -> bool:
    return True


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, whatever DNS would say by now."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": _family(address),
                "proto": 0,
                "flags": 0,
            }
            for address in self._addresses
        ]

    async def close(self) -> None:
        return None


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
