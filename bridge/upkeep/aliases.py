"""Rooms by their name: whoever joins `#visio_budget:our.server` finds a room for calls there.

The homeserver asks for an alias of ours that leads nowhere yet, and does not say for whom: anybody
on the federation may be looking. So what is made is bounded (in number, by time), and taken away
again when nobody comes in; and who may come in is said by the room itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol
from urllib.parse import quote

from bridge.domain.policy import MODERATOR
from bridge.errors import Unavailable
from bridge.ids import ROOM_CALL
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError, Member
from bridge.matrix.limits import Rate, RateLimit
from bridge.rooms import mapping
from bridge.rooms.house import House
from bridge.store.alias_rooms import AliasRoom
from bridge.store.alias_rooms import AliasRooms as Store
from bridge.store.database import DATABASE_ERRORS

log = logging.getLogger(__name__)

RATE = Rate(per_second=100 / 86_400, burst=20)
"""A hundred rooms a day, whoever asks."""
EMPTY_MS = 600_000
"""Where nobody has come in for so long, the alias is taken back and the bot leaves."""
LOOK_S = 60.0

# Homeservers put these in the place of their own: so their own are among them.
_LEVELS = {
    **dict.fromkeys((wire.ROOM_NAME, "m.room.avatar", "m.room.canonical_alias"), MODERATOR),
    **dict.fromkeys((wire.POWER_LEVELS, wire.SERVER_ACL, wire.TOMBSTONE), 100),
    wire.HISTORY_VISIBILITY: 100,
    wire.ENCRYPTION: MODERATOR,
    **mapping.OPEN_CALLS["events"],
}

_NOT_NOW: tuple[type[Exception], ...] = (HomeserverError, Unavailable, *DATABASE_ERRORS)
_MOST_WAITING = 5

Access = Literal["off", "public", "invite"]

# What comes behind the prefix: letters and digits of any script, and what stands between words.
_NAME = re.compile(r"\w[\w.\-]{0,63}")


class Homeserver(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def object(self, method: str, path: str, **what: Any) -> dict[str, Any]: ...
    async def members(self, room_id: str) -> dict[str, Member]: ...
    async def leave(self, room_id: str) -> None: ...


class AliasRooms:
    """Makes rooms for aliases, and clears away those nobody uses while `run()` runs."""

    def __init__(
        self,
        house: House,
        store: Store,
        homeserver: Homeserver,
        *,
        access: Access,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        empty_ms: int = EMPTY_MS,
        look_s: float = LOOK_S,
        rate: Rate = RATE,
    ) -> None:
        self._house = house
        self._store = store
        self._homeserver = homeserver
        self._access = access
        self._clock_ms = clock_ms
        self._empty_ms = empty_ms
        self._look_s = look_s
        self._limit = RateLimit(rate)
        self._one = asyncio.Lock()
        self._waiting = 0

    async def make(self, alias: str) -> bool:
        """Whether there is, now, a room behind this alias. Never raises."""
        name = room_name(alias, self._house.server_name)
        if self._access == "off" or name is None:
            return False
        crowded = self._waiting >= _MOST_WAITING
        if crowded or self._limit.take("", self._clock_ms() / 1000):
            log.warning("no room is made for %s: too many are asked for", alias)
            return False
        self._waiting += 1
        try:
            async with self._one:
                await self._make(alias, name)
        except HomeserverError as error:
            log.warning("no room is made for %s: %s", alias, error)
            return error.errcode == "M_ROOM_IN_USE"  # somebody was faster
        except _NOT_NOW as error:
            log.warning("no room is made for %s: %s", alias, error)
            return False
        finally:
            self._waiting -= 1
        return True

    async def run(self) -> None:
        """Clear away until cancelled."""
        while True:
            try:
                await self.look()
            except _NOT_NOW as error:
                log.info("rooms nobody uses are not known now: %s", error)
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Clear away what was made a while ago and is used by nobody."""
        for room in await self._store.before(self._clock_ms() - self._empty_ms):
            try:
                members = await self._homeserver.members(room.room_id)
                if set(members) <= {self._house.bot}:
                    await self._remove(room)
            except HomeserverError as error:
                if error.status not in {403, 404}:
                    raise
                log.info("%s is no room of ours any more: %s", room.alias, error)
            await self._store.forget(room.room_id)

    async def _make(self, alias: str, name: str) -> None:
        answer = await self._homeserver.object(
            "POST",
            "/_matrix/client/v3/createRoom",
            body=room(self._house, alias, name, self._access),
        )
        log.info("a room was made for %s", alias)
        made = AliasRoom(
            room_id=str(answer.get("room_id")), alias=alias, created_ms=self._clock_ms()
        )
        await self._store.put(made)

    async def _remove(self, room: AliasRoom) -> None:
        path = f"/_matrix/client/v3/directory/room/{quote(room.alias, safe='')}"
        await self._homeserver.object("DELETE", path)
        await self._homeserver.leave(room.room_id)
        log.info("nobody came into the room of %s: it is given up", room.alias)


def room_name(alias: str, server_name: str) -> str | None:
    """`#visio_budget-2027:our.server` is "Budget 2027"; None for what is no alias of ours."""
    localpart, _, server = alias.partition(":")
    words = localpart.removeprefix(wire.ALIAS_PREFIX)
    if server != server_name or words == localpart or not _NAME.fullmatch(words):
        return None
    spaced = " ".join(words.replace("_", " ").replace("-", " ").split())
    return spaced[:1].upper() + spaced[1:] or None


def room(house: House, alias: str, name: str, access: Access) -> dict[str, Any]:
    """Body of the request that makes the room. The bot has made it and stands above all."""
    key = mapping.bridge_key(house.server_name)
    info = mapping.bridge_info(house, name)
    state = [
        _state(wire.RTC_SLOT, mapping.slot(encrypted=False), ROOM_CALL),
        _state(wire.BRIDGE, info, key),
        _state(wire.BRIDGE_UNSTABLE, info, key),
        _state(wire.HISTORY_VISIBILITY, {"history_visibility": "shared"}),
        _state(wire.GUEST_ACCESS, {"guest_access": "forbidden"}),
        _state(wire.JOIN_RULES, {"join_rule": "public" if access == "public" else "knock"}),
        *([_state(wire.SERVER_ACL, acl)] if (acl := server_acl(house)) else []),
    ]
    return {
        "name": name,
        "room_alias_name": alias.partition(":")[0].removeprefix("#"),
        "visibility": "private",  # found by its name, not in the server's list of rooms
        "preset": "public_chat" if access == "public" else "private_chat",
        "power_level_content_override": {"events": _LEVELS},
        "initial_state": state,
    }


def server_acl(house: House) -> dict[str, Any] | None:
    """Lets in the servers the bridge admits, and no other; None where it admits all.

    These lists name hosts without their ports (Matrix specification, "Server Access Control").
    """
    if "*" in house.allow_servers:
        return None
    own = _host(house.server_name)
    hosts = dict.fromkeys([own, *map(_host, house.allow_servers)])
    return {"allow": list(hosts), "deny": [], "allow_ip_literals": _is_address(own)}


def _state(event_type: str, content: dict[str, Any], key: str = "") -> dict[str, Any]:
    return {"type": event_type, "state_key": key, "content": content}


def _host(server: str) -> str:
    return re.sub(r":\d{1,5}$", "", server)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
