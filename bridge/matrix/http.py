"""One request to the homeserver: its answer, its error, or the knowledge of how it failed.

Plain aiohttp and not mautrix' HTTPAPI, whose errors lose `retry_after_ms` and do not tell a request
that never left (safe to repeat) from one whose answer was lost (it may have been carried out).
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from yarl import URL

from bridge.errors import ColloqueError, Unavailable

_GATEWAY = frozenset({502, 503, 504})

Query = dict[str, str] | list[tuple[str, str]]


class HomeserverError(ColloqueError):
    """The homeserver answered, and the answer is an error.

    `retry_after_ms`: how long a rate limit asks to wait, where it says.
    """

    def __init__(
        self, status: int, errcode: str = "", error: str = "", *, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(f"{status} {errcode}: {error}" if errcode else f"{status}: {error}")
        self.status = status
        self.errcode = errcode
        self.error = error
        self.retry_after_ms = retry_after_ms


class Unreachable(Unavailable):
    """No answer of the homeserver itself. `sent`: the request may have been carried out."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__("homeserver_unavailable")
        self.detail = detail
        self.sent = sent

    def __str__(self) -> str:
        return self.detail


class MatrixApi:
    """A homeserver's client-server API with one access token. `close()` ends the session."""

    def __init__(self, address: str, token: str, *, timeout_s: float = 30) -> None:
        self._address = address.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End the HTTP session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: dict[str, Any] | bytes | None = None,
        media_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> dict[str, Any] | list[Any]:
        """One request as the bot; `path` is quoted already and begins with a slash.

        Returns the answer's JSON. Raises HomeserverError, or Unreachable (an Unavailable) where
        the homeserver did not answer.
        """
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        url = URL(self._address + path, encoded=True)
        timeout = aiohttp.ClientTimeout(total=timeout_s or self._timeout_s, sock_connect=10)
        try:
            async with self._http().request(
                method,
                url if query is None else url.extend_query(query),
                data=data,
                headers={} if data is None else {"Content-Type": media_type},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                return _answer(response.status, await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}", sent=False) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}", sent=True) from error

    async def object(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        """`request()` where the answer must be a JSON object."""
        answer = await self.request(method, path, **what)
        if not isinstance(answer, dict):
            raise Unreachable("the answer is not a JSON object", sent=True)
        return answer

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self._token}"},
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=[_no_silent_repeat],
            )
        return self._session


def object_of(value: object) -> dict[str, Any]:
    """A part of an answer that is an object where all is well; {} where it is none."""
    return value if isinstance(value, dict) else {}


class _AnswerLost(aiohttp.ClientError):
    """The connection ended before the answer came."""


async def _no_silent_repeat(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT again when its connection is lost (RFC 9110, 9.2.2).

    A homeserver that restarted in between would store the event twice: the repeat belongs to the
    outbox, which looks first.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method == "GET":
            raise
        raise _AnswerLost(f"{type(error).__name__}: {error}") from error


def _answer(status: int, raw: bytes) -> dict[str, Any] | list[Any]:
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError) as error:
        if status < 300:
            raise Unreachable("the answer is not JSON", sent=True) from error
        answer = {}
    if status >= 300:
        _raise(status, answer if isinstance(answer, dict) else {})
    if not isinstance(answer, dict | list):
        raise Unreachable("the answer is not a JSON object", sent=True)
    return answer


def _raise(status: int, answer: dict[str, Any]) -> None:
    errcode, error = str(answer.get("errcode", "")), str(answer.get("error", ""))
    if status in _GATEWAY and not errcode:
        # A reverse proxy's own answer: the homeserver behind it is gone, or slow.
        raise Unreachable(f"a proxy answers {status}", sent=True)
    retry = answer.get("retry_after_ms")
    raise HomeserverError(
        status, errcode, error, retry_after_ms=retry if isinstance(retry, int) else None
    )
