"""The composition: one endpoint, the rooms, the doors, and the pump between them.

Signalling and forwarding are pure; this is where their packets and messages leave. Everything
runs on one loop; each room's mutable state is touched by callbacks of that loop alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

from aiohttp import web
from livekit.protocol import models, rtc
from prometheus_client import CollectorRegistry

from sfu.config import Config
from sfu.hall import Hall, Tasks
from sfu.http import metrics
from sfu.http.twirp import RoomService
from sfu.http.webhook import Webhooks
from sfu.http.ws import Door
from sfu.pulse import Lag, Rate, pulse
from sfu.room.drops import DropCounts
from sfu.room.floor import FloorLimits
from sfu.room.forwarding import Forwarding
from sfu.room.room import Limits
from sfu.room.totals import Totals
from sfu.signal import token
from sfu.signal.registry import Registry
from sfu.signal.relays import Relays
from sfu.signal.session import Moment, Session
from sfu.signal.signalling import Signalling
from sfu.transport.endpoint import Endpoint, EndpointSettings

log = logging.getLogger(__name__)

Action = rtc.LeaveRequest.Action

TICK_S = 0.1
REFRESHED_TTL_S = 600
LAST_WORDS_S = 2.0


def clock() -> Moment:
    return Moment(time.monotonic(), time.time())


class Server:
    """One media server. `open()` binds everything; `run()` serves until it is cancelled."""

    def __init__(self, config: Config, endpoint: Endpoint) -> None:
        self.config = config
        self.endpoint = endpoint
        self.tasks = Tasks()
        self.counts: Counter[str] = Counter()
        self.drops: DropCounts = Counter()
        self.prometheus = CollectorRegistry()
        lag = Lag(metrics.stall_histogram(self.prometheus))
        self.figures = metrics.Figures(Totals(), lag, Rate(), Rate())
        limits = Limits(
            empty_timeout_s=config.empty_timeout_s,
            departure_timeout_s=config.departure_timeout_s,
            max_participants=config.max_participants,
        )
        floor = FloorLimits(places=config.loudest, above=config.loudest_above)
        self.registry = Registry(
            lambda name: Hall(self),
            lambda: Forwarding(floor, drops=self.drops, totals=self.figures.totals),
            limits=limits,
            auto_create=config.auto_create,
            resume_timeout_s=config.resume_timeout_s,
            relays=Relays(
                urls=config.turn_urls, secret=config.turn_secret, ttl_s=config.turn_ttl_s
            ),
        )
        self.door = Door(
            self.registry,
            config.keys,
            clock,
            self.settle,
            single_connection=config.single_connection,
            max_connections=config.max_connections,
        )
        secret = config.keys[config.webhook_key]
        self.webhooks = Webhooks(config.webhook_urls, config.webhook_key, secret)
        self._runner: web.AppRunner | None = None
        self._empty = asyncio.Event()

    @classmethod
    async def open(cls, config: Config) -> Server:
        """Bind the media ports and the HTTP port. OSError names the one that is taken."""
        settings = EndpointSettings(
            bind=config.bind,
            udp_port=config.udp_port,
            tcp_port=config.tcp_port,
            advertised=config.advertised,
            stun_server=config.stun_server,
            loopback=config.loopback,
        )
        server = cls(config, await Endpoint.open(settings))
        try:
            await server._listen()
        except OSError:
            await server.close()
            raise
        return server

    async def _listen(self) -> None:
        app = web.Application(client_max_size=1 << 20)
        service = RoomService(self.registry, self.config.keys, clock, self.settle)
        app.add_routes(self.door.routes() + service.routes())
        app.add_routes(metrics.routes(self.registry, self.prometheus, self.figures, self._counts()))
        # No access log: clients' URLs carry tokens.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        for host in self.config.bind:
            await web.TCPSite(self._runner, host, self.config.port).start()

    def _counts(self) -> dict[str, Callable[[], Mapping[str, int]]]:
        return {
            "transport": lambda: self.endpoint.stats,
            "signal": lambda: self.door.counts,
            "webhooks": lambda: self.webhooks.counts,
            "data": lambda: self.counts,
            "rtp_dropped": lambda: {str(drop): n for drop, n in self.drops.items()},
        }

    def settle(self, signalling: Signalling) -> None:
        """Something of a room changed: tell its clients and the webhooks, negotiate, send."""
        signalling.settle()
        self.wake()
        self.webhooks.put(self.registry.take_events())

    def wake(self) -> None:
        """Sessions may owe their clients messages."""
        self.door.wake()

    def refreshed_token(self, session: Session) -> str:
        """A token with the rights of now, so that a resume after hours still succeeds."""
        participant = session.participant
        return token.refreshed(
            session.claims,
            self.config.keys[session.claims.api_key],
            participant.permission,
            now=clock().wall,
            ttl_s=REFRESHED_TTL_S,
            name=participant.name,
            metadata=participant.metadata,
        )

    def now(self) -> Moment:
        return clock()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick_forever(), name="tick")
            group.create_task(pulse(self.figures.lag), name="pulse")
            group.create_task(self.webhooks.run(), name="webhooks")

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = clock()
            for signalling in list(self.registry.rooms.values()):
                try:
                    self._tick(signalling, now)
                except Exception:  # one room's fault must not stop the others' media
                    log.exception("tick of a room failed")
            self.registry.tick(now)
            self._measure(now.monotonic)
            if not self.registry.occupied:
                self._empty.set()
            self.wake()
            self.webhooks.put(self.registry.take_events())

    def _measure(self, now: float) -> None:
        figures = self.figures
        figures.incoming.note(figures.totals.octets_in, now)
        figures.outgoing.note(figures.totals.octets_out, now)

    def _tick(self, signalling: Signalling, now: Moment) -> None:
        hall = signalling.around
        if isinstance(hall, Hall):
            hall.tick(now)

    async def drain(self) -> None:
        """Take no new rooms; return when nobody is in a call, or when the time is over."""
        self.registry.draining = True
        self._empty.clear()  # the next tick knows
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.drain_s):
                await self._empty.wait()

    async def close(self, *, comes_back: bool = False) -> None:
        """Say goodbye to every client, deliver what can be delivered, free the ports.

        `comes_back`: clients are to join again. Not to resume: the next process knows no session.
        """
        self.registry.draining = True
        now, reason = clock(), models.DisconnectReason.SERVER_SHUTDOWN
        action = Action.RECONNECT if comes_back else Action.DISCONNECT
        for name in list(self.registry.rooms):
            self.registry.delete(name, now, reason, action)
        self.webhooks.put(self.registry.take_events())
        await self.door.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self.webhooks.drained()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.tasks.finish()
        await self.endpoint.close()
