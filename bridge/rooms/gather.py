"""Reading an entry, and asking the homeserver what must be known before the transaction.

Asking can be repeated without harm: joining a room twice is joining it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bridge.domain import membership
from bridge.domain.membership import Membership
from bridge.errors import Unavailable
from bridge.ids import media_room, server_of
from bridge.matrix import commands, wire
from bridge.matrix.admission import shown_name
from bridge.matrix.client import HomeserverError, Member
from bridge.matrix.commands import Command, Verb
from bridge.rooms import facts as room_facts
from bridge.rooms import memberships, news
from bridge.rooms.facts import Facts
from bridge.rooms.house import House, Stores
from bridge.rooms.memberships import Seen
from bridge.store.grants import Grant
from bridge.store.inbox import Entry

_JOIN_PAUSES_S = (0.3, 1.0, 3.0)

log = logging.getLogger(__name__)


class Homeserver(Protocol):
    """What the conductor asks of bridge.matrix.client.Homeserver."""

    async def join(self, room_id: str, via: list[str] | tuple[str, ...] = ()) -> str: ...
    async def state(self, room_id: str) -> list[dict[str, Any]]: ...
    async def is_joined(self, room_id: str, user_id: str) -> bool: ...
    async def display_name(self, room_id: str, user_id: str) -> str: ...
    async def members(self, room_id: str) -> dict[str, Member]: ...
    async def sender_of(self, room_id: str, event_id: str) -> str: ...


_OF_MEMBERS: frozenset[Verb] = frozenset(
    {"start", "ring", "invite", "admit", "mute", "remove", "voice", "language", "room_mic"}
)
_OF_WORDS: frozenset[Verb] = frozenset({"correct", "delete", "voice"})


def target_of(message: wire.IncomingMessage) -> str:
    """The message that a command is about: one it links to, or replies to."""
    return next(iter(message.links), message.reply_to or "")


@dataclass(frozen=True, slots=True)
class Asked:
    """A command and the message it came in."""

    command: Command
    message: wire.IncomingMessage


News = (
    Asked
    | wire.MemberChange
    | wire.StateChange
    | wire.CallMembership
    | wire.Redacted
    | wire.Declined
    | news.Joined
    | news.Left
    | news.Finished
    | news.Closed
    | news.Gone
    | news.Due
    | news.Knocked
    | news.CameBack
    | news.Reread
    | news.Ghost
    | news.Expired
    | news.Erase
    | news.Heard
    | news.Interrupted
    | news.SessionChanged
    | news.Peers
    | news.ShareTaken
    | news.PutOut
    | news.Forgotten
    | news.Unread
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the homeserver and the grants said before the transaction."""

    facts: Facts | None = None
    seen: Seen | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    grant: Grant | None = None
    joined: bool = False
    stale: bool = False
    """A change of somebody's place in the room is not how things are now."""
    bridges: Mapping[str, str] = field(default_factory=dict)
    """Other sites' bots that are in the room, of which no event has told."""
    members: Mapping[str, str] = field(default_factory=dict)
    """Names of the room's members by Matrix id, where what was asked needs them."""
    target_sender: str = ""
    """Who sent the message that a command is about, '' where that is not known."""

    def learned(self, before: Facts) -> Facts:
        """The facts with what was gathered."""
        facts = before
        if self.facts is not None:
            facts = replace(
                self.facts,
                names=before.names,
                power_said=before.power_said,
                mapped=before.mapped,
            )
        return facts.named(self.names).with_bridges(self.bridges)


class Gatherer:
    """Between an entry and its transaction."""

    def __init__(
        self, house: House, stores: Stores, homeserver: Homeserver, clock_ms: Callable[[], int]
    ) -> None:
        self._house = house
        self._clock_ms = clock_ms
        self._stores = stores
        self._homeserver = homeserver

    def read(self, entry: Entry) -> News | None:
        """What an entry says; None where it is nothing to the bridge, or garbage."""
        try:
            if entry.kind == "matrix":
                return self._read_event(entry)
            if entry.kind == "media":
                return news.media(entry.payload)
            if entry.kind == "peer":
                return news.peer(entry.payload)
            return news.scribe(entry.payload)
        except news.InvalidNews as error:
            log.warning("entry %d (%s) cannot be read: %s", entry.seq, entry.kind, error)
            return None

    def _read_event(self, entry: Entry) -> News | None:
        event = wire.parse(entry.payload)
        if isinstance(event, wire.CallMembership):
            return event  # the bot's own too: it clears what others have left
        if event is None or isinstance(event, wire.Sealed):
            return None
        if event.sender == self._house.bot and not _own_state(event):
            return None
        if isinstance(event, wire.IncomingMessage):
            # Other bots' notices, other bridges' messages and edits are nobody's command.
            if event.msgtype != wire.TEXT or event.replaces or event.txn:
                return None
            command = commands.parse(event.body, self._house.prefix)
            if command is None and event.reply_to:
                command = commands.substitution(event.body)
            return None if command is None else Asked(command, event)
        return event

    async def gather(self, entry: Entry, told: News) -> Gathered:
        """Ask what must be known to act on it. Raises HomeserverError and Unavailable."""
        room_id = entry.room_id
        if isinstance(told, wire.MemberChange):
            return await self._gather_member(told)
        if isinstance(told, news.Joined | news.Heard):
            grant = await self._stores.grants.of_identity(media_room(room_id), told.identity)
            if grant is None or isinstance(told, news.Heard):
                return Gathered(grant=grant)  # what was said needs no homeserver to be kept
            return await self._facts_and_name(room_id, grant.user_id, grant)
        if isinstance(told, Asked):
            return await self._gather_command(room_id, told)
        if isinstance(told, wire.WishChanged | wire.Declined):
            return await self._facts_and_name(room_id, told.sender)
        if isinstance(told, wire.CallMembership):
            said = membership.read(told.event, now_ms=entry.received_ms)
            if isinstance(said, Membership) and said.user_id != self._house.bot:
                return await self._facts_and_name(room_id, said.user_id)
        if isinstance(told, news.Unread):
            return await self._facts_and_name(room_id, "")
        if isinstance(told, news.Reread):
            return await self._read_again(room_id)
        if isinstance(told, news.Peers):
            return Gathered(bridges=await self._untold_bridges(room_id, told.reports))
        if isinstance(told, news.Knocked):
            return await self._facts_and_name(room_id, told.user_id)
        return Gathered()

    async def _gather_command(self, room_id: str, told: Asked) -> Gathered:
        gathered = await self._facts_and_name(room_id, told.message.sender)
        verb, target = told.command.verb, target_of(told.message)
        if verb in _OF_MEMBERS:
            gathered = replace(gathered, members=await self._members(room_id))
        if verb in _OF_WORDS and target:
            sender = await self._homeserver.sender_of(room_id, target)
            gathered = replace(gathered, target_sender=sender)
        return gathered

    async def _gather_member(self, change: wire.MemberChange) -> Gathered:
        if change.user_id == self._house.bot:
            return await self._gather_invitation(change)
        if change.membership in {"join", "knock"}:
            return await self._facts_and_name(change.room_id, "")
        return Gathered(stale=await self._is_stale(change))

    async def _is_stale(self, change: wire.MemberChange) -> bool:
        """Whether an event says that somebody is no member, who is one now.

        What a homeserver delivers late (their invitation, an earlier leaving) must not throw out
        of the call who has come since.
        """
        grants = await self._stores.grants.of_user(change.room_id, change.user_id)
        bridge = change.user_id == self._house.bot_of(server_of(change.user_id))
        if not bridge and all(grant.revoked_ms is not None for grant in grants):
            return False
        return await self._homeserver.is_joined(change.room_id, change.user_id)

    async def _gather_invitation(self, change: wire.MemberChange) -> Gathered:
        if change.membership != "invite":
            return Gathered()
        if not self._house.admits(change.sender):
            log.info("an invitation by %s is left aside: server not admitted", change.sender)
            return Gathered()
        try:
            await self._join(change)
        except HomeserverError as error:
            if not 400 <= error.status < 500 or error.status == 429:
                raise
            log.info("room %s cannot be joined: %s", change.room_id, error)
            return Gathered()
        facts, seen = await self._read_facts(change.room_id)
        return Gathered(facts=facts, seen=seen, joined=True)

    async def _join(self, change: wire.MemberChange) -> None:
        for pause_s in _JOIN_PAUSES_S:
            try:
                await self._homeserver.join(change.room_id, [server_of(change.sender)])
                return
            except HomeserverError as error:
                # Synapse tells the invited server before it has stored its own invitation: whoever
                # answers at once is refused ("You are not invited").
                if error.status != 403 or server_of(change.sender) == self._house.server_name:
                    raise
                await asyncio.sleep(pause_s)
        await self._homeserver.join(change.room_id, [server_of(change.sender)])

    async def _facts_and_name(
        self, room_id: str, user_id: str, grant: Grant | None = None
    ) -> Gathered:
        before = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        facts, seen = (None, None) if before.known else await self._read_facts(room_id)
        names: Mapping[str, str] = {}
        if user_id and user_id not in before.names:
            names = await self._ask_name(room_id, user_id)
        return Gathered(facts=facts, seen=seen, names=names, grant=grant)

    async def _read_again(self, room_id: str) -> Gathered:
        """Memberships alone: a wish read before its own event would seem to be an old one."""
        before = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        # To a bot that has left, Synapse goes on showing the state of that moment.
        seen = (await self._read_facts(room_id))[1] if before.joined else None
        return Gathered() if seen is None else Gathered(seen=seen, names=seen.names)

    async def _read_facts(self, room_id: str) -> tuple[Facts | None, Seen | None]:
        try:
            state = await self._homeserver.state(room_id)
        except HomeserverError as error:
            if error.status not in {403, 404}:
                raise
            return None, None  # not in the room (any more): its defaults hold
        seen = memberships.see(state, room_id, now_ms=self._clock_ms())
        return room_facts.from_state(state, self._house.bot), seen

    async def _untold_bridges(self, room_id: str, sites: Iterable[str]) -> dict[str, str]:
        """Bots of sites that speak for the room, where they are in it although no event said so.

        Two bots that are invited together join at once, each by another server: the one's joining
        comes to the other's Synapse as history, and of that it tells no application service.
        """
        before = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        untold = {site: self._house.bot_of(site) for site in sites if site not in before.bridges}
        return {
            site: bot
            for site, bot in untold.items()
            if before.joined
            and self._house.admits(bot)
            and await self._homeserver.is_joined(room_id, bot)
        }

    async def _members(self, room_id: str) -> dict[str, str]:
        try:
            members = await self._homeserver.members(room_id)
        except HomeserverError as error:
            if error.status not in {403, 404}:
                raise
            return {}
        return {
            user: shown_name(member["display_name"]) or user for user, member in members.items()
        }

    async def _ask_name(self, room_id: str, user_id: str) -> dict[str, str]:
        try:
            name = await self._homeserver.display_name(room_id, user_id)
        except (HomeserverError, Unavailable) as error:
            log.info("the name of %s is not known now: %s", user_id, error)
            return {}
        return named(user_id, name)


def _own_state(event: wire.Incoming) -> bool:
    """State that the bot writes and goes by, too."""
    own = {wire.POWER_LEVELS, wire.RTC_SLOT}
    return isinstance(event, wire.StateChange) and event.type in own


def named(user_id: str, display_name: str) -> dict[str, str]:
    """A person's name as it may stand beside others; empty where they have none."""
    name = shown_name(display_name)
    return {user_id: name} if name and name != user_id else {}
