"""Derived names against the vectors of MSC4195."""

from __future__ import annotations

from bridge import ids


def test_room_name_vector() -> None:
    derived = ids.media_room("!roomid:example.com", "slot1234")
    assert derived == "O8437W3+jmzMVjoIP3tNwbm+XxHQk2iKpOA7aqw3qSc"


def test_identity_vector() -> None:
    derived = ids.hashed_identity("@alice:example.com", "DEVICE123", "memberABC")
    assert derived == "J+T45tGruxc+HrUOqJJlyQSV33m728Cme4+vt8/SWrU"


def test_plain_identity_is_what_element_call_expects() -> None:
    assert ids.plain_identity("@a:hs", "DEV") == "@a:hs:DEV"


def test_canonical_json_escapes_nothing_it_need_not() -> None:
    assert ids.media_room("!é<>&:hs") != ids.media_room("!\\u00e9<>&:hs")


def test_server_names_keep_their_port() -> None:
    assert ids.server_of("@bob:localhost:28448") == "localhost:28448"
    assert ids.server_of("!v12roomwithoutdomain") == ""
