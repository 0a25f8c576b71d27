"""Data tracks: named streams of small packets, forwarded unread to those who asked for them.

A packet begins with a header of 12 bytes: version (3 bits), flags, then at offset 2 the handle as a
big-endian 16-bit number, sequence, frame and timestamp (livekit-datatrack, packet-v0). The
publisher chooses its handles; each subscriber is told handles of its own, so only those two bytes
are rewritten.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from livekit.protocol import models, rtc

from sfu.room.participant import Participant
from sfu.signal.negotiation import MAX_DATA_MESSAGE
from sfu.signal.session import Session

if TYPE_CHECKING:
    from sfu.signal.signalling import Signalling

CHANNEL = "_data_track"
MAX_DATA_TRACKS = 64
MAX_NAME = 256
_HEADER = 12
_VERSION = 0
_HANDLE = struct.Struct(">H")
_LAST_HANDLE = 0xFFFF

Reason = rtc.RequestResponse.Reason


def publish(signalling: Signalling, session: Session, request: rtc.PublishDataTrackRequest) -> None:
    """The client learns the sid of its data track, or why it may not publish it."""
    refusal = _refusal(session.participant, request)
    if refusal is not None:
        return _refuse(session, *refusal, publish_data_track=request)
    info = models.DataTrackInfo(
        pub_handle=request.pub_handle,
        sid=signalling.around.new_sid("DTR_"),
        name=request.name,
        encryption=request.encryption,
    )
    for name in ("frame_encoding", "schema"):
        if request.HasField(name):
            getattr(info, name).CopyFrom(getattr(request, name))
    session.participant.data_tracks[request.pub_handle] = info
    response = rtc.PublishDataTrackResponse(info=info)
    session.send(rtc.SignalResponse(publish_data_track_response=response))
    signalling.changed(session.participant)
    for other in list(signalling.sessions.values()):
        if other is not session and _wants_all(other):
            _add(other, info.sid)
            tell_handles(signalling, other)


def unpublish(
    signalling: Signalling, session: Session, request: rtc.UnpublishDataTrackRequest
) -> None:
    """The client withdraws a data track."""
    info = session.participant.data_tracks.pop(request.pub_handle, None)
    if info is None:
        return _refuse(
            session, Reason.NOT_FOUND, "no such data track", unpublish_data_track=request
        )
    response = rtc.UnpublishDataTrackResponse(info=info)
    session.send(rtc.SignalResponse(unpublish_data_track_response=response))
    signalling.changed(session.participant)
    _forget(signalling, info.sid)


def withdraw_all(signalling: Signalling, participant: Participant) -> None:
    """Somebody left, or may no longer publish data."""
    tracks, participant.data_tracks = participant.data_tracks, {}
    for info in tracks.values():
        _forget(signalling, info.sid)


def subscribe(
    signalling: Signalling, session: Session, request: rtc.UpdateDataSubscription
) -> None:
    """The client wants some data tracks and others no longer; it is told their handles."""
    there = {info.sid for _, info in _published(signalling, session)}
    for update in request.updates:
        if not update.subscribe:
            session.data_handles.pop(update.track_sid, None)
        elif update.track_sid in there and session.participant.permission.can_subscribe:
            _add(session, update.track_sid)
    tell_handles(signalling, session)


def entered(signalling: Signalling, session: Session) -> None:
    """A client joined: it gets what is there already, if it asked for all."""
    if _wants_all(session):
        for _, info in _published(signalling, session):
            _add(session, info.sid)
    if session.data_handles:
        tell_handles(signalling, session)


def tell_handles(signalling: Signalling, session: Session) -> None:
    """Which handle stands for which data track in the packets this client gets: all of them."""
    handles = rtc.DataTrackSubscriberHandles()
    for publisher, info in _published(signalling, session):
        handle = session.data_handles.get(info.sid)
        if handle is not None:
            handles.sub_handles[handle].CopyFrom(
                rtc.DataTrackSubscriberHandles.PublishedDataTrack(
                    publisher_identity=publisher.identity,
                    publisher_sid=publisher.sid,
                    track_sid=info.sid,
                )
            )
    session.send(rtc.SignalResponse(data_track_subscriber_handles=handles))


def received(signalling: Signalling, session: Session, packet: bytes) -> str:
    """Forward one packet of a data track. Returns '' or the named reason it was dropped."""
    if not _HEADER <= len(packet) <= MAX_DATA_MESSAGE or packet[0] >> 5 != _VERSION:
        return "data_track_malformed"
    if not session.participant.permission.can_publish_data:
        return "data_not_permitted"
    info = session.participant.data_tracks.get(_HANDLE.unpack_from(packet, 2)[0])
    if info is None:
        return "data_track_unknown"
    dropped = ""
    for other in signalling.sessions.values():
        handle = other.data_handles.get(info.sid)
        if handle is None:
            continue
        connection = other.connections.get(other.primary)
        rewritten = packet[:2] + _HANDLE.pack(handle) + packet[4:]
        if connection is None or not connection.send_data(CHANNEL, rewritten):
            dropped = "data_receiver_not_ready"
    return dropped


def _refusal(
    participant: Participant, request: rtc.PublishDataTrackRequest
) -> tuple[rtc.RequestResponse.Reason, str] | None:
    tracks = participant.data_tracks
    if not participant.permission.can_publish_data:
        return Reason.NOT_ALLOWED, "not allowed to publish data"
    if not 0 < request.pub_handle <= _LAST_HANDLE:
        return Reason.INVALID_HANDLE, "a handle is a number from 1 to 65535"
    if not 0 < len(request.name) <= MAX_NAME:
        return Reason.INVALID_NAME, f"a name has 1 to {MAX_NAME} characters"
    if request.pub_handle in tracks:
        return Reason.DUPLICATE_HANDLE, "this handle is in use"
    if any(info.name == request.name for info in tracks.values()):
        return Reason.DUPLICATE_NAME, "this name is in use"
    if len(tracks) >= MAX_DATA_TRACKS:
        return Reason.LIMIT_EXCEEDED, "too many data tracks"
    return None


def _refuse(
    session: Session,
    reason: rtc.RequestResponse.Reason,
    message: str,
    *,
    publish_data_track: rtc.PublishDataTrackRequest | None = None,
    unpublish_data_track: rtc.UnpublishDataTrackRequest | None = None,
) -> None:
    response = rtc.RequestResponse(
        reason=reason,
        message=message,
        publish_data_track=publish_data_track,
        unpublish_data_track=unpublish_data_track,
    )
    session.send(rtc.SignalResponse(request_response=response))


def _published(
    signalling: Signalling, session: Session
) -> Iterator[tuple[Participant, models.DataTrackInfo]]:
    """The data tracks of all the others."""
    for participant in signalling.room.visible():
        if participant is not session.participant:
            for info in participant.data_tracks.values():
                yield participant, info


def _wants_all(session: Session) -> bool:
    return session.join.auto_subscribe_data and session.participant.permission.can_subscribe


def _add(session: Session, sid: str) -> None:
    # Handles are never given twice: a late packet of an old track must not be taken for a new one.
    if sid not in session.data_handles and session.next_data_handle <= _LAST_HANDLE:
        session.data_handles[sid] = session.next_data_handle
        session.next_data_handle += 1


def _forget(signalling: Signalling, sid: str) -> None:
    for session in signalling.sessions.values():
        if session.data_handles.pop(sid, None) is not None:
            tell_handles(signalling, session)
