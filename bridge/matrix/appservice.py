"""The way in for the homeserver (Application Service API): commit first, answer 200 after.

Duplicates are known by event id in the inbox, never by the transaction's id: Synapse on SQLite
counts those from 1 again after a restart. One event that cannot be read is skipped, since a
transaction that is refused comes back for ever and holds up every event behind it.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from prometheus_client import Counter

from bridge.matrix import wire
from bridge.matrix.registration import Registration
from bridge.store.database import DATABASE_ERRORS
from bridge.store.inbox import Inbox, NewEntry
from bridge.store.text import storable_id

log = logging.getLogger(__name__)

_LARGEST_BODY = 32 * 1024 * 1024  # Synapse sends at most 100 events of 64 KiB, and to-device
_PREFIX = "/_matrix/app/v1"
_TO_DEVICE = ("to_device", "de.sorunome.msc2409.to_device")

_KEY_COUNTS = (
    "org.matrix.msc3202.device_one_time_keys_count",  # as Synapse writes it
    "org.matrix.msc3202.device_one_time_key_counts",
    "device_one_time_keys_count",
)

EVENTS = Counter("colloque_matrix_events_total", "Room events taken in.", ["outcome"])
DEVICE = Counter(
    "colloque_matrix_device_transactions_total",
    "Transactions with to-device messages for the bot, or with the number of its keys left.",
    ["part"],
)
for _part in ("to_device", "key_counts"):
    DEVICE.labels(_part)  # 0 is there to be read


Take = Callable[[dict[str, Any]], Awaitable[None]]


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def routes(
    inbox: Inbox,
    registration: Registration,
    on_commit: Callable[[set[str]], None],
    *,
    server_name: str,
    take: Take | None = None,
    make_room: Callable[[str], Awaitable[bool]] | None = None,
    now_ms: Callable[[], int] = _clock_ms,
    on_to_device: Callable[[dict[str, Any]], None] | None = None,
) -> web.Application:
    """The application (with full paths) to serve at `appservice.listen`.

    `on_commit` is told, after each commit, which rooms have something new. `take` keeps what a
    transaction says to the bot's device, before its events. `make_room` makes a room for an alias
    of ours and tells whether there is one now. `on_to_device` is given each to-device message to
    the bot; it must not block, and what it does is not durable.
    """
    door = _Door(
        inbox, registration.bot(server_name), on_commit, take, make_room, now_ms, on_to_device
    )
    app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[_only(registration.hs_token)])
    app.add_routes(
        [
            web.put(f"{_PREFIX}/transactions/{{txn}}", door.transaction),
            web.get(f"{_PREFIX}/users/{{user_id}}", door.user),
            web.get(f"{_PREFIX}/rooms/{{alias}}", door.alias),
            web.post(f"{_PREFIX}/ping", door.ping),
        ]
    )
    return app


class _Door:
    def __init__(
        self,
        inbox: Inbox,
        bot: str,
        on_commit: Callable[[set[str]], None],
        take: Take | None,
        make_room: Callable[[str], Awaitable[bool]] | None,
        now_ms: Callable[[], int],
        on_to_device: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self._inbox = inbox
        self._bot = bot
        self._on_commit = on_commit
        self._take = take
        self._make_room = make_room
        self._now_ms = now_ms
        self._on_to_device = on_to_device

    async def transaction(self, request: web.Request) -> web.Response:
        try:
            document = _document(await request.read())
            events = _events(document)
        except ValueError as error:
            log.warning("a transaction of the homeserver cannot be read: %s", error)
            return _error(400, "M_BAD_JSON", str(error))
        entries = [entry for event in events if (entry := entry_of(event, self._bot)) is not None]
        EVENTS.labels("taken").inc(len(entries))
        EVENTS.labels("passed over").inc(len(events) - len(entries))
        try:
            # Keys before the messages they open.
            await self._keep_keys(document)
            rooms = await self._inbox.commit(entries, now_ms=self._now_ms())
        except DATABASE_ERRORS as error:
            # Not 200: the homeserver keeps the transaction and brings it again.
            log.error("a transaction could not be stored: %s", error)
            return _error(503, "M_UNKNOWN", "The transaction could not be stored")
        if rooms:
            self._on_commit(rooms)
        _count_device_parts(document, self._bot)
        if self._on_to_device is not None:
            for message in _to_device(document, self._bot):
                self._on_to_device(message)
        return web.json_response({})

    async def _keep_keys(self, document: dict[str, Any]) -> None:
        if self._take is None:
            return
        try:
            await self._take(document)
        except DATABASE_ERRORS:
            raise
        except Exception:  # a defect: refused, the transaction would come back for ever
            log.exception("what a transaction says to the bot's device cannot be taken in")

    async def user(self, request: web.Request) -> web.Response:
        if request.match_info["user_id"] == self._bot:
            return web.json_response({})
        return _error(404, "M_NOT_FOUND", "No such user here")

    async def alias(self, request: web.Request) -> web.Response:
        if self._make_room is not None and await self._make_room(request.match_info["alias"]):
            return web.json_response({})
        return _error(404, "M_NOT_FOUND", "No such room here")

    async def ping(self, request: web.Request) -> web.Response:
        return web.json_response({})


def entry_of(event: Any, bot: str) -> NewEntry | None:
    """What the inbox keeps of an event; None for what the bridge never acts on."""
    value = wire.parse(event)
    if value is None or not (storable_id(value.room_id) and storable_id(value.event_id)):
        return None
    if isinstance(value, wire.IncomingMessage | wire.Sealed) and value.sender == bot:
        return None  # our own words
    return NewEntry(value.room_id, "matrix", value.event_id, event)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return document if isinstance(document, dict) else {}


def _to_device(document: dict[str, Any], bot: str) -> list[dict[str, Any]]:
    messages = next((document[name] for name in _TO_DEVICE if name in document), None)
    if not isinstance(messages, list):
        return []
    return [m for m in messages if isinstance(m, dict) and m.get("to_user_id") == bot]


def _count_device_parts(document: dict[str, Any], bot: str) -> None:
    if _to_device(document, bot):
        DEVICE.labels("to_device").inc()
    if any(bot in counts for name in _KEY_COUNTS if isinstance(counts := document.get(name), dict)):
        DEVICE.labels("key_counts").inc()


def _events(document: dict[str, Any]) -> list[Any]:
    events = document.get("events")
    if not isinstance(events, list):
        raise ValueError("`events` must be a list")
    return events


def _only(hs_token: str) -> Any:
    expected = f"Bearer {hs_token}".encode()

    @web.middleware
    async def check(
        request: web.Request,
        handler: Callable[[web.Request], Any],
    ) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, expected):
            return _error(403, "M_FORBIDDEN", "Not the token of this bridge's homeserver")
        response: web.StreamResponse = await handler(request)
        return response

    return check


def _error(status: int, errcode: str, text: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": text}, status=status)
