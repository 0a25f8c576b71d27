"""Connection quality, as clients are told of it."""

from __future__ import annotations

import pytest
from livekit.protocol import models, rtc

from sfu.room.quality import Traffic
from sfu.signal.session import PeerKey, Session
from tests.sfu.signal.stage import START, Stage, later, taken

Quality = models.ConnectionQuality


def told(session: Session) -> dict[str, models.ConnectionQuality]:
    """Participant sid -> the last quality this client was told."""
    found = {}
    for response in taken(session):
        for info in response.connection_quality.updates:
            found[info.participant_sid] = info.quality
    return found


def lossy(monkeypatch: pytest.MonkeyPatch, stage: Stage, traffic: dict[PeerKey, Traffic]) -> None:
    monkeypatch.setattr(stage.signalling.room.forwarding, "traffic", lambda: traffic)


def test_everybody_is_told_once_and_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    alice, bob = stage.join("alice"), stage.join("bob", single=False)
    stage.signalling.tick(START)
    sids = alice.participant.sid, bob.participant.sid
    assert told(alice) == told(bob) == dict.fromkeys(sids, Quality.EXCELLENT)
    lossy(
        monkeypatch,
        stage,
        {
            alice.key("publisher"): Traffic(received=80, lost=20),
            bob.key("publisher"): Traffic(received=100),
            bob.key("subscriber"): Traffic(losses=0.08, subscriptions=1),
        },
    )
    stage.signalling.tick(later(1))
    assert told(alice) == {}  # not yet
    stage.signalling.tick(later(2))
    assert told(bob) == {sids[0]: Quality.POOR, sids[1]: Quality.GOOD}
    stage.signalling.tick(later(4))  # no packet more was lost since
    assert told(alice)[sids[0]] == Quality.EXCELLENT


def test_who_comes_later_is_told_and_who_is_cut_off_is_lost() -> None:
    stage = Stage()
    alice, ghost = stage.join("alice"), stage.join("ghost", hidden=True)
    assert told(alice) == {}
    stage.signalling.tick(START)
    bob = stage.join("bob")
    assert told(bob) == {alice.participant.sid: Quality.EXCELLENT}
    stage.signalling.lost(bob, later(1))
    stage.signalling.tick(later(3))
    assert told(alice)[bob.participant.sid] == Quality.LOST
    assert ghost.participant.sid not in told(bob)


def test_scores_are_told_too() -> None:
    stage = Stage()
    alice = stage.join("alice")
    stage.signalling.tick(START)
    updates = [r.connection_quality for r in taken(alice) if r.HasField("connection_quality")]
    assert isinstance(updates[0], rtc.ConnectionQualityUpdate)
    assert updates[0].updates[0].score > 4
