"""Requests and answers of token doors, in the Matrix way: JSON, `{"errcode", "error"}`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from bridge.domain.leaves import DEFAULT_TIMEOUT_MS
from bridge.errors import ColloqueError, Refused, Unavailable, UserError
from bridge.matrix.admission import BadAsk, Delay, TooOften
from bridge.matrix.openid import NotAuthorised
from bridge.matrix.wire import REASON
from bridge.text import say

MAX_BODY = 64 * 1024
LONGEST_DELAY_MS = 24 * 3600 * 1000


def matrix_error(
    status: int, errcode: str, error: str, headers: Mapping[str, str] | None = None, **extra: Any
) -> web.Response:
    """An error answer every Matrix client understands."""
    body = {"errcode": errcode, "error": error, **extra}
    return web.json_response(body, status=status, headers=headers)


def refusal(error: ColloqueError) -> web.Response:
    """The answer to a request that could not be granted (codes: MSC4195, lk-jwt-service)."""
    match error:
        case NotAuthorised():
            return matrix_error(401, "M_UNAUTHORIZED", "The request could not be authorised.")
        case Refused():
            return matrix_error(403, "M_FORBIDDEN", _sentence(error), None, **{REASON: error.key})
        case BadAsk():
            return matrix_error(400, error.errcode, str(error))
        case TooOften():
            return too_often(error.retry_after_s)
        case Unavailable():
            return matrix_error(503, "M_UNKNOWN", _sentence(error), {"Retry-After": "2"})
        case _:
            raise error


def _sentence(error: UserError) -> str:
    # English: Matrix error texts are for logs and developers; clients say their own sentence.
    return say(error.key, "en", **error.values)


def too_often(retry_after_s: float) -> web.Response:
    """429 with the time to wait, for clients of either kind."""
    wait = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    milliseconds = math.ceil(retry_after_s * 1000)
    return matrix_error(
        429, "M_LIMIT_EXCEEDED", "Too many requests.", wait, retry_after_ms=milliseconds
    )


async def read_object(request: web.Request) -> dict[str, Any]:
    """The JSON object in a request's body. Raises BadAsk."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(8192):
        body += chunk
        if len(body) > MAX_BODY:
            raise BadAsk("the request is too long", "M_TOO_LARGE")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAsk("the request is not JSON", "M_NOT_JSON") from error
    if not isinstance(value, dict):
        raise BadAsk("the request is not a JSON object")
    return value


def text(value: Mapping[str, Any], field: str) -> str:
    """A mandatory, non-empty text. Raises BadAsk."""
    found = optional_text(value, field)
    if not found:
        raise BadAsk(f"`{field}` is missing")
    return found


def optional_text(value: Mapping[str, Any], field: str) -> str:
    """A text, '' where it is missing. Raises BadAsk for another kind of value."""
    found = value.get(field)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise BadAsk(f"`{field}` must be a text")
    return found


def section(value: Mapping[str, Any], field: str) -> dict[str, Any]:
    """A mandatory object. Raises BadAsk."""
    found = value.get(field)
    if not isinstance(found, dict):
        raise BadAsk(f"`{field}` is missing")
    return found


def delay(value: Mapping[str, Any]) -> Delay | None:
    """The leave that is handed over, if any. Raises BadAsk.

    `delay_cs_api_url` is not read: where a person's homeserver is, a client does not tell us.
    """
    delay_id = optional_text(value, "delay_id")
    if not delay_id:
        return None
    timeout = value.get("delay_timeout", DEFAULT_TIMEOUT_MS)
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout > 0:
        raise BadAsk("`delay_timeout` must be a number of milliseconds above zero")
    return Delay(delay_id, math.ceil(min(timeout, LONGEST_DELAY_MS)))


def mandatory_delay(value: Mapping[str, Any]) -> Delay:
    """The same where nothing else is asked for."""
    found = delay(value)
    if found is None:
        raise BadAsk("`delay_id` is missing")
    return found
