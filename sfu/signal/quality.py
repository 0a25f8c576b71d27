"""Connection quality, told to everybody when somebody's changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from livekit.protocol import models, rtc

from sfu.room.quality import Traffic, judge
from sfu.signal.session import Moment, Session

if TYPE_CHECKING:
    from sfu.signal.signalling import Signalling

INTERVAL_S = 2.0
"""Between two looks: long enough for a loss of a few packets to be told from chance."""

_QUALITIES = {
    "excellent": models.ConnectionQuality.EXCELLENT,
    "good": models.ConnectionQuality.GOOD,
    "poor": models.ConnectionQuality.POOR,
}


def look(signalling: Signalling, now: Moment) -> None:
    """Judge every connection of the room if it is time, and tell what has changed."""
    if now.monotonic < signalling.quality_at:
        return
    signalling.quality_at = now.monotonic + INTERVAL_S
    traffic = signalling.room.forwarding.traffic()
    changed = []
    for session in signalling.sessions.values():
        up = traffic.get(session.key("publisher"), Traffic())
        down = traffic.get(session.down_key, Traffic())
        info = _judged(session, up if session.single else _joined(up, down))
        if session.quality is None or info.quality != session.quality.quality:
            changed.append(info)
        session.quality = info
    _tell(signalling, [info for info in changed if not _hidden(signalling, info)])


def entered(signalling: Signalling, session: Session) -> None:
    """A client joined: it learns how good the connections of the others are."""
    others = [other.quality for other in signalling.sessions.values() if other is not session]
    known = [info for info in others if info is not None and not _hidden(signalling, info)]
    if known:
        session.send(_update(known))


def _joined(up: Traffic, down: Traffic) -> Traffic:
    """Of a client with a connection for each direction."""
    return replace(up, rtt=down.rtt, losses=down.losses, subscriptions=down.subscriptions)


def _judged(session: Session, traffic: Traffic) -> rtc.ConnectionQualityInfo:
    verdict = judge(traffic, session.traffic)
    session.traffic = traffic
    quality = _QUALITIES[verdict.grade]
    if not session.attached:  # its signalling is gone: it may come back within the resume time
        quality = models.ConnectionQuality.LOST
    return rtc.ConnectionQualityInfo(
        participant_sid=session.participant.sid, quality=quality, score=verdict.score
    )


def _hidden(signalling: Signalling, info: rtc.ConnectionQualityInfo) -> bool:
    return signalling.sessions[info.participant_sid].participant.hidden


def _tell(signalling: Signalling, changed: list[rtc.ConnectionQualityInfo]) -> None:
    if changed:
        signalling.broadcast(_update(changed))


def _update(infos: list[rtc.ConnectionQualityInfo]) -> rtc.SignalResponse:
    return rtc.SignalResponse(connection_quality=rtc.ConnectionQualityUpdate(updates=infos))
