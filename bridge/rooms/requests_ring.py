"""Calling people into the room's call: whom, how loudly, and who may."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.domain import ringing
from bridge.domain.happenings import Mode, RingAsked
from bridge.rooms.asking import Asking


async def call_all(asking: Asking, *, loudly: bool) -> None:
    """Call the room's members into the call that runs. `loudly`: somebody asked for the ringing.

    A direct chat rings; a group is told, unless somebody asks for more: as clients do it.
    """
    others = _others(asking)
    if not others:
        return
    mode: Mode = "ring" if loudly or _is_direct(asking) else "notification"
    if len(others) <= ringing.MOST_USERS:
        await call(asking, mode, others)
    elif _may_call_everyone(asking):
        await call(asking, mode, ())
    elif loudly:
        asking.say("ring.refused", most=ringing.MOST_USERS)


async def call(asking: Asking, mode: Mode, users: Sequence[str]) -> None:
    """Call these members, all of them where none is named."""
    if asking.running is None:
        return
    name = asking.name(users[0]) if len(users) == 1 else ""
    asked = RingAsked(
        ring=asking.message.event_id,
        by=asking.message.sender,
        mode=mode,
        users=tuple(users),
        name=name,
    )
    await asking.ledger.apply(asking.running, asked)


def busy(asking: Asking, users: Sequence[str]) -> bool:
    """Whether some of these are being called already, or too many calls go out at once."""
    live = [one for one in (asking.running.rings if asking.running else ()) if one.live]
    same = any(one.reaches(user_id) for one in live for user_id in users)
    return same or len(live) >= ringing.KEPT


async def ring(asking: Asking) -> None:
    """`ring`, `sonner`: everybody again, or `ring @bob:b.example`."""
    if asking.command.arguments or asking.message.pills:
        person = asking.person()
        if person is not None:
            await ring_one(asking, person)
    elif busy(asking, _others(asking)):
        asking.say("ring.already")
    elif not _others(asking):
        asking.say("ring.nobody")
    else:
        await call_all(asking, loudly=True)


async def ring_one(asking: Asking, person: str) -> None:
    """Ring one member who is not in the call."""
    running = asking.running
    present = {stay.user_id for stay in running.present} if running else set()
    if person not in asking.members:
        asking.say("ring.no_member", name=asking.name(person), user_id=person)
    elif person in present:
        asking.say("ring.present", name=asking.name(person))
    elif busy(asking, [person]):
        asking.say("ring.already")
    else:
        await call(asking, "ring", (person,))
        asking.say("ring.one", name=asking.name(person))


def _others(asking: Asking) -> list[str]:
    """The people who could be called: not the asker, not those in the call, not bots."""
    running, facts = asking.running, asking.ledger.facts
    present = {stay.user_id for stay in running.present} if running else set()
    left_out = {asking.message.sender, asking.ledger.house.bot, *facts.bridges.values(), *present}
    return [user_id for user_id in asking.members if user_id not in left_out]


def _is_direct(asking: Asking) -> bool:
    bots = {asking.ledger.house.bot, *asking.ledger.facts.bridges.values()}
    return len(set(asking.members) - bots) == 2


def _may_call_everyone(asking: Asking) -> bool:
    # The message is the bot's: without this it would lend everybody its power.
    power = asking.ledger.facts.power
    return power.may_call_everyone(asking.message.sender) and power.may_call_everyone(
        asking.ledger.house.bot
    )
