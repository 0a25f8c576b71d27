"""Who receives what, on which section, for both kinds of clients."""

import pytest
from livekit.protocol import models, rtc

from sfu.signal import sdp
from sfu.signal.session import Session
from tests.sfu.signal.stage import Stage, camera, description, kinds, last, microphone, taken


def answer(session: Session) -> sdp.Description:
    return sdp.parse(last(session, "answer").answer.sdp)


def sending(found: sdp.Description) -> list[str]:
    return [s.mid for s in found.sections if s.direction == "sendonly"]


def test_a_track_lands_on_a_free_section_of_its_kind() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    sids = stage.publish(alice)
    requirement = last(bob, "media_sections_requirement").media_sections_requirement
    assert (requirement.num_audios, requirement.num_videos) == (0, 0)
    stage.offer(bob, "chromium_v1_join")
    told = last(bob, "answer").answer
    assert set(told.mid_to_track_id.values()) == set(sids)
    by_sid = {sid: mid for mid, sid in told.mid_to_track_id.items()}
    parsed = {s.mid: s for s in sdp.parse(told.sdp).sections}
    for sid, mid in by_sid.items():
        assert parsed[mid].msid == (f"{alice.participant.sid}|{sid}", sid)
        assert parsed[mid].kind == ("audio" if sid.startswith("TR_AM") else "video")


def test_who_comes_later_gets_tracks_with_the_first_answer() -> None:
    stage = Stage()
    alice = stage.join("alice")
    sids = stage.publish(alice)
    bob = stage.join("bob")
    told = taken(bob)
    assert [r.WhichOneof("message") for r in told] == ["join", "update", "answer"]
    assert set(told[2].answer.mid_to_track_id.values()) == set(sids)
    first = [r.WhichOneof("message") for r in taken(alice)]
    assert first.count("track_subscribed") == 2


def test_a_client_is_asked_once_for_the_sections_that_lack() -> None:
    stage = Stage()
    bob = stage.join("bob", offer="chromium_v1_join")
    taken(bob)
    people = [stage.join(f"p{number}") for number in range(5)]
    for person in people:
        stage.publish(person, audio=False)
    asked = [r for r in taken(bob) if r.WhichOneof("message") == "media_sections_requirement"]
    assert len(asked) == 1
    stage.offer(bob, "chromium_v1_join")
    told = taken(bob)
    assert len(told[-2].answer.mid_to_track_id) == 3
    assert told[-1].media_sections_requirement.num_videos == 2


def test_without_an_offer_nothing_is_asked() -> None:
    stage = Stage()
    bob = stage.join("bob", offer=None)
    stage.publish(stage.join("alice"))
    assert "media_sections_requirement" not in kinds(bob)
    stage.offer(bob, "chromium_v1_join")
    assert len(last(bob, "answer").answer.mid_to_track_id) == 2


def test_a_freed_section_is_inactive_once_before_it_is_used_again() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    sid = stage.publish(alice, audio=False)[0]
    stage.offer(bob, "chromium_v1_join")
    assert sending(answer(bob)) == ["3"]
    for subscribe in (False, True):
        update = rtc.UpdateSubscription(track_sids=[sid], subscribe=subscribe)
        stage.ask(bob, subscription=update)
    stage.offer(bob, "chromium_v1_join")
    assert sending(answer(bob)) == ["4"]
    stage.ask(bob, subscription=rtc.UpdateSubscription(track_sids=[sid], subscribe=False))
    stage.ask(bob, subscription=rtc.UpdateSubscription(track_sids=[sid], subscribe=True))
    stage.offer(bob, "chromium_v1_join")
    assert sending(answer(bob)) == ["3"]


def test_a_section_the_client_stopped_gives_its_track_back() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    stage.publish(alice, audio=False)
    stage.offer(bob, "chromium_v1_join")
    taken(bob)
    text = sdp.parse(description("chromium_v1_join"))
    text.sections[3].port = 0
    stage.offer(bob, str(text))
    assert sending(answer(bob)) == ["4"]


def test_a_waiting_track_survives_a_section_of_unknown_codecs() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    stage.publish(alice, audio=False)
    text = description("chromium_v1_join").replace("VP8/90000", "NEW/90000")
    stage.offer(bob, text)
    told = taken(bob)
    refusals = [r.subscription_response for r in told if r.HasField("subscription_response")]
    assert [r.err for r in refusals] == [models.SubscriptionError.SE_CODEC_UNSUPPORTED]
    assert kinds(bob) == []  # asking for sections again would not end
    stage.offer(bob, text)
    assert sending(answer(bob)) == []
    assert "subscription_response" not in kinds(bob)


@pytest.mark.parametrize("name", ["vp9", "video/H264", "av1"])
def test_each_codec_goes_to_who_can_decode_it(name: str) -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    request = camera()
    request.simulcast_codecs.add(codec=name, cid=request.cid)
    stage.ask(alice, add_track=request)
    stage.offer(alice, "chromium_v1_publish")
    (track,) = alice.participant.published()
    assert track.info.mime_type.lower().endswith(name.rpartition("/")[2].lower())
    assert track.info.codecs[0].mime_type == track.info.mime_type
    carol = stage.join("carol", single=False)
    offered = sdp.parse(last(carol, "offer").offer.sdp)
    assert f"video/{offered.sections[1].codecs()[0].name}" == track.info.mime_type
    stage.offer(bob, "chromium_v1_join")
    (section,) = (s for s in answer(bob).sections if s.direction == "sendonly")
    assert f"video/{section.codecs()[0].name}" == track.info.mime_type


def test_a_dual_client_that_cannot_decode_a_track_is_told() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", single=False)
    stage.publish(alice, audio=False)
    text = description("chromium_v0_answer").replace("VP8/90000", "NEW/90000")
    taken(bob)
    for _ in range(3):  # one offer is under way already
        answer = rtc.SessionDescription(type="answer", sdp=text, id=bob.down.offer_id)
        stage.ask(bob, answer=answer)
    told = [r for r in taken(bob) if r.HasField("subscription_response")]
    assert [r.subscription_response.err for r in told] == [
        models.SubscriptionError.SE_CODEC_UNSUPPORTED
    ]


def test_manual_subscription() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", auto_subscribe=False)
    sid = stage.publish(alice, audio=False)[0]
    assert "media_sections_requirement" not in kinds(bob)
    people = models.ParticipantTracks(participant_sid="", track_sids=[sid, "TR_unknown"])
    update = rtc.UpdateSubscription(participant_tracks=[people], subscribe=True)
    stage.ask(bob, subscription=update)
    told = taken(bob)
    assert told[0].subscription_response.track_sid == "TR_unknown"
    assert told[1].WhichOneof("message") == "media_sections_requirement"
    gone = rtc.UpdateSubscription(track_sids=["TR_unknown"], subscribe=False)
    stage.ask(bob, subscription=gone)
    assert kinds(bob) == []


def test_who_may_not_subscribe_receives_nothing() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", can_subscribe=False)
    sid = stage.publish(alice, audio=False)[0]
    stage.ask(bob, subscription=rtc.UpdateSubscription(track_sids=[sid], subscribe=True))
    assert not bob.down.tracks


def test_nobody_receives_a_hidden_publisher_or_themselves() -> None:
    stage = Stage()
    ghost, bob = stage.join("ghost", hidden=True), stage.join("bob")
    stage.publish(ghost)
    assert not bob.down.tracks
    assert not ghost.down.tracks


def test_settings_reach_the_subscription_before_and_after_it_begins() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    sid = stage.publish(alice, audio=False)[0]
    low = rtc.UpdateTrackSettings(track_sids=[sid, "TR_unknown"], quality=models.VideoQuality.LOW)
    stage.ask(bob, track_setting=low)
    stage.offer(bob, "chromium_v1_join")
    subscription = bob.down.tracks[sid].subscription
    assert subscription is not None
    stage.signalling.room.forwarding.tick(1.0)
    assert subscription.desired == 0
    small = rtc.UpdateTrackSettings(track_sids=[sid], width=640, height=360)
    stage.ask(bob, track_setting=small)
    stage.signalling.room.forwarding.tick(2.0)
    assert subscription.desired == 1
    stage.ask(bob, track_setting=rtc.UpdateTrackSettings(track_sids=[sid], disabled=True))
    assert not subscription.flows


def test_a_publisher_says_who_may_see() -> None:
    stage = Stage()
    alice, bob, carol = stage.join("alice"), stage.join("bob"), stage.join("carol")
    sid = stage.publish(alice, audio=False)[0]
    stage.ask(alice, add_track=microphone("pending"))
    rules = [
        rtc.TrackPermission(participant_identity="carol", all_tracks=True),
        rtc.TrackPermission(participant_sid=bob.participant.sid, track_sids=["TR_other"]),
    ]
    taken(bob)
    stage.ask(alice, subscription_permission=rtc.SubscriptionPermission(track_permissions=rules))
    update = last(bob, "subscription_permission_update").subscription_permission_update
    assert (update.track_sid, update.allowed) == (sid, False)
    assert sid not in bob.down.tracks
    assert sid in carol.down.tracks
    everybody = rtc.SubscriptionPermission(all_participants=True)
    stage.ask(alice, subscription_permission=everybody)
    assert sid in bob.down.tracks


def test_permissions_hold_for_tracks_to_come() -> None:
    stage = Stage()
    alice, bob, carol = stage.join("alice"), stage.join("bob"), stage.join("carol")
    rules = [
        rtc.TrackPermission(participant_sid=bob.participant.sid, all_tracks=True),
        rtc.TrackPermission(participant_sid="PA_gone", all_tracks=True),
    ]
    stage.ask(alice, subscription_permission=rtc.SubscriptionPermission(track_permissions=rules))
    stage.publish(alice)
    assert len(bob.down.tracks) == 2
    assert not carol.down.tracks


# -- dual connection --------------------------------------------------------------------------


def respond(stage: Stage, session: Session, number: int | None = None) -> str:
    """Answer the server's offer as Chromium did."""
    number = session.down.offer_id if number is None else number
    text = description("chromium_v0_answer")
    return stage.ask(session, answer=rtc.SessionDescription(type="answer", sdp=text, id=number))


def test_a_dual_client_is_offered_tracks_one_offer_at_a_time() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", single=False)
    taken(bob)
    sids = stage.publish(alice)
    assert "offer" not in kinds(bob)
    respond(stage, bob)
    offer = last(bob, "offer").offer
    assert offer.id == 2
    assert set(offer.mid_to_track_id.values()) == set(sids)
    assert not any(down.subscription for down in bob.down.tracks.values())
    respond(stage, bob)
    assert all(down.subscription for down in bob.down.tracks.values())
    assert kinds(bob) == []


def test_an_answer_to_an_older_offer_is_ignored() -> None:
    stage = Stage()
    bob = stage.join("bob", single=False)
    respond(stage, bob, 77)
    assert bob.down.awaiting
    respond(stage, bob, 0)
    assert not bob.down.awaiting


def test_an_answer_over_a_dead_association_begins_nothing() -> None:
    stage = Stage()
    bob = stage.join("bob", single=False)
    stage.world.noted["bob", "subscriber"].alive = False
    assert respond(stage, bob) == ""
    assert not stage.world.noted["bob", "subscriber"].fingerprints


def test_an_answer_from_a_single_connection_client_is_ignored() -> None:
    stage = Stage()
    bob = stage.join("bob")
    assert stage.ask(bob, answer=rtc.SessionDescription(sdp="garbage")) == ""


def test_a_broken_answer_is_noted() -> None:
    stage = Stage()
    bob = stage.join("bob", single=False)
    broken = rtc.SessionDescription(sdp="garbage")
    assert stage.ask(bob, answer=broken) == "request_bad_description"


def test_a_dual_section_is_used_again() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", single=False)
    respond(stage, bob)
    sid = stage.publish(alice, audio=False)[0]
    respond(stage, bob)
    for subscribe, direction in ((False, "inactive"), (True, "sendonly")):
        update = rtc.UpdateSubscription(track_sids=[sid], subscribe=subscribe)
        stage.ask(bob, subscription=update)
        offer = sdp.parse(last(bob, "offer").offer.sdp)
        assert [s.direction for s in offer.sections[1:]] == [direction]
        respond(stage, bob)


def test_tcp_alone_after_the_scenario_that_asks_for_it() -> None:
    stage = Stage()
    alice = stage.join("alice")
    tcp = rtc.SimulateScenario(switch_candidate_protocol=rtc.CandidateProtocol.TCP)
    stage.ask(alice, simulate=tcp)
    again = stage.join("alice")
    text = last(again, "answer").answer.sdp
    assert " tcp " in text
    assert " udp " not in text


@pytest.mark.parametrize("who", ["publisher", "subscriber"])
def test_departure_ends_subscriptions_both_ways(who: str) -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    stage.publish(alice)
    stage.offer(bob, "chromium_v1_join")
    stage.ask(alice if who == "publisher" else bob, leave=rtc.LeaveRequest())
    assert not bob.down.tracks or who == "subscriber"
    assert not stage.signalling.room.forwarding.drain().packets


def test_an_unbound_track_of_a_leaving_client_is_forgotten() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.ask(alice, add_track=camera())
    stage.ask(alice, leave=rtc.LeaveRequest())
    assert not alice.participant.tracks


@pytest.mark.parametrize(
    ("kind", "recorder", "hears_all"),
    [
        (models.ParticipantInfo.Kind.STANDARD, False, False),
        (models.ParticipantInfo.Kind.STANDARD, True, True),
        (models.ParticipantInfo.Kind.AGENT, False, True),
        (models.ParticipantInfo.Kind.EGRESS, False, True),
    ],
)
def test_who_writes_down_or_records_hears_all(
    kind: models.ParticipantInfo.Kind, recorder: bool, hears_all: bool
) -> None:
    stage = Stage()
    stage.publish(stage.join("anne"), video=False)
    listener = stage.join("listener", kind=kind, recorder=recorder)
    stage.offer(listener, "chromium_v1_join")
    (down,) = listener.down.tracks.values()
    assert down.subscription is not None
    assert down.subscription.hears_all is hears_all
