"""The rooms of this process by name: made, found, and closed when nobody stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from livekit.protocol import models, rtc
from livekit.protocol.room import CreateRoomRequest

from sfu.room.forwarding import Forwarding
from sfu.room.room import Limits, Room, RoomEvent
from sfu.signal import admin
from sfu.signal.relays import Relays
from sfu.signal.session import Moment, Surroundings
from sfu.signal.signalling import RESUME_TIMEOUT_S, Signalling
from sfu.signal.token import Claims

MAX_REVOKED = 10_000
"""Removals remembered; the oldest is forgotten first."""


class Registry:
    """`new_around` makes the surroundings of one room, `new_forwarding` its routing table."""

    def __init__(
        self,
        new_around: Callable[[str], Surroundings],
        new_forwarding: Callable[[], Forwarding],
        *,
        limits: Limits | None = None,
        auto_create: bool = True,
        resume_timeout_s: float = RESUME_TIMEOUT_S,
        relays: Relays | None = None,
    ) -> None:
        self._new_around = new_around
        self._new_forwarding = new_forwarding
        self._limits = limits or Limits()
        self._resume_timeout_s = resume_timeout_s
        self._relays = relays
        self.auto_create = auto_create
        self.draining = False
        """No new rooms; those that are there go on."""
        self.rooms: dict[str, Signalling] = {}
        self._events: list[RoomEvent] = []
        self._revoked: dict[tuple[str, str], float] = {}

    @property
    def occupied(self) -> bool:
        """Whether anybody is in a call."""
        return any(signalling.room.occupied for signalling in self.rooms.values())

    def find(self, name: str) -> Signalling | None:
        return self.rooms.get(name)

    def to_join(self, name: str, now: Moment) -> Signalling | None:
        """The room to join; made if that is allowed, None otherwise."""
        found = self.rooms.get(name)
        if found is None and self.auto_create and not self.draining:
            found = self._make(name, self._limits, "", now)
        return found

    def create(self, request: CreateRoomRequest, now: Moment) -> Signalling:
        """RoomService.CreateRoom: a room that is there already is given back (LiveKit's rule)."""
        found = self.rooms.get(request.name)
        if found is not None:
            return found
        limits = replace(
            self._limits,
            empty_timeout_s=request.empty_timeout or self._limits.empty_timeout_s,
            departure_timeout_s=request.departure_timeout or self._limits.departure_timeout_s,
            max_participants=request.max_participants or self._limits.max_participants,
        )
        return self._make(request.name, limits, request.metadata, now)

    def delete(
        self,
        name: str,
        now: Moment,
        reason: models.DisconnectReason = models.DisconnectReason.ROOM_DELETED,
        action: rtc.LeaveRequest.Action = rtc.LeaveRequest.Action.DISCONNECT,
    ) -> Signalling | None:
        """Send everybody home and forget the room."""
        signalling = self.rooms.pop(name, None)
        if signalling is not None:
            admin.close(signalling, reason, now, action)
            signalling.room.finish()
            self._events += signalling.room.take_events()
        return signalling

    def revoke(self, room: str, identity: str, before: float) -> None:
        """Who was removed does not come back with a token made up to `before` (since 1970)."""
        self._revoked.pop((room, identity), None)
        self._revoked[room, identity] = before
        if len(self._revoked) > MAX_REVOKED:
            del self._revoked[next(iter(self._revoked))]

    def revoked(self, claims: Claims) -> bool:
        """Whether the holder was removed after this token was made."""
        before = self._revoked.get((claims.grants.room, claims.identity))
        return before is not None and claims.not_before <= before

    def tick(self, now: Moment) -> None:
        """Time passes: sessions nobody came back to, rooms nobody is in."""
        for name, signalling in list(self.rooms.items()):
            signalling.tick(now)
            signalling.settle()
            if signalling.room.expired(now.monotonic):
                self.delete(name, now, models.DisconnectReason.ROOM_CLOSED)

    def take_events(self) -> list[RoomEvent]:
        """Everything the webhooks must tell since the last call, in order within a room."""
        events, self._events = self._events, []
        for signalling in self.rooms.values():
            events += signalling.room.take_events()
        return events

    def _make(self, name: str, limits: Limits, metadata: str, now: Moment) -> Signalling:
        around = self._new_around(name)
        room = Room(
            name=name,
            sid=around.new_sid("RM_"),
            created_ms=int(now.wall * 1000),
            empty_since=now.monotonic,
            forwarding=self._new_forwarding(),
            limits=limits,
            metadata=metadata,
        )
        signalling = Signalling(
            room, around, resume_timeout_s=self._resume_timeout_s, relays=self._relays
        )
        around.attach(signalling)
        self.rooms[name] = signalling
        room.start()
        return signalling
