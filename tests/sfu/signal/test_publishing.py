"""Tracks: announced, bound by an offer, muted, withdrawn."""

import pytest
from livekit.protocol import models, rtc

from sfu.signal import publishing, sdp
from tests.sfu.signal.stage import (
    Stage,
    camera,
    description,
    kinds,
    last,
    microphone,
    taken,
)

Refusal = rtc.RequestResponse.Reason
CAMERA_CID = "623c08d2-65cc-491a-8e52-2dc7a4f45b7f"


def silenced(name: str, *mids: str) -> str:
    """The description with sections that send no more."""
    found = sdp.parse(description(name))
    for section in found.sections:
        if section.mid in mids:
            index = section.attributes.index("sendonly")
            section.attributes[index] = "inactive"
    return str(found)


def renamed(name: str, old: str, new: str) -> str:
    text = description(name)
    assert old in text
    return text.replace(old, new)


def test_a_track_is_answered_at_once_and_told_with_the_offer() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    taken(alice)
    taken(bob)
    stage.ask(alice, add_track=camera(CAMERA_CID))
    published = last(alice, "track_published").track_published
    assert published.cid == CAMERA_CID
    assert published.track.sid.startswith("TR_VC")
    assert kinds(bob) == []
    stage.offer(alice, "chromium_v1_publish")
    info = last(bob, "update").update.participants[0]
    assert info.is_publisher
    track = info.tracks[0]
    assert (track.sid, track.mid, track.mime_type) == (published.track.sid, "7", "video/VP8")
    assert track.simulcast
    assert track.codecs[0].mid == "7"
    assert [layer.width for layer in track.layers] == [320, 640, 1280]
    assert [e.name for e in stage.registry.take_events()][-1] == "track_published"


def test_the_same_announcement_twice_is_one_track() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.ask(alice, add_track=microphone())
    first = last(alice, "track_published").track_published.track.sid
    stage.ask(alice, add_track=microphone())
    assert last(alice, "track_published").track_published.track.sid == first


def test_tracks_may_come_with_the_join_request() -> None:
    stage = Stage()
    alice = stage.join("alice", tracks=(microphone(), camera()), offer="chromium_v1_publish")
    assert {t.info.mid for t in alice.participant.published()} == {"7", "8"}


def test_a_broken_offer_in_the_join_request_is_noted() -> None:
    stage = Stage()
    alice = stage.join("alice", offer="v=0\n")
    assert stage.began == "request_bad_description"
    assert "join" in kinds(alice)


@pytest.mark.parametrize(
    ("grants", "request_", "reason"),
    [
        ({"can_publish": False}, microphone(), Refusal.NOT_ALLOWED),
        (
            {"can_publish_sources": (models.TrackSource.CAMERA,)},
            microphone(),
            Refusal.NOT_ALLOWED,
        ),
        ({}, rtc.AddTrackRequest(cid="x", type=models.TrackType.DATA), Refusal.UNSUPPORTED_TYPE),
        ({}, rtc.AddTrackRequest(), Refusal.UNSUPPORTED_TYPE),
    ],
)
def test_who_may_not_publish_is_told_why(
    grants: dict[str, object], request_: rtc.AddTrackRequest, reason: int
) -> None:
    stage = Stage()
    alice = stage.join("alice", **grants)  # type: ignore[arg-type]
    stage.ask(alice, add_track=request_)
    response = last(alice, "request_response").request_response
    assert response.reason == reason
    assert response.add_track == request_
    assert not alice.participant.tracks


def test_an_allowed_source_is_published() -> None:
    stage = Stage()
    alice = stage.join("alice", can_publish_sources=(models.TrackSource.CAMERA,))
    stage.ask(alice, add_track=camera())
    assert last(alice, "track_published")


def test_too_many_tracks() -> None:
    stage = Stage()
    alice = stage.join("alice")
    for number in range(65):
        stage.ask(alice, add_track=microphone(f"cid{number}"))
    response = last(alice, "request_response").request_response
    assert response.reason == Refusal.LIMIT_EXCEEDED


def test_an_offer_nobody_announced_a_track_for() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.offer(alice, "chromium_v1_publish")
    answer = sdp.parse(last(alice, "answer").answer.sdp)
    assert answer.sections[7].direction == "inactive"
    assert not alice.participant.published()


def test_a_repeated_offer_changes_nothing() -> None:
    stage = Stage()
    alice = stage.join("alice")
    sids = stage.publish(alice)
    publications = [track.publication for track in alice.participant.published()]
    stage.offer(alice, "chromium_v1_publish", 3)
    assert [t.sid for t in alice.participant.published()] == sids
    assert [t.publication for t in alice.participant.published()] == publications
    assert last(alice, "answer").answer.id == 3


def test_a_section_that_falls_silent_withdraws_its_track() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    sids = stage.publish(alice)
    taken(bob)
    stage.registry.take_events()
    stage.offer(alice, silenced("chromium_v1_publish", "7"))
    assert len(alice.participant.published()) == 1
    info = last(bob, "update").update.participants[0]
    assert [t.sid for t in info.tracks] == [sid for sid in sids if sid.startswith("TR_AM")]
    assert [e.name for e in stage.registry.take_events()] == ["track_unpublished"]


def test_a_section_that_carries_another_announced_track() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.ask(alice, add_track=camera(CAMERA_CID))
    stage.offer(alice, "chromium_v1_publish")
    before = alice.participant.published()[0].sid
    stage.ask(alice, add_track=camera("second"))
    stage.offer(alice, renamed("chromium_v1_publish", CAMERA_CID, "second"))
    published = alice.participant.published()
    assert len(published) == 1
    assert published[0].sid != before


def test_mute_is_told_to_everybody_once() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    sid = stage.publish(alice, video=False)[0]
    taken(bob)
    stage.ask(alice, mute=rtc.MuteTrackRequest(sid=sid, muted=True))
    assert last(bob, "update").update.participants[0].tracks[0].muted
    assert alice.participant.tracks[sid].publication.muted  # type: ignore[union-attr]
    stage.ask(alice, mute=rtc.MuteTrackRequest(sid=sid, muted=True))
    stage.ask(alice, mute=rtc.MuteTrackRequest(sid="TR_unknown", muted=True))
    assert kinds(bob) == []


def test_a_track_may_be_announced_and_muted_before_it_is_bound() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.ask(alice, add_track=microphone())
    sid = next(iter(alice.participant.tracks))
    stage.ask(alice, mute=rtc.MuteTrackRequest(sid=sid, muted=True))
    stage.offer(alice, "chromium_v1_publish")
    assert alice.participant.tracks[sid].publication.muted  # type: ignore[union-attr]


def test_features_and_size_of_a_track_may_change() -> None:
    stage = Stage()
    alice = stage.join("alice")
    sids = stage.publish(alice)
    video, audio = sorted(sids, key=lambda sid: sid.startswith("TR_AM"))
    feature = models.AudioTrackFeature.TF_NOISE_SUPPRESSION
    for sid in (audio, "TR_unknown"):
        change = rtc.UpdateLocalAudioTrack(track_sid=sid, features=[feature])
        stage.ask(alice, update_audio_track=change)
    for sid in (video, "TR_unknown"):
        size = rtc.UpdateLocalVideoTrack(track_sid=sid, width=10, height=20)
        stage.ask(alice, update_video_track=size)
    assert list(alice.participant.tracks[audio].info.audio_features) == [feature]
    assert alice.participant.tracks[video].info.width == 10


def test_a_stereo_track_says_so() -> None:
    stage = Stage()
    alice = stage.join("alice")
    feature = models.AudioTrackFeature.TF_STEREO
    stage.ask(alice, add_track=microphone(stereo=True))
    stage.ask(alice, add_track=microphone("b", stereo=True, audio_features=[feature]))
    for track in alice.participant.pending():
        assert list(track.info.audio_features) == [feature]


def test_layers_of_unusual_names_keep_their_order() -> None:
    lines = "a=mid:0\r\na=rid:low send\r\na=rid:high send\r\n"
    section = sdp.parse(f"v=0\r\nm=video 9 X 96\r\n{lines}").sections[0]
    assert publishing.layers_of(section) == ("low", "high")


def test_layers_of_usual_names_are_put_in_order() -> None:
    stage = Stage()
    alice = stage.join("alice", single=False)
    stage.ask(alice, add_track=camera())
    stage.offer(alice, "python_v0_publish")
    section = alice.up.sections["2"]
    assert section.rids() == ("h", "q")
    assert publishing.layers_of(section) == ("q", "h")


@pytest.mark.parametrize("missing", ["a=ice-ufrag:", "a=fingerprint:"])
def test_an_offer_without_secrets_is_refused(missing: str) -> None:
    stage = Stage()
    alice = stage.join("alice", offer=None)
    lines = [x for x in description("chromium_v1_join").splitlines() if missing not in x]
    assert stage.offer(alice, "\r\n".join(lines)) == "request_bad_description"


def test_a_broken_join_offer_does_not_hinder_the_join() -> None:
    stage = Stage()
    alice = stage.join("alice", offer="chromium_v1_join")
    assert "answer" in kinds(alice)
    text = description("chromium_v1_join").replace("v=0", "x=0")
    assert stage.offer(alice, text) == "request_bad_description"
