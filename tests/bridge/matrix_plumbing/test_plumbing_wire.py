"""Events become typed values, and nothing a stranger sends makes the parser raise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.matrix import wire
from bridge.matrix.wire import (
    IncomingMessage,
    MemberChange,
    Redacted,
    StateChange,
    WishChanged,
    parse,
)

_HEAD: dict[str, Any] = {"room_id": "!r", "event_id": "$e", "sender": "@a:x"}


def _event(**more: Any) -> dict[str, Any]:
    return {**_HEAD, "origin_server_ts": 17, **more}


def _message(**content: Any) -> dict[str, Any]:
    return _event(type="m.room.message", content={"msgtype": "m.text", "body": "hi", **content})


@pytest.mark.parametrize(
    ("event", "value"),
    [
        (_message(), IncomingMessage(**_HEAD, ts=17, body="hi")),
        (
            _message(
                msgtype="m.notice",
                **{"m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}},
                **{wire.TXN: "utt:1:1"},
            ),
            IncomingMessage(
                **_HEAD, ts=17, body="hi", msgtype="m.notice", thread_root="$root", txn="utt:1:1"
            ),
        ),
        (
            _message(
                body="* bye",
                **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$old"}},
                **{"m.new_content": {"body": "bye"}},
            ),
            IncomingMessage(**_HEAD, ts=17, body="bye", replaces="$old"),
        ),
        (
            _message(
                formatted_body=(
                    '<mx-reply><a href="https://matrix.to/#/@other:x">O</a></mx-reply>'
                    '<a href="https://matrix.to/#/@b:y">B</a>'
                    "<a href='https://matrix.to/#/%40c%3Ay?via=x'>C</a>"
                    '<a href="https://matrix.to/#/!room:x">R</a>'
                ),
                **{"m.mentions": {"user_ids": ["@b:y", 3]}},
            ),
            IncomingMessage(**_HEAD, ts=17, body="hi", pills=("@b:y", "@c:y"), mentions=("@b:y",)),
        ),
        (
            _event(
                type="org.matrix.msc4310.rtc.decline",
                content={"m.relates_to": {"rel_type": "m.reference", "event_id": "$ring"}},
            ),
            wire.Declined(**_HEAD, ts=17, notification="$ring"),
        ),
        (
            _message(formatted_body=3, **{"m.mentions": {"user_ids": "@b:y"}}),
            IncomingMessage(**_HEAD, ts=17, body="hi"),
        ),
        (
            _event(
                type="m.room.member",
                state_key="@b:y",
                content={"membership": "invite", "displayname": "Bé", "is_direct": True},
            ),
            MemberChange(
                **_HEAD,
                ts=17,
                user_id="@b:y",
                membership="invite",
                display_name="Bé",
                is_direct=True,
            ),
        ),
        (
            _event(type="m.room.member", state_key="@b:y", content={"membership": "ban"}),
            MemberChange(**_HEAD, ts=17, user_id="@b:y", membership="ban", display_name=""),
        ),
        (
            _event(type="eu.colloque.conference", state_key="", content={"active": True}),
            WishChanged(
                **_HEAD,
                ts=17,
                type="eu.colloque.conference",
                state_key="",
                content={"active": True},
            ),
        ),
        (
            _event(type="eu.colloque.conference", state_key="x", content={}),
            StateChange(**_HEAD, ts=17, type="eu.colloque.conference", state_key="x", content={}),
        ),
        (
            _event(type="m.room.redaction", content={"redacts": "$new"}, redacts="$old"),
            Redacted(**_HEAD, ts=17, redacts="$new"),
        ),
        (
            _event(type="m.room.redaction", content={}, redacts="$old"),
            Redacted(**_HEAD, ts=17, redacts="$old"),
        ),
    ],
)
def test_what_is_understood(event: dict[str, Any], value: object) -> None:
    assert parse(event) == value
    assert type(parse(event)) is type(value)


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {},
        _event(type="m.room.message"),
        _event(type="m.room.message", content=[]),
        _message(body=3),
        _message(body=None, **{"m.relates_to": "x"}),
        _message(**{"m.relates_to": {"rel_type": "m.replace", "event_id": "$o"}}),
        _event(type="m.reaction", content={}),
        _event(type="org.matrix.msc4310.rtc.decline", content={"m.relates_to": 3}),
        _event(type="m.room.member", state_key="@b:y", content={"membership": "nonsense"}),
        _event(type="m.room.member", state_key="@b:y", content={"membership": ["join"]}),
        _event(type="m.room.member", state_key=3, content={"membership": "join"}),
        _event(type=3, state_key="", content={}),
        _event(type="m.room.redaction", content={"redacts": 1}),
        {**_message(), "event_id": 3},
        {**_message(), "room_id": ""},
        {**_message(), "sender": None},
    ],
)
def test_what_is_passed_over(event: object) -> None:
    assert parse(event) is None


def test_a_senseless_timestamp_is_zero() -> None:
    value = parse({**_message(), "origin_server_ts": "yesterday"})
    assert isinstance(value, IncomingMessage)
    assert value.ts == 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["membership", "body", "msgtype", "m.relates_to", "rel_type", "event_id", "redacts",
                 "m.new_content", "displayname", "is_direct", wire.TXN, "m.thread", "m.replace"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)  # fmt: skip
_FIELDS = {
    "room_id": st.just("!r") | _JSON,
    "event_id": st.just("$e") | _JSON,
    "sender": st.just("@a:x") | _JSON,
    "type": st.sampled_from(
        ["m.room.message", "m.room.member", "m.room.redaction", wire.CONFERENCE]
    )
    | _JSON,
    "content": _JSON,
}


@given(
    st.fixed_dictionaries(
        _FIELDS, optional={"state_key": _JSON, "origin_server_ts": _JSON, "redacts": _JSON}
    )
)
def test_garbage_never_raises(event: dict[str, Any]) -> None:
    value = parse(event)
    if value is not None:
        assert value.room_id
        assert value.event_id
