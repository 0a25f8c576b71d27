"""Telling other bridges how we stand: one owner task for each peer, so that none waits for another.

A peer's queue holds the newest report of each room and nothing else: what is late is replaced, not
repeated. A peer that fails is tried again after a growing pause; requests to one peer keep a
distance, since homeservers slow down who asks more than ten times a second (rc_federation).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from bridge.errors import Unavailable
from bridge.peers import messages
from bridge.peers.messages import (
    ForgetAsked,
    InvalidMessage,
    ModerateAsked,
    Moderated,
    Page,
    PageAsked,
    RoomReport,
)
from bridge.peers.way import Refusal

log = logging.getLogger(__name__)

DISTANCE_S = 0.15
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0
MAX_PEERS = 500
MAX_ROOMS = 2_000
"""Of one peer; beyond it, what waits longest is left out (the next beat tells it again)."""

_DAY_MS = 86_400_000

Answered = Callable[[str, RoomReport], Awaitable[None]]


class Asking(Protocol):
    """What the links need of `way.Way`."""

    async def ask(self, server: str, kind: str, body: dict[str, Any]) -> dict[str, Any]: ...


class Revs:
    """Numbers of this site's reports and answers: each higher than the one before, over restarts.

    They are the clock's milliseconds where that goes forward.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._last = 0

    def next(self) -> int:
        """A number higher than every one before."""
        self._last = max(self._last + 1, self._clock_ms())
        return self._last

    def seen(self, rev: int) -> bool:
        """Another site has seen this number of ours. Whether the next one has to be beyond it.

        So it is when our clock was put back. Nobody can drive us more than a day ahead.
        """
        if not self._last < rev < self._clock_ms() + _DAY_MS:
            return False
        self._last = rev
        return True


class Links:
    """Owner of the peers' tasks. `run()` works until cancelled."""

    def __init__(
        self,
        way: Asking,
        on_answer: Answered,
        revs: Revs,
        *,
        distance_s: float = DISTANCE_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._way = way
        self._on_answer = on_answer
        self._revs = revs
        self._distance_s = distance_s
        self._first_pause_s = first_pause_s
        self._links: dict[str, _Link] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Own the peers' tasks until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for link in self._links.values():
                tasks.create_task(link.run())
            await asyncio.Event().wait()

    def tell(self, server: str, told: RoomReport) -> None:
        """Have a report sent, in place of one of the same room that still waits. Never blocks."""
        link = self._link(server)
        if link is not None:
            link.tell(told)

    async def page(self, server: str, asked: PageAsked) -> Page:
        """Ask for a page. Raises Unavailable, Refusal or InvalidMessage."""
        body = messages.page_asked_body(asked)
        return messages.page(await self._ask(server, "utterances", body))

    async def moderate(self, server: str, asked: ModerateAsked) -> Moderated:
        """Have somebody muted or removed. Raises Unavailable, Refusal or InvalidMessage."""
        body = messages.moderate_asked_body(asked)
        return messages.moderated(await self._ask(server, "moderate", body))

    async def forget(self, server: str, asked: ForgetAsked) -> None:
        """Tell what was deleted here. Raises Unavailable or Refusal."""
        await self._ask(server, "forget", messages.forget_asked_body(asked))

    async def _ask(self, server: str, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        link = self._link(server)
        if link is None:
            raise Unavailable("homeserver_unavailable")
        return await link.ask(kind, body)

    def _link(self, server: str) -> _Link | None:
        link = self._links.get(server)
        if link is None and len(self._links) < MAX_PEERS:
            link = _Link(self, server)
            self._links[server] = link
            if self._tasks is not None:
                self._tasks.create_task(link.run())
        return link


class _Link:
    """The way to one peer: what waits for it, and when it was last asked."""

    def __init__(self, links: Links, server: str) -> None:
        self._links = links
        self._server = server
        self._waiting: OrderedDict[str, RoomReport] = OrderedDict()
        self._news = asyncio.Event()
        self._one = asyncio.Lock()
        self._last_s = 0.0

    def tell(self, told: RoomReport) -> None:
        self._waiting.pop(told.room_id, None)
        self._waiting[told.room_id] = told
        if len(self._waiting) > MAX_ROOMS:
            self._waiting.popitem(last=False)
        self._news.set()

    async def run(self) -> None:
        failures = 0
        while True:
            await self._news.wait()
            if not self._waiting:
                self._news.clear()
                continue
            room_id, told = self._waiting.popitem(last=False)
            if await self._told(told):
                failures = 0
                continue
            self._waiting.setdefault(room_id, told)
            pause = self._links._first_pause_s * 2.0 ** min(failures, 10)
            await asyncio.sleep(min(pause, LAST_PAUSE_S))
            failures += 1

    async def ask(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._one:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._last_s + self._links._distance_s - loop.time()))
            self._last_s = loop.time()
            return await self._links._way.ask(self._server, kind, body)

    async def _told(self, told: RoomReport) -> bool:
        """Whether it is done with, one way or the other."""
        try:
            body = messages.report_body(replace(told, rev=self._links._revs.next()))
            answer = messages.room_report(await self.ask("report", body))
        except Unavailable as error:
            log.info("the bridge of %s is not told now: %s", self._server, error)
            return False
        except (Refusal, InvalidMessage) as error:
            log.warning("the bridge of %s refuses a report: %s", self._server, error)
            return True
        except Exception:  # the task's top level: the other rooms are to be told all the same
            log.exception("telling the bridge of %s failed", self._server)
            return True
        if answer.room_id != told.room_id:
            return True
        if self._links._revs.seen(answer.seen):
            return False
        await self._links._on_answer(self._server, answer)
        return True
