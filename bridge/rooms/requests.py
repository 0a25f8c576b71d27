"""What people ask for by command, inside the transaction of the message they wrote."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from bridge import text
from bridge.domain import happenings, policy
from bridge.ids import server_of
from bridge.matrix import card
from bridge.matrix.commands import Verb, folded
from bridge.rooms import requests_panel as panel
from bridge.rooms import requests_people as people
from bridge.rooms import requests_record as papers
from bridge.rooms import requests_ring as ringing
from bridge.rooms import requests_settings as settings
from bridge.rooms import requests_speech as speech
from bridge.rooms import requests_summary
from bridge.rooms import requests_voices as voices
from bridge.rooms import requests_words as written
from bridge.rooms.asking import Asking
from bridge.rooms.gather import Asked, Gathered, target_of
from bridge.rooms.ledger import Ledger
from bridge.text import say

_SPOKEN = frozenset({"spoken", "parlee", "parle"})
TOO_OLD_MS = 300_000
"""What was asked longer ago (the bridge was down) starts no call: nobody waits for it any more."""


async def carry_out(ledger: Ledger, asked: Asked, gathered: Gathered) -> None:
    """Do what a command asks, or say why not."""
    message, command = asked.message, asked.command
    answers = ledger.facts.answers(message.sender, ledger.house.server_name)
    if not answers and command.verb not in _DECIDED_EVERYWHERE:
        return
    asking = Asking(
        ledger,
        message,
        command,
        gathered.members,
        silent=not answers,
        target=target_of(message),
        target_sender=gathered.target_sender,
    )
    if command.verb != "transcribe_me" and not ledger.house.admits(message.sender):
        asking.say("start.server_refused", server=server_of(message.sender))
        return
    await _VERBS[command.verb](asking)


async def _start(asking: Asking) -> None:
    ledger = asking.ledger
    if ledger.running:
        asking.say("start.already", link=ledger.house.link(ledger.room_id))
    elif await _begin(asking):
        await ringing.call_all(asking, loudly=False)


async def _ring(asking: Asking) -> None:
    if asking.running or await _begin(asking):
        await ringing.ring(asking)


async def _begin(asking: Asking) -> bool:
    """Start a call, unless it was asked for too long ago."""
    ledger = asking.ledger
    age_ms = ledger.now_ms - asking.message.ts
    if age_ms > TOO_OLD_MS:
        asking.say("start.too_old", age=text.duration(age_ms, asking.language))
        return False
    await ledger.start(asking.message.sender)
    wanted = ledger.facts.read_wish(ledger.house.defaults)
    if wanted.active is not True:
        ledger.write_wish(wanted.with_field("active", True))
    return True


async def _stop(asking: Asking) -> None:
    running, power = asking.running, asking.ledger.facts.power
    if running is None:
        asking.say("stop.none")
    elif policy.may_stop(asking.message.sender, started_by=running.started_by, power=power):
        await asking.ledger.apply(running, happenings.StopAsked(by=asking.message.sender))
    else:
        asking.say("stop.refused")


async def _status(asking: Asking) -> None:
    running = asking.running
    shown = running or asking.ledger.wish
    values: dict[str, str] = {
        "captions": asking.on_off(shown.captions),
        "transcript": asking.on_off(shown.transcript),
        "entry": say(f"entry.{_entry(asking)}", asking.language),
    }
    if running is None:
        asking.say("status.none", **values)
        return
    ledger = asking.ledger
    asking.say(
        "status.running",
        duration=text.duration(ledger.now_ms - running.began_ms, asking.language),
        people=text.people(len(running.present), asking.language),
        link=ledger.house.link(ledger.room_id),
        **values,
    )


def _entry(asking: Asking) -> str:
    wanted = asking.ledger.wish
    return "locked" if wanted.locked else "lobby" if wanted.lobby else "open"


async def _who(asking: Asking) -> None:
    present = asking.running.present if asking.running else ()
    if not present:
        asking.say("who.none")
        return
    count = text.people(len(present), asking.language)
    asking.say("who.some", people=count, names=card.names(present, asking.language))
    opted_out = await asking.ledger.opted_out()
    silent = [stay for stay in present if stay.user_id in opted_out]
    if silent:
        asking.say("who.opted_out", names=card.names(silent, asking.language))


async def _language(asking: Asking) -> None:
    first, _, rest = asking.command.arguments.partition(" ")
    if folded(first) in _SPOKEN:
        await speech.spoken_language(asking, rest)
    else:
        await settings.language(asking)


async def _help(asking: Asking) -> None:
    asking.say("help")


async def _unknown(asking: Asking) -> None:
    near = asking.command.near
    key = "command.near" if near else "command.unknown"
    asking.say(key, word=asking.command.words, near=near)


_DECIDED_EVERYWHERE: frozenset[Verb] = frozenset(
    {
        "admit",
        "remove",
        "export",
        "summary",
        "correct",
        "delete",
        "voice",
        "my_words",
        "transcribe_me",
    }
)
"""Each site gives the tokens of its own media server: who comes in there is decided there too.
A call's record is where its card is, whoever asks for it; and each site has the words that were
said there: their messages are its bot's. Each has a scribe of its own, which leaves out who opted
out."""

_VERBS: Mapping[Verb, Callable[[Asking], Awaitable[None]]] = {
    "start": _start,
    "ring": _ring,
    "stop": _stop,
    "invite": people.invite,
    "admit": people.admit,
    "mute": people.mute,
    "remove": people.remove,
    "captions": settings.captions,
    "transcript": settings.transcript,
    "language": _language,
    "transcribe_me": speech.transcribe_me,
    "lock": settings.lock,
    "unlock": settings.unlock,
    "lobby": settings.lobby,
    "publish": settings.publish,
    "max": settings.most,
    "export": papers.export,
    "summary": requests_summary.summary,
    "panel": panel.show,
    "correct": written.correct,
    "delete": written.delete,
    "voice": written.voice,
    "my_words": written.my_words,
    "room_mic": voices.room_mic,
    "status": _status,
    "who": _who,
    "help": _help,
    "unknown": _unknown,
}
