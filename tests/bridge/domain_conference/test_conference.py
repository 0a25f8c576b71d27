"""The snapshot: what is stored, and read again by another version."""

from __future__ import annotations

import json

from bridge.domain.conference import (
    from_json,
    read_conferences,
    scribe_identity,
    to_json,
    write_conferences,
)
from tests.support.course import Call


def test_fields_of_a_later_version_are_left_out() -> None:
    call = Call()
    assert from_json({**to_json(call.c), "hologram": True, "earlier": []}) == call.c


def test_scribe_identity() -> None:
    assert scribe_identity("c1") == "scribe-c1"


def test_the_conferences_of_a_room_are_kept_newest_first() -> None:
    newest, older = Call(captions=True).c, Call(lobby=True).c
    stored = json.loads(json.dumps(write_conferences([newest, older])))
    assert stored["captions"]
    assert read_conferences(stored) == [newest, older]
    assert read_conferences(None) == []
