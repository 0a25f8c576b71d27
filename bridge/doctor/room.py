"""One Matrix room: whether people can call in it, and what the bot may do there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bridge.doctor.federation import Federation
from bridge.doctor.findings import Remark, failed, ok, warning
from bridge.doctor.http import NoAnswer
from bridge.doctor.visit import Visit
from bridge.doctor.walk import Answer
from bridge.domain.membership import CALL_MEMBER, Membership, Picture, read
from bridge.domain.policy import MODERATOR, Power, server_admitted
from bridge.ids import ROOM_CALL, media_room, server_of
from bridge.matrix import wire
from bridge.matrix.discovery import InvalidServerName, Unresolvable
from bridge.media.server import MediaServer

_SERVERS, _AT_ONCE = 40, 8
"""How many members' homeservers are asked, the largest first."""
FRESH_MS = 60_000
"""Whoever has just said that they are in the call may still be on the way."""


@dataclass(frozen=True, slots=True)
class RoomState:
    """The room's state, by type and key."""

    events: dict[tuple[str, str], dict[str, Any]]

    def content(self, event_type: str, key: str = "") -> dict[str, Any]:
        """Content of a state event, empty where there is none."""
        content = self.events.get((event_type, key), {}).get("content")
        return content if isinstance(content, dict) else {}

    @property
    def power(self) -> Power:
        """Who may do what."""
        create = self.events.get((wire.CREATE, ""), {})
        levels = self.content(wire.POWER_LEVELS) if (wire.POWER_LEVELS, "") in self.events else None
        return Power(levels, self.content(wire.CREATE), str(create.get("sender", "")))

    @property
    def joined(self) -> frozenset[str]:
        """Who is a member now."""
        return frozenset(
            key
            for (kind, key), event in self.events.items()
            if kind == wire.MEMBER and (event.get("content") or {}).get("membership") == "join"
        )


async def joined(visit: Visit) -> Remark:
    """The bot is in the room."""
    room_id = visit.asked_room
    reply = await visit.matrix("GET", f"/_matrix/client/v3/rooms/{_q(room_id)}/joined_members")
    members = reply.object.get("joined")
    if reply.status == 200 and isinstance(members, dict) and visit.bot in members:
        return ok("room.joined", bot=visit.bot, count=len(members))
    if reply.status in {200, 403, 404}:
        return failed("room.absent", bot=visit.bot, room=room_id)
    return failed("homeserver.answers", request="joined_members", status=reply.shown)


async def state(visit: Visit) -> Remark:
    """The room's state can be read; other checks build on it."""
    path = f"/_matrix/client/v3/rooms/{_q(visit.asked_room)}/state"
    reply = await visit.matrix("GET", path)
    events = reply.json
    if reply.status != 200 or not isinstance(events, list):
        return failed("homeserver.answers", request="state", status=reply.shown)
    visit.state = RoomState(
        {
            (str(one.get("type")), str(one["state_key"])): one
            for one in events
            if isinstance(one, dict) and "state_key" in one
        }
    )
    name = str(visit.room_state.content(wire.ROOM_NAME).get("name") or visit.asked_room)
    version = str(visit.room_state.content(wire.CREATE).get("room_version", "1"))
    return ok("room.read", name=name[:60], version=version)


async def call_power(visit: Visit) -> Remark:
    """Everybody may take part by the call button of their client."""
    power = visit.room_state.power
    needed, everybody = power.needed_for_state(CALL_MEMBER), power.of("@doctor:example.invalid")
    if needed > everybody:
        return failed("power.call", type=CALL_MEMBER, needed=needed, everybody=everybody)
    return ok("power.call_fine", everybody=everybody)


async def bot_power(visit: Visit) -> Answer:
    """What the bot may write: the status of the call, removing ghosts, ringing."""
    power, remarks = visit.room_state.power, []
    has = power.of(visit.bot)
    kinds = (wire.CONFERENCE_STATUS, wire.CONFERENCE, CALL_MEMBER)
    lacking = {
        kind: power.needed_for_state(kind) for kind in kinds if power.needed_for_state(kind) > has
    }
    if lacking:
        needed, types = max(lacking.values()), ", ".join(lacking)
        remarks.append(warning("power.bot", bot=visit.bot, has=has, needed=needed, types=types))
    notifications = (power.levels or {}).get("notifications")
    ring = notifications.get("room", MODERATOR) if isinstance(notifications, dict) else MODERATOR
    if isinstance(ring, int) and has < ring:
        remarks.append(warning("power.ring", bot=visit.bot, has=has, needed=ring))
    if has < _posting(power):
        remarks.append(failed("power.silent", bot=visit.bot, has=has, needed=_posting(power)))
    return remarks or ok("power.bot_fine", has=min(has, 999))


def _posting(power: Power) -> int:
    levels = power.levels or {}
    default, events = levels.get("events_default", 0), levels.get("events")
    needed = events.get(wire.MESSAGE, default) if isinstance(events, dict) else default
    return needed if isinstance(needed, int) else 0


async def encryption(visit: Visit) -> Remark:
    """Whether media and messages are encrypted here, and what that means."""
    algorithm = visit.room_state.content(wire.ENCRYPTION).get("algorithm")
    return ok("encryption.on") if algorithm else ok("encryption.off")


async def slot(visit: Visit) -> Remark:
    """The room has a place for calls (MSC4143), or leaves it open."""
    if (wire.RTC_SLOT, ROOM_CALL) not in visit.room_state.events:
        return ok("slot.none")
    content = visit.room_state.content(wire.RTC_SLOT, ROOM_CALL)
    if not content or content.get("status") == "closed":
        return warning("slot.closed", type=wire.RTC_SLOT, key=ROOM_CALL)
    return ok("slot.open")


async def ghosts(visit: Visit) -> Remark:
    """Memberships of our media server whose devices are not there."""
    now_ms = int(visit.clock() * 1000)
    said = [
        one
        for event in visit.room_state.events.values()
        if (one := read({"room_id": visit.asked_room, **event}, now_ms=now_ms)) is not None
    ]
    members = [one for one in said if isinstance(one, Membership)]
    picture = Picture.of(members, now_ms=now_ms, joined=visit.room_state.joined)
    media = MediaServer(visit.settings.media.api_url, visit.key)
    try:
        there = {one.identity for one in await media.participants(media_room(visit.asked_room))}
    finally:
        await media.close()
    ghosts = [
        one
        for one in picture.at(visit.page)
        if one.identity not in there and now_ms - one.sent_ms > FRESH_MS
    ]
    if ghosts:
        shown = ", ".join(sorted({one.user_id for one in ghosts}))
        return warning("ghosts.some", count=len(ghosts), users=shown)
    return ok("ghosts.none", count=len(picture.members))


async def servers(visit: Visit) -> Answer:
    """Each member's homeserver is admitted, and answers over federation."""
    counts: dict[str, int] = {}
    for user_id in visit.room_state.joined:
        counts[server_of(user_id)] = counts.get(server_of(user_id), 0) + 1
    own, allowed = visit.settings.homeserver.server_name, visit.settings.federation.allow_servers
    others = sorted((name for name in counts if name != own), key=lambda name: -counts[name])
    remarks = [
        warning("servers.refused", server=name, count=counts[name])
        for name in others
        if not server_admitted(name, allowed, own)
    ]
    admitted = [name for name in others if server_admitted(name, allowed, own)][:_SERVERS]
    remarks += [one for one in await _reached(visit, admitted) if one is not None]
    return remarks or ok("servers.fine", count=len(counts))


async def _reached(visit: Visit, names: list[str]) -> list[Remark | None]:
    federation, slots = Federation(visit), asyncio.Semaphore(_AT_ONCE)

    async def reach(name: str) -> Remark | None:
        async with slots:
            try:
                reply = await federation.version(await federation.find(name))
            except (InvalidServerName, Unresolvable, NoAnswer) as error:
                return warning("servers.lost", server=name, reason=str(error))
        return (
            None
            if reply.status == 200
            else warning("servers.lost", server=name, reason=reply.shown)
        )

    try:
        return list(await asyncio.gather(*(reach(name) for name in names)))
    finally:
        federation.close()


def _q(part: str) -> str:
    return quote(part, safe="")
