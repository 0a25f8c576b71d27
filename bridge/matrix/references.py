"""References between rows of the outbox: `"outbox:<txn_id>"` becomes an event id when it is known.

A row is written before the rows it points at are sent (a call's card, the utterances of its thread)
so it names them by what is known then: their transaction id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.matrix.wire import RELATES_TO, THREAD

_PREFIX = "outbox:"


class TargetNotSent(ValueError):
    """The event this one edits, answers or redacts was never sent: it makes no sense without."""


def mentioned(content: dict[str, Any]) -> set[str]:
    """Every transaction id the content refers to."""
    return {text.removeprefix(_PREFIX) for text in _texts(content) if text.startswith(_PREFIX)}


def resolve(content: dict[str, Any], events: Mapping[str, str]) -> dict[str, Any]:
    """The content with event ids in place of references; `events`: transaction id to event id.

    A text that only looks like a reference stays as it is (somebody may be called "outbox:…").
    Where the root of a thread was never sent, the message stands alone: better than losing it.
    Raises TargetNotSent for any other relation, and for a redaction, that has no target.
    """
    resolved: dict[str, Any] = _replaced(content, events)
    if _unsent(resolved.get("redacts")):
        raise TargetNotSent(str(resolved["redacts"]))
    relation = resolved.get(RELATES_TO)
    if isinstance(relation, dict):
        resolved[RELATES_TO] = _relation(relation)
        if not resolved[RELATES_TO]:
            del resolved[RELATES_TO]
    return resolved


def _relation(relation: dict[str, Any]) -> dict[str, Any]:
    target, reply = relation.get("event_id"), relation.get("m.in_reply_to")
    if _unsent(target):
        if relation.get("rel_type") != THREAD:
            raise TargetNotSent(str(target))
        return {}
    if isinstance(reply, dict) and _unsent(reply.get("event_id")):
        if target is None:
            raise TargetNotSent(str(reply["event_id"]))
        return {**relation, "m.in_reply_to": {"event_id": target}}
    return relation


def _unsent(value: object) -> bool:
    return isinstance(value, str) and value.startswith(_PREFIX)


def _replaced(value: Any, events: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, events) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, events) for item in value]
    if isinstance(value, str) and value.startswith(_PREFIX):
        return events.get(value.removeprefix(_PREFIX), value)
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
