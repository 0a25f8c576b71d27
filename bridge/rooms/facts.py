"""What the bridge knows of a room beside its calls: read once, kept true by the room's events."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bridge.domain import keeping, wish
from bridge.domain.entry import Room
from bridge.domain.policy import Power
from bridge.domain.wish import Wish
from bridge.ids import ROOM_CALL, server_of
from bridge.matrix import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`known` is False until the room's state was read. `wish` is the content as last read.

    `joined`: the bot is in the room. In others people may call too; there the bridge says nothing,
    and no kick is told to it. `closed`: another room has taken its place (m.room.tombstone).
    `names` holds the display names of those who used the bridge here.
    `power_said`: the sentence about missing power was said and power has not been given since.
    """

    known: bool = False
    joined: bool = False
    wish: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, Any] | None = None
    create: Mapping[str, Any] = field(default_factory=dict)
    creator: str = ""
    encrypted: bool = False
    closed: bool = False
    name: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    power_said: bool = False
    bridges: Mapping[str, str] = field(default_factory=dict)
    """Other sites' bots that are joined: server name -> Matrix id."""
    slot: Literal["", "open", "closed"] = ""
    """The slot event of the room's call (MSC4143), where there is one."""
    lifetime_ms: int = 0
    """How long the room's messages are kept (m.room.retention), 0 where it does not say."""
    mapped: tuple[str, ...] = ()
    """What was done once to make this a room for calls (mapping.py)."""

    @property
    def slot_closed(self) -> bool:
        """Sticky memberships do not count here."""
        return self.slot == "closed"

    @property
    def power(self) -> Power:
        """The room's power levels."""
        return Power(self.levels, self.create, self.creator)

    def read_wish(self, defaults: Wish) -> Wish:
        """The room's wish, its problems left aside."""
        return wish.read(self.wish, defaults)[0]

    def room(self, defaults: Wish) -> Room:
        """What decides who comes into its call. Of a room without the bot nothing is believed."""
        if not self.joined:
            return Room(with_bot=False, closed=False, wish=defaults, power=Power(None, {}, ""))
        return Room(
            with_bot=True, closed=self.closed, wish=self.read_wish(defaults), power=self.power
        )

    def asks_for(self, what: str) -> bool:
        """Whether the room's own event, and not a default, asks for captions or a transcript."""
        return self.wish.get(what) is True

    def keep_ms(self, *, days: int, most_days: int) -> int | None:
        """How long what was said here is kept; `days`, `most_days`: the administrator's."""
        wished = self.wish.get("retention_days")
        return keeping.keep_ms(
            wished_days=wished if type(wished) is int and wished >= 1 else None,
            days=days,
            most_days=most_days,
            lifetime_ms=self.lifetime_ms,
        )

    def display_name(self, user_id: str) -> str:
        """A person's name; without one, their id's own part."""
        return self.names.get(user_id) or user_id.partition(":")[0].removeprefix("@")

    def answers(self, sender: str, own_server: str) -> bool:
        """Whether this site, and not another one in the room, does what `sender` asks.

        Their own site does; where their server has none here, the first by name. Every bridge in
        the room comes to the same answer.
        """
        server = server_of(sender)
        if server in self.bridges:
            return False
        return server == own_server or own_server <= min(self.bridges, default=own_server)

    def with_member(self, user_id: str, membership: str, bot: str) -> Facts:
        """After a membership event: bots of other sites have the name ours has, elsewhere."""
        server = server_of(user_id)
        if user_id == bot:
            return replace(self, joined=membership == "join")
        if user_id != f"{bot.partition(':')[0]}:{server}":
            return self
        others = {name: other for name, other in self.bridges.items() if name != server}
        return replace(
            self, bridges={**others, server: user_id} if membership == "join" else others
        )

    def with_bridges(self, bridges: Mapping[str, str]) -> Facts:
        """With these bots of other sites beside those known."""
        return replace(self, bridges={**self.bridges, **bridges}) if bridges else self

    def named(self, names: Mapping[str, str]) -> Facts:
        """With these names, in place of older ones."""
        return replace(self, names={**self.names, **names}) if names else self

    def with_slot(self, content: Mapping[str, Any]) -> Facts:
        """After the slot event of the room's call."""
        return replace(self, slot="open" if content.get("status") == "open" else "closed")

    def with_state(self, event_type: str, content: Mapping[str, Any], sender: str) -> Facts:
        """After a state event with an empty key."""
        match event_type:
            case wire.CONFERENCE:
                return replace(self, wish=content)
            case wire.POWER_LEVELS:
                return replace(self, levels=content)
            case wire.CREATE:
                # Before room version 11 the creator is named in the content (MSC2175).
                return replace(self, create=content, creator=str(content.get("creator", sender)))
            case wire.ENCRYPTION:
                return replace(self, encrypted=True)
            case wire.TOMBSTONE:
                # A redacted one is an empty one: the room goes on.
                return replace(self, closed=isinstance(content.get("replacement_room"), str))
            case wire.RETENTION:
                most = content.get("max_lifetime")
                whole = isinstance(most, int) and not isinstance(most, bool)
                return replace(self, lifetime_ms=max(0, int(most or 0)) if whole else 0)
            case wire.ROOM_NAME:
                name = content.get("name")
                return replace(self, name=name[:200] if isinstance(name, str) else "")
        return self


def from_state(events: Iterable[Mapping[str, Any]], bot: str) -> Facts:
    """The facts in a room's whole state."""
    facts = Facts(known=True)
    for event in events:
        content, key = event.get("content"), event.get("state_key")
        if not isinstance(content, dict) or not isinstance(key, str):
            continue
        if event.get("type") == wire.MEMBER:
            facts = facts.with_member(key, str(content.get("membership")), bot)
        elif (event.get("type"), key) == (wire.RTC_SLOT, ROOM_CALL):
            facts = facts.with_slot(content)
        elif key == "":
            facts = facts.with_state(str(event.get("type")), content, str(event.get("sender")))
    return facts


def to_json(facts: Facts) -> dict[str, Any]:
    """As stored."""
    return {f.name: getattr(facts, f.name) for f in dataclasses.fields(facts)}


def from_json(stored: Mapping[str, Any]) -> Facts:
    """As `to_json` wrote it; unknown names are left out."""
    known = {f.name for f in dataclasses.fields(Facts)}
    # Facts of the first development versions were only ever read in rooms the bot had joined.
    stored = {"joined": stored.get("known", False), **stored}
    stored["mapped"] = tuple(stored.get("mapped", ()))
    return Facts(**{key: value for key, value in stored.items() if key in known})
