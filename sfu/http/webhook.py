"""Signed webhooks: each event is posted to each URL, in order, again if it fails."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import aiohttp
from google.protobuf import json_format
from livekit.protocol.webhook import WebhookEvent

from sfu.room.room import RoomEvent
from sfu.signal import token

log = logging.getLogger(__name__)

QUEUE = 1000
"""Events that may wait for one URL; of what comes on top, the newest is dropped and counted."""

DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
TIMEOUT_S = 10.0


class Webhooks:
    """Posts the events of all rooms. `run()` is owned by the server's task group."""

    def __init__(
        self,
        urls: Iterable[str],
        api_key: str,
        secret: str,
        *,
        wall: Callable[[], float] = time.time,
        delays_s: tuple[float, ...] = DELAYS_S,
    ) -> None:
        self._queues: dict[str, asyncio.Queue[WebhookEvent]] = {
            url: asyncio.Queue(QUEUE) for url in urls
        }
        self._api_key = api_key
        self._secret = secret
        self._wall = wall
        self._delays_s = delays_s
        self._dropped: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def put(self, events: Iterable[RoomEvent]) -> None:
        """Queue events for every URL."""
        for event in events:
            message = _message(event, self._wall())
            for url, queue in self._queues.items():
                self._put(url, queue, message)

    def _put(self, url: str, queue: asyncio.Queue[WebhookEvent], message: WebhookEvent) -> None:
        copy = WebhookEvent()
        copy.CopyFrom(message)
        copy.num_dropped = self._dropped[url]
        try:
            queue.put_nowait(copy)
        except asyncio.QueueFull:
            self._dropped[url] += 1
            self.counts["webhook_dropped"] += 1
        else:
            self._dropped[url] = 0

    async def run(self) -> None:
        """Post until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            asyncio.TaskGroup() as group,
        ):
            for url, queue in self._queues.items():
                group.create_task(self._deliver(client, url, queue), name="webhooks")

    async def drained(self) -> None:
        """Wait until nothing is queued any more."""
        await asyncio.gather(*(queue.join() for queue in self._queues.values()))

    async def _deliver(
        self, client: aiohttp.ClientSession, url: str, queue: asyncio.Queue[WebhookEvent]
    ) -> None:
        while True:
            event = await queue.get()
            try:
                await self._post(client, url, event)
            finally:
                queue.task_done()

    async def _post(self, client: aiohttp.ClientSession, url: str, event: WebhookEvent) -> None:
        body = json_format.MessageToJson(event, indent=None).encode()
        for delay in (*self._delays_s, None):
            failure = await self._attempt(client, url, body)
            if not failure:
                self.counts["webhook_sent"] += 1
                return
            self.counts["webhook_failed"] += 1
            host = urlsplit(url).hostname
            log.warning("webhook %s to %s failed: %s", event.event, host, failure)
            if delay is not None:
                await asyncio.sleep(delay)
        self.counts["webhook_given_up"] += 1

    async def _attempt(self, client: aiohttp.ClientSession, url: str, body: bytes) -> str:
        headers = {
            "Content-Type": "application/webhook+json",
            "Authorization": token.signed_body(body, self._api_key, self._secret, now=self._wall()),
        }
        try:
            async with client.post(url, data=body, headers=headers, allow_redirects=False) as got:
                return f"status {got.status}" if got.status >= 300 else ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__


def _message(event: RoomEvent, wall: float) -> WebhookEvent:
    message = WebhookEvent(
        event=event.name, id=f"EV_{uuid.uuid4().hex[:12]}", created_at=int(wall), room=event.room
    )
    if event.participant is not None:
        message.participant.CopyFrom(event.participant)
    if event.track is not None:
        message.track.CopyFrom(event.track)
    return message
