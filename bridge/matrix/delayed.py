"""Other people's delayed events: postponed, sent or taken back by who knows their id (MSC4140).

For a user of our homeserver it is asked where the administrator says, and so for servers he names;
for others at the client API of their server's well-known file, never at an address a client gives.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from yarl import URL

from bridge.domain.leaves import Action, Outcome
from bridge.errors import ConfigError
from bridge.ids import server_of
from bridge.matrix.discovery import (
    Destination,
    InvalidServerName,
    Unresolvable,
    parse_server_name,
)
from bridge.matrix.guarded import FAILURES, Guarded
from bridge.matrix.http import HomeserverError, Unreachable
from bridge.matrix.limits import Recent

WELL_KNOWN = "/.well-known/matrix/client"
_PATH = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{}/{}"
_TTL_S = 4 * 3600.0
_FAILED_TTL_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it; `rest_ms`: how long the homeserver asks to be left alone."""

    outcome: Outcome
    rest_ms: int = 0


class OwnHomeserver(Protocol):
    """bridge.matrix.client.Homeserver."""

    server_name: str

    async def request(
        self, method: str, path: str, *, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | list[Any]: ...


class DelayedEvents:
    """Asks the homeserver a delayed event lies at."""

    def __init__(
        self,
        homeserver: OwnHomeserver,
        guarded: Guarded,
        *,
        client_apis: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client_apis`: `server=https://address` each. Raises ConfigError for anything else."""
        self._homeserver = homeserver
        self._named = dict(_named(entry) for entry in client_apis)
        self._guarded = guarded
        self._clock = clock
        self._apis: Recent[str, URL | None] = Recent(1000)

    def is_own(self, user_id: str) -> bool:
        """Whether this is asked of our own homeserver."""
        return server_of(user_id) == self._homeserver.server_name

    async def reaches(self, user_id: str) -> bool:
        """Whether it is known where this user's delayed events are asked for."""
        return self.is_own(user_id) or await self._api(server_of(user_id)) is not None

    async def ask(self, user_id: str, delay_id: str, action: Action) -> Answer:
        """Have it done. Never raises for what the other side does."""
        path = _PATH.format(quote(delay_id, safe=""), action)
        if self.is_own(user_id):
            return await self._ask_own(path)
        try:
            async with asyncio.timeout(self._guarded.timeout_s):
                return await self._ask_other(server_of(user_id), path)
        except (*FAILURES, Unresolvable):
            return Answer("failed")

    async def _ask_own(self, path: str) -> Answer:
        try:
            # As the application service: that one's requests are not counted by address, and when
            # many leave a call at once all of them leave it at once.
            await self._homeserver.request("POST", path, body={})
        except HomeserverError as error:
            return _answer(error.status, error.retry_after_ms)
        except Unreachable:
            return Answer("failed")
        return Answer("done")

    async def _ask_other(self, server: str, path: str) -> Answer:
        api = await self._api(server)
        if api is None:
            return Answer("failed")
        at = await self._at(api)
        status, body = await self._guarded.post(at, api.path.rstrip("/") + path, b"{}")
        return Answer("done") if status == 200 else _answer(status, _retry_after(body))

    async def _api(self, server: str) -> URL | None:
        if server in self._named:
            return self._named[server]
        known, api = self._apis.get(server, self._clock())
        if known:
            return api
        api = await self._discovered(server)
        ttl = _FAILED_TTL_S if api is None else _TTL_S
        self._apis.put(server, api, until=self._clock() + ttl)
        return api

    async def _discovered(self, server: str) -> URL | None:
        """Matrix client-server API, "Well-known URI": asked of the host, whatever the port."""
        try:
            async with asyncio.timeout(self._guarded.timeout_s):
                name = parse_server_name(server)
                at = await self._guarded.discovery.at(name, self._guarded.well_known_port)
                body = await self._guarded.well_known(at, WELL_KNOWN)
        except (InvalidServerName, Unresolvable, TimeoutError):
            return None
        return None if body is None else _base_url(body)

    async def _at(self, api: URL) -> Destination:
        host = f"[{api.host}]" if ":" in (api.host or "") else api.host
        name = parse_server_name(f"{host}:{api.port}")
        found = await self._guarded.discovery.at(name, name.port or 443)
        # Port 443 has no place in a Host header of https.
        header = str(host) if api.port == 443 else found.host_header
        return Destination(found.host, found.port, found.addresses, header)


def _named(entry: str) -> tuple[str, URL]:
    server, _, address = entry.partition("=")
    api = _plain(address)
    if not server or api is None:
        raise ConfigError(f"federation.client_apis: `{entry}` is not `server=https://address`")
    return server, api


def _base_url(body: bytes) -> URL | None:
    try:
        return _plain(json.loads(body)["m.homeserver"]["base_url"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _plain(address: object) -> URL | None:
    try:
        api = URL(address)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    plain = api.scheme == "https" and api.host and not (api.user or api.query or api.fragment)
    return api if plain else None


def _answer(status: int, retry_after_ms: int | None) -> Answer:
    if status == 404:
        return Answer("unknown")
    if status == 429 or status >= 500:
        return Answer("failed", retry_after_ms or 0)
    return Answer("refused")


def _retry_after(body: bytes) -> int | None:
    try:
        value = json.loads(body)["retry_after_ms"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return min(value, 60_000) if type(value) is int and value > 0 else None
