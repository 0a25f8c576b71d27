"""Who comes into a call, and who may be seen and heard there. Pure.

The person is a member of the room (the doors ask the homeserver each time); here it is decided what
the room wants and its moderators have decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bridge.domain.conference import Conference
from bridge.domain.policy import MODERATOR, Power, may_change_wish, server_admitted
from bridge.domain.wish import Wish
from bridge.ids import server_of

WithoutBot = Literal["deny", "local", "federated"]
Reason = Literal["room_closed", "no_bot", "removed", "locked", "waiting", "full"]
"""Why somebody does not come in: a key of `bridge.text`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the administrator decided. `wish_event`: the type of the event a wish is written in."""

    own_server: str
    wish_event: str
    without_bot: WithoutBot = "federated"
    listen_only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room, as far as it matters here. Without the bot only `with_bot` is known of it."""

    with_bot: bool
    closed: bool
    wish: Wish
    power: Power


def holds(conference: Conference | None, user_id: str, granted_ms: Sequence[int]) -> bool:
    """Whether somebody has been let into this very call: they were in it, or hold a grant of it.

    A grant of an earlier call in the same room, and a token that came with it, lets nobody past a
    lock. `granted_ms`: when their valid grants were given.
    """
    if conference is None:
        return False
    was_in = any(stay.user_id == user_id for stay in conference.people)
    return was_in or any(granted >= conference.started_ms for granted in granted_ms)


def refusal(
    user_id: str, room: Room, conference: Conference | None, *, held: bool, rules: Rules
) -> Reason | None:
    """Why this member of the room does not come into its call; None: they do.

    `conference`: the call that runs. `held`: see `holds`.
    """
    if room.closed:
        return "room_closed"
    if not room.with_bot and not _without_bot(user_id, rules):
        return "no_bot"
    if conference is not None and user_id in conference.removed:
        return "removed"
    if not held and not _moderates(user_id, room, conference, rules):
        if room.wish.locked:
            return "locked"
        if room.wish.lobby and (conference is None or user_id not in conference.admitted):
            return "waiting"
    return "full" if _full(user_id, room.wish, conference) else None


def may_publish(user_id: str, room: Room, conference: Conference | None, *, rules: Rules) -> bool:
    """Whether others hear and see this person."""
    if server_admitted(server_of(user_id), rules.listen_only, ""):
        return False
    started_by = conference.started_by if conference else ""
    everyone = room.wish.publish == "everyone"
    return everyone or user_id == started_by or room.power.of(user_id) >= MODERATOR


def _without_bot(user_id: str, rules: Rules) -> bool:
    own = server_of(user_id) == rules.own_server
    return rules.without_bot == "federated" or (rules.without_bot == "local" and own)


def _moderates(user_id: str, room: Room, conference: Conference | None, rules: Rules) -> bool:
    """Who may unlock the call needs no unlocking."""
    return may_change_wish(
        user_id,
        started_by=conference.started_by if conference else "",
        power=room.power,
        event_type=rules.wish_event,
    )


def _full(user_id: str, wish: Wish, conference: Conference | None) -> bool:
    if wish.max_participants is None or conference is None:
        return False
    present = {stay.user_id for stay in conference.present}
    return user_id not in present and len(present) >= wish.max_participants
