"""References to rows that have no event id yet."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.matrix.references import TargetNotSent, mentioned, resolve

_SENT = {"card": "$card", "last": "$last"}


def _thread(root: str, reply: str | None = None) -> dict[str, Any]:
    relation: dict[str, Any] = {"rel_type": "m.thread", "event_id": root}
    if reply is not None:
        relation["m.in_reply_to"] = {"event_id": reply}
    return {"body": "hi", "m.relates_to": relation}


def test_every_reference_is_mentioned() -> None:
    content = {"a": ["outbox:x", {"b": "outbox:card:c:1"}], "c": "outbox", "d": 3}
    assert mentioned(content) == {"x", "card:c:1"}


def test_known_references_become_event_ids_everywhere() -> None:
    content = {"card": "outbox:card", "list": ["outbox:last", 1, None]}
    assert resolve(content, _SENT) == {"card": "$card", "list": ["$last", 1, None]}
    assert content["card"] == "outbox:card"


def test_a_thread() -> None:
    assert resolve(_thread("outbox:card", "outbox:last"), _SENT) == _thread("$card", "$last")


def test_a_reply_within_a_thread_falls_back_to_the_root() -> None:
    assert resolve(_thread("outbox:card", "outbox:lost"), _SENT) == _thread("$card", "$card")


def test_a_message_whose_thread_was_never_sent_stands_alone() -> None:
    assert resolve(_thread("outbox:lost", "outbox:last"), _SENT) == {"body": "hi"}


def test_a_name_that_looks_like_a_reference_stays_a_name() -> None:
    content = {"body": "outbox:nobody", "m.relates_to": "outbox:nobody"}
    assert resolve(content, _SENT) == content


@pytest.mark.parametrize(
    "content",
    [
        {"m.relates_to": {"rel_type": "m.replace", "event_id": "outbox:lost"}},
        {"m.relates_to": {"m.in_reply_to": {"event_id": "outbox:lost"}}},
        {"redacts": "outbox:lost"},
    ],
)
def test_an_edit_an_answer_and_a_redaction_need_their_target(content: dict[str, Any]) -> None:
    with pytest.raises(TargetNotSent, match="outbox:lost"):
        resolve(content, _SENT)
