"""One room in its surroundings: its associations, its names, and the pump of its packets."""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
import time
from collections import Counter, deque
from collections.abc import Coroutine
from typing import Any, Protocol

from sfu.signal import data, datatracks, media
from sfu.signal.session import Moment, PeerKey, Role, Session
from sfu.signal.signalling import Signalling
from sfu.transport.endpoint import Endpoint
from sfu.transport.peer import Peer

log = logging.getLogger(__name__)

MAX_EARLY = 256 * 1024
"""Bytes of reliable messages kept for a client whose data channel is not open yet."""

_ALPHABET = string.ascii_letters + string.digits


class Outside(Protocol):
    """What a room needs of the server."""

    endpoint: Endpoint
    tasks: Tasks
    counts: Counter[str]

    def now(self) -> Moment: ...
    def settle(self, signalling: Signalling) -> None: ...
    def wake(self) -> None: ...
    def refreshed_token(self, session: Session) -> str: ...


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
        self._early_bytes = 0
        self._reliable_open = False

    @property
    def ufrag(self) -> str:
        return self.peer.ufrag

    @property
    def pwd(self) -> str:
        return self.peer.pwd

    def restart_ice(self) -> None:
        self.peer.restart_ice()

    def attend(self, attended: bool) -> None:
        self.peer.attended = attended

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
        for label in (data.LOSSY, datatracks.CHANNEL):
            self.peer.open_channel(label, ordered=False, max_retransmits=0)

    def send_data(self, label: str, payload: bytes) -> bool:
        if label == data.RELIABLE and not self._reliable_open:
            return self._keep(payload)
        return self.peer.send_data(label, payload)

    def _keep(self, payload: bytes) -> bool:
        if not self.alive or self._early_bytes + len(payload) > MAX_EARLY:
            return False
        self._early.append(payload)
        self._early_bytes += len(payload)
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


PACE_S = 0.01
"""Between two portions of padding while a link is tried, or two looks at what is missing."""


class Hall:
    """The surroundings of one room: names, associations, and the pump of its packets."""

    signalling: Signalling

    def __init__(self, outside: Outside) -> None:
        self.endpoint = outside.endpoint
        self.tasks = outside.tasks
        self.counts = outside.counts
        self.links: dict[PeerKey, Link] = {}
        self._outside = outside
        self._pumping = False
        self._pacing = self._repairing = False

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
        return self._outside.refreshed_token(session)

    # -- what happens

    def peer_lost(self, key: PeerKey) -> None:
        self.signalling.disconnected(key, self._outside.now())
        self.changed()

    def changed(self) -> None:
        """Something of this room changed: tell, negotiate, send."""
        self._outside.settle(self.signalling)

    def pump_soon(self) -> None:
        """Send at the end of this turn of the loop, with what else arrives in it."""
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self.pump)

    def pump(self) -> None:
        self._pumping = False
        forwarding = self.signalling.room.forwarding
        if forwarding.repairing and not self._repairing:
            self._repairing = True
            asyncio.get_running_loop().call_later(PACE_S, self._repair)
        batches = forwarding.drain()
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
            self._outside.wake()

    def tick(self, now: Moment) -> None:
        forwarding = self.signalling.room.forwarding
        forwarding.tick(now.monotonic)
        self.pump()
        if forwarding.probing and not self._pacing:
            self._pacing = True
            asyncio.get_running_loop().call_later(PACE_S, self._pace)

    def _repair(self) -> None:
        self._repairing = False
        self.signalling.room.forwarding.repair(time.monotonic())
        self.pump()

    def _pace(self) -> None:
        """Padding in small portions: a whole one at once would fill the queue that it looks for."""
        forwarding = self.signalling.room.forwarding
        forwarding.probe(time.monotonic())
        self.pump()
        self._pacing = forwarding.probing
        if self._pacing:
            asyncio.get_running_loop().call_later(PACE_S, self._pace)
