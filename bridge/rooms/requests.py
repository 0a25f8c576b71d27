"""What people ask for by command, inside the transaction of the message they wrote."""

from __future__ import annotations

from bridge import text
from bridge.domain import happenings, policy
from bridge.ids import server_of
from bridge.matrix import timeline, wire
from bridge.matrix.commands import Command
from bridge.rooms.gather import Asked
from bridge.rooms.ledger import Ledger

TOO_OLD_MS = 300_000
"""What was asked longer ago (the bridge was down) starts no call: nobody waits for it any more."""


async def carry_out(ledger: Ledger, asked: Asked) -> None:
    """Do what a command asks, or say why not."""
    message, command = asked.message, asked.command
    if not ledger.facts.answers(message.sender, ledger.house.server_name):
        return
    if not ledger.house.admits(message.sender):
        server = server_of(message.sender)
        ledger.say("start.server_refused", message, server=server)
        return
    match command.verb:
        case "start":
            await _start(ledger, message)
        case "stop":
            await _stop(ledger, message)
        case "transcript":
            await _transcript(ledger, message, command)
        case "status":
            _status(ledger, message)
        case "who":
            _who(ledger, message)
        case "help":
            ledger.say("help", message)
        case "unknown":
            key = "command.near" if command.near else "command.unknown"
            ledger.say(key, message, word=command.words, near=command.near)


async def _start(ledger: Ledger, message: wire.IncomingMessage) -> None:
    age_ms = ledger.now_ms - message.ts
    if ledger.running:
        ledger.say("start.already", message, link=ledger.house.link(ledger.room_id))
    elif age_ms > TOO_OLD_MS:
        age = text.duration(age_ms, ledger.language)
        ledger.say("start.too_old", message, age=age)
    else:
        await ledger.start(message.sender)
        wanted = ledger.facts.read_wish(ledger.house.defaults)
        if wanted.active is not True:
            ledger.write_wish(wanted.with_field("active", True))


async def _stop(ledger: Ledger, message: wire.IncomingMessage) -> None:
    running = ledger.running
    if running is None:
        ledger.say("stop.none", message)
    elif policy.may_stop(message.sender, started_by=running.started_by, power=ledger.facts.power):
        await ledger.apply(running, happenings.StopAsked())
    else:
        ledger.say("stop.refused", message)


async def _transcript(ledger: Ledger, message: wire.IncomingMessage, command: Command) -> None:
    running = ledger.running
    if command.switch is None:
        state = text.on_off(ledger.wish.transcript, ledger.language)
        ledger.say("transcript.now", message, state=state)
        if len(command.words.split()) > 1:
            ledger.say("transcript.argument", message)
    elif not policy.may_change_wish(
        message.sender,
        started_by=running.started_by if running else "",
        power=ledger.facts.power,
        event_type=wire.CONFERENCE,
    ):
        ledger.say("transcript.refused", message)
    elif ledger.facts.encrypted and command.switch:
        ledger.say("transcript.encrypted", message)
    else:
        wanted = ledger.facts.read_wish(ledger.house.defaults)
        ledger.write_wish(wanted.with_field("transcript", command.switch))
        ledger.say("transcript.on" if command.switch else "transcript.off", message)
        await ledger.settings_changed()


def _status(ledger: Ledger, message: wire.IncomingMessage) -> None:
    language, running = ledger.language, ledger.running
    shown = running or ledger.wish
    values: dict[str, str] = {
        "captions": text.on_off(shown.captions, language),
        "transcript": text.on_off(shown.transcript, language),
    }
    if running is None:
        ledger.say("status.none", message, **values)
        return
    ledger.say(
        "status.running",
        message,
        duration=text.duration(ledger.now_ms - running.started_ms, language),
        people=text.people(len(running.present), language),
        link=ledger.house.link(ledger.room_id),
        **values,
    )


def _who(ledger: Ledger, message: wire.IncomingMessage) -> None:
    present = ledger.running.present if ledger.running else ()
    if not present:
        ledger.say("who.none", message)
        return
    names = timeline.names(present, ledger.language)
    ledger.say("who.some", message, people=text.people(len(present), ledger.language), names=names)
