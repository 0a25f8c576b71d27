"""Everything else a client may ask, and data packets."""

import pytest
from livekit.protocol import models, room, rtc

from sfu.room.events import LayerActive, QualityDemand, Speaker, SpeakersChanged, StreamPaused
from sfu.signal import admin, data, media
from sfu.signal.session import Session
from tests.sfu.signal.stage import START, Noted, Stage, kinds, last, taken

Reason = rtc.RequestResponse.Reason
Kind = models.DataPacket.Kind


def test_pings_are_answered() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.ask(alice, ping=5)
    assert last(alice, "pong").pong == int(START.wall * 1000)
    stage.ask(alice, seconds=1, ping_req=rtc.Ping(timestamp=9))
    pong = last(alice, "pong_resp").pong_resp
    assert (pong.last_ping_timestamp, pong.timestamp) == (9, int(START.wall * 1000) + 1000)


def test_what_needs_no_answer_gets_none() -> None:
    stage = Stage()
    alice = stage.join("alice")
    taken(alice)
    assert stage.ask(alice, trickle=rtc.TrickleRequest()) == ""
    assert stage.ask(alice, sync_state=rtc.SyncState()) == ""
    assert kinds(alice) == []
    assert stage.ask(alice) == "request_unknown"
    blob = rtc.StoreDataBlobRequest()
    assert stage.ask(alice, store_data_blob_request=blob) == "request_unknown"


def test_own_metadata_needs_a_right() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.ask(alice, update_metadata=rtc.UpdateParticipantMetadata(request_id=3, name="x"))
    response = last(alice, "request_response").request_response
    assert (response.request_id, response.reason) == (3, Reason.NOT_ALLOWED)
    assert alice.participant.name == "alice"


def test_own_metadata_changes_and_is_told() -> None:
    stage = Stage()
    alice = stage.join("alice", can_update_own_metadata=True)
    bob = stage.join("bob")
    taken(bob)
    change = rtc.UpdateParticipantMetadata(request_id=3, name="A", attributes={"k": "v", "e": ""})
    stage.ask(alice, update_metadata=change)
    assert last(alice, "request_response").request_response.reason == Reason.OK
    info = last(bob, "update").update.participants[0]
    assert (info.name, dict(info.attributes), info.metadata) == ("A", {"k": "v"}, "")
    before = info.version
    stage.ask(alice, update_metadata=rtc.UpdateParticipantMetadata(metadata="m"))
    info = last(bob, "update").update.participants[0]
    assert info.metadata == "m"
    assert info.version > before


@pytest.mark.parametrize(
    "change",
    [
        rtc.UpdateParticipantMetadata(name="n" * 257),
        rtc.UpdateParticipantMetadata(attributes={"k": "v" * 70_000}),
    ],
)
def test_own_metadata_has_limits(change: rtc.UpdateParticipantMetadata) -> None:
    stage = Stage()
    alice = stage.join("alice", can_update_own_metadata=True)
    stage.ask(alice, update_metadata=change)
    assert last(alice, "request_response").request_response.reason == Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    ("scenario", "leaves"),
    [
        ({"leave_request_full_reconnect": True}, True),
        ({"server_leave": True}, True),
        ({"speaker_update": 3}, False),
    ],
)
def test_scenarios(scenario: dict[str, object], leaves: bool) -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.ask(alice, simulate=rtc.SimulateScenario(**scenario))  # type: ignore[arg-type]
    assert ("leave" in kinds(alice)) == leaves


# -- what the forwarding core notices ---------------------------------------------------------


def test_speakers_are_told_by_participant() -> None:
    stage = Stage()
    alice, ghost = stage.join("alice"), stage.join("ghost", hidden=True)
    sids = stage.publish(alice)
    hidden = stage.publish(ghost, video=False)[0]
    taken(alice)
    loud = [Speaker(sids[0], 0.5, True), Speaker(sids[1], 0.2, False)]
    unheard = [Speaker("TR_gone", 1.0, True), Speaker(hidden, 1.0, True)]
    media.noticed(stage.signalling, SpeakersChanged((*loud, *unheard)))
    speakers = last(alice, "speakers_changed").speakers_changed.speakers
    assert [(s.sid, s.active) for s in speakers] == [(alice.participant.sid, True)]
    media.noticed(stage.signalling, SpeakersChanged(tuple(unheard)))
    media.noticed(stage.signalling, LayerActive(sids[0], 0, True))
    assert kinds(alice) == []


def test_a_viewer_learns_that_a_video_is_paused_for_want_of_room() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    video = sorted(stage.publish(alice))[1]
    taken(bob)
    for paused, state in ((True, rtc.StreamState.PAUSED), (False, rtc.StreamState.ACTIVE)):
        media.noticed(stage.signalling, StreamPaused(video, bob.down_key, paused))
        (told,) = last(bob, "stream_state_update").stream_state_update.stream_states
        assert (told.track_sid, told.state) == (video, state)
    media.noticed(stage.signalling, StreamPaused("TR_gone", bob.down_key, True))
    assert "stream_state_update" not in kinds(bob)
    assert "stream_state_update" not in kinds(alice)


def test_the_publisher_learns_which_layers_are_wanted() -> None:
    stage = Stage()
    alice = stage.join("alice")
    sids = sorted(stage.publish(alice))
    audio, video = sids
    taken(alice)
    media.noticed(stage.signalling, QualityDemand(video, (True, True, False)))
    update = last(alice, "subscribed_quality_update").subscribed_quality_update
    assert [q.enabled for q in update.subscribed_qualities] == [True, True, False]
    assert update.subscribed_codecs[0].codec == "vp8"
    media.noticed(stage.signalling, QualityDemand(video, (False,)))
    update = last(alice, "subscribed_quality_update").subscribed_quality_update
    assert [q.enabled for q in update.subscribed_qualities] == [False, False, False]
    media.noticed(stage.signalling, QualityDemand(audio, (False,)))
    media.noticed(stage.signalling, QualityDemand("TR_gone", (True,)))
    media.noticed(stage.signalling, QualityDemand(video, ()))
    assert kinds(alice) == []


# -- data -------------------------------------------------------------------------------------


def noted(stage: Stage, session: Session) -> Noted:
    return stage.world.noted[session.participant.identity, session.primary]


def received(stage: Stage, session: Session) -> list[tuple[str, models.DataPacket]]:
    association = noted(stage, session)
    packets = [(label, models.DataPacket.FromString(p)) for label, p in association.sent]
    association.sent.clear()
    return packets


def user(text: str = "hi", **more: object) -> models.DataPacket:
    return models.DataPacket(user=models.UserPacket(payload=text.encode()), **more)  # type: ignore[arg-type]


def send(
    stage: Stage, session: Session, packet: models.DataPacket, label: str = "_reliable"
) -> str:
    return data.received(stage.signalling, session, label, packet.SerializeToString())


def test_a_packet_goes_to_all_others_and_names_its_sender() -> None:
    stage = Stage()
    alice, bob, carol = (stage.join(n) for n in ("alice", "bob", "carol"))
    forged = user(participant_identity="mallory", participant_sid="PA_x", kind=Kind.LOSSY)
    assert send(stage, alice, forged) == ""
    for session in (bob, carol):
        ((label, packet),) = received(stage, session)
        assert label == "_reliable"
        assert packet.kind == Kind.RELIABLE
        assert packet.participant_identity == packet.user.participant_identity == "alice"
        assert packet.participant_sid == alice.participant.sid
    assert received(stage, alice) == []


def test_a_packet_goes_to_whom_it_names() -> None:
    stage = Stage()
    alice, bob, carol = (stage.join(n) for n in ("alice", "bob", "carol"))
    send(stage, alice, user(destination_identities=["bob"]), "_lossy")
    old = user()
    old.user.destination_identities.append("bob")
    send(stage, alice, old, "_lossy")
    by_sid = user()
    by_sid.user.destination_sids.append(bob.participant.sid)
    send(stage, alice, by_sid, "_lossy")
    assert [label for label, _ in received(stage, bob)] == ["_lossy"] * 3
    assert received(stage, carol) == []


def test_a_dual_client_receives_on_its_subscriber_association() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", single=False)
    send(stage, alice, models.DataPacket(stream_header=models.DataStream.Header(topic="chat")))
    assert len(received(stage, bob)) == 1


def test_repeated_reliable_packets_are_dropped() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    reasons = [send(stage, alice, user(sequence=n)) for n in (1, 2, 2, 1, 3)]
    assert reasons == ["", "", "data_repeated", "data_repeated", ""]
    assert [packet.sequence for _, packet in received(stage, bob)] == [1, 2, 3]


def test_what_is_not_forwarded() -> None:
    stage = Stage()
    alice, mute = stage.join("alice"), stage.join("mute", can_publish_data=False)
    forward = stage.signalling
    assert send(stage, mute, user()) == "data_not_permitted"
    assert data.received(forward, alice, "_other", b"") == "data_channel_unknown"
    assert data.received(forward, alice, "_lossy", b"\xff\xff") == "data_malformed"
    assert data.received(forward, alice, "_lossy", b"\0" * 70_000) == "data_malformed"
    speaker = models.DataPacket(speaker=models.ActiveSpeakerUpdate())
    assert send(stage, alice, speaker) == "data_malformed"
    assert received(stage, mute) == []


def test_a_receiver_that_is_not_ready_is_counted() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    noted(stage, bob).ready = False
    assert send(stage, alice, user()) == "data_receiver_not_ready"
    noted(stage, bob).ready = True
    stage.join("carol", offer=None)
    assert send(stage, alice, user()) == "data_receiver_not_ready"
    assert len(received(stage, bob)) == 1


def test_a_hidden_sender_stays_unnamed() -> None:
    stage = Stage()
    ghost, bob = stage.join("ghost", hidden=True), stage.join("bob")
    send(stage, ghost, user())
    packet = received(stage, bob)[0][1]
    assert packet.participant_identity == packet.user.participant_identity == ""


def test_an_agent_may_write_captions_in_a_speakers_name() -> None:
    stage = Stage()
    scribe = stage.join("scribe", kind=models.ParticipantInfo.Kind.AGENT)
    bob, alice = stage.join("bob"), stage.join("alice")
    header = models.DataStream.Header(topic="lk.transcription")
    caption = models.DataPacket(participant_identity="alice", stream_header=header)
    for sender, named in ((scribe, "alice"), (bob, "bob")):
        send(stage, sender, caption)
        packet = received(stage, alice)[0][1]
        assert packet.participant_identity == named
        assert packet.participant_sid == sender.participant.sid
    send(stage, scribe, models.DataPacket(participant_identity="nobody", stream_header=header))
    assert received(stage, alice)[0][1].participant_identity == "scribe"


# -- the server API ---------------------------------------------------------------------------


def test_the_server_sends_data() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    request = room.SendDataRequest(data=b"x", kind=Kind.LOSSY, topic="t")
    admin.send_data(stage.signalling, request)
    label, packet = received(stage, alice)[0]
    assert (label, packet.user.topic, packet.user.payload) == ("_lossy", "t", b"x")
    received(stage, bob)
    named = room.SendDataRequest(data=b"x", destination_sids=[bob.participant.sid])
    admin.send_data(stage.signalling, named)
    assert received(stage, bob)[0][0] == "_reliable"
    assert received(stage, alice) == []
    with pytest.raises(admin.Impossible):
        admin.send_data(stage.signalling, room.SendDataRequest(data=b"x" * 16_000))


def test_the_server_mutes_but_does_not_unmute() -> None:
    stage = Stage()
    alice = stage.join("alice")
    sid = stage.publish(alice, video=False)[0]
    request = room.MuteRoomTrackRequest(identity="alice", track_sid=sid, muted=True)
    assert admin.mute_track(stage.signalling, request).muted
    assert last(alice, "mute").mute == rtc.MuteTrackRequest(sid=sid, muted=True)
    with pytest.raises(admin.Impossible):
        admin.mute_track(
            stage.signalling, room.MuteRoomTrackRequest(identity="alice", track_sid=sid)
        )
    stage.ask(alice, mute=rtc.MuteTrackRequest(sid=sid, muted=False))
    unmuted = room.MuteRoomTrackRequest(identity="alice", track_sid=sid)
    assert not admin.mute_track(stage.signalling, unmuted).muted
    with pytest.raises(admin.NotFound):
        admin.mute_track(stage.signalling, room.MuteRoomTrackRequest(identity="alice"))
    with pytest.raises(admin.NotFound):
        admin.mute_track(stage.signalling, room.MuteRoomTrackRequest(identity="nobody"))


def test_the_server_changes_rights() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    stage.publish(alice)
    stage.ask(alice, add_track=rtc.AddTrackRequest(cid="pending", source=1, type=1))
    permission = models.ParticipantPermission(
        can_publish=True,
        can_publish_sources=[models.TrackSource.MICROPHONE],
        can_subscribe=False,
        hidden=True,
    )
    request = room.UpdateParticipantRequest(
        identity="alice", permission=permission, name="A", metadata="m", attributes={"a": "b"}
    )
    info = admin.update_participant(stage.signalling, request)
    assert (info.name, info.metadata, dict(info.attributes)) == ("A", "m", {"a": "b"})
    assert not info.permission.hidden
    assert kinds(alice).count("track_unpublished") == 2
    assert len(alice.participant.tracks) == 1
    assert len(bob.down.tracks) == 1
    stage.publish(bob)
    assert not alice.down.tracks
    allowed = models.ParticipantPermission(can_subscribe=True)
    admin.update_participant(
        stage.signalling, room.UpdateParticipantRequest(identity="alice", permission=allowed)
    )
    assert len(alice.down.tracks) == 2
    assert not alice.participant.tracks
    with pytest.raises(admin.Impossible):
        admin.update_participant(
            stage.signalling, room.UpdateParticipantRequest(identity="alice", name="n" * 300)
        )


def test_the_server_removes() -> None:
    stage = Stage()
    alice = stage.join("alice")
    admin.remove_participant(stage.signalling, "alice", START)
    leave = last(alice, "leave").leave
    assert leave.reason == models.DisconnectReason.PARTICIPANT_REMOVED
    with pytest.raises(admin.NotFound):
        admin.remove_participant(stage.signalling, "alice", START)


def test_the_server_renames_without_touching_rights() -> None:
    stage = Stage()
    alice = stage.join("alice")
    request = room.UpdateParticipantRequest(identity="alice", name="A")
    assert admin.update_participant(stage.signalling, request).name == "A"
    assert alice.participant.permission.can_publish


def test_the_server_subscribes() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", auto_subscribe=False)
    sid = stage.publish(alice, video=False)[0]
    people = models.ParticipantTracks(track_sids=[sid])
    request = room.UpdateSubscriptionsRequest(
        identity="bob", participant_tracks=[people], subscribe=True
    )
    admin.update_subscriptions(stage.signalling, request)
    assert sid in bob.down.tracks
    unknown = room.UpdateSubscriptionsRequest(identity="bob", track_sids=["TR_x"], subscribe=True)
    with pytest.raises(admin.NotFound):
        admin.update_subscriptions(stage.signalling, unknown)
    gone = room.UpdateSubscriptionsRequest(identity="bob", track_sids=["TR_x"])
    admin.update_subscriptions(stage.signalling, gone)


def test_the_server_changes_the_rooms_metadata() -> None:
    stage = Stage()
    alice = stage.join("alice")
    admin.update_metadata(stage.signalling, "m")
    assert last(alice, "room_update").room_update.room.metadata == "m"
    with pytest.raises(admin.Impossible):
        admin.update_metadata(stage.signalling, "m" * 70_000)
