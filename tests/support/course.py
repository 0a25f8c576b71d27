"""A conference taken step by step, with a clock of its own."""

from __future__ import annotations

import json
from typing import Any

from bridge.domain.conference import Rules, from_json, to_json
from bridge.domain.course import start, step
from bridge.domain.happenings import (
    Effect,
    ElsewhereSeen,
    Event,
    ParticipantJoined,
    ParticipantLeft,
)
from bridge.domain.stays import Stay
from bridge.domain.wish import Wish

T0 = 1_000_000
RULES = Rules(empty_timeout_ms=60_000)
ALICE, BOB = "@alice:a", "@bob:b"


class Call:
    """A conference and its clock."""

    def __init__(self, **wish: Any) -> None:
        self.now_ms = T0
        self.c, self.effects = start(
            conference="c1",
            room_id="!r",
            by=ALICE,
            display_name="Alice",
            wish=Wish(**wish),
            now_ms=T0,
        )

    def do(self, event: Event, after_ms: int = 1000) -> tuple[Effect, ...]:
        self.now_ms += after_ms
        self.c, effects = step(self.c, event, now_ms=self.now_ms, rules=RULES)
        # A snapshot survives the store whole, at every step.
        assert from_json(json.loads(json.dumps(to_json(self.c)))) == self.c
        return effects


def joined(user: str, sid: str, identity: str = "", media: str = "RM1") -> ParticipantJoined:
    return ParticipantJoined(
        identity=identity or f"{user}:D",
        sid=sid,
        user_id=user,
        device_id="D",
        display_name=user[1:].partition(":")[0].title(),
        media_sid=media,
    )


def left(user: str, sid: str) -> ParticipantLeft:
    return ParticipantLeft(identity=f"{user}:D", sid=sid)


def away(*users: str) -> ElsewhereSeen:
    """These people, each at their own site."""
    return ElsewhereSeen(
        there=tuple(
            Stay(identity="", sid="", user_id=user, site=user.partition(":")[2]) for user in users
        )
    )
