"""One room: its participants, its life, and what the outside is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from livekit.protocol import models

from sfu.room.forwarding import Forwarding
from sfu.room.participant import Participant, Track
from sfu.room.ports import MEDIA_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds a room lives without anybody, and how many may be in it (0: no limit)."""

    empty_timeout_s: int = 300
    departure_timeout_s: int = 20
    max_participants: int = 0


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """Something a webhook tells; `name` as LiveKit names it (`participant_joined`...)."""

    name: str
    room: models.Room
    participant: models.ParticipantInfo | None = None
    track: models.TrackInfo | None = None


@dataclass(slots=True, kw_only=True)
class Room:
    """State of a room. `created_ms` since 1970, every `now` in seconds of a monotonic clock."""

    name: str
    sid: str
    created_ms: int
    empty_since: float | None
    forwarding: Forwarding
    limits: Limits = field(default_factory=Limits)
    metadata: str = ""
    participants: dict[str, Participant] = field(default_factory=dict)
    events: list[RoomEvent] = field(default_factory=list)
    had_participants: bool = False

    def start(self) -> None:
        """Tell that the room is there."""
        self.tell("room_started")

    def finish(self) -> None:
        """Tell that it is gone."""
        self.tell("room_finished")

    def tell(
        self, name: str, participant: Participant | None = None, track: Track | None = None
    ) -> None:
        """Note an event for the webhooks."""
        info = participant.info() if participant else None
        copy = models.TrackInfo()
        if track is not None:
            copy.CopyFrom(track.info)
        self.events.append(RoomEvent(name, self.info(), info, copy if track else None))

    def take_events(self) -> list[RoomEvent]:
        events, self.events = self.events, []
        return events

    @property
    def full(self) -> bool:
        limit = self.limits.max_participants
        return bool(limit) and len(list(self.visible())) >= limit

    @property
    def occupied(self) -> bool:
        """Whether anybody is here for themselves: who writes down or watches goes with the rest."""
        return any(not p.hears_all and not p.hidden for p in self.participants.values())

    def visible(self) -> Iterator[Participant]:
        return (p for p in self.participants.values() if not p.hidden)

    def add(self, participant: Participant) -> None:
        self.participants[participant.identity] = participant
        self.empty_since = None
        self.had_participants = True

    def remove(self, participant: Participant, now: float) -> None:
        if self.participants.get(participant.identity) is participant:
            del self.participants[participant.identity]
        if not self.participants:
            self.empty_since = now

    def expired(self, now: float) -> bool:
        """Whether nobody came, or nobody came back, for the time agreed."""
        if self.empty_since is None:
            return False
        limits = self.limits
        wait = limits.departure_timeout_s if self.had_participants else limits.empty_timeout_s
        return now - self.empty_since >= wait

    def by_sid(self, sid: str) -> Participant | None:
        return next((p for p in self.participants.values() if p.sid == sid), None)

    def track(self, sid: str) -> Track | None:
        """A published track by its sid."""
        found = (p.tracks.get(sid) for p in self.participants.values())
        track = next((t for t in found if t is not None), None)
        return track if track is not None and track.publication is not None else None

    def tracks(self) -> list[Track]:
        return [track for p in self.participants.values() for track in p.published()]

    def may_subscribe(self, subscriber: Participant, track: Track) -> bool:
        """Whether rights let `subscriber` receive `track` (never one's own)."""
        if subscriber is track.publisher or track.publication is None:
            return False
        admitted = track.audience is None or subscriber.identity in track.audience
        return admitted and subscriber.permission.can_subscribe and not track.publisher.hidden

    def info(self) -> models.Room:
        """What ListRooms, clients and webhooks are told."""
        visible = list(self.visible())
        return models.Room(
            sid=self.sid,
            name=self.name,
            empty_timeout=self.limits.empty_timeout_s,
            departure_timeout=self.limits.departure_timeout_s,
            max_participants=self.limits.max_participants,
            creation_time=self.created_ms // 1000,
            creation_time_ms=self.created_ms,
            metadata=self.metadata,
            num_participants=len(visible),
            num_publishers=sum(1 for p in visible if p.published()),
            enabled_codecs=[models.Codec(mime=mime) for mime in MEDIA_TYPES],
        )
