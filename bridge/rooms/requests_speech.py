"""Commands about how somebody is heard: the language they speak, and not being written down."""

from __future__ import annotations

from bridge import recognition
from bridge.domain import wish
from bridge.matrix.commands import folded
from bridge.rooms.asking import Asking
from bridge.rooms.requests_settings import LANGUAGES, write
from bridge.store.opted_out import EVERYWHERE

_ME = frozenset({"me", "moi"})
_NONE = frozenset({"none", "off", "aucune", "aucun", "non"})
_EVERYWHERE = frozenset({"everywhere", "partout"})
MOST_LANGUAGES = 300


async def spoken_language(asking: Asking, typed: str) -> None:
    """`language spoken en-GB` (the room's), `… me fr` (one's own), `… @bob none`."""
    *whom, tag = typed.split() or [""]
    if folded(tag) in _ME:
        whom, tag = [tag], ""
    tag = LANGUAGES.get(folded(tag), tag)
    removing = bool(whom) and folded(tag) in _NONE
    if not removing and not wish.is_language_tag(tag):
        asking.say("language.argument")
    elif not whom:
        await _of_the_room(asking, tag)
    elif folded(" ".join(whom)) in _ME:
        await _of(asking, asking.message.sender, None if removing else tag)
    else:
        person = asking.person_named(" ".join(whom))
        if person is not None and (person == asking.message.sender or asking.may_change_wish()):
            await _of(asking, person, None if removing else tag)


async def transcribe_me(asking: Asking) -> None:
    """`transcribe-me no`, `me transcrire oui partout`: for oneself alone, and for everybody."""
    rest = [folded(word) for word in asking.command.arguments.split()[1:]]
    everywhere = bool(rest) and rest[0] in _EVERYWHERE
    who = asking.message.sender
    if asking.command.switch is None:
        asking.say("opted.argument")
    elif asking.command.switch:
        await asking.ledger.opt_in(who, everywhere=everywhere)
        still = who in await asking.ledger.opted_out()
        asking.say("opted.still" if still else "opted.in", name=asking.name(who))
    else:
        await asking.ledger.opt_out(who, EVERYWHERE if everywhere else asking.ledger.room_id)
        asking.say("opted.out_everywhere" if everywhere else "opted.out", name=asking.name(who))


async def _of_the_room(asking: Asking, tag: str) -> None:
    if asking.may_change_wish():
        await write(asking, "spoken_language", tag)
        asking.say("language.spoken_set", spoken=tag)
        _warn(asking, tag)


async def _of(asking: Asking, person: str, tag: str | None) -> None:
    now = asking.ledger.wish.languages
    languages = {user: spoken for user, spoken in now.items() if user != person}
    if tag is not None:
        languages[person] = tag
    if len(languages) > MOST_LANGUAGES:
        asking.say("language.too_many")
        return
    await write(asking, "languages", languages or None)
    name = asking.name(person)
    if tag is None:
        asking.say("language.person_none", name=name, spoken=asking.ledger.wish.listened())
    else:
        asking.say("language.person_set", name=name, spoken=tag)
        _warn(asking, tag)


def _warn(asking: Asking, tag: str) -> None:
    """A language that no engine here knows is taken all the same: another site may know it."""
    if not recognition.understood(asking.ledger.house.engines, tag):
        asking.say("language.unknown", spoken=tag)
