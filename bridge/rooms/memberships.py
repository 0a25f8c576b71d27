"""The picture of a room's call inside the transaction of an entry: who says to be in it, where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bridge.domain import happenings, membership
from bridge.domain.membership import Membership, Picture, Withdrawn, elsewhere
from bridge.domain.stays import Stay
from bridge.ids import ROOM_CALL
from bridge.matrix import wire
from bridge.matrix.admission import shown_name
from bridge.rooms.facts import Facts
from bridge.rooms.house import House
from bridge.rooms.ledger import Ledger
from bridge.store.outbox import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a room's whole state says of its call. `names`: display names of who is in it.

    `slot`: the content of the call's slot event, None where there is none.
    """

    state: tuple[Membership | Withdrawn, ...]
    joined: frozenset[str]
    names: Mapping[str, str]
    slot: Mapping[str, Any] | None = None


def see(events: Iterable[Mapping[str, Any]], room_id: str, *, now_ms: int) -> Seen:
    """Read the answer of `GET /rooms/{room_id}/state`."""
    state: list[Membership | Withdrawn] = []
    joined: dict[str, Any] = {}
    slot: Mapping[str, Any] | None = None
    for event in events:
        said = membership.read({**event, "room_id": room_id}, now_ms=now_ms)
        content, user_id = event.get("content"), event.get("state_key")
        if said is not None:
            state.append(said)
        elif (
            event.get("type") == wire.MEMBER
            and isinstance(content, dict)
            and content.get("membership") == "join"
            and isinstance(user_id, str)
        ):
            joined[user_id] = content.get("displayname")
        elif (event.get("type"), user_id) == (wire.RTC_SLOT, ROOM_CALL):
            slot = content if isinstance(content, dict) else {}
    names = {said.user_id: joined.get(said.user_id) for said in state}
    return Seen(
        state=tuple(state),
        joined=frozenset(joined),
        slot=slot,
        names={
            user: shown
            for user, name in names.items()
            if isinstance(name, str) and (shown := shown_name(name))
        },
    )


def picture(
    memberships: Iterable[Membership], facts: Facts, house: House, *, now_ms: int
) -> Picture:
    """The people in a room's call; bots of this and other sites are none."""
    whole = Picture.of(memberships, now_ms=now_ms, slot_closed=facts.slot_closed)
    for bot in (house.bot, *facts.bridges.values()):
        whole = whole.without(bot)
    return whole


def read_whole(ledger: Ledger, seen: Seen) -> None:
    """The room's state was read."""
    facts = replace(ledger.facts, slot="")
    ledger.facts = facts if seen.slot is None else facts.with_slot(seen.slot)
    ledger.memberships = membership.read_whole(
        ledger.memberships, seen.state, joined=seen.joined, now_ms=ledger.now_ms
    )


def hear(ledger: Ledger, told: wire.CallMembership) -> None:
    """An event said something of a membership."""
    said = membership.read(told.event, now_ms=ledger.now_ms)
    if said is not None and ledger.facts.joined:
        ledger.memberships = membership.heard(ledger.memberships, said, now_ms=ledger.now_ms)


def redacted(ledger: Ledger, told: wire.Redacted) -> None:
    """An event's content was removed: nothing is left of a membership."""
    _keep(ledger, lambda one: one.event_id != told.redacts)


def gone(ledger: Ledger, user_id: str) -> None:
    """Somebody has left the room: what they say does not count."""
    _keep(ledger, lambda one: one.user_id != user_id)


async def look(ledger: Ledger) -> None:
    """Tell the running conference who is elsewhere now; without a change it changes nothing."""
    _keep(ledger, lambda one: one.expires_ms > ledger.now_ms)
    if ledger.running is None:
        return
    seen = picture(ledger.memberships, ledger.facts, ledger.house, now_ms=ledger.now_ms)
    there = tuple(
        Stay(
            identity="",
            sid="",
            user_id=one.user_id,
            device_id=one.device_id,
            display_name=ledger.facts.display_name(one.user_id),
            site=seen.site(one),
        )
        for one in elsewhere(seen, ledger.house.service_url)
    )
    known = {(stay.site, stay.user_id) for stay in ledger.running.claimed if stay.left_ms is None}
    if known != {(stay.site, stay.user_id) for stay in there}:
        await ledger.apply(ledger.running, happenings.ElsewhereSeen(there=there))


def clear(ledger: Ledger, event_id: str) -> None:
    """Empty the state of a membership whose device is not there, where the room lets the bot."""
    ghost = next((one for one in ledger.memberships if one.event_id == event_id), None)
    if ghost is None or ghost.kind != "state" or ghost.user_id == ledger.house.bot:
        return
    if not ledger.facts.power.may_send_state(ledger.house.bot, wire.CALL_MEMBER):
        return
    ledger.add(
        Outgoing(
            room_id=ledger.room_id,
            txn_id=f"ghost:{event_id}",
            kind="state",
            type=wire.CALL_MEMBER,
            state_key=ghost.key,
            content={},
        )
    )


def _keep(ledger: Ledger, wanted: Callable[[Membership], bool]) -> None:
    ledger.memberships = tuple(one for one in ledger.memberships if wanted(one))
