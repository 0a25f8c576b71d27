"""Commands that change what the room wants: each writes the wish, as its event would."""

from __future__ import annotations

from bridge.domain.wish import Publish
from bridge.matrix.commands import folded
from bridge.rooms.asking import Asking
from bridge.text import Language

LANGUAGES: dict[str, Language] = {
    "fr": "fr",
    "francais": "fr",
    "french": "fr",
    "en": "en",
    "anglais": "en",
    "english": "en",
}
_PUBLISH: dict[str, Publish] = {
    "everyone": "everyone",
    "all": "everyone",
    "tous": "everyone",
    "moderators": "moderators",
    "moderateurs": "moderators",
}
_NO_MOST = frozenset({"none", "off", "aucun", "non"})


LEAST = 2
"""The smallest `max_participants`: one person is no call."""


async def captions(asking: Asking) -> None:
    """`captions on`, `sous-titres off`."""
    await _recorded(asking, "captions", asking.ledger.wish.captions)


async def transcript(asking: Asking) -> None:
    """`transcript on`, `transcription off`."""
    await _recorded(asking, "transcript", asking.ledger.wish.transcript)


async def lobby(asking: Asking) -> None:
    """`lobby on`, `salle d'attente off`."""
    if asking.command.switch is None:
        _how(asking, "lobby", _flag(asking, "lobby"))
    elif asking.may_change_wish():
        await write(asking, "lobby", asking.command.switch)
        asking.say("lobby.on" if asking.command.switch else "lobby.off")


async def summary(asking: Asking) -> None:
    """`summary on`, `résumé off`: a machine's summary after each call with a transcript."""
    if asking.command.switch is None:
        _how(asking, "summary", asking.ledger.wish.summary)
    elif asking.command.switch and not asking.ledger.house.summary_model:
        asking.say("summary.unconfigured")
    elif asking.may_change_wish():
        await write(asking, "summary", asking.command.switch)
        model = asking.ledger.house.summary_model
        asking.say("summary.on" if asking.command.switch else "summary.off", model=model)


async def lock(asking: Asking) -> None:
    """`lock`, `verrouiller`."""
    await _lock(asking, locked=True)


async def unlock(asking: Asking) -> None:
    """`unlock`, `déverrouiller`."""
    await _lock(asking, locked=False)


async def language(asking: Asking) -> None:
    """`language fr`, `langue anglais`: of the bot's sentences."""
    first = (asking.command.arguments.split() or [""])[0]
    chosen = LANGUAGES.get(folded(first))
    if chosen is None:
        wanted = asking.ledger.wish
        asking.say("language.now", language_now=wanted.language, spoken=wanted.listened())
        asking.say("language.argument")
    elif asking.may_change_wish():
        await write(asking, "language", chosen)
        # In the language they want from now on, whatever they asked in.
        asking.ledger.say("language.set", asking.message, language=chosen)


async def publish(asking: Asking) -> None:
    """`publish moderators`, `parole tous`: who may send sound and picture."""
    chosen = _PUBLISH.get(folded(asking.command.arguments))
    if chosen is None:
        asking.say(f"publish.now_{asking.ledger.wish.publish}")
        asking.say("publish.argument")
    elif asking.may_change_wish():
        await write(asking, "publish", chosen)
        asking.say(f"publish.{chosen}")


async def most(asking: Asking) -> None:
    """`max 20`, `maximum aucun`: how many people may be in the call."""
    typed = folded(asking.command.arguments)
    count = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 7 else 0
    if count < LEAST and typed not in _NO_MOST:
        now = asking.ledger.wish.max_participants
        asking.say("max.now_none" if now is None else "max.now", count=now or 0)
        asking.say("max.argument")
    elif asking.may_change_wish():
        await write(asking, "max_participants", count or None)
        asking.say("max.set" if count else "max.none", count=count)


async def _recorded(asking: Asking, name: str, now: bool) -> None:
    switch = asking.command.switch
    if switch is None:
        _how(asking, name, now)
    elif not asking.may_change_wish():
        return
    elif switch and not asking.ledger.can_write_down:
        asking.say(f"{name}.encrypted")
    else:
        await write(asking, name, switch)
        asking.say(f"{name}.on" if switch else f"{name}.off")


async def _lock(asking: Asking, *, locked: bool) -> None:
    if asking.may_change_wish():
        await write(asking, "locked", locked)
        asking.say("locked.on" if locked else "locked.off")


def _how(asking: Asking, name: str, now: bool) -> None:
    """How it is now; and how to change it, where something was typed that is neither on nor off."""
    asking.say(f"{name}.now", state=asking.on_off(now))
    if asking.command.arguments:
        asking.say("switch.argument", command=_verb(asking))


def _verb(asking: Asking) -> str:
    return asking.command.words.removesuffix(asking.command.arguments).strip()


def _flag(asking: Asking, name: str) -> bool:
    return asking.ledger.facts.wish.get(name) is True


async def write(asking: Asking, name: str, value: object) -> None:
    """Change one field of the room's wish."""
    ledger = asking.ledger
    ledger.write_wish(ledger.facts.read_wish(ledger.house.defaults).with_field(name, value))
    await ledger.settings_changed()
