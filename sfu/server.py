"""The composition: one endpoint, the rooms, the doors, and the pump between them.

Signalling and forwarding are pure; this is where their packets and messages leave. Everything
runs on one loop; each room's mutable state is touched by callbacks of that loop alone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web
from livekit.protocol import models

from sfu.config import Config
from sfu.http import metrics
from sfu.http.twirp import RoomService
from sfu.http.webhook import Webhooks
from sfu.http.ws import Door
from sfu.room.forwarding import Forwarding
from sfu.room.room import Limits
from sfu.signal import data, media, token
from sfu.signal.registry import Registry
from sfu.signal.session import Moment, PeerKey, Role, Session
from sfu.signal.signalling import Signalling
from sfu.transport.endpoint import Endpoint, EndpointSettings
from sfu.transport.peer import Peer

log = logging.getLogger(__name__)

TICK_S = 0.1
REFRESHED_TTL_S = 600
MAX_EARLY = 256
"""Reliable messages kept for a client whose data channel is not open yet."""

_ALPHABET = string.ascii_letters + string.digits


def clock() -> Moment:
    return Moment(time.monotonic(), time.time())


class Tasks:
    """Short-lived tasks of the loop; each failure is logged, none is forgotten."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())

    async def finish(self) -> None:
        await asyncio.gather(*self._running, return_exceptions=True)


class Link:
    """One association: a Connection for signalling, an observer for transport."""

    def __init__(self, hall: Hall, key: PeerKey) -> None:
        self._hall = hall
        self.key = key
        self.peer: Peer = hall.endpoint.peer(self)
        self.alive = True
        self._early: deque[bytes] = deque()
        self._reliable_open = False

    @property
    def ufrag(self) -> str:
        return self.peer.ufrag

    @property
    def pwd(self) -> str:
        return self.peer.pwd

    def restart_ice(self) -> None:
        self.peer.restart_ice()

    def connect(self, fingerprint: str) -> None:
        self._hall.tasks.start(self._start(fingerprint), "association start")

    async def _start(self, fingerprint: str) -> None:
        try:
            await self.peer.start(fingerprint)
        except ValueError:
            # A new fingerprint means a new peer connection: only a full reconnect helps.
            self._hall.counts["fingerprint_changed"] += 1
            self.close()
            self._hall.peer_lost(self.key)

    def open_channels(self) -> None:
        self.peer.open_channel(data.RELIABLE, ordered=True, max_retransmits=None)
        self.peer.open_channel(data.LOSSY, ordered=False, max_retransmits=0)

    def send_data(self, label: str, payload: bytes) -> bool:
        if label == data.RELIABLE and not self._reliable_open:
            return self._keep(payload)
        return self.peer.send_data(label, payload)

    def _keep(self, payload: bytes) -> bool:
        if not self.alive or len(self._early) >= MAX_EARLY:
            return False
        self._early.append(payload)
        return True

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self._hall.links.pop(self.key, None)
            self._hall.tasks.start(self.peer.close(), "association close")

    # -- PeerObserver

    def peer_connected(self, peer: Peer) -> None:
        self._hall.signalling.connected(self.key)
        self._hall.changed()

    def peer_closed(self, peer: Peer, reason: str) -> None:
        log.info("association of %s closed: %s", self.key.participant, reason)
        self.alive = False
        self._hall.links.pop(self.key, None)
        self._hall.peer_lost(self.key)

    def rtp_received(self, peer: Peer, packet: bytes, now: float) -> None:
        self._hall.signalling.room.forwarding.rtp(self.key, packet, now)
        self._hall.pump_soon()

    def rtcp_received(self, peer: Peer, packet: bytes, now: float) -> None:
        self._hall.signalling.room.forwarding.rtcp(self.key, packet, now)
        self._hall.pump_soon()

    def channel_opened(self, peer: Peer, label: str) -> None:
        if label == data.RELIABLE:
            self._reliable_open = True
            while self._early:
                self.peer.send_data(label, self._early.popleft())

    def data_received(self, peer: Peer, label: str, payload: bytes) -> None:
        signalling = self._hall.signalling
        session = signalling.sessions.get(self.key.participant)
        if session is not None:
            reason = data.received(signalling, session, label, payload)
            if reason:
                self._hall.counts[reason] += 1


class Hall:
    """The surroundings of one room: names, associations, and the pump of its packets."""

    signalling: Signalling

    def __init__(self, server: Server) -> None:
        self.endpoint = server.endpoint
        self.tasks = server.tasks
        self.counts = server.counts
        self.links: dict[PeerKey, Link] = {}
        self._server = server
        self._pumping = False

    # -- Surroundings

    def attach(self, signalling: Signalling) -> None:
        self.signalling = signalling

    @property
    def fingerprint(self) -> str:
        return self.endpoint.fingerprint

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.endpoint.candidates

    def open_connection(self, session: Session, role: Role) -> Link:
        link = self.links[session.key(role)] = Link(self, session.key(role))
        return link

    def new_sid(self, prefix: str) -> str:
        return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(12))

    def new_ssrc(self) -> int:
        # 0 and the smallest numbers are used by stacks for receivers without a source.
        return 256 + secrets.randbelow((1 << 32) - 512)

    def refreshed_token(self, session: Session) -> str:
        return self._server.refreshed_token(session)

    # -- what happens

    def peer_lost(self, key: PeerKey) -> None:
        self.signalling.disconnected(key, clock())
        self.changed()

    def changed(self) -> None:
        """Something of this room changed: tell, negotiate, send."""
        self._server.settle(self.signalling)

    def pump_soon(self) -> None:
        """Send at the end of this turn of the loop, with what else arrives in it."""
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self.pump)

    def pump(self) -> None:
        self._pumping = False
        batches = self.signalling.room.forwarding.drain()
        links = self.links
        self.endpoint.egress.send_many(
            [
                (links[key].peer, packet, is_rtcp)
                for key, packet, is_rtcp in batches.packets
                if key in links
            ]
        )
        for event in batches.events:
            media.noticed(self.signalling, event)
        if batches.events:
            self._server.wake()

    def tick(self, now: Moment) -> None:
        self.signalling.room.forwarding.tick(now.monotonic)
        self.pump()


class Server:
    """One media server. `open()` binds everything; `run()` serves until it is cancelled."""

    def __init__(self, config: Config, endpoint: Endpoint) -> None:
        self.config = config
        self.endpoint = endpoint
        self.tasks = Tasks()
        self.counts: Counter[str] = Counter()
        limits = Limits(
            empty_timeout_s=config.empty_timeout_s,
            departure_timeout_s=config.departure_timeout_s,
            max_participants=config.max_participants,
        )
        self.registry = Registry(
            lambda name: Hall(self),
            Forwarding,
            limits=limits,
            auto_create=config.auto_create,
            resume_timeout_s=config.resume_timeout_s,
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

    @classmethod
    async def open(cls, config: Config) -> Server:
        """Bind the media ports and the HTTP port. OSError names the one that is taken."""
        settings = EndpointSettings(
            bind=config.bind,
            udp_port=config.udp_port,
            tcp_port=config.tcp_port,
            advertised=config.advertised,
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
        app.add_routes(metrics.routes(self.registry, self._counts()))
        # No access log: clients' URLs carry tokens.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        for host in self.config.bind:
            await web.TCPSite(self._runner, host, self.config.port).start()

    def _counts(self) -> dict[str, Callable[[], dict[str, int]]]:
        def dropped() -> dict[str, int]:
            total: Counter[str] = Counter()
            for signalling in self.registry.rooms.values():
                total.update({str(k): n for k, n in signalling.room.forwarding.drops.items()})
            return total

        return {
            "transport": lambda: self.endpoint.stats,
            "signal": lambda: self.door.counts,
            "webhooks": lambda: self.webhooks.counts,
            "data": lambda: self.counts,
            "rtp_dropped": dropped,
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

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick_forever(), name="tick")
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
            self.wake()
            self.webhooks.put(self.registry.take_events())

    def _tick(self, signalling: Signalling, now: Moment) -> None:
        hall = signalling.around
        if isinstance(hall, Hall):
            hall.tick(now)

    async def close(self) -> None:
        """Say goodbye to every client, deliver what can be delivered, free the ports."""
        now = clock()
        for name in list(self.registry.rooms):
            self.registry.delete(name, now, models.DisconnectReason.SERVER_SHUTDOWN)
        self.webhooks.put(self.registry.take_events())
        await self.door.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.tasks.finish()
        await self.endpoint.close()
