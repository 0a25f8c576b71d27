"""The protocol state of one participant's client: what it was told, and what it is still owed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from livekit.protocol import models, rtc

from sfu.room.forwarding import Codec, Subscription
from sfu.room.participant import Participant, Track
from sfu.room.quality import Traffic
from sfu.signal.messages import Join
from sfu.signal.sdp import Section
from sfu.signal.token import Claims

if TYPE_CHECKING:
    from sfu.signal.signalling import Signalling

MAX_OUTBOX = 4096
"""Messages that may wait for a client; one that reads slower is cut off and may resume."""

Role = Literal["publisher", "subscriber"]


class PeerKey(NamedTuple):
    """Names one association in the forwarding table."""

    participant: str
    role: Role


class Moment(NamedTuple):
    """Now: seconds of a monotonic clock, and seconds since 1970."""

    monotonic: float
    wall: float


class Connection(Protocol):
    """One ICE/DTLS association, as signalling sees it."""

    @property
    def ufrag(self) -> str: ...
    @property
    def pwd(self) -> str: ...
    @property
    def alive(self) -> bool: ...
    def restart_ice(self) -> None: ...
    def attend(self, attended: bool) -> None: ...
    def connect(self, fingerprint: str) -> None: ...
    def open_channels(self) -> None: ...
    def send_data(self, label: str, payload: bytes) -> bool: ...
    def close(self) -> None: ...


class Surroundings(Protocol):
    """What signalling needs of the process around it: names, secrets, associations."""

    def attach(self, signalling: Signalling) -> None: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def candidates(self) -> tuple[str, ...]: ...
    def open_connection(self, session: Session, role: Role) -> Connection: ...
    def new_sid(self, prefix: str) -> str: ...
    def new_ssrc(self) -> int: ...
    def refreshed_token(self, session: Session) -> str: ...


@dataclass(slots=True)
class DownTrack:
    """One track on its way to this client."""

    track: Track
    ssrc: int
    codec: Codec
    """The publisher's."""
    mid: str = ""
    """'' until a media section carries it."""
    subscription: Subscription | None = None
    settings: rtc.UpdateTrackSettings | None = None
    refused: bool = False
    """The client cannot decode it, and was told so."""


@dataclass(slots=True)
class Upward:
    """What the client last offered on its publisher (v1: its only) connection."""

    ufrag: str = ""
    mids: dict[str, str] = field(default_factory=dict)
    """mid -> sid of the track it carries."""
    sections: dict[str, Section] = field(default_factory=dict)
    codecs: dict[int, Codec] = field(default_factory=dict)


@dataclass(slots=True)
class Downward:
    """What this client receives, and on which media sections."""

    tracks: dict[str, DownTrack] = field(default_factory=dict)
    wishes: dict[str, bool] = field(default_factory=dict)
    """track sid -> wanted, where the client said so; else `auto_subscribe` decides."""
    leaving: set[str] = field(default_factory=set)
    """mids whose track went; free once a description said `inactive`."""
    stale: bool = False
    awaiting: bool = False
    """An offer of ours (v0), or one we asked for (v1), is under way."""
    places: list[tuple[str, str]] = field(default_factory=list)
    """v0: (mid, kind) of the sections of our offers."""
    offer_id: int = 0

    def occupied(self) -> set[str]:
        return {down.mid for down in self.tracks.values() if down.mid} | self.leaving

    def unplaced(self, kind: str) -> list[DownTrack]:
        return [
            down
            for down in self.tracks.values()
            if not down.mid and not down.refused and down.track.kind == kind
        ]


@dataclass(slots=True, kw_only=True)
class Session:
    """One client's session; it outlives its WebSocket by the time allowed for a resume."""

    participant: Participant
    claims: Claims
    join: Join
    outbox: deque[rtc.SignalResponse] = field(default_factory=deque)
    attached: bool = True
    lost_at: float | None = None
    refresh_at: float = 0.0
    ended: bool = False
    overflown: bool = False
    connections: dict[Role, Connection] = field(default_factory=dict)
    up: Upward = field(default_factory=Upward)
    down: Downward = field(default_factory=Downward)
    missed: dict[str, models.ParticipantInfo] = field(default_factory=dict)
    """Who left while the WebSocket was gone."""
    last_reliable: int = 0
    data_handles: dict[str, int] = field(default_factory=dict)
    """Data track sid -> the handle in the packets this client gets of it."""
    next_data_handle: int = 1
    traffic: Traffic = field(default_factory=Traffic)
    """As it was at the last look at the connection's quality."""
    quality: rtc.ConnectionQualityInfo | None = None
    audience: rtc.SubscriptionPermission | None = None
    """Who may see this client's tracks, as it said last."""
    told_subscribed: set[str] = field(default_factory=set)
    """Own tracks whose first subscriber was announced."""

    @property
    def single(self) -> bool:
        return self.join.single_connection

    @property
    def primary(self) -> Role:
        return "publisher" if self.single else "subscriber"

    def key(self, role: Role) -> PeerKey:
        return PeerKey(self.participant.sid, role)

    @property
    def down_key(self) -> PeerKey:
        """The association that carries what this client receives."""
        return self.key(self.primary)

    def attach(self) -> None:
        """A WebSocket is there again."""
        self.attached, self.lost_at = True, None
        for connection in self.connections.values():
            connection.attend(True)

    def detach(self, now: float) -> None:
        """The WebSocket is gone."""
        self.attached, self.lost_at = False, now
        for connection in self.connections.values():
            connection.attend(False)

    def send(self, response: rtc.SignalResponse) -> None:
        """Queue a message. Without a WebSocket it is lost: a resume begins with the whole state."""
        if not self.attached or self.overflown:
            return
        self.outbox.append(response)
        if len(self.outbox) > MAX_OUTBOX:
            self.outbox.clear()
            self.overflown = True

    def leave(
        self,
        reason: models.DisconnectReason,
        action: rtc.LeaveRequest.Action = rtc.LeaveRequest.Action.DISCONNECT,
    ) -> None:
        """Queue the last message of this session."""
        again = action != rtc.LeaveRequest.Action.DISCONNECT
        request = rtc.LeaveRequest(reason=reason, action=action, can_reconnect=again)
        self.send(rtc.SignalResponse(leave=request))
