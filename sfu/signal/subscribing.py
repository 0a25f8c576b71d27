"""Who receives what, and on which media section.

A single-connection client (v1) is asked for sections and offers them; a dual one (v0) gets our
offers on its subscriber connection, one in flight at a time. A section whose track went must be
`inactive` in one description before it carries another track, or browsers fire no event for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Literal

from livekit.protocol import models, rtc

from sfu.room.participant import Track
from sfu.signal import negotiation, sdp
from sfu.signal.negotiation import Ice, OfferSection, Plan, Send
from sfu.signal.session import DownTrack, Role, Session

if TYPE_CHECKING:
    from sfu.signal.signalling import Signalling

_QUALITIES: dict[int, Literal[0, 1, 2]] = {0: 0, 1: 1, 2: 2}


def reconcile(signalling: Signalling, session: Session, track: Track) -> None:
    """Begin or end one subscription as wishes and rights now say."""
    down = session.down
    wanted = down.wishes.get(track.sid, session.join.auto_subscribe)
    allowed = signalling.room.may_subscribe(session.participant, track)
    new = wanted and allowed and track.sid not in down.tracks
    if new and track.publication is not None:
        codec = track.publication.codec
        down.tracks[track.sid] = DownTrack(track, signalling.around.new_ssrc(), codec)
        down.stale = True
    elif track.sid in down.tracks and not (wanted and allowed):
        _drop(signalling, session, track.sid)


def published(signalling: Signalling, track: Track) -> None:
    """A track is there: everybody who wants it subscribes."""
    for session in signalling.sessions.values():
        reconcile(signalling, session, track)


def withdrawn(signalling: Signalling, sid: str) -> None:
    """A track is gone."""
    for session in signalling.sessions.values():
        session.down.wishes.pop(sid, None)
        _drop(signalling, session, sid)


def wish(
    signalling: Signalling, session: Session, sids: Iterable[str], subscribe: bool
) -> list[str]:
    """The client's choice of tracks; the sids that do not exist come back."""
    unknown = []
    for sid in dict.fromkeys(sids):
        track = signalling.room.track(sid)
        if track is None:
            unknown.append(sid)
            continue
        session.down.wishes[sid] = subscribe
        reconcile(signalling, session, track)
    return unknown


def configure(session: Session, settings: rtc.UpdateTrackSettings) -> None:
    """Pause, quality or size of tracks the client receives (track_setting)."""
    for sid in settings.track_sids:
        down = session.down.tracks.get(sid)
        if down is not None:
            down.settings = settings
            _apply(down)


def restrict(
    signalling: Signalling, publisher: Session, permission: rtc.SubscriptionPermission
) -> None:
    """A publisher says who may see their tracks, those to come included."""
    publisher.audience = permission
    for track in publisher.participant.tracks.values():
        before = track.audience
        track.audience = audience(signalling, publisher, track.sid)
        if track.audience != before and track.publication is not None:
            _tell_audience(signalling, track)


def audience(signalling: Signalling, publisher: Session, sid: str) -> frozenset[str] | None:
    """Identities the publisher admits to one track; None: everybody."""
    rules = publisher.audience
    if rules is None or rules.all_participants:
        return None
    admitted = (r for r in rules.track_permissions if r.all_tracks or sid in r.track_sids)
    return frozenset(_identity(signalling, rule) for rule in admitted)


def _identity(signalling: Signalling, rule: rtc.TrackPermission) -> str:
    session = signalling.sessions.get(rule.participant_sid)
    return rule.participant_identity or (session.participant.identity if session else "")


def _tell_audience(signalling: Signalling, track: Track) -> None:
    for session in signalling.sessions.values():
        if session.participant is track.publisher:
            continue
        update = rtc.SubscriptionPermissionUpdate(
            participant_sid=track.publisher.sid,
            track_sid=track.sid,
            allowed=signalling.room.may_subscribe(session.participant, track),
        )
        session.send(rtc.SignalResponse(subscription_permission_update=update))
        reconcile(signalling, session, track)


# -- negotiation ------------------------------------------------------------------------------


def negotiate(signalling: Signalling, session: Session) -> None:
    """Bring the client's sections in line with what it is to receive."""
    down = session.down
    if down.awaiting:
        return
    if not session.single:
        down.stale = False
        _offer(signalling, session)
    elif session.up.sections:
        down.stale = False
        down.awaiting = True
        need = {kind: _shortage(session, kind) for kind in ("audio", "video")}
        requirement = rtc.MediaSectionsRequirement(
            num_audios=need["audio"], num_videos=need["video"]
        )
        session.send(rtc.SignalResponse(media_sections_requirement=requirement))


def resumed(session: Session) -> None:
    """After a resume: what was under way is not. A dual client needs an offer with new secrets."""
    session.down.awaiting = False
    if session.single:
        session.down.stale = bool(session.down.unplaced("audio") or session.down.unplaced("video"))
    else:
        session.down.stale = True
        session.connections["subscriber"].restart_ice()


def place(signalling: Signalling, session: Session, offer: sdp.Description) -> dict[str, Plan]:
    """v1: put tracks on the free receiving sections of a client's offer."""
    down = session.down
    down.awaiting = False
    receiving = {s.mid: s for s in offer.sections if s.receives and s.mid not in session.up.mids}
    for track in down.tracks.values():
        if track.mid and track.mid not in receiving:
            _end(signalling, track)
    for section in receiving.values():
        if section.mid not in down.occupied():
            waiting = down.unplaced(section.kind)
            fitting = (t for t in waiting if negotiation.matching_codec(section, t.codec))
            for track in islice(fitting, 1):
                track.mid = section.mid
    _refuse_undecodable(session, offer)
    down.leaving.clear()
    down.stale = bool(down.unplaced("audio") or down.unplaced("video"))
    return {track.mid: send(track) for track in down.tracks.values() if track.mid}


def _end(signalling: Signalling, down: DownTrack) -> None:
    down.mid = ""
    if down.subscription is not None:
        signalling.room.forwarding.unsubscribe(down.subscription)
        down.subscription = None


def _refuse_undecodable(session: Session, offer: sdp.Description) -> None:
    """Tracks that none of the client's sections can decode: asking for more would not end."""
    for kind in ("audio", "video"):
        offered = [section for section in offer.sections if section.kind == kind]
        for down in session.down.unplaced(kind):
            if offered and not any(
                negotiation.matching_codec(section, down.codec) for section in offered
            ):
                _refuse(session, down)


def _refuse(session: Session, down: DownTrack) -> None:
    """Tell the client, once, that it cannot decode a track of its wishes."""
    if not down.refused:
        down.refused = True
        error = rtc.SubscriptionResponse(
            track_sid=down.track.sid, err=models.SubscriptionError.SE_CODEC_UNSUPPORTED
        )
        session.send(rtc.SignalResponse(subscription_response=error))


def start(signalling: Signalling, session: Session, sections: Iterable[sdp.Section]) -> None:
    """Forward the placed tracks, with the numbers their sections agreed on."""
    by_mid = {section.mid: section for section in sections}
    for down in session.down.tracks.values():
        section = by_mid.get(down.mid)
        if section is None or down.subscription is not None:
            continue
        codec = negotiation.matching_codec(section, down.codec)
        if codec is None:
            _refuse(session, down)
            continue
        down.subscription = signalling.room.forwarding.subscribe(
            down.track.sid,
            session.down_key,
            payload_type=codec.payload_type,
            ssrc=down.ssrc,
            mid=down.mid,
            extensions={uri: n for n, uri in negotiation.extensions(section, codec).items()},
            hears_all=session.participant.hears_all,
        )
        _apply(down)
        _tell_first_subscriber(signalling, down.track)


def answered(signalling: Signalling, session: Session, answer: rtc.SessionDescription) -> None:
    """v0: the client took our offer. Raises sdp.BadDescription."""
    down = session.down
    if answer.id and answer.id != down.offer_id:
        return
    description = sdp.parse(answer.sdp)
    down.awaiting = False
    down.leaving.clear()
    if not session.connections["subscriber"].alive:
        return
    session.connections["subscriber"].connect(description.fingerprint)
    start(signalling, session, [s for s in description.sections if s.receives])


def track_ids(session: Session) -> dict[str, str]:
    """mid -> sid of the tracks this client receives."""
    return {down.mid: down.track.sid for down in session.down.tracks.values() if down.mid}


def send(down: DownTrack) -> Send:
    """What a description says of one track; the stream part names the track too, as browsers
    keep the old receiver's id when a section is used again."""
    sid = down.track.sid
    publisher = down.track.publisher.sid
    stereo = models.AudioTrackFeature.TF_STEREO in down.track.info.audio_features
    return Send(
        stream=f"{publisher}|{sid}",
        track=sid,
        ssrc=down.ssrc,
        stereo=stereo,
        codec=down.codec,
    )


def ice(signalling: Signalling, session: Session, role: Role) -> Ice:
    """Our side of one association, for a description."""
    connection = signalling.connection(session, role)
    candidates = signalling.around.candidates
    if session.participant.identity in signalling.prefer_tcp:
        candidates = tuple(c for c in candidates if " tcp " in c.lower())
    return Ice(
        ufrag=connection.ufrag,
        pwd=connection.pwd,
        fingerprint=signalling.around.fingerprint,
        candidates=candidates,
    )


def _offer(signalling: Signalling, session: Session) -> None:
    down = session.down
    sections = [OfferSection(kind="application", mid="0"), *_placed(session)]
    down.offer_id += 1
    down.awaiting = True
    text = str(negotiation.offer(sections, ice(signalling, session, "subscriber"), down.offer_id))
    description = rtc.SessionDescription(
        type="offer", sdp=text, id=down.offer_id, mid_to_track_id=track_ids(session)
    )
    session.send(rtc.SignalResponse(offer=description))


def _placed(session: Session) -> list[OfferSection]:
    down = session.down
    for waiting in [track for track in down.tracks.values() if not track.mid]:
        kind, taken = waiting.track.kind, down.occupied()
        free = (mid for mid, k in down.places if k == kind and mid not in taken)
        waiting.mid = next(free, "") or str(len(down.places) + 1)
        if (waiting.mid, kind) not in down.places:
            down.places.append((waiting.mid, kind))
    sends = {t.mid: send(t) for t in down.tracks.values()}
    return [OfferSection(kind=k, mid=mid, send=sends.get(mid)) for mid, k in down.places]


def _shortage(session: Session, kind: str) -> int:
    taken = session.down.occupied() | set(session.up.mids)
    sections = session.up.sections.values()
    free = [s for s in sections if s.kind == kind and s.receives and s.mid not in taken]
    return max(0, len(session.down.unplaced(kind)) - len(free))


def _drop(signalling: Signalling, session: Session, sid: str) -> None:
    down = session.down.tracks.pop(sid, None)
    if down is None:
        return
    if down.mid:
        session.down.leaving.add(down.mid)
        session.down.stale = True
    _end(signalling, down)


def _apply(down: DownTrack) -> None:
    settings = down.settings
    if settings is None or down.subscription is None:
        return
    sized = settings.width > 0 and settings.height > 0
    down.subscription.want(
        enabled=not settings.disabled,
        quality=None if sized else _QUALITIES.get(settings.quality),
        width=settings.width,
        height=settings.height,
        priority=settings.priority,
    )


def _tell_first_subscriber(signalling: Signalling, track: Track) -> None:
    publisher = signalling.sessions.get(track.publisher.sid)
    if publisher is not None and track.sid not in publisher.told_subscribed:
        publisher.told_subscribed.add(track.sid)
        told = rtc.TrackSubscribed(track_sid=track.sid)
        publisher.send(rtc.SignalResponse(track_subscribed=told))
