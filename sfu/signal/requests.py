"""One SignalRequest after the other: which part of signalling answers it."""

from __future__ import annotations

from collections.abc import Callable

from livekit.protocol import models, rtc

from sfu.signal import datatracks, messages, publishing, sdp, subscribing
from sfu.signal.session import Moment, Session
from sfu.signal.signalling import Signalling

Reason = rtc.RequestResponse.Reason
Handler = Callable[[Signalling, Session, rtc.SignalRequest, Moment], None]


def receive(
    signalling: Signalling, session: Session, request: rtc.SignalRequest, now: Moment
) -> str:
    """Answer one request. Returns '' or the named reason it was ignored; never raises for what
    a client may send."""
    name = request.WhichOneof("message")
    handler = _HANDLERS.get(name or "")
    if handler is None or session.ended:
        return "request_unknown"
    try:
        handler(signalling, session, request, now)
    except sdp.BadDescription:
        return "request_bad_description"
    return ""


def begin(signalling: Signalling, session: Session) -> str:
    """What a joining client already asked for within its join request."""
    for track in session.join.tracks:
        publishing.announce(signalling, session, track)
    if session.join.offer is None:
        return ""
    try:
        publishing.offered(signalling, session, session.join.offer)
    except sdp.BadDescription:
        return "request_bad_description"
    return ""


def _offer(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    publishing.offered(s, session, request.offer)


def _answer(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    if not session.single:
        subscribing.answered(s, session, request.answer)


def _add_track(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    publishing.announce(s, session, request.add_track)


def _mute(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    publishing.mute(s, session, request.mute.sid, request.mute.muted)


def _subscription(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    update = request.subscription
    sids = [*update.track_sids, *(sid for p in update.participant_tracks for sid in p.track_sids)]
    for sid in subscribing.wish(s, session, sids, update.subscribe):
        error = rtc.SubscriptionResponse(
            track_sid=sid, err=models.SubscriptionError.SE_TRACK_NOTFOUND
        )
        if update.subscribe:
            session.send(rtc.SignalResponse(subscription_response=error))


def _track_setting(
    s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment
) -> None:
    subscribing.configure(session, request.track_setting)


def _permission(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    subscribing.restrict(s, session, request.subscription_permission)


def _leave(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    s.remove(session, models.DisconnectReason.CLIENT_INITIATED, now)


def _ping(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    session.send(rtc.SignalResponse(pong=int(now.wall * 1000)))


def _ping_request(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    pong = rtc.Pong(last_ping_timestamp=request.ping_req.timestamp, timestamp=int(now.wall * 1000))
    session.send(rtc.SignalResponse(pong_resp=pong))


def _metadata(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    update, participant = request.update_metadata, session.participant
    attributes = participant.attributes | dict(update.attributes)
    if not participant.permission.can_update_metadata:
        return _respond(session, update, Reason.NOT_ALLOWED, "may not update own metadata")
    if not messages.acceptable(update.metadata, attributes) or len(update.name) > 256:
        return _respond(session, update, Reason.LIMIT_EXCEEDED, "metadata is too long")
    participant.metadata = update.metadata or participant.metadata
    participant.name = update.name or participant.name
    participant.set_attributes(update.attributes)
    s.changed(participant)
    _respond(session, update, Reason.OK, "")


def _respond(
    session: Session,
    update: rtc.UpdateParticipantMetadata,
    reason: rtc.RequestResponse.Reason,
    message: str,
) -> None:
    response = rtc.RequestResponse(request_id=update.request_id, reason=reason, message=message)
    session.send(rtc.SignalResponse(request_response=response))


def _update_audio(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    publishing.update_audio(s, session, request.update_audio_track)


def _update_video(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    publishing.update_video(s, session, request.update_video_track)


def _publish_data(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    datatracks.publish(s, session, request.publish_data_track_request)


def _unpublish_data(
    s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment
) -> None:
    datatracks.unpublish(s, session, request.unpublish_data_track_request)


def _subscribe_data(
    s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment
) -> None:
    datatracks.subscribe(s, session, request.update_data_subscription)


def _simulate(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    """What the SDKs' own reconnection tests ask for; it concerns the asking client alone."""
    scenario = request.simulate.WhichOneof("scenario")
    if scenario == "switch_candidate_protocol":
        # The client joins anew by itself and finds TCP candidates alone.
        s.prefer_tcp.add(session.participant.identity)
        return
    if scenario in ("leave_request_full_reconnect", "server_leave", "node_failure", "migration"):
        session.leave(models.DisconnectReason.STATE_MISMATCH, rtc.LeaveRequest.Action.RECONNECT)


def _nothing(s: Signalling, session: Session, request: rtc.SignalRequest, now: Moment) -> None:
    """Needs no answer: ICE-lite learns addresses from checks, and a resumed session knows its
    subscriptions."""


_HANDLERS: dict[str, Handler] = {
    "offer": _offer,
    "answer": _answer,
    "trickle": _nothing,
    "add_track": _add_track,
    "mute": _mute,
    "subscription": _subscription,
    "track_setting": _track_setting,
    "leave": _leave,
    "update_layers": _nothing,
    "subscription_permission": _permission,
    "sync_state": _nothing,
    "simulate": _simulate,
    "ping": _ping,
    "ping_req": _ping_request,
    "update_metadata": _metadata,
    "update_audio_track": _update_audio,
    "update_video_track": _update_video,
    "publish_data_track_request": _publish_data,
    "unpublish_data_track_request": _unpublish_data,
    "update_data_subscription": _subscribe_data,
}
