"""What clients publish: announced by add_track, bound to media by their offer, muted, withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from livekit.protocol import models, rtc

from sfu.room.forwarding import Codec
from sfu.room.participant import MAX_TRACKS, Track
from sfu.signal import negotiation, sdp, subscribing
from sfu.signal.negotiation import CODECS, Plan, Receive
from sfu.signal.sdp import Format, Section
from sfu.signal.session import Session

if TYPE_CHECKING:
    from sfu.signal.signalling import Signalling

Refusal = rtc.RequestResponse.Reason

_LAYER_ORDER = {"q": 0, "h": 1, "f": 2}
_PREFIXES = {
    models.TrackSource.CAMERA: "TR_VC",
    models.TrackSource.MICROPHONE: "TR_AM",
    models.TrackSource.SCREEN_SHARE: "TR_VS",
    models.TrackSource.SCREEN_SHARE_AUDIO: "TR_AS",
}
_NO_TRACK = models.TrackType.DATA


def announce(signalling: Signalling, session: Session, request: rtc.AddTrackRequest) -> None:
    """add_track: the client learns the sid of its track, or why it may not publish."""
    participant = session.participant
    if not participant.may_publish(request.source):
        return _refuse(session, request, Refusal.NOT_ALLOWED, "not allowed to publish this source")
    if request.type == _NO_TRACK or not request.cid:
        return _refuse(session, request, Refusal.UNSUPPORTED_TYPE, "no such kind of track")
    track = next((t for t in participant.pending() if t.cid == request.cid), None)
    if track is None:
        if len(participant.tracks) >= MAX_TRACKS:
            return _refuse(session, request, Refusal.LIMIT_EXCEEDED, "too many tracks")
        prefix = _PREFIXES.get(request.source, "TR_")
        track = Track(_info(request, signalling.around.new_sid(prefix)), participant, request.cid)
        track.audience = subscribing.audience(signalling, session, track.sid)
        participant.tracks[track.sid] = track
    response = rtc.TrackPublishedResponse(cid=request.cid, track=track.info)
    session.send(rtc.SignalResponse(track_published=response))


def _refuse(
    session: Session,
    request: rtc.AddTrackRequest,
    reason: rtc.RequestResponse.Reason,
    message: str,
) -> None:
    response = rtc.RequestResponse(reason=reason, message=message, add_track=request)
    session.send(rtc.SignalResponse(request_response=response))


def offered(signalling: Signalling, session: Session, offer: rtc.SessionDescription) -> None:
    """A client's offer, answered. Raises sdp.BadDescription."""
    description = sdp.parse(offer.sdp)
    connection = signalling.connection(session, "publisher")
    if not connection.alive:
        return session.leave(
            models.DisconnectReason.STATE_MISMATCH, rtc.LeaveRequest.Action.RECONNECT
        )
    if not description.fingerprint or not description.ufrag:
        raise sdp.BadDescription("the offer lacks a sha-256 fingerprint or ICE credentials")
    if session.up.ufrag and session.up.ufrag != description.ufrag:
        connection.restart_ice()
    session.up.ufrag = description.ufrag
    plans = _bind(signalling, session, description)
    if session.single:
        plans |= subscribing.place(signalling, session, description)
    connection.connect(description.fingerprint)
    _answer(signalling, session, offer.id, description, plans)
    if session.single:
        subscribing.start(signalling, session, description.sections)


def _answer(
    signalling: Signalling,
    session: Session,
    number: int,
    description: sdp.Description,
    plans: dict[str, Plan],
) -> None:
    ours = subscribing.ice(signalling, session, "publisher")
    text = str(negotiation.answer(description, plans, ours))
    mids = subscribing.track_ids(session) if session.single else {}
    # Tracks on these sections must be known to the client before it reads the description.
    signalling.tell_changes()
    answer = rtc.SessionDescription(type="answer", sdp=text, id=number, mid_to_track_id=mids)
    session.send(rtc.SignalResponse(answer=answer))


def mute(signalling: Signalling, session: Session, sid: str, muted: bool) -> None:
    """The client muted or unmuted its own track; unknown sids are ignored."""
    track = session.participant.tracks.get(sid)
    if track is not None and track.info.muted != muted:
        track.mute(muted)
        signalling.changed(session.participant)


def unpublish(signalling: Signalling, session: Session, track: Track) -> None:
    """Forget a track, by the client's description or because a right was withdrawn."""
    participant = session.participant
    participant.tracks.pop(track.sid, None)
    session.up.mids = {mid: sid for mid, sid in session.up.mids.items() if sid != track.sid}
    if track.publication is None:
        return
    signalling.room.forwarding.unpublish(track.sid)
    subscribing.withdrawn(signalling, track.sid)
    track.publication = None
    signalling.changed(participant)
    signalling.room.tell("track_unpublished", participant, track)


def update_audio(
    signalling: Signalling, session: Session, request: rtc.UpdateLocalAudioTrack
) -> None:
    """The client changed features of its audio (noise suppression and the like)."""
    track = session.participant.tracks.get(request.track_sid)
    if track is not None:
        del track.info.audio_features[:]
        track.info.audio_features.extend(request.features)
        signalling.changed(session.participant)


def update_video(
    signalling: Signalling, session: Session, request: rtc.UpdateLocalVideoTrack
) -> None:
    """The client changed the size of its video."""
    track = session.participant.tracks.get(request.track_sid)
    if track is not None:
        track.info.width, track.info.height = request.width, request.height
        signalling.changed(session.participant)


def _info(request: rtc.AddTrackRequest, sid: str) -> models.TrackInfo:
    kind = "audio" if request.type == models.TrackType.AUDIO else "video"
    info = models.TrackInfo(
        sid=sid,
        type=request.type,
        name=request.name,
        muted=request.muted,
        width=request.width,
        height=request.height,
        simulcast=len(request.layers) > 1,
        disable_dtx=request.disable_dtx,
        source=request.source,
        layers=request.layers,
        mime_type=_requested(request, kind),
        stereo=request.stereo,
        disable_red=True,
        encryption=request.encryption,
        stream=request.stream,
        audio_features=request.audio_features,
        packet_trailer_features=request.packet_trailer_features,
        backup_codec_policy=request.backup_codec_policy,
    )
    if request.stereo and models.AudioTrackFeature.TF_STEREO not in info.audio_features:
        info.audio_features.append(models.AudioTrackFeature.TF_STEREO)
    if kind == "video":
        info.codecs.add(mime_type=info.mime_type, cid=request.cid, layers=request.layers)
    return info


def _requested(request: rtc.AddTrackRequest, kind: str) -> str:
    """The media type a client announced ("vp9" or "video/VP9"), for those that do."""
    named = next((codec.codec for codec in request.simulcast_codecs if codec.codec), "")
    named = named.rpartition("/")[2].lower()
    known = {name.lower(): name for name in CODECS[kind]}
    return f"{kind}/{known.get(named, CODECS[kind][0])}"


# -- binding ----------------------------------------------------------------------------------


def _bind(
    signalling: Signalling, session: Session, description: sdp.Description
) -> dict[str, Plan]:
    sending = [s for s in description.sections if s.sends and negotiation.wanted_codec(s)]
    session.up.sections = {section.mid: section for section in description.sections}
    _withdraw_silent(signalling, session, {section.mid for section in sending})
    plans: dict[str, Plan] = {}
    for section in sending:
        track = _track_of(signalling, session, section)
        if track is not None:
            plans[section.mid] = Receive(
                codec=_format(section, track),
                stereo=track.info.stereo,
                dtx=not track.info.disable_dtx,
            )
    _bind_receive(signalling, session, sending)
    return plans


def _withdraw_silent(signalling: Signalling, session: Session, sending: set[str]) -> None:
    for mid, sid in list(session.up.mids.items()):
        if mid not in sending:
            unpublish(signalling, session, session.participant.tracks[sid])


def _track_of(signalling: Signalling, session: Session, section: Section) -> Track | None:
    """The track a sending section carries: the one it carried, else the announced one it names,
    else the oldest announced one of its kind (browsers may change a track's id)."""
    participant = session.participant
    pending = [track for track in participant.pending() if track.kind == section.kind]
    named = next((track for track in pending if track.cid == section.msid[1]), None)
    bound = session.up.mids.get(section.mid)
    if bound is not None and named is None:
        return participant.tracks[bound]
    if bound is not None:
        unpublish(signalling, session, participant.tracks[bound])
    track = named or next(iter(pending), None)
    if track is not None:
        _publish(signalling, session, section, track)
    return track


def _publish(signalling: Signalling, session: Session, section: Section, track: Track) -> None:
    codec = _codec(section, track)
    rids = layers_of(section)
    track.info.mime_type = f"{section.kind}/{_format(section, track).name}"
    track.info.mid = section.mid
    track.info.simulcast = len(rids) > 1
    for info in track.info.codecs:
        info.mid, info.mime_type = section.mid, track.info.mime_type
    session.up.mids[section.mid] = track.sid
    kind: Literal["audio", "video"] = "audio" if section.kind == "audio" else "video"
    track.publication = signalling.room.forwarding.publish(
        track.sid,
        kind=kind,
        codec=codec,
        upstream=session.key("publisher"),
        rids=rids,
        sizes=tuple((layer.width, layer.height) for layer in _by_quality(track.info)),
    )
    track.publication.muted = track.info.muted
    signalling.changed(session.participant)
    subscribing.published(signalling, track)
    signalling.room.tell("track_published", session.participant, track)


def _by_quality(info: models.TrackInfo) -> list[models.VideoLayer]:
    return sorted(info.layers, key=lambda layer: layer.quality)


def layers_of(section: Section) -> tuple[str, ...]:
    """The rids of a section, lowest layer first."""
    rids = section.rids()
    if all(rid in _LAYER_ORDER for rid in rids):
        return tuple(sorted(rids, key=_LAYER_ORDER.__getitem__))
    return rids


def _format(section: Section, track: Track) -> Format:
    wanted = negotiation.wanted_codec(section, track.info.mime_type.rpartition("/")[2])
    assert wanted is not None, "only sections with a codec of ours are bound"  # noqa: S101
    return wanted


def _codec(section: Section, track: Track) -> Codec:
    wanted = _format(section, track)
    repair = negotiation.repair_codec(section, wanted)
    return Codec(
        mime=f"{section.kind}/{wanted.name}".lower(),
        payload_type=wanted.payload_type,
        clock_rate=wanted.clock_rate,
        fmtp=wanted.fmtp,
        rtx_payload_type=repair.payload_type if repair is not None else None,
    )


def _bind_receive(signalling: Signalling, session: Session, sending: list[Section]) -> None:
    mids, tracks = session.up.mids, session.participant.tracks
    bound = [section for section in sending if section.mid in mids]
    extensions: dict[int, str] = {}
    codecs: dict[int, Codec] = {}
    for section in bound:
        track = tracks[mids[section.mid]]
        extensions |= negotiation.extensions(section, _format(section, track))
        codec = _codec(section, track)
        codecs[codec.payload_type] = codec
    ssrcs = {ssrc: mids[section.mid] for section in bound for ssrc in section.ssrcs()}
    signalling.room.forwarding.bind_receive(
        session.key("publisher"),
        extensions=extensions,
        mids={section.mid: mids[section.mid] for section in bound},
        ssrcs=ssrcs,
        payload_types=codecs,
    )
