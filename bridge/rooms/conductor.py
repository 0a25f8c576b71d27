"""One entry of the inbox: read it, ask the rules, and commit all of its effects at once.

    entry -> news -> what must be asked of the homeserver -> one transaction { ledger } -> done

Everything before the transaction can be repeated without harm (joining a room is idempotent), and
everything inside it happens once or not at all.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bridge import text
from bridge.domain import conference as machine
from bridge.domain import policy, wish
from bridge.domain.conference import Conference
from bridge.errors import Unavailable
from bridge.ids import media_room, server_of
from bridge.matrix import commands, timeline, wire
from bridge.matrix.admission import shown_name
from bridge.matrix.client import HomeserverError
from bridge.matrix.commands import Command
from bridge.rooms import facts as room_facts
from bridge.rooms import news
from bridge.rooms.facts import Facts
from bridge.rooms.house import House, Stores
from bridge.rooms.ledger import Ledger
from bridge.store.grants import Grant
from bridge.store.inbox import Entry
from bridge.store.utterances import Utterance

log = logging.getLogger(__name__)

TOO_OLD_MS = 300_000
"""What was asked longer ago (the bridge was down) starts no call: nobody waits for it any more."""


class Homeserver(Protocol):
    """What the conductor asks of bridge.matrix.client.Homeserver."""

    async def join(self, room_id: str, via: list[str] | tuple[str, ...] = ()) -> str: ...
    async def state(self, room_id: str) -> list[dict[str, Any]]: ...
    async def display_name(self, room_id: str, user_id: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A command and the message it came in."""

    command: Command
    message: wire.IncomingMessage


News = (
    Asked
    | wire.MemberChange
    | wire.StateChange
    | news.Joined
    | news.Left
    | news.Finished
    | news.Closed
    | news.Due
    | news.Heard
    | news.SessionChanged
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the homeserver and the grants said before the transaction."""

    facts: Facts | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    grant: Grant | None = None
    joined: bool = False


class Conductor:
    """Handles entries. Raises what may be tried again; an entry nobody can read is done."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        homeserver: Homeserver,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        new_id: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        self._house = house
        self._stores = stores
        self._homeserver = homeserver
        self._clock_ms = clock_ms
        self._new_id = new_id

    async def handle(self, entry: Entry) -> None:
        """Carry out one entry and mark it done, in one transaction."""
        told = self._read(entry)
        gathered = Gathered() if told is None else await self._gather(entry, told)
        db = self._stores.db
        async with db.acquire() as conn, conn.transaction():
            ledger = Ledger(self._house, self._stores, conn, entry, self._clock_ms())
            await ledger.load()
            known = ledger.facts.known
            ledger.facts = _learned(ledger.facts, gathered)
            if told is not None:
                await self._act(ledger, told, gathered, knew=known)
            await ledger.save()

    async def give_up(self, entry: Entry, reference: str) -> None:
        """Say in the room that an entry could not be handled, with a reference for the log."""
        told = self._read(entry)
        async with self._stores.db.acquire() as conn, conn.transaction():
            facts = room_facts.from_json(await self._stores.rooms.get(conn, entry.room_id))
            language = facts.read_wish(self._house.defaults).language
            if isinstance(told, Asked):
                typed = f"{self._house.prefix} {told.command.words}".strip()
                sentence = text.say("failed.command", language, command=typed, reference=reference)
            else:
                sentence = text.say("failed.event", language, reference=reference)
            row = Ledger.sentence(entry.room_id, f"failed:{reference}", sentence)
            await self._stores.outbox.put(conn, row, now_ms=self._clock_ms())

    # ---- reading

    def _read(self, entry: Entry) -> News | None:
        try:
            if entry.kind == "matrix":
                return self._read_event(entry)
            if entry.kind == "media":
                return news.media(entry.payload)
            return news.scribe(entry.payload)
        except news.InvalidNews as error:
            log.warning("entry %d (%s) cannot be read: %s", entry.seq, entry.kind, error)
            return None

    def _read_event(self, entry: Entry) -> News | None:
        event = wire.parse(entry.payload)
        if event is None or event.sender == self._house.bot:
            return None
        if isinstance(event, wire.IncomingMessage):
            # Other bots' notices, other bridges' messages and edits are nobody's command.
            if event.msgtype != wire.TEXT or event.replaces or event.txn:
                return None
            command = commands.parse(event.body, self._house.prefix)
            return None if command is None else Asked(command, event)
        return None if isinstance(event, wire.Redacted) else event

    # ---- asking the homeserver, outside of any transaction

    async def _gather(self, entry: Entry, told: News) -> Gathered:
        room_id = entry.room_id
        if isinstance(told, wire.MemberChange):
            return await self._gather_invitation(told)
        if isinstance(told, news.Joined | news.Heard):
            grant = await self._stores.grants.of_identity(media_room(room_id), told.identity)
            if grant is None or isinstance(told, news.Heard):
                return Gathered(grant=grant)  # what was said needs no homeserver to be kept
            return await self._facts_and_name(room_id, grant.user_id, grant)
        if isinstance(told, Asked):
            return await self._facts_and_name(room_id, told.message.sender)
        if isinstance(told, wire.WishChanged):
            return await self._facts_and_name(room_id, told.sender)
        return Gathered()

    async def _gather_invitation(self, change: wire.MemberChange) -> Gathered:
        if change.user_id != self._house.bot or change.membership != "invite":
            return Gathered()
        if not self._house.admits(change.sender):
            log.info("an invitation by %s is left aside: server not admitted", change.sender)
            return Gathered()
        try:
            await self._homeserver.join(change.room_id, [server_of(change.sender)])
        except HomeserverError as error:
            if not 400 <= error.status < 500 or error.status == 429:
                raise
            log.info("room %s cannot be joined: %s", change.room_id, error)
            return Gathered()
        facts = await self._read_facts(change.room_id)
        return Gathered(facts=facts, joined=True)

    async def _facts_and_name(
        self, room_id: str, user_id: str, grant: Grant | None = None
    ) -> Gathered:
        before = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        facts = None if before.known else await self._read_facts(room_id)
        names: Mapping[str, str] = {}
        if user_id and user_id not in before.names:
            names = await self._ask_name(room_id, user_id)
        return Gathered(facts=facts, names=names, grant=grant)

    async def _read_facts(self, room_id: str) -> Facts | None:
        try:
            state = await self._homeserver.state(room_id)
        except HomeserverError as error:
            if error.status not in {403, 404}:
                raise
            return None  # not in the room (any more): its defaults hold
        return room_facts.from_state(state, self._house.bot)

    async def _ask_name(self, room_id: str, user_id: str) -> dict[str, str]:
        try:
            name = await self._homeserver.display_name(room_id, user_id)
        except (HomeserverError, Unavailable) as error:
            log.info("the name of %s is not known now: %s", user_id, error)
            return {}
        return _named(user_id, name)

    # ---- acting, inside the transaction

    async def _act(self, ledger: Ledger, told: News, gathered: Gathered, *, knew: bool) -> None:
        match told:
            case Asked():
                await self._command(ledger, told)
            case wire.MemberChange():
                await self._member(ledger, told, gathered)
            case wire.WishChanged():
                before = ledger.facts.read_wish(self._house.defaults).active if knew else None
                ledger.facts = replace(ledger.facts, wish=told.content)
                await self._wish(ledger, by=told.sender, age_ms=ledger.now_ms - told.ts, was=before)
            case wire.StateChange():
                await self._state(ledger, told)
            case news.Heard():
                await self._heard(ledger, told, gathered.grant)
            case news.SessionChanged():
                await self._session(ledger, told)
            case _:
                await self._media(ledger, told, gathered.grant)

    async def _command(self, ledger: Ledger, asked: Asked) -> None:
        message, command = asked.message, asked.command
        if not ledger.facts.answers(message.sender, self._house.server_name):
            return
        if not self._house.admits(message.sender):
            server = server_of(message.sender)
            ledger.say("start.server_refused", message, server=server)
            return
        match command.verb:
            case "start":
                await self._start(ledger, message)
            case "stop":
                await self._stop(ledger, message)
            case "transcript":
                await self._transcript(ledger, message, command)
            case "status":
                self._status(ledger, message)
            case "who":
                _who(ledger, message)
            case "help":
                ledger.say("help", message)
            case "unknown":
                key = "command.near" if command.near else "command.unknown"
                ledger.say(key, message, word=command.words, near=command.near)

    async def _start(self, ledger: Ledger, message: wire.IncomingMessage) -> None:
        age_ms = ledger.now_ms - message.ts
        if ledger.running:
            ledger.say("start.already", message, link=self._house.link(ledger.room_id))
        elif age_ms > TOO_OLD_MS:
            age = text.duration(age_ms, ledger.language)
            ledger.say("start.too_old", message, age=age)
        else:
            await ledger.start(self._new_id(), message.sender)
            wanted = ledger.facts.read_wish(self._house.defaults)
            if wanted.active is not True:
                ledger.write_wish(wanted.with_active(True))

    async def _stop(self, ledger: Ledger, message: wire.IncomingMessage) -> None:
        running = ledger.running
        if running is None:
            ledger.say("stop.none", message)
        elif policy.may_stop(
            message.sender, started_by=running.started_by, power=ledger.facts.power
        ):
            await ledger.apply(running, machine.StopAsked())
        else:
            ledger.say("stop.refused", message)

    async def _transcript(
        self, ledger: Ledger, message: wire.IncomingMessage, command: Command
    ) -> None:
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
            wanted = ledger.facts.read_wish(self._house.defaults)
            ledger.write_wish(wanted.with_transcript(command.switch))
            ledger.say("transcript.on" if command.switch else "transcript.off", message)
            await self._settings_changed(ledger)

    def _status(self, ledger: Ledger, message: wire.IncomingMessage) -> None:
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
            link=self._house.link(ledger.room_id),
            **values,
        )

    async def _wish(self, ledger: Ledger, *, by: str, age_ms: int, was: bool | None) -> None:
        wanted, problems = wish.read(ledger.facts.wish, self._house.defaults)
        for problem in problems:
            detail = text.say(problem.key, ledger.language, **problem.values)
            ledger.say("wish.problem", problem=detail)
        if ledger.facts.encrypted and wanted.transcript:
            ledger.say("transcript.encrypted")
        if ledger.running:
            wanted = replace(ledger.wish, active=wanted.active)
            await ledger.apply(ledger.running, machine.WishRead(wish=wanted))
        elif wanted.active and not was and age_ms <= TOO_OLD_MS and self._may_start(ledger, by):
            await ledger.start(self._new_id(), by)

    def _may_start(self, ledger: Ledger, by: str) -> bool:
        return self._house.admits(by) and ledger.facts.answers(by, self._house.server_name)

    async def _settings_changed(self, ledger: Ledger) -> None:
        """Bring a running call to the wish's settings; only the wish's own event may end it."""
        if ledger.running:
            wanted = replace(ledger.wish, active=None)
            await ledger.apply(ledger.running, machine.WishRead(wish=wanted))

    async def _state(self, ledger: Ledger, change: wire.StateChange) -> None:
        if change.state_key:
            return
        ledger.facts = ledger.facts.with_state(change.type, change.content, change.sender)
        if change.type == wire.ENCRYPTION:
            await self._settings_changed(ledger)

    async def _member(self, ledger: Ledger, change: wire.MemberChange, gathered: Gathered) -> None:
        if change.user_id == self._house.bot:
            await self._own_membership(ledger, change, gathered)
            return
        ledger.facts = ledger.facts.with_member(change.user_id, change.membership, self._house.bot)
        if change.membership != "join":
            await ledger.revoke(change.user_id)
        elif change.user_id in ledger.facts.names:
            ledger.facts = ledger.facts.named(_named(change.user_id, change.display_name))

    async def _own_membership(
        self, ledger: Ledger, change: wire.MemberChange, gathered: Gathered
    ) -> None:
        if gathered.joined:
            ledger.say("hello.encrypted" if ledger.facts.encrypted else "hello")
            # What the room has wished for before we came is wished for now.
            await self._wish(ledger, by=change.sender, age_ms=0, was=None)
        elif change.membership in {"leave", "ban"}:
            # Nobody tells us any more who is a member: nobody stays.
            await ledger.revoke_all()
            ledger.facts = replace(ledger.facts, known=False)
            if ledger.running:
                await ledger.apply(ledger.running, machine.StopAsked())

    async def _media(self, ledger: Ledger, told: News, grant: Grant | None) -> None:
        match told:
            case news.Joined():
                if grant is not None and grant.revoked_ms is None:
                    await self._joined(ledger, told, grant)
            case news.Left(identity=identity, sid=sid):
                left = machine.ParticipantLeft(identity=identity, sid=sid)
                await _each(ledger, left)
            case news.Finished(media_sid=media_sid):
                await _each(ledger, machine.MediaRoomFinished(media_sid=media_sid))
            case news.Closed(conference=conference):
                closed = ledger.conference(conference)
                if closed:
                    await ledger.apply(closed, machine.MediaClosed())
            case _:
                await _each(ledger, machine.Tick())

    async def _joined(self, ledger: Ledger, told: news.Joined, grant: Grant) -> None:
        if not told.seen and ledger.now_ms - told.at_ms > TOO_OLD_MS:
            return  # announced while we were down: if they are still there, they will be seen
        newest = ledger.conferences[0] if ledger.conferences else None
        if ledger.running is None:
            # Who came before the last end is being removed; who came after it, or is there after
            # everybody was removed (another machine's clock may be behind), wants a new call.
            there = told.seen and newest is not None and newest.media_closed
            if newest and not there and told.at_ms <= (newest.ended_ms or 0):
                return
            await ledger.start(self._new_id(), grant.user_id)
        if ledger.running:
            joined = machine.ParticipantJoined(
                identity=told.identity,
                sid=told.sid,
                user_id=grant.user_id,
                device_id=grant.device_id,
                display_name=ledger.facts.display_name(grant.user_id),
                media_sid=told.media_sid,
            )
            await ledger.apply(ledger.running, joined)

    async def _heard(self, ledger: Ledger, heard: news.Heard, grant: Grant | None) -> None:
        conference = ledger.conference(heard.conference)
        if conference is None or grant is None:
            log.warning("a segment of %s has no conference or no speaker", heard.conference)
            return
        if not heard.text or not conference.takes(heard.start_ms, heard.end_ms):
            return
        await ledger.hear(conference, _utterance(heard, grant, ledger, conference))

    async def _session(self, ledger: Ledger, changed: news.SessionChanged) -> None:
        conference = ledger.conference(changed.conference)
        if conference is None:
            return
        if changed.state == "stopped":
            await ledger.apply(conference, machine.ScribeStopped())
        elif changed.state == "failed":
            await ledger.apply(conference, machine.ScribeFailed())


async def _each(ledger: Ledger, event: machine.Event) -> None:
    for conference in list(ledger.conferences):
        await ledger.apply(conference, event)


def _who(ledger: Ledger, message: wire.IncomingMessage) -> None:
    present = ledger.running.present if ledger.running else ()
    if not present:
        ledger.say("who.none", message)
        return
    names = timeline.names(present, ledger.language)
    ledger.say("who.some", message, people=text.people(len(present), ledger.language), names=names)


def _utterance(
    heard: news.Heard, grant: Grant, ledger: Ledger, conference: Conference
) -> Utterance:
    # The person is the one the token was given to, whatever name the media server was told.
    named = {stay.user_id: stay.display_name for stay in conference.people}
    name = named.get(grant.user_id) or ledger.facts.display_name(grant.user_id)
    return Utterance(
        conference=heard.conference,
        segment=heard.segment,
        rev=heard.rev,
        room_id=ledger.room_id,
        speaker=grant.user_id,
        device=grant.device_id,
        display_name=name,
        text=heard.text,
        language=heard.language,
        start_ms=heard.start_ms,
        end_ms=heard.end_ms,
        engine=heard.engine,
    )


def _learned(before: Facts, gathered: Gathered) -> Facts:
    facts = before
    if gathered.facts is not None:
        facts = replace(gathered.facts, names=before.names, power_said=before.power_said)
    return facts.named(gathered.names)


def _named(user_id: str, display_name: str) -> dict[str, str]:
    name = shown_name(display_name)
    return {user_id: name} if name and name != user_id else {}
