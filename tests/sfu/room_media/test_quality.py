"""What is made of loss, delay and jitter."""

from __future__ import annotations

import pytest

from sfu.room.quality import Traffic, judge
from sfu.rtp import rtcp
from sfu.rtp.rtcp import ReceptionReport
from tests.sfu.room_media.streams import Room, packet


@pytest.mark.parametrize(
    ("before", "after", "grade"),
    [
        (Traffic(), Traffic(), "excellent"),  # nothing sent, nothing lost
        (Traffic(), Traffic(received=100), "excellent"),
        (Traffic(), Traffic(received=98, lost=2), "excellent"),
        (Traffic(), Traffic(received=92, lost=8), "good"),
        (Traffic(), Traffic(received=80, lost=20), "poor"),
        (Traffic(received=80, lost=20), Traffic(received=180, lost=20), "excellent"),  # it is over
        (Traffic(received=80, lost=20), Traffic(received=181, lost=19), "excellent"),  # came late
        (Traffic(), Traffic(received=100, losses=0.2, subscriptions=2), "good"),
        (Traffic(), Traffic(received=100, losses=0.4, subscriptions=2), "poor"),
        (Traffic(), Traffic(rtt=0.2), "excellent"),
        (Traffic(), Traffic(rtt=0.6), "good"),
        (Traffic(), Traffic(rtt=1.2), "poor"),
        (Traffic(), Traffic(jitter=0.2), "good"),
    ],
)
def test_grades(before: Traffic, after: Traffic, grade: str) -> None:
    assert judge(after, before).grade == grade


def test_the_score_falls_with_the_loss() -> None:
    scores = [judge(Traffic(received=100 - n, lost=n), Traffic()).score for n in range(0, 101, 5)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 4.3
    assert scores[-1] == 1.0


def test_traffic_is_counted_by_peer() -> None:
    room = Room()
    room.audio()
    subscription = room.subscribe("TR_A")
    room.send(*(packet(number) for number in (1, 2, 5)))
    report = ReceptionReport(1000, 64, 1, 3, 0, 0, 0)
    room.forwarding.rtcp("s", rtcp.build_receiver_report(9, [report]), room.now)
    traffic = room.forwarding.traffic()
    assert (traffic["p"].received, traffic["p"].lost) == (3, 2)
    assert (traffic["s"].loss, traffic["s"].subscriptions) == (0.25, 1)
    subscription.want(enabled=False)
    assert "s" not in room.forwarding.traffic()
