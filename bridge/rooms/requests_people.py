"""Commands about one person: mute, remove, invite, admit."""

from __future__ import annotations

from bridge.domain.happenings import Admit, PersonAdmittedAgain, PersonRemoved
from bridge.rooms import requests_ring
from bridge.rooms.asking import Asking
from bridge.rooms.moderating import moderates


async def mute(asking: Asking) -> None:
    """`mute @bob:a.example`, `couper le micro de Bob`: their microphone; they can unmute."""
    person = _somebody_in_the_call(asking)
    if person is not None:
        await asking.errand("mute", user_id=person, name=asking.name(person))


async def remove(asking: Asking) -> None:
    """`remove`, `retirer`: out of this call and not back into it; they stay in the room."""
    person = _somebody_in_the_call(asking)
    if person is None or asking.running is None:
        return
    await asking.ledger.revoke(person)
    await asking.ledger.apply(asking.running, PersonRemoved(user_id=person))
    await asking.errand("remove", user_id=person, name=asking.name(person))


async def invite(asking: Asking) -> None:
    """`invite`, `inviter`: into the room where needed, and to the call that runs."""
    person = asking.person()
    power = asking.ledger.facts.power
    if person is None:
        return
    if person in asking.members:
        await admit_again(asking, person)
        if asking.running:
            await requests_ring.ring_one(asking, person)
        else:
            asking.say("invite.member", name=asking.name(person))
    elif not power.may_invite(asking.message.sender):
        asking.say("invite.refused")
    elif not power.may_invite(asking.ledger.house.bot):
        asking.say("invite.powerless")
    else:
        await admit_again(asking, person)
        await asking.errand("invite", user_id=person, name=person)


async def admit(asking: Asking) -> None:
    """`admit`, `admettre`: from the lobby into the call; without a name, whoever waits alone."""
    if asking.running is None:
        asking.say("stop.none")
        return
    # Who waits at another site is that site's to know: there, only who is named is let in.
    waiting = () if asking.silent else asking.running.waiting
    if not asking.command.arguments and not asking.message.pills and len(waiting) == 1:
        person: str | None = waiting[0]
    else:
        person = asking.person()
    if person is None or not asking.may_change_wish():
        return
    await admit_again(asking, person)
    await asking.ledger.apply(asking.running, Admit(user_id=person))
    asking.say("admit.done", name=asking.name(person))


async def admit_again(asking: Asking, person: str) -> None:
    """Let somebody who was removed from this call back in, where the asker might remove them."""
    if asking.running and _moderates(asking, person):
        await asking.ledger.apply(asking.running, PersonAdmittedAgain(user_id=person))


def _somebody_in_the_call(asking: Asking) -> str | None:
    if asking.running is None:
        asking.say("stop.none")
        return None
    person = asking.person()
    if person is None:
        return None
    if not _moderates(asking, person):
        asking.say("moderate.refused")
        return None
    if not any(stay.user_id == person for stay in asking.running.present):
        asking.say("person.absent", name=asking.name(person))
        return None
    return person


def _moderates(asking: Asking, person: str) -> bool:
    return moderates(asking.running, asking.ledger.facts, asking.message.sender, person)
