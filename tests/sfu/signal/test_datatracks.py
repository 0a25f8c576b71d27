"""Data tracks: who may publish, which handle a packet carries, who gets it."""

from __future__ import annotations

import pytest
from livekit.protocol import models, rtc

from sfu.signal import data, datatracks
from sfu.signal.session import Session
from tests.sfu.signal.stage import START, Noted, Stage, last, later, taken

Reason = rtc.RequestResponse.Reason


def publish(stage: Stage, session: Session, name: str = "sensor", handle: int = 7) -> str:
    """The sid of the track, '' where it was refused."""
    request = rtc.PublishDataTrackRequest(pub_handle=handle, name=name)
    stage.ask(session, publish_data_track_request=request)
    info = session.participant.data_tracks.get(handle)
    return info.sid if info is not None and info.name == name else ""


def subscribe(stage: Stage, session: Session, sid: str, wanted: bool = True) -> dict[int, str]:
    """The handles this client has been told afterwards, with the sids of their tracks."""
    update = rtc.UpdateDataSubscription.Update(track_sid=sid, subscribe=wanted)
    stage.ask(session, update_data_subscription=rtc.UpdateDataSubscription(updates=[update]))
    return handles(session)


def handles(session: Session) -> dict[int, str]:
    told = last(session, "data_track_subscriber_handles").data_track_subscriber_handles
    return {handle: track.track_sid for handle, track in told.sub_handles.items()}


def packet(handle: int, payload: bytes = b"abc", flags: int = 0x18) -> bytes:
    return bytes([flags, 0]) + handle.to_bytes(2, "big") + bytes(range(8)) + payload


def arrived(stage: Stage, session: Session) -> list[bytes]:
    association: Noted = stage.world.noted[session.participant.identity, session.primary]
    packets = [payload for label, payload in association.sent if label == datatracks.CHANNEL]
    association.sent.clear()
    return packets


def send(stage: Stage, session: Session, payload: bytes) -> str:
    return data.received(stage.signalling, session, datatracks.CHANNEL, payload)


@pytest.mark.parametrize("single", [True, False])
def test_a_packet_reaches_who_asked_under_a_handle_of_theirs(single: bool) -> None:
    stage = Stage()
    alice, bob, carol = (stage.join(n, single=single) for n in ("alice", "bob", "carol"))
    first, second = publish(stage, alice, "first", 7), publish(stage, alice, "second", 8)
    told = last(bob, "update").update.participants[0].data_tracks
    assert [(track.sid, track.name) for track in told] == [(first, "first"), (second, "second")]
    assert subscribe(stage, bob, second) == {1: second}
    assert subscribe(stage, bob, first) == {1: second, 2: first}
    assert send(stage, alice, packet(7)) == ""
    assert arrived(stage, bob) == [packet(2)]
    assert arrived(stage, carol) == arrived(stage, alice) == []


def test_who_no_longer_wants_a_track_gets_no_more() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    sid = publish(stage, alice)
    subscribe(stage, bob, sid)
    assert subscribe(stage, bob, sid, wanted=False) == {}
    assert send(stage, alice, packet(7)) == ""
    assert arrived(stage, bob) == []
    assert subscribe(stage, bob, sid) == {2: sid}  # a late packet of handle 1 fits nothing


def test_a_withdrawn_track_is_gone_for_all() -> None:
    stage = Stage()
    alice, bob, carol = (stage.join(n) for n in ("alice", "bob", "carol"))
    sid = publish(stage, alice)
    subscribe(stage, bob, sid)
    taken(alice), taken(carol)
    stage.ask(alice, unpublish_data_track_request=rtc.UnpublishDataTrackRequest(pub_handle=7))
    assert (
        last(alice, "unpublish_data_track_response").unpublish_data_track_response.info.sid == sid
    )
    assert not last(carol, "update").update.participants[0].data_tracks
    assert handles(bob) == {}
    assert send(stage, alice, packet(7)) == "data_track_unknown"
    stage.ask(alice, unpublish_data_track_request=rtc.UnpublishDataTrackRequest(pub_handle=7))
    assert last(alice, "request_response").request_response.reason == Reason.NOT_FOUND


def test_who_leaves_takes_their_tracks_along() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    subscribe(stage, bob, publish(stage, alice))
    stage.signalling.remove(alice, models.DisconnectReason.CLIENT_INITIATED, START)
    assert handles(bob) == {}
    assert not bob.data_handles


@pytest.mark.parametrize(
    ("name", "handle", "reason"),
    [
        ("x", 0, Reason.INVALID_HANDLE),
        ("x", 65536, Reason.INVALID_HANDLE),
        ("", 9, Reason.INVALID_NAME),
        ("x" * 257, 9, Reason.INVALID_NAME),
        ("x", 7, Reason.DUPLICATE_HANDLE),
        ("sensor", 9, Reason.DUPLICATE_NAME),
    ],
)
def test_what_is_not_published(name: str, handle: int, reason: rtc.RequestResponse.Reason) -> None:
    stage = Stage()
    alice = stage.join("alice")
    publish(stage, alice)
    request = rtc.PublishDataTrackRequest(pub_handle=handle, name=name)
    stage.ask(alice, publish_data_track_request=request)
    response = last(alice, "request_response").request_response
    assert (response.reason, response.publish_data_track) == (reason, request)
    assert list(alice.participant.data_tracks) == [7]


def test_rights_and_bounds() -> None:
    stage = Stage()
    mute = stage.join("mute", can_publish_data=False)
    assert publish(stage, mute) == ""
    assert last(mute, "request_response").request_response.reason == Reason.NOT_ALLOWED
    assert send(stage, mute, packet(7)) == "data_not_permitted"
    alice, deaf = stage.join("alice"), stage.join("deaf", can_subscribe=False)
    for number in range(datatracks.MAX_DATA_TRACKS):
        assert publish(stage, alice, f"track {number}", number + 1)
    assert publish(stage, alice, "one too many", 1000) == ""
    assert last(alice, "request_response").request_response.reason == Reason.LIMIT_EXCEEDED
    sid = alice.participant.data_tracks[1].sid
    assert subscribe(stage, deaf, sid) == {}
    assert subscribe(stage, alice, sid) == {}  # nobody hears themselves
    assert subscribe(stage, mute, "DTR_unknown") == {}


@pytest.mark.parametrize(
    "payload", [b"", packet(7)[:11], packet(7, flags=0x20), packet(7, bytes(66_000))]
)
def test_malformed_packets_are_dropped(payload: bytes) -> None:
    stage = Stage()
    alice = stage.join("alice")
    publish(stage, alice)
    assert send(stage, alice, payload) == "data_track_malformed"


def test_a_subscriber_that_is_not_ready_is_counted() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    subscribe(stage, bob, publish(stage, alice))
    stage.world.noted["bob", "publisher"].ready = False
    assert send(stage, alice, packet(7)) == "data_receiver_not_ready"
    bob.connections.clear()
    assert send(stage, alice, packet(7)) == "data_receiver_not_ready"


def test_clients_that_want_all_get_all() -> None:
    stage = Stage()
    alice = stage.join("alice")
    early = publish(stage, alice, "early", 1)
    bob = stage.join("bob", auto_subscribe_data=True)
    assert handles(bob) == {1: early}
    carol = stage.join("carol", auto_subscribe_data=True, can_subscribe=False)
    late = publish(stage, alice, "late", 2)
    assert handles(bob) == {1: early, 2: late}
    assert carol.data_handles == alice.data_handles == {}


def test_handles_run_out_and_are_told_again_after_a_resume() -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob")
    sid = publish(stage, alice)
    bob.next_data_handle = 65535
    assert subscribe(stage, bob, sid) == {65535: sid}
    assert subscribe(stage, bob, publish(stage, alice, "more", 8)) == {65535: sid}
    stage.signalling.lost(bob, START)
    again = stage.signalling.resume(bob.participant.sid, bob.claims, later(1))
    assert again is bob
    assert handles(bob) == {65535: sid}


def test_what_a_publisher_says_of_its_frames_is_passed_on() -> None:
    stage = Stage()
    alice = stage.join("alice")
    encoding = models.DataTrackFrameEncoding(custom="cbor")
    schema = models.DataTrackSchemaId(name="pose")
    request = rtc.PublishDataTrackRequest(
        pub_handle=1,
        name="pose",
        encryption=models.Encryption.Type.GCM,
        frame_encoding=encoding,
        schema=schema,
    )
    stage.ask(alice, publish_data_track_request=request)
    info = last(alice, "publish_data_track_response").publish_data_track_response.info
    assert (info.frame_encoding, info.schema, info.encryption) == (
        encoding,
        schema,
        models.Encryption.Type.GCM,
    )
