"""Joining, resuming, leaving, and what everybody is told."""

import pytest
from livekit.protocol import models, rtc

from sfu.room.participant import State
from sfu.room.room import Limits
from sfu.signal.session import MAX_OUTBOX, PeerKey
from sfu.signal.token import Claims, Grants
from tests.sfu.signal.stage import Stage, description, kinds, last, later, taken

Reason = models.DisconnectReason
Action = rtc.LeaveRequest.Action


def claims(identity: str) -> Claims:
    return Claims(api_key="key", identity=identity, grants=Grants(room="room", room_join=True))


def events(stage: Stage) -> list[str]:
    return [event.name for event in stage.registry.take_events()]


def test_the_first_message_is_join_and_the_offer_is_answered() -> None:
    stage = Stage()
    alice = stage.join("alice")
    told = taken(alice)
    assert [r.WhichOneof("message") for r in told] == ["join", "update", "answer"]
    join = told[0].join
    assert join.participant.identity == "alice"
    assert join.participant.sid.startswith("PA_")
    assert join.room.name == "room"
    assert (join.ping_interval, join.ping_timeout) == (5, 15)
    assert not join.subscriber_primary
    assert join.fast_publish
    assert told[2].answer.id == 1
    noted = stage.world.noted["alice", "publisher"]
    assert noted.fingerprints[0].startswith("sha-256 ")
    assert noted.ufrag in told[2].answer.sdp


def test_a_dual_client_gets_an_offer_at_once() -> None:
    stage = Stage()
    alice = stage.join("alice", single=False)
    told = taken(alice)
    assert [r.WhichOneof("message") for r in told] == ["join", "update", "offer"]
    assert told[0].join.subscriber_primary
    assert "webrtc-datachannel" in told[2].offer.sdp
    assert stage.world.noted["alice", "subscriber"].channels == 1


def test_others_are_told_of_who_comes() -> None:
    stage = Stage()
    alice = stage.join("alice")
    taken(alice)
    bob = stage.join("bob")
    update = last(alice, "update").update
    assert [p.identity for p in update.participants] == ["bob"]
    assert [p.identity for p in taken(bob)[0].join.other_participants] == ["alice"]


def test_nobody_is_told_of_a_hidden_participant() -> None:
    stage = Stage()
    alice = stage.join("alice")
    taken(alice)
    ghost = stage.join("ghost", hidden=True)
    assert kinds(alice) == []
    joined = taken(ghost)
    assert [p.identity for p in joined[0].join.other_participants] == ["alice"]
    assert [p.identity for p in joined[1].update.participants] == ["ghost"]
    carol = stage.join("carol")
    assert [p.identity for p in taken(carol)[0].join.other_participants] == ["alice"]
    stage.signalling.remove(ghost, Reason.CLIENT_INITIATED, later(1))
    taken(alice)
    stage.signalling.settle()
    assert kinds(alice) == []


def test_an_agent_is_told_as_one() -> None:
    stage = Stage()
    stage.join("scribe", kind=models.ParticipantInfo.Kind.AGENT)
    bob = stage.join("bob")
    others = taken(bob)[0].join.other_participants
    assert [p.kind for p in others] == [models.ParticipantInfo.Kind.AGENT]


def test_attributes_at_the_join_need_a_right() -> None:
    stage = Stage()
    bob = stage.join("bob", attributes={"a": "b"}, metadata="m")
    assert (bob.participant.attributes, bob.participant.metadata) == ({}, "")
    carol = stage.join("carol", attributes={"a": "b"}, metadata="m", can_update_own_metadata=True)
    assert (carol.participant.attributes, carol.participant.metadata) == ({"a": "b"}, "m")


def test_active_with_the_primary_association() -> None:
    stage = Stage()
    alice = stage.join("alice")
    assert alice.participant.state == State.JOINED
    assert events(stage) == ["room_started"]
    stage.signalling.connected(PeerKey(alice.participant.sid, "subscriber"))
    assert alice.participant.state == State.JOINED
    for _ in range(2):
        stage.signalling.connected(PeerKey(alice.participant.sid, "publisher"))
    stage.signalling.connected(PeerKey("PA_unknown", "publisher"))
    assert alice.participant.state == State.ACTIVE
    assert events(stage) == ["participant_joined"]


def test_the_same_identity_twice() -> None:
    stage = Stage()
    first = stage.join("alice")
    taken(first)
    second = stage.join("alice")
    leave = last(first, "leave").leave
    assert (leave.reason, leave.action) == (Reason.DUPLICATE_IDENTITY, Action.DISCONNECT)
    assert first.ended
    assert list(stage.signalling.sessions.values()) == [second]
    assert not first.connections


def test_a_leave_is_told_and_ends_the_session() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    stage.signalling.connected(PeerKey(alice.participant.sid, "publisher"))
    events(stage)
    taken(bob)
    noted = stage.world.noted["alice", "publisher"]
    stage.ask(alice, leave=rtc.LeaveRequest())
    info = last(bob, "update").update.participants[0]
    assert (info.identity, info.state) == ("alice", State.DISCONNECTED)
    assert info.disconnect_reason == Reason.CLIENT_INITIATED
    assert not noted.alive
    assert events(stage) == ["participant_left"]
    stage.signalling.remove(alice, Reason.CLIENT_INITIATED, later(1))
    assert events(stage) == []
    assert stage.ask(alice, ping=1) == "request_unknown"


def test_who_never_connected_has_aborted() -> None:
    stage = Stage()
    alice = stage.join("alice")
    events(stage)
    stage.signalling.remove(alice, Reason.PARTICIPANT_REMOVED, later(1))
    assert events(stage) == ["participant_connection_aborted"]


def test_a_resume_goes_on_with_the_same_participant() -> None:
    stage = Stage()
    alice, bob, carol = stage.join("alice"), stage.join("bob"), stage.join("carol")
    stage.signalling.lost(alice, later(1))
    assert kinds(alice) == []
    stage.ask(carol, leave=rtc.LeaveRequest())
    assert stage.signalling.resume(alice.participant.sid, claims("alice"), later(5)) is alice
    told = taken(alice)
    assert [r.WhichOneof("message") for r in told] == ["reconnect", "update"]
    states = {p.identity: p.state for p in told[1].update.participants}
    assert states == {
        "alice": State.JOINED,
        "bob": State.JOINED,
        "carol": State.DISCONNECTED,
    }
    stage.signalling.tick(later(30))
    assert not alice.ended
    assert not bob.ended


def test_less_silence_is_borne_while_the_socket_is_gone() -> None:
    stage = Stage()
    alice = stage.join("alice")
    noted = stage.world.noted["alice", "publisher"]
    stage.signalling.lost(alice, later(1))
    assert not noted.attended
    stage.signalling.resume(alice.participant.sid, claims("alice"), later(5))
    assert noted.attended


def test_a_resumed_client_restarts_ice_with_its_offer() -> None:
    stage = Stage()
    alice = stage.join("alice")
    noted = stage.world.noted["alice", "publisher"]
    stage.offer(alice, "chromium_v1_join")
    assert noted.restarts == 0
    text = description("chromium_v1_join").replace("a=ice-ufrag:", "a=ice-ufrag:x")
    stage.offer(alice, text)
    assert noted.restarts == 1
    assert noted.ufrag in last(alice, "answer").answer.sdp


def test_a_resumed_dual_client_gets_an_offer_with_new_secrets() -> None:
    stage = Stage()
    alice = stage.join("alice", single=False)
    stage.signalling.lost(alice, later(1))
    taken(alice)
    stage.signalling.resume(alice.participant.sid, claims("alice"), later(2))
    stage.signalling.settle()
    assert stage.world.noted["alice", "subscriber"].restarts == 1
    assert stage.world.noted["alice", "subscriber"].ufrag.endswith("r1")


@pytest.mark.parametrize(("sid", "identity"), [("PA_other", "alice"), ("", "mallory")])
def test_a_resume_of_somebody_else_is_refused(sid: str, identity: str) -> None:
    stage = Stage()
    alice = stage.join("alice")
    asked = sid or alice.participant.sid
    assert stage.signalling.resume(asked, claims(identity), later(1)) is None


def test_a_resume_over_a_dead_association_is_refused() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.world.noted["alice", "publisher"].alive = False
    assert stage.signalling.resume(alice.participant.sid, claims("alice"), later(1)) is None


def test_nobody_comes_back() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.signalling.lost(alice, later(1))
    stage.signalling.tick(later(20))
    assert not alice.ended
    stage.signalling.tick(later(21))
    assert alice.ended


def test_without_socket_and_association_a_session_is_over_at_once() -> None:
    stage = Stage()
    alice, bob, carol = stage.join("alice"), stage.join("bob"), stage.join("carol", offer=None)
    stage.world.noted["alice", "publisher"].alive = False
    stage.signalling.lost(alice, later(1))
    assert alice.ended
    stage.signalling.lost(bob, later(1))
    key = PeerKey(bob.participant.sid, "publisher")
    stage.signalling.disconnected(key, later(2))
    assert not bob.ended
    stage.world.noted["bob", "publisher"].alive = False
    stage.signalling.disconnected(key, later(2))
    assert bob.ended
    stage.signalling.disconnected(key, later(2))
    stage.signalling.lost(carol, later(1))
    assert not carol.ended


def test_a_client_whose_association_died_is_told_to_join_anew() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.signalling.disconnected(PeerKey(alice.participant.sid, "publisher"), later(1))
    assert last(alice, "leave").leave.action == Action.RECONNECT
    stage.world.noted["alice", "publisher"].alive = False
    stage.offer(alice, "chromium_v1_join")
    assert last(alice, "leave").leave.action == Action.RECONNECT


def test_tokens_are_renewed() -> None:
    stage = Stage()
    alice = stage.join("alice")
    taken(alice)
    stage.signalling.tick(later(299))
    assert "refresh_token" not in kinds(alice)
    stage.signalling.tick(later(300))
    assert last(alice, "refresh_token").refresh_token == "token of alice"
    stage.signalling.tick(later(301))
    assert kinds(alice) == []


def test_a_client_that_does_not_read_is_cut_off() -> None:
    stage = Stage()
    alice = stage.join("alice")
    for _ in range(MAX_OUTBOX + 1):
        alice.send(rtc.SignalResponse(pong=1))
    assert alice.overflown
    assert not alice.outbox
    alice.send(rtc.SignalResponse(pong=1))
    assert not alice.outbox


def test_rooms_end_when_nobody_stays() -> None:
    stage = Stage(limits=Limits(empty_timeout_s=300, departure_timeout_s=20))
    stage.registry.tick(later(299))
    assert stage.registry.find("room") is stage.signalling
    stage.registry.tick(later(300))
    assert stage.registry.find("room") is None
    assert events(stage) == ["room_started", "room_finished"]


def test_a_room_is_kept_a_little_after_the_last_one_left() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.registry.tick(later(1000))
    stage.signalling.remove(alice, Reason.CLIENT_INITIATED, later(1000))
    stage.registry.tick(later(1019))
    assert stage.registry.find("room")
    stage.registry.tick(later(1020))
    assert not stage.registry.find("room")
