"""HTTP towards servers that a stranger named, with tied hands.

Only checked addresses are connected to, nothing is redirected, time and size of the answer are
limited, and no connection outlives its question.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from bridge.config import Federation
from bridge.matrix.discovery import (
    Destination,
    Discovery,
    Resolver,
    SystemResolver,
    is_public,
)

MAX_ANSWER_BYTES = 64 * 1024

FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What a question raises that got no proper answer."""


class AnswerTooLong(ValueError):
    """The answer is longer than any honest one."""


class Guarded:
    """Asks other servers. `timeout_s` is for the caller's whole question (`asyncio.timeout`)."""

    def __init__(
        self,
        federation: Federation,
        *,
        resolver: Resolver | None = None,
        allowed: Callable[[str], bool] | None = None,
        well_known_port: int = 443,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeout_s = float(federation.openid_timeout_s)
        self.well_known_port = well_known_port
        self._tls = _tls(verify=federation.verify_certificates)
        self._resolver = resolver or SystemResolver()
        self.discovery = Discovery(
            self.well_known,
            resolver=self._resolver,
            allowed=allowed or (_any if federation.allow_private_addresses else is_public),
            well_known_port=well_known_port,
            clock=clock,
        )

    async def close(self) -> None:
        """Let the resolver's threads end."""
        if isinstance(self._resolver, SystemResolver):
            self._resolver.close()

    async def get(
        self, at: Destination, path: str, query: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body. Raises one of FAILURES."""
        async with self._session(at) as session:
            return await ask(
                session, "GET", at.url + path, query=query, headers={"Host": at.host_header}
            )

    async def post(self, at: Destination, path: str, body: bytes) -> tuple[int, bytes]:
        """The same, with a JSON body."""
        headers = {"Host": at.host_header, "Content-Type": "application/json"}
        async with self._session(at) as session:
            return await ask(session, "POST", at.url + path, body=body, headers=headers)

    async def well_known(self, at: Destination, path: str) -> bytes | None:
        """The body of a file below `/.well-known/`, None where there is none to be had."""
        url = f"https://{at.host}{path}" if at.port == 443 else at.url + path
        try:
            # Half of the time: a server without a web server must leave time for the question.
            async with asyncio.timeout(self.timeout_s / 2), self._session(at) as session:
                status, body = await ask(session, "GET", url)
        except FAILURES:
            return None
        return body if status == 200 else None

    def _session(self, at: Destination) -> aiohttp.ClientSession:
        # A connector for one question: the pinned addresses are this question's alone.
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(at.addresses), use_dns_cache=False, ssl=self._tls, force_close=True
        )
        return aiohttp.ClientSession(connector=connector, auto_decompress=False)


async def ask(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    query: dict[str, str] | None = None,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """One question: status and body of at most MAX_ANSWER_BYTES. Raises one of FAILURES."""
    # identity, and no decompression: a few kilobytes of gzip can be gigabytes of text.
    sent = {**(headers or {}), "Accept": "application/json", "Accept-Encoding": "identity"}
    arguments: dict[str, Any] = {"params": query, "data": body, "headers": sent}
    async with session.request(method, url, allow_redirects=False, **arguments) as answer:
        read = bytearray()
        async for chunk in answer.content.iter_chunked(8192):
            read += chunk
            if len(read) > MAX_ANSWER_BYTES:
                raise AnswerTooLong(f"more than {MAX_ANSWER_BYTES} bytes")
        return answer.status, bytes(read)


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
