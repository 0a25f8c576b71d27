"""Commands about microphones that several people share."""

from __future__ import annotations

from bridge.domain.wish import MOST_SHARED
from bridge.matrix.commands import folded, switched
from bridge.rooms.asking import Asking

_ME = frozenset({"", "me", "moi", "le mien", "mine"})


async def room_mic(asking: Asking) -> None:
    """`room-mic @bob on`, `micro partagé non`: without a name one's own; anybody may say that."""
    words = asking.command.arguments.split()
    switch = switched(words[-1]) if words else None
    if switch is None:
        _now(asking)
        return
    whom = folded(" ".join(words[:-1]))
    sender = asking.message.sender
    person = sender if whom in _ME else asking.person_named(" ".join(words[:-1]))
    if person is not None and (person == sender or asking.may_change_wish()):
        await _mark(asking, person, shared=switch)


async def _mark(asking: Asking, person: str, *, shared: bool) -> None:
    ledger = asking.ledger
    wished = ledger.facts.read_wish(ledger.house.defaults)
    others = [user for user in wished.shared_microphones if user != person]
    if shared and len(others) >= MOST_SHARED:
        asking.say("room_mic.many")
        return
    marked = [*others, person] if shared else others
    ledger.write_wish(wished.with_field("shared_microphones", marked or None))
    await ledger.settings_changed()
    asking.say("room_mic.on" if shared else "room_mic.off", name=asking.name(person))
    if shared and not ledger.house.voices:
        asking.say("room_mic.without")


def _now(asking: Asking) -> None:
    marked = asking.ledger.wish.shared_microphones
    if marked:
        asking.say("room_mic.now", names=", ".join(map(asking.name, marked)))
    else:
        asking.say("room_mic.none")
    asking.say("room_mic.argument")
