"""State of rooms and participants, and the registry of rooms."""

from livekit.protocol import models
from livekit.protocol.room import CreateRoomRequest

from sfu.room.forwarding import Forwarding
from sfu.room.participant import Participant, Track
from sfu.room.room import Limits, Room
from sfu.signal import registry as registries
from sfu.signal.token import Claims, Grants
from tests.sfu.signal.stage import START, Stage, later


def room(**limits: int) -> Room:
    return Room(
        name="room",
        sid="RM_1",
        created_ms=1_500,
        empty_since=0.0,
        forwarding=Forwarding(),
        limits=Limits(**limits),
    )


def test_only_the_visible_count_towards_the_limit() -> None:
    one = room(max_participants=1)
    hidden = models.ParticipantPermission(hidden=True)
    one.add(Participant(sid="PA_1", identity="ghost", permission=hidden))
    assert not one.full
    one.add(Participant(sid="PA_2", identity="alice"))
    assert one.full
    assert not room().full
    info = one.info()
    assert (info.num_participants, info.creation_time, info.max_participants) == (1, 1, 1)


def test_a_successor_of_the_same_identity_stays() -> None:
    one = room()
    old, new = (Participant(sid=f"PA_{n}", identity="alice") for n in (1, 2))
    one.add(old)
    one.add(new)
    one.remove(old, 1.0)
    assert one.by_sid("PA_2") is new
    assert one.by_sid("PA_1") is None
    assert one.empty_since is None
    assert not one.expired(1e9)


def test_an_announced_track_is_not_published_yet() -> None:
    one = room()
    alice, bob = (Participant(sid=f"PA_{n}", identity=n) for n in ("alice", "bob"))
    one.add(alice)
    track = Track(models.TrackInfo(sid="TR_1"), alice, "cid")
    alice.tracks["TR_1"] = track
    assert one.track("TR_1") is None
    assert one.track("TR_2") is None
    assert not one.may_subscribe(bob, track)
    track.mute(True)
    assert track.info.muted
    assert alice.pending() == [track]


def test_an_agent_by_kind_or_by_right() -> None:
    by_kind = Participant(sid="PA", identity="a", kind=models.ParticipantInfo.Kind.AGENT)
    by_right = Participant(
        sid="PA", identity="a", permission=models.ParticipantPermission(agent=True)
    )
    assert by_kind.is_agent
    assert by_right.is_agent
    assert not Participant(sid="PA", identity="a").is_agent


def test_a_room_is_created_once() -> None:
    stage = Stage(auto_create=True)
    request = CreateRoomRequest(
        name="new", empty_timeout=5, departure_timeout=6, max_participants=7, metadata="m"
    )
    made = stage.registry.create(request, START)
    assert made.room.limits == Limits(empty_timeout_s=5, departure_timeout_s=6, max_participants=7)
    assert made.room.metadata == "m"
    again = stage.registry.create(CreateRoomRequest(name="new", metadata="x"), START)
    assert again is made
    assert again.room.metadata == "m"


def test_a_room_may_have_to_be_created_before_the_join() -> None:
    stage = Stage()
    stage.registry.auto_create = False
    assert stage.registry.to_join("other", START) is None
    assert stage.registry.to_join("room", START) is stage.signalling


def test_a_deleted_room_sends_everybody_home() -> None:
    stage = Stage()
    alice = stage.join("alice")
    assert stage.registry.delete("room", later(1)) is stage.signalling
    assert alice.ended
    assert stage.registry.delete("room", later(1)) is None
    names = [event.name for event in stage.registry.take_events()]
    assert names == ["room_started", "participant_connection_aborted", "room_finished"]


def test_a_removed_participant_needs_a_newer_token() -> None:
    stage = Stage()

    def claims(made: float) -> Claims:
        grants = Grants(room="room", room_join=True)
        return Claims(api_key="k", identity="alice", not_before=made, grants=grants)

    assert not stage.registry.revoked(claims(100.0))
    stage.registry.revoke("room", "alice", 100.5)
    assert stage.registry.revoked(claims(100.0))
    assert not stage.registry.revoked(claims(101.0))


def test_removals_are_not_remembered_without_bound() -> None:
    stage = Stage()
    for number in range(registries.MAX_REVOKED + 5):
        stage.registry.revoke("room", f"p{number}", 1.0)
    grants = Grants(room="room", room_join=True)
    assert not stage.registry.revoked(Claims(api_key="k", identity="p4", grants=grants))
    assert stage.registry.revoked(Claims(api_key="k", identity="p5", grants=grants))
