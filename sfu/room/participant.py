"""Who is in a room, and what they publish: state only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from livekit.protocol import models

from sfu.room.forwarding import Publication

State = models.ParticipantInfo.State
MAX_TRACKS = 64


@dataclass(slots=True)
class Track:
    """One published track. `info` is what everybody is told, kept as the client gave it."""

    info: models.TrackInfo
    publisher: Participant
    cid: str
    publication: Publication | None = None
    """None: announced, but not in a session description yet."""
    audience: frozenset[str] | None = None
    """Identities that may subscribe; None: everybody."""

    @property
    def sid(self) -> str:
        return self.info.sid

    @property
    def kind(self) -> str:
        return "audio" if self.info.type == models.TrackType.AUDIO else "video"

    def mute(self, muted: bool) -> None:
        self.info.muted = muted
        if self.publication is not None:
            self.publication.muted = muted


@dataclass(slots=True, kw_only=True)
class Participant:
    """One participant of a room; `origin` names the site it is a client of."""

    sid: str
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    kind: models.ParticipantInfo.Kind = models.ParticipantInfo.Kind.STANDARD
    permission: models.ParticipantPermission = field(default_factory=models.ParticipantPermission)
    joined_ms: int = 0
    client: models.ClientInfo = field(default_factory=models.ClientInfo)
    origin: str = "local"
    state: models.ParticipantInfo.State = State.JOINED
    version: int = 1
    tracks: dict[str, Track] = field(default_factory=dict)
    data_tracks: dict[int, models.DataTrackInfo] = field(default_factory=dict)
    """By the handle that the publisher writes into each packet."""
    was_active: bool = False

    @property
    def hidden(self) -> bool:
        return self.permission.hidden

    @property
    def is_agent(self) -> bool:
        return self.kind == models.ParticipantInfo.Kind.AGENT or self.permission.agent

    @property
    def hears_all(self) -> bool:
        """Who writes down or records: every voice counts, however quiet beside others."""
        egress = self.kind == models.ParticipantInfo.Kind.EGRESS
        return self.is_agent or egress or self.permission.recorder

    def published(self) -> list[Track]:
        """Tracks whose media is negotiated."""
        return [track for track in self.tracks.values() if track.publication is not None]

    def pending(self) -> list[Track]:
        """Tracks announced and not negotiated yet, oldest first."""
        return [track for track in self.tracks.values() if track.publication is None]

    def may_publish(self, source: int) -> bool:
        """`source`: a TrackSource. An empty list of sources admits every source."""
        sources = self.permission.can_publish_sources
        return self.permission.can_publish and (not sources or source in sources)

    def set_attributes(self, changes: Mapping[str, str]) -> None:
        """Merge; an empty value deletes its key."""
        self.attributes.update(changes)
        self.attributes = {key: value for key, value in self.attributes.items() if value}

    def info(self) -> models.ParticipantInfo:
        """What others are told."""
        tracks = self.published()
        return models.ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=self.name,
            metadata=self.metadata,
            attributes=self.attributes,
            kind=self.kind,
            permission=self.permission,
            joined_at=self.joined_ms // 1000,
            joined_at_ms=self.joined_ms,
            state=self.state,
            version=self.version,
            tracks=[track.info for track in tracks],
            data_tracks=self.data_tracks.values(),
            is_publisher=bool(tracks),
            client_protocol=self.client.client_protocol,
            capabilities=self.client.capabilities,
        )
