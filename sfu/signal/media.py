"""What the forwarding core notices, told to those it concerns."""

from __future__ import annotations

from livekit.protocol import models, rtc

from sfu.room.events import Event, QualityDemand, Speaker, SpeakersChanged, StreamPaused
from sfu.signal.signalling import Signalling


def noticed(signalling: Signalling, event: Event) -> None:
    """Pass one event of the forwarding core on to clients."""
    if isinstance(event, SpeakersChanged):
        _speakers(signalling, event)
    elif isinstance(event, QualityDemand):
        _demand(signalling, event)
    elif isinstance(event, StreamPaused):
        _paused(signalling, event)


def _speakers(signalling: Signalling, event: SpeakersChanged) -> None:
    loudest: dict[str, Speaker] = {}
    for speaker in event.speakers:
        track = signalling.room.track(speaker.sid)
        if track is None or track.publisher.hidden:
            continue
        sid = track.publisher.sid
        if sid not in loudest or speaker.level > loudest[sid].level:
            loudest[sid] = speaker
    if loudest:
        infos = [
            models.SpeakerInfo(sid=sid, level=speaker.level, active=speaker.active)
            for sid, speaker in loudest.items()
        ]
        changed = rtc.SpeakersChanged(speakers=infos)
        signalling.broadcast(rtc.SignalResponse(speakers_changed=changed))


def _demand(signalling: Signalling, event: QualityDemand) -> None:
    track = signalling.room.track(event.sid)
    publisher = signalling.sessions.get(track.publisher.sid) if track is not None else None
    if publisher is None or track is None or track.kind != "video" or not event.enabled:
        return
    # A track of one layer has the same answer for each quality.
    layers = event.enabled if len(event.enabled) > 1 else event.enabled * 3
    qualities = [
        rtc.SubscribedQuality(quality=quality, enabled=enabled)
        for quality, enabled in zip(
            (
                models.VideoQuality.LOW,
                models.VideoQuality.MEDIUM,
                models.VideoQuality.HIGH,
            ),
            layers,
            strict=False,
        )
    ]
    codec = track.info.mime_type.rpartition("/")[2].lower()
    update = rtc.SubscribedQualityUpdate(
        track_sid=track.sid,
        subscribed_qualities=qualities,
        subscribed_codecs=[rtc.SubscribedCodec(codec=codec, qualities=qualities)],
    )
    publisher.send(rtc.SignalResponse(subscribed_quality_update=update))


def _paused(signalling: Signalling, event: StreamPaused) -> None:
    track = signalling.room.track(event.sid)
    viewers = (s for s in signalling.sessions.values() if s.down_key == event.downstream)
    state = rtc.StreamState.PAUSED if event.paused else rtc.StreamState.ACTIVE
    for viewer in viewers:
        if track is not None:
            info = rtc.StreamStateInfo(
                participant_sid=track.publisher.sid, track_sid=track.sid, state=state
            )
            update = rtc.StreamStateUpdate(stream_states=[info])
            viewer.send(rtc.SignalResponse(stream_state_update=update))
