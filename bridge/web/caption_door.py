"""`GET /api/captions?room=`: a running call's captions as a stream of events, for members alone.

Server-sent events (HTML, "Server-sent events") over an ordinary GET, so that the session travels in
a header and never in an address. docs/protocol.md says which events there are.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from bridge.domain.captions import Caption
from bridge.errors import Refused, Unavailable
from bridge.matrix.admission import BadAsk
from bridge.matrix.client import HomeserverError
from bridge.web.feed import Feed
from bridge.web.sessions import PATH as SESSION
from bridge.web.sessions import PRIVATE, NoSession, Sessions
from bridge.web.watcher import State, Watcher

PATH = "/api/captions"
OPEN_TO_PAGES = frozenset({PATH, SESSION})
"""Pages of the call's other sites ask here too; who asks is proved by a header, never a cookie."""
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}
_HEADERS = {
    **PRIVATE,
    **CORS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # nginx would keep captions until a buffer is full
    "X-Content-Type-Options": "nosniff",
}
HEARTBEAT_S = 10.0
CHECK_S = 2.0
"""How often it is looked whether the session still holds."""
WRITE_S = 10.0
"""Whoever reads nothing for so long is not there any more."""
_RESUME = re.compile(r"([0-9a-f]{8})-([0-9]{1,9})")


class Rooms(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def is_joined(self, room_id: str, user_id: str) -> bool: ...


class CaptionDoor:
    """Lets members of a room watch its captions."""

    def __init__(
        self,
        feed: Feed,
        sessions: Sessions,
        rooms: Rooms,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        check_s: float = CHECK_S,
    ) -> None:
        self._feed = feed
        self._sessions = sessions
        self._rooms = rooms
        self._heartbeat_s = heartbeat_s
        self._check_s = check_s

    def routes(self) -> list[web.RouteDef]:
        """The stream, and the preflights of all paths that other sites' pages ask."""
        return [
            web.get(PATH, self._sessions.guarded(self._answer, room_of=_room), allow_head=False),
            *(web.options(path, _preflight) for path in sorted(OPEN_TO_PAGES)),
        ]

    async def _answer(self, request: web.Request, user_id: str) -> web.StreamResponse:
        room_id = _room(request)
        if not room_id:
            raise BadAsk("`room` is missing")
        await self._check(room_id, user_id)
        watcher = self._feed.enter(room_id, user_id)
        response = web.StreamResponse(headers=_HEADERS)
        try:
            await self._ready(watcher)
            missed = self._resume(request.headers.get("Last-Event-ID", ""), watcher)
            await response.prepare(request)
            if missed:
                await _write(response, _event("left_out", {"count": missed}))
            await self._stream(response, watcher, lambda: self._holds(request))
        except (ConnectionError, TimeoutError):
            pass  # whoever watched is gone
        finally:
            self._feed.leave(watcher)
        return response

    async def _check(self, room_id: str, user_id: str) -> None:
        # Not the readers' rule of transcripts: what is said now is for who is in the room now.
        try:
            joined = await self._rooms.is_joined(room_id, user_id)
        except HomeserverError as error:
            raise Unavailable("homeserver_unavailable") from error
        if not joined:
            raise Refused("not_member")

    async def _ready(self, watcher: Watcher) -> None:
        try:
            await self._feed.ready(watcher)
        except TimeoutError:
            raise Unavailable("homeserver_unavailable") from None

    def _holds(self, request: web.Request) -> bool:
        try:
            self._sessions.user_of(request, _room(request))
        except NoSession:
            return False
        return True

    def _resume(self, last_event: str, watcher: Watcher) -> int:
        last = _RESUME.fullmatch(last_event)
        return self._feed.resume(watcher, last[1], int(last[2])) if last else 0

    async def _stream(
        self, response: web.StreamResponse, watcher: Watcher, holds: Callable[[], bool]
    ) -> None:
        silent_s = 0.0
        while watcher.end is None:
            said = _news(watcher)
            silent_s = 0.0 if said else silent_s + self._check_s
            if silent_s >= self._heartbeat_s:
                said, silent_s = b": still here\n\n", 0.0
            if said:
                await _write(response, said)
            await watcher.something(self._check_s)
            if not holds():
                watcher.cut("session")
        await _write(response, _event("end", {"reason": watcher.end}))


def _room(request: web.Request) -> str:
    return request.query.get("room", "")


def _news(watcher: Watcher) -> bytes:
    """Everything to be said now."""
    state = watcher.news()
    events = [_event("state", _shown(state))] if state else []
    left_out, waiting = watcher.captions()
    if left_out:
        events.append(_event("left_out", {"count": left_out}))
    stream = watcher.state.stream if watcher.state else ""
    events += [_event("caption", _caption(one), _number(stream, one)) for one in waiting]
    return b"".join(events)


def _shown(state: State) -> dict[str, Any]:
    fields = asdict(state)
    del fields["stream"]
    return fields


def _caption(caption: Caption) -> dict[str, Any]:
    fields = asdict(caption)
    del fields["number"]
    return fields


def _number(stream: str, caption: Caption) -> str:
    return f"{stream}-{caption.number}" if caption.number else ""


def _event(name: str, data: Mapping[str, Any], number: str = "") -> bytes:
    # JSON has no line ends of its own, so one `data` line holds it.
    lines = [f"event: {name}", f"data: {json.dumps(data, ensure_ascii=False)}"]
    if number:
        lines.insert(0, f"id: {number}")
    return ("\n".join(lines) + "\n\n").encode()


async def _write(response: web.StreamResponse, said: bytes) -> None:
    async with asyncio.timeout(WRITE_S):
        await response.write(said)


async def _preflight(_request: web.Request) -> web.Response:
    return web.Response(status=204)
