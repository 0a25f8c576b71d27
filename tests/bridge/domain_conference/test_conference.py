"""The snapshot: what is stored, and read again by another version."""

from __future__ import annotations

from bridge.domain.conference import from_json, scribe_identity, to_json
from tests.support.course import Call


def test_fields_of_a_later_version_are_left_out() -> None:
    call = Call()
    assert from_json({**to_json(call.c), "hologram": True, "earlier": []}) == call.c


def test_scribe_identity() -> None:
    assert scribe_identity("c1") == "scribe-c1"
