"""Whom a command is about: `@bob:a.example`, a mention, or a name only one member has. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.matrix.commands import folded
from bridge.matrix.wire import IncomingMessage

_USER_ID = re.compile(r"@[^\s:@]{1,200}:[A-Za-z0-9.\-:\[\]]{1,230}")
SHOWN = 5
"""Ids that an answer to an ambiguous name lists."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody, or more than one. `key` of bridge.text; `word` is what was typed."""

    key: str
    word: str = ""
    ids: str = ""


def addressee(
    message: IncomingMessage, typed: str, members: Mapping[str, str], bot: str
) -> str | Unclear:
    """The Matrix id of the person that `typed` (what followed the verb) names.

    `members`: display names of the room's members by id. A full id counts first, then a link to a
    person, then a name or an id's own part that one member has; mentions last, because some
    clients count whom a message replies to among them.
    """
    written = _USER_ID.search(typed)
    if written:
        return written.group().rstrip(".:")
    linked = [user for user in message.pills if user != bot and _USER_ID.fullmatch(user)]
    if len(linked) == 1:
        return linked[0]
    if linked:
        return Unclear("person.several", typed, _listed(linked))
    named = _named(typed, members, bot)
    if len(named) == 1:
        return named[0]
    if named:
        return Unclear("person.ambiguous", typed, _listed(named))
    mentioned = [user for user in message.mentions if user != bot and user in members]
    if len(mentioned) == 1:
        return mentioned[0]
    return Unclear("person.unknown" if typed.strip() else "person.missing", typed)


def _named(typed: str, members: Mapping[str, str], bot: str) -> list[str]:
    wanted = _plain(typed)
    if not wanted:
        return []
    return [
        user
        for user, name in members.items()
        if user != bot and wanted in {_plain(name), _plain(user.partition(":")[0])}
    ]


def _plain(name: str) -> str:
    return " ".join(folded(name).removeprefix("@").split())


def _listed(users: list[str]) -> str:
    return ", ".join(users[:SHOWN]) + (" …" if len(users) > SHOWN else "")
