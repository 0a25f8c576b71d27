"""Whom a command is about."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.matrix.addressee import Unclear, addressee
from bridge.matrix.wire import IncomingMessage

BOT = "@visio:a"
MEMBERS = {
    "@alice:a": "Alice Élan",
    "@bob:b": "Bob",
    "@bob2:a": "bob",
    "@carol:b:8448": "",
    BOT: "Visio",
}


def asked(typed: str, **values: Any) -> str | Unclear:
    message = IncomingMessage(
        room_id="!r", event_id="$e", sender="@alice:a", body=typed, ts=0, **values
    )
    return addressee(message, typed, MEMBERS, BOT)


@pytest.mark.parametrize(
    ("typed", "values", "person"),
    [
        ("@dora:c.example", {}, "@dora:c.example"),
        ("please @carol:b:8448.", {}, "@carol:b:8448"),
        ("@dora:c", {"pills": ("@alice:a",)}, "@dora:c"),
        ("alice ELAN", {}, "@alice:a"),
        ("@alice", {}, "@alice:a"),
        ("carol", {}, "@carol:b:8448"),
        ("Somebody", {"pills": (BOT, "@dora:c")}, "@dora:c"),
        ("", {"mentions": (BOT, "@alice:a")}, "@alice:a"),
        # A reply mentions whom it answers: a name that was typed counts more.
        ("alice", {"mentions": ("@bob:b",)}, "@alice:a"),
    ],
)
def test_somebody(typed: str, values: dict[str, Any], person: str) -> None:
    assert asked(typed, **values) == person


@pytest.mark.parametrize(
    ("typed", "values", "key", "ids"),
    [
        ("bob", {}, "person.ambiguous", "@bob:b, @bob2:a"),
        ("visio", {}, "person.unknown", ""),
        ("nobody", {}, "person.unknown", ""),
        ("", {}, "person.missing", ""),
        ("", {"mentions": ("@stranger:x",)}, "person.missing", ""),
        ("", {"mentions": ("@alice:a", "@bob:b")}, "person.missing", ""),
        ("x", {"pills": ("@dora:c", "@erik:c")}, "person.several", "@dora:c, @erik:c"),
        (
            "x",
            {"pills": tuple(f"@u{n}:c" for n in range(6))},
            "person.several",
            "@u0:c, @u1:c, @u2:c, @u3:c, @u4:c …",
        ),
    ],
)
def test_nobody_or_too_many(typed: str, values: dict[str, Any], key: str, ids: str) -> None:
    assert asked(typed, **values) == Unclear(key, typed, ids)
