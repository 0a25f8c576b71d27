"""Requests as a stranger would make them: bounded, not redirected, and every failure named."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

_MAX_BYTES = 1024 * 1024


class NoAnswer(Exception):
    """Nobody answered. `str()`: why, in the system's words; `kind` names the sort of failure."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind  # dns, refused, tls, timeout, other


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `received_at`: our clock (time.time) when its head had come; `ms`: it took."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes
    received_at: float
    ms: int

    @property
    def json(self) -> Any:
        """The body as JSON, None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def object(self) -> dict[str, Any]:
        """The body as a JSON object, empty where it is none."""
        value = self.json
        return value if isinstance(value, dict) else {}

    @property
    def errcode(self) -> str:
        """The Matrix error code, '' without one."""
        return str(self.object.get("errcode", ""))

    @property
    def shown(self) -> str:
        """Status and error code, for a sentence."""
        return f"{self.status} {self.errcode}".strip()

    def header(self, name: str) -> list[str]:
        """All values of a header."""
        return self.headers.get(name.lower(), [])


async def ask(
    method: str,
    url: str,
    *,
    token: str = "",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 8.0,
    tls: ssl.SSLContext | bool = True,
) -> Reply:
    """One request on a connection of its own. Raises NoAnswer."""
    sent = {"Accept-Encoding": "identity", **(headers or {})}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    begin = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.request(
                method,
                URL(url, encoded=True),
                json=body,
                headers=sent,
                allow_redirects=False,
                ssl=tls,
            ) as answer,
        ):
            at, ms = time.time(), round((time.monotonic() - begin) * 1000)
            return Reply(answer.status, _headers(answer), await _read(answer), at, ms)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise no_answer(error) from error


def _headers(answer: aiohttp.ClientResponse) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in answer.headers.items():
        found.setdefault(name.lower(), []).append(value)
    return found


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65536):
        body += chunk
        if len(body) > _MAX_BYTES:
            break
    return bytes(body[:_MAX_BYTES])


def no_answer(error: Exception) -> NoAnswer:
    """What aiohttp and the system raise, sorted."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return NoAnswer("tls", str(error.certificate_error))
        case aiohttp.ClientSSLError():
            return NoAnswer("tls", str(error.os_error))
        case aiohttp.ClientConnectorDNSError():
            return NoAnswer("dns", error.os_error.strerror or str(error.os_error))
        case aiohttp.ClientConnectorError():
            return NoAnswer("refused", error.os_error.strerror or str(error.os_error))
        case TimeoutError():
            return NoAnswer("timeout", "timeout")
        case _:
            return NoAnswer("other", f"{type(error).__name__}: {error}")
