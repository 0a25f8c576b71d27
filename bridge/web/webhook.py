"""The media server's news: verified, committed to the inbox, and only then acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from bridge.matrix.answers import matrix_error
from bridge.media.keys import ApiKey
from bridge.media.webhooks import MAX_BYTES, InvalidWebhook, MediaEvent, verify
from bridge.store.database import DATABASE_ERRORS
from bridge.store.inbox import Inbox, NewEntry
from bridge.store.text import plain

log = logging.getLogger(__name__)


class RoomNames(Protocol):
    """bridge.store.grants.Grants: which Matrix room a media room is the call of."""

    async def room_of(self, media_room: str) -> str | None:
        """The Matrix room, None where nobody was let into such a media room."""


class Webhook:
    """`POST /media/webhook`."""

    def __init__(
        self,
        key: ApiKey,
        rooms: RoomNames,
        inbox: Inbox,
        on_commit: Callable[[set[str]], None],
        *,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._rooms = rooms
        self._inbox = inbox
        self._on_commit = on_commit
        self._clock = clock
        self._count = Counter(
            "colloque_media_webhooks", "News of the media server.", ["outcome"], registry=registry
        )

    async def handle(self, request: web.Request) -> web.Response:
        """200 once the event is durable. Any other answer makes the sender repeat it."""
        body = await _body(request)
        if body is None:
            return self._refused(413, "M_TOO_LARGE", "the body is too long")
        try:
            event = verify(body, request.headers.get("Authorization", ""), self._key)
        except InvalidWebhook as error:
            if error.signed:
                return self._refused(400, "M_BAD_JSON", str(error))
            return self._refused(401, "M_UNAUTHORIZED", str(error))
        try:
            rooms = await self._commit(event)
        except DATABASE_ERRORS as error:
            log.error("a webhook could not be stored: %s", error)
            return matrix_error(503, "M_UNKNOWN", "The event could not be stored")
        if rooms:
            self._on_commit(rooms)
        return web.json_response({})

    async def _commit(self, event: MediaEvent) -> set[str]:
        room_id = await self._rooms.room_of(plain(event.media_room))
        if room_id is None:
            # A cluster serves others too, and tells everybody everything.
            self._count.labels(outcome="not_ours").inc()
            return set()
        entry = NewEntry(room_id, "media", plain(event.id), event.payload)
        rooms = await self._inbox.commit([entry], now_ms=int(self._clock() * 1000))
        self._count.labels(outcome="new" if rooms else "repeated").inc()
        return rooms

    def _refused(self, status: int, errcode: str, reason: str) -> web.Response:
        self._count.labels(outcome="refused").inc()
        log.warning("webhook refused: %s", reason)
        return matrix_error(status, errcode, reason)


async def _body(request: web.Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.content.iter_chunked(65536):
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)
