"""A server that ends: no new rooms, and when the last call is over."""

from livekit.protocol import models, rtc

from tests.sfu.signal.stage import START, Stage, last

Kind = models.ParticipantInfo.Kind


def test_no_room_is_made_any_more_and_those_there_go_on() -> None:
    stage = Stage()
    stage.registry.draining = True
    assert stage.registry.to_join("another", START) is None
    assert stage.registry.to_join("room", START) is stage.signalling


def test_who_only_watches_or_writes_down_does_not_keep_a_call() -> None:
    stage = Stage()
    assert not stage.registry.occupied
    stage.join("scribe", kind=Kind.AGENT)
    stage.join("watcher", hidden=True)
    assert not stage.registry.occupied
    stage.join("anne")
    assert stage.registry.occupied


def test_clients_can_be_told_to_come_again() -> None:
    stage = Stage()
    anne = stage.join("anne")
    reason, action = models.DisconnectReason.SERVER_SHUTDOWN, rtc.LeaveRequest.Action.RECONNECT
    stage.registry.delete("room", START, reason, action)
    leave = last(anne, "leave").leave
    assert (leave.reason, leave.action) == (reason, action)
