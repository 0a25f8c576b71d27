"""A room without a network: real signalling and forwarding, associations that only take notes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

from livekit.protocol import models, rtc

from sfu.room.forwarding import Forwarding
from sfu.signal import messages, requests
from sfu.signal.registry import Registry
from sfu.signal.session import Connection, Moment, Role, Session
from sfu.signal.signalling import Signalling
from sfu.signal.token import Claims, Grants

DESCRIPTIONS = Path(__file__).parent / "descriptions"
START = Moment(1000.0, 1_700_000_000.0)


def description(name: str) -> str:
    return (DESCRIPTIONS / f"{name}.sdp").read_bytes().decode()


def later(seconds: float) -> Moment:
    return Moment(START.monotonic + seconds, START.wall + seconds)


@dataclass
class Noted:
    """Stands for an association: what signalling asked of it."""

    number: int
    alive: bool = True
    restarts: int = 0
    fingerprints: list[str] = field(default_factory=list)
    channels: int = 0
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    ready: bool = True
    attended: bool = True

    @property
    def ufrag(self) -> str:
        return f"u{self.number}r{self.restarts}"

    @property
    def pwd(self) -> str:
        return f"password{self.number}r{self.restarts}"

    def restart_ice(self) -> None:
        self.restarts += 1

    def attend(self, attended: bool) -> None:
        self.attended = attended

    def connect(self, fingerprint: str) -> None:
        self.fingerprints.append(fingerprint)

    def open_channels(self) -> None:
        self.channels += 1

    def send_data(self, label: str, payload: bytes) -> bool:
        if self.ready:
            self.sent.append((label, payload))
        return self.ready

    def close(self) -> None:
        self.alive = False


class World:
    """Surroundings with counted names."""

    fingerprint = "sha-256 AA:BB"
    candidates = ("1 1 udp 1 127.0.0.1 7882 typ host", "2 1 tcp 1 127.0.0.1 7881 typ host")

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self.noted: dict[tuple[str, Role], Noted] = {}
        self.attached: Signalling | None = None

    def attach(self, signalling: Signalling) -> None:
        self.attached = signalling

    def open_connection(self, session: Session, role: Role) -> Connection:
        noted = self.noted[session.participant.identity, role] = Noted(next(self._count))
        return noted

    def new_sid(self, prefix: str) -> str:
        return f"{prefix}{next(self._count):012d}"

    def new_ssrc(self) -> int:
        return 5000 + next(self._count)

    def refreshed_token(self, session: Session) -> str:
        return f"token of {session.participant.identity}"


class Stage:
    """One registry with helpers to act as clients."""

    def __init__(self, **options: object) -> None:
        self.world = World()
        self.registry = Registry(lambda name: self.world, Forwarding, **options)  # type: ignore[arg-type]
        found = self.registry.to_join("room", START)
        assert found is not None
        self.signalling = found

    def join(
        self,
        identity: str,
        *,
        single: bool = True,
        offer: str | None = "chromium_v1_join",
        kind: models.ParticipantInfo.Kind = models.ParticipantInfo.Kind.STANDARD,
        auto_subscribe: bool = True,
        auto_subscribe_data: bool = False,
        attributes: dict[str, str] | None = None,
        metadata: str = "",
        tracks: tuple[rtc.AddTrackRequest, ...] = (),
        **grants: object,
    ) -> Session:
        granted = replace(Grants(room="room", room_join=True), **grants)  # type: ignore[arg-type]
        claims = Claims(api_key="key", identity=identity, name=identity, kind=kind, grants=granted)
        text = description(offer) if offer and "\n" not in offer else offer
        sdp = rtc.SessionDescription(type="offer", sdp=text, id=1) if offer else None
        join = messages.Join(
            single_connection=single,
            auto_subscribe=auto_subscribe,
            auto_subscribe_data=auto_subscribe_data,
            offer=sdp if single else None,
            attributes=attributes or {},
            metadata=metadata,
            tracks=tracks,
        )
        session = self.signalling.enter(claims, join, START)
        self.began = requests.begin(self.signalling, session)
        self.signalling.settle()
        return session

    def ask(self, session: Session, seconds: float = 0.0, **message: object) -> str:
        """Send one SignalRequest; the reason it was ignored, or ''."""
        request = rtc.SignalRequest(**message)  # type: ignore[arg-type]
        reason = requests.receive(self.signalling, session, request, later(seconds))
        self.signalling.settle()
        return reason

    def offer(self, session: Session, name_or_sdp: str, number: int = 2) -> str:
        text = description(name_or_sdp) if "\n" not in name_or_sdp else name_or_sdp
        offer = rtc.SessionDescription(type="offer", sdp=text, id=number)
        return self.ask(session, offer=offer)

    def publish(self, session: Session, *, audio: bool = True, video: bool = True) -> list[str]:
        """Publish as Chromium does: camera with three layers, microphone. Gives the sids."""
        for wanted, request in ((video, camera()), (audio, microphone())):
            if wanted:
                self.ask(session, add_track=request)
        self.offer(session, "chromium_v1_publish" if session.single else "chromium_v0_publish")
        return [track.sid for track in session.participant.published()]


def camera(cid: str = "camera-cid") -> rtc.AddTrackRequest:
    qualities = (models.VideoQuality.LOW, models.VideoQuality.MEDIUM, models.VideoQuality.HIGH)
    layers = [
        models.VideoLayer(quality=quality, width=width, height=height)
        for quality, width, height in zip(qualities, (320, 640, 1280), (180, 360, 720), strict=True)
    ]
    return rtc.AddTrackRequest(
        cid=cid, type=models.TrackType.VIDEO, source=models.TrackSource.CAMERA, layers=layers
    )


def microphone(cid: str = "microphone-cid", **more: object) -> rtc.AddTrackRequest:
    return rtc.AddTrackRequest(
        cid=cid,
        type=models.TrackType.AUDIO,
        source=models.TrackSource.MICROPHONE,
        **more,  # type: ignore[arg-type]
    )


def taken(session: Session) -> list[rtc.SignalResponse]:
    """What the client was told since the last call."""
    told = list(session.outbox)
    session.outbox.clear()
    return told


def kinds(session: Session) -> list[str]:
    return [response.WhichOneof("message") or "" for response in taken(session)]


def last(session: Session, kind: str) -> rtc.SignalResponse:
    """The last message of a kind the client was told."""
    found = [r for r in taken(session) if r.WhichOneof("message") == kind]
    assert found, f"no {kind} was sent"
    return found[-1]
