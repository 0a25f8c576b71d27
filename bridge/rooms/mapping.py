"""What makes a room one for calls: anybody may say that they are in one, and it has a place for it.

Done once, where and as soon as the room gives the bot the power for it, and never again: whoever
sets it back in the room has decided. The same state stands in rooms the bot makes itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import quote

from bridge.domain.policy import MODERATOR
from bridge.ids import ROOM_CALL, server_of
from bridge.matrix import wire
from bridge.rooms.house import House
from bridge.rooms.ledger import Ledger
from bridge.store.outbox import Outgoing

PROTOCOL = "eu.colloque"
OPEN_CALLS = {"events": {wire.CALL_MEMBER: 0}}
"""In a room's power levels: being in a call takes no power (state takes 50 as it comes)."""


def bridge_key(server_name: str) -> str:
    """State key of our bridge's description: one for each site."""
    return f"{PROTOCOL}://{quote(server_name, safe='')}"


def bridge_info(house: House, room_name: str = "", room_id: str = "") -> dict[str, Any]:
    """What clients show of a bridge (MSC2346)."""
    link = house.link(room_id) if room_id else house.public_url
    return {
        "bridgebot": house.bot,
        "protocol": {
            "id": PROTOCOL,
            "displayname": "Colloque",
            "external_url": house.public_url,
        },
        "channel": {
            "id": room_id or house.server_name,
            "displayname": room_name or "Visio",
            "external_url": link,
        },
    }


def slot(*, encrypted: bool) -> dict[str, Any]:
    """An open slot for the room's call (MSC4143). In encrypted rooms each member has their key."""
    content: dict[str, Any] = {"status": "open", "application": {"type": "m.call"}}
    if encrypted:
        content["encryption"] = {"type": "org.matrix.msc4143.per_member"}
    return content


def bring(ledger: Ledger) -> None:
    """Put down what the room lacks and lets the bot write."""
    if not ledger.facts.joined:
        return
    for name, rows in _wanted(ledger):
        if name in ledger.facts.mapped:
            continue
        power = ledger.facts.power
        if all(power.may_send_state(ledger.house.bot, row.type) for row in rows):
            _done(ledger, name)
            for row in rows:
                ledger.add(row)
            if name == "slot" and rows:
                ledger.facts = replace(ledger.facts, slot="open")


def close_in(ledger: Ledger) -> None:
    """The room is encrypted since: the slot we opened says so too."""
    if "slot" in ledger.facts.mapped and ledger.facts.slot == "open":
        ledger.add(_slot_row(ledger, "encrypted"))


def welcome(ledger: Ledger, user_id: str) -> None:
    """In a room the bot made: greet the first, and make the first of its own server moderator."""
    if ledger.facts.creator != ledger.house.bot:
        return
    if "hello" not in ledger.facts.mapped:
        _done(ledger, "hello")
        ledger.say("hello")
    ours = server_of(user_id) == ledger.house.server_name
    if ours and "moderator" not in ledger.facts.mapped:
        _done(ledger, "moderator")
        content = {"users": {user_id: MODERATOR}}
        ledger.add(_row(ledger, "moderator", "merge", wire.POWER_LEVELS, "", content))


def answer_knock(ledger: Ledger, user_id: str) -> None:
    """In a room the bot made, people of its own server are let in; others by who is in it."""
    house = ledger.house
    if ledger.facts.creator == house.bot and server_of(user_id) == house.server_name:
        content = {"membership": "invite"}
        name = f"knock:{ledger.entry_key}"
        ledger.add(_row(ledger, name, "state", wire.MEMBER, user_id, content))


def _wanted(ledger: Ledger) -> Iterator[tuple[str, list[Outgoing]]]:
    facts, house = ledger.facts, ledger.house
    # Merged when it is sent: only what nobody has set, into the power levels as they are then.
    power = _row(ledger, "power", "merge", wire.POWER_LEVELS, "", OPEN_CALLS)
    yield "power", [power] if facts.power.needed_for_state(wire.CALL_MEMBER) > 0 else []
    yield "slot", [] if facts.slot else [_slot_row(ledger, "slot")]
    info, key = bridge_info(house, facts.name, ledger.room_id), bridge_key(house.server_name)
    yield (
        "bridge",
        [
            _row(ledger, f"bridge:{event_type}", "state", event_type, key, info)
            for event_type in (wire.BRIDGE, wire.BRIDGE_UNSTABLE)
        ],
    )


def _slot_row(ledger: Ledger, name: str) -> Outgoing:
    content = slot(encrypted=ledger.facts.encrypted)
    return _row(ledger, name, "state", wire.RTC_SLOT, ROOM_CALL, content)


def _row(
    ledger: Ledger,
    name: str,
    kind: Literal["state", "merge"],
    event_type: str,
    state_key: str,
    content: dict[str, Any],
) -> Outgoing:
    return Outgoing(
        room_id=ledger.room_id,
        txn_id=f"map:{name}:{ledger.room_id}",
        kind=kind,
        type=event_type,
        state_key=state_key,
        content=content,
    )


def _done(ledger: Ledger, name: str) -> None:
    ledger.facts = replace(ledger.facts, mapped=(*ledger.facts.mapped, name))
