"""The signalling of one room: who joins, resumes and leaves, and what everybody is told.

Sans-IO: messages and moments come in; each session's `outbox` fills up. After each entry point
the caller runs `settle()`, which tells participants first and negotiates media afterwards, since
clients must know of a participant before a description carries their track.
"""

from __future__ import annotations

from collections.abc import Iterable

from livekit.protocol import models, rtc

from sfu.room.participant import Participant, State
from sfu.room.room import Room
from sfu.signal import datatracks, messages, quality, subscribing
from sfu.signal.relays import Relays
from sfu.signal.session import Connection, Moment, PeerKey, Role, Session, Surroundings
from sfu.signal.token import Claims

Reason = models.DisconnectReason
Action = rtc.LeaveRequest.Action

RESUME_TIMEOUT_S = 20.0
REFRESH_INTERVAL_S = 300.0
PING_INTERVAL_S = 5
PING_TIMEOUT_S = 15
PROTOCOL = 16
SERVER_VERSION = "1.9.0"
"""The LiveKit version whose protocol is spoken: clients switch features on by it."""


class Signalling:
    """Sessions of one room."""

    def __init__(
        self,
        room: Room,
        around: Surroundings,
        *,
        resume_timeout_s: float = RESUME_TIMEOUT_S,
        relays: Relays | None = None,
    ) -> None:
        self.room = room
        self.around = around
        self.relays = relays or Relays()
        self.resume_timeout_s = resume_timeout_s
        self.sessions: dict[str, Session] = {}
        self.prefer_tcp: set[str] = set()
        self.quality_at = float("-inf")
        """When the connections are judged next."""
        self._changed: dict[str, Participant] = {}
        self._departed: list[models.ParticipantInfo] = []

    # -- coming and going ---------------------------------------------------------------------

    def enter(self, claims: Claims, join: messages.Join, now: Moment) -> Session:
        """A first join (or a full reconnect): the old session of this identity ends."""
        before = self.room.participants.get(claims.identity)
        if before is not None:
            self.remove(self.sessions[before.sid], Reason.DUPLICATE_IDENTITY, now)
        participant = self._participant(claims, join, now)
        session = Session(participant=participant, claims=claims, join=join)
        session.refresh_at = now.monotonic + REFRESH_INTERVAL_S
        self.sessions[participant.sid] = session
        self.room.add(participant)
        session.send(rtc.SignalResponse(join=self._join_response(session, now)))
        self.changed(participant)
        for track in self.room.tracks():
            subscribing.reconcile(self, session, track)
        datatracks.entered(self, session)
        quality.entered(self, session)
        if not session.single:
            self.connection(session, "subscriber").open_channels()
            session.down.stale = True
        return session

    def resume(self, sid: str, claims: Claims, now: Moment) -> Session | None:
        """Go on with a session whose WebSocket was lost; None: it is gone, join anew."""
        session = self.sessions.get(sid)
        if session is None or session.participant.identity != claims.identity:
            return None
        if any(not connection.alive for connection in session.connections.values()):
            return None
        session.outbox.clear()
        session.claims = claims
        session.attach()
        session.overflown = False
        session.refresh_at = now.monotonic + REFRESH_INTERVAL_S
        response = rtc.ReconnectResponse(
            server_info=_server_info(), ice_servers=self.relays.servers(sid, now.wall)
        )
        session.send(rtc.SignalResponse(reconnect=response))
        everyone = [p.info() for p in self.room.visible() if p is not session.participant]
        everyone += [session.participant.info(), *session.missed.values()]
        session.missed.clear()
        session.send(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=everyone)))
        subscribing.resumed(session)
        if session.data_handles:
            datatracks.tell_handles(self, session)
        return session

    def lost(self, session: Session, now: Moment) -> None:
        """The WebSocket is gone without a leave: a resume may follow."""
        session.detach(now.monotonic)
        session.outbox.clear()
        if session.connections and not any(c.alive for c in session.connections.values()):
            self.remove(session, Reason.CONNECTION_TIMEOUT, now)

    def remove(
        self,
        session: Session,
        reason: models.DisconnectReason,
        now: Moment,
        action: rtc.LeaveRequest.Action = Action.DISCONNECT,
    ) -> None:
        """End a session for good; the others are told."""
        if session.ended:
            return
        participant = session.participant
        if reason != Reason.CLIENT_INITIATED:
            session.leave(reason, action)
        session.ended = True
        self._unpublish_all(participant)
        self._forget(session)
        self._tell_departure(participant, reason)
        self.room.remove(participant, now.monotonic)

    def _forget(self, session: Session) -> None:
        sid = session.participant.sid
        for role, connection in session.connections.items():
            self.room.forwarding.remove_peer(session.key(role))
            connection.close()
        session.connections.clear()
        del self.sessions[sid]
        self._changed.pop(sid, None)

    def _unpublish_all(self, participant: Participant) -> None:
        for track in participant.published():
            self.room.forwarding.unpublish(track.sid)
            subscribing.withdrawn(self, track.sid)
            self.room.tell("track_unpublished", participant, track)
        datatracks.withdraw_all(self, participant)

    def _tell_departure(self, participant: Participant, reason: models.DisconnectReason) -> None:
        participant.state = State.DISCONNECTED
        participant.tracks.clear()
        participant.version += 1
        info = participant.info()
        info.disconnect_reason = reason
        if not participant.hidden:
            self._departed.append(info)
        event = "participant_left" if participant.was_active else "participant_connection_aborted"
        self.room.tell(event, participant)

    def _participant(self, claims: Claims, join: messages.Join, now: Moment) -> Participant:
        own = claims.grants.can_update_own_metadata
        attributes = dict(claims.attributes) | (dict(join.attributes) if own else {})
        return Participant(
            sid=self.around.new_sid("PA_"),
            identity=claims.identity,
            name=claims.name,
            metadata=(join.metadata if own else "") or claims.metadata,
            attributes=attributes,
            kind=claims.kind,
            permission=claims.grants.permission(),
            joined_ms=int(now.wall * 1000),
            client=join.client,
        )

    def _join_response(self, session: Session, now: Moment) -> rtc.JoinResponse:
        participant = session.participant
        others = [p.info() for p in self.room.visible() if p is not participant]
        return rtc.JoinResponse(
            room=self.room.info(),
            participant=participant.info(),
            other_participants=others,
            server_version=SERVER_VERSION,
            server_info=_server_info(),
            subscriber_primary=not session.single,
            ping_timeout=PING_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            # The sid, not the identity: a relay's log need not know who calls.
            ice_servers=self.relays.servers(participant.sid, now.wall),
            enabled_publish_codecs=self.room.info().enabled_codecs,
            fast_publish=True,
        )

    # -- associations -------------------------------------------------------------------------

    def connection(self, session: Session, role: Role) -> Connection:
        """The association of `role`, opened when it is first needed."""
        found = session.connections.get(role)
        if found is None:
            found = session.connections[role] = self.around.open_connection(session, role)
        return found

    def connected(self, key: PeerKey) -> None:
        """DTLS is up: with its primary association a participant becomes active."""
        session = self.sessions.get(key.participant)
        if session is None or key.role != session.primary:
            return
        participant = session.participant
        if participant.state != State.ACTIVE:
            participant.state = State.ACTIVE
            participant.was_active = True
            self.changed(participant)
            self.room.tell("participant_joined", participant)

    def disconnected(self, key: PeerKey, now: Moment) -> None:
        """An association died: with it the session, unless the client joins anew."""
        session = self.sessions.get(key.participant)
        if session is None:
            return
        if session.attached:
            session.leave(Reason.STATE_MISMATCH, Action.RECONNECT)
        elif not any(c.alive for c in session.connections.values()):
            self.remove(session, Reason.CONNECTION_TIMEOUT, now)

    # -- telling ------------------------------------------------------------------------------

    def changed(self, participant: Participant) -> None:
        """The one hook every change of a participant goes through."""
        participant.version += 1
        self._changed[participant.sid] = participant

    def broadcast(self, response: rtc.SignalResponse) -> None:
        for session in self.sessions.values():
            session.send(response)

    def settle(self) -> None:
        """Tell what changed, then negotiate media where that is due."""
        self.tell_changes()
        for session in self.sessions.values():
            if session.down.stale and session.attached:
                subscribing.negotiate(self, session)

    def tell_changes(self) -> None:
        changed, self._changed = list(self._changed.values()), {}
        departed, self._departed = self._departed, []
        if not changed and not departed:
            return
        for session in self.sessions.values():
            self._update(session, changed, departed)

    def _update(
        self,
        session: Session,
        changed: Iterable[Participant],
        departed: Iterable[models.ParticipantInfo],
    ) -> None:
        own = session.participant
        infos = [p.info() for p in changed if p is own or not p.hidden]
        infos += departed
        if not session.attached:
            session.missed.update((info.sid, info) for info in departed)
        elif infos:
            session.send(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=infos)))

    def tick(self, now: Moment) -> None:
        """Sessions nobody came back to end; tokens are renewed; connections are judged."""
        for session in list(self.sessions.values()):
            lost = session.lost_at
            if lost is not None and now.monotonic - lost >= self.resume_timeout_s:
                self.remove(session, Reason.CONNECTION_TIMEOUT, now)
            elif session.attached and now.monotonic >= session.refresh_at:
                session.refresh_at = now.monotonic + REFRESH_INTERVAL_S
                token = self.around.refreshed_token(session)
                session.send(rtc.SignalResponse(refresh_token=token))
        quality.look(self, now)


def _server_info() -> models.ServerInfo:
    return models.ServerInfo(version=SERVER_VERSION, protocol=PROTOCOL)
