"""What the server API does to a room: RoomService without HTTP."""

from __future__ import annotations

from livekit.protocol import models, room, rtc

from sfu.room.participant import Participant, Track
from sfu.signal import data, messages, publishing, subscribing
from sfu.signal.session import Moment, Session
from sfu.signal.signalling import Signalling

Reason = models.DisconnectReason


class NotFound(LookupError):
    """No such participant or track."""


class Impossible(ValueError):
    """The request cannot be carried out."""


def participant_of(signalling: Signalling, identity: str) -> Participant:
    """Raises NotFound."""
    participant = signalling.room.participants.get(identity)
    if participant is None:
        raise NotFound("participant does not exist")
    return participant


def _session_of(signalling: Signalling, identity: str) -> Session:
    return signalling.sessions[participant_of(signalling, identity).sid]


def remove_participant(signalling: Signalling, identity: str, now: Moment) -> None:
    """End somebody's session. Raises NotFound."""
    session = _session_of(signalling, identity)
    signalling.remove(session, Reason.PARTICIPANT_REMOVED, now)


def mute_track(signalling: Signalling, request: room.MuteRoomTrackRequest) -> models.TrackInfo:
    """Mute a track; its client is told to. Raises NotFound or Impossible."""
    session = _session_of(signalling, request.identity)
    track = session.participant.tracks.get(request.track_sid)
    if track is None:
        raise NotFound("track does not exist")
    if not request.muted and track.info.muted:
        # Opening somebody's microphone from afar is theirs alone to do (LiveKit's default).
        raise Impossible("remote unmute is not enabled")
    if request.muted:
        order = rtc.MuteTrackRequest(sid=track.sid, muted=True)
        session.send(rtc.SignalResponse(mute=order))
        publishing.mute(signalling, session, track.sid, True)
    return track.info


def update_participant(
    signalling: Signalling, request: room.UpdateParticipantRequest
) -> models.ParticipantInfo:
    """Change name, metadata, attributes or rights. Raises NotFound or Impossible."""
    session = _session_of(signalling, request.identity)
    participant = session.participant
    attributes = participant.attributes | dict(request.attributes)
    if not messages.acceptable(request.metadata, attributes) or len(request.name) > 256:
        raise Impossible("metadata or attributes are too long")
    participant.name = request.name or participant.name
    participant.metadata = request.metadata or participant.metadata
    participant.set_attributes(request.attributes)
    if request.HasField("permission"):
        _permit(signalling, session, request.permission)
    signalling.changed(participant)
    return participant.info()


def update_subscriptions(signalling: Signalling, request: room.UpdateSubscriptionsRequest) -> None:
    """Subscribe or unsubscribe on somebody's behalf. Raises NotFound."""
    session = _session_of(signalling, request.identity)
    sids = [*request.track_sids, *(s for p in request.participant_tracks for s in p.track_sids)]
    if subscribing.wish(signalling, session, sids, request.subscribe) and request.subscribe:
        raise NotFound("track does not exist")


def send_data(signalling: Signalling, request: room.SendDataRequest) -> None:
    """Send a packet in nobody's name. Raises Impossible."""
    if len(request.data) > 15 * 1024:
        raise Impossible("data is longer than 15 KiB")
    data.from_server(signalling, request)


def update_metadata(signalling: Signalling, metadata: str) -> models.Room:
    """Change the room's metadata. Raises Impossible."""
    if not messages.acceptable(metadata, {}):
        raise Impossible("metadata is too long")
    signalling.room.metadata = metadata
    info = signalling.room.info()
    signalling.broadcast(rtc.SignalResponse(room_update=rtc.RoomUpdate(room=info)))
    return info


def close(
    signalling: Signalling,
    reason: models.DisconnectReason,
    now: Moment,
    action: rtc.LeaveRequest.Action = rtc.LeaveRequest.Action.DISCONNECT,
) -> None:
    """Send everybody home, or (RECONNECT) to come again."""
    for session in list(signalling.sessions.values()):
        signalling.remove(session, reason, now, action)


def _permit(
    signalling: Signalling, session: Session, permission: models.ParticipantPermission
) -> None:
    participant = session.participant
    fixed = participant.permission
    granted = models.ParticipantPermission()
    granted.CopyFrom(permission)
    # Whether somebody is seen at all is settled by their token.
    granted.hidden, granted.recorder, granted.agent = fixed.hidden, fixed.recorder, fixed.agent
    participant.permission = granted
    for track in list(participant.tracks.values()):
        if not participant.may_publish(track.info.source):
            _revoke(signalling, session, track)
    for track in signalling.room.tracks():
        subscribing.reconcile(signalling, session, track)


def _revoke(signalling: Signalling, session: Session, track: Track) -> None:
    publishing.unpublish(signalling, session, track)
    told = rtc.TrackUnpublishedResponse(track_sid=track.sid)
    session.send(rtc.SignalResponse(track_unpublished=told))
