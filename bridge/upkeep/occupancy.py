"""Who is in a media room, brought to who may be there and who may be heard and seen.

What is seen there and was never announced (a lost webhook) becomes an inbox entry.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.domain.conference import Conference
from bridge.errors import Unavailable
from bridge.matrix.client import HomeserverError
from bridge.media.server import MediaParticipant
from bridge.rooms import entrance, news
from bridge.rooms.facts import Facts
from bridge.rooms.house import House
from bridge.store.grants import Grant
from bridge.store.inbox import NewEntry

log = logging.getLogger(__name__)

_QUESTIONS = 8
"""Questions to the homeserver at once about one room."""


class Media(Protocol):
    """What is asked of bridge.media.server.MediaServer."""

    async def permit(self, name: str, identity: str, *, can_publish: bool) -> bool: ...
    async def remove(self, name: str, identity: str) -> bool: ...


class Members(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def is_joined(self, room_id: str, user_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A room's call and its media room `name`. `running` was read before who is there was asked.

    `grants` by identity; `scribes` are identities of ours.
    """

    room_id: str
    name: str
    facts: Facts
    running: Conference | None
    grants: Mapping[str, Grant]
    scribes: set[str]


class Occupancy:
    """Acts on the media server; what it learns goes to `take` as inbox entries."""

    def __init__(
        self,
        house: House,
        media: Media,
        members: Members,
        *,
        take: Callable[[Sequence[NewEntry]], Any],
    ) -> None:
        self._house = house
        self._media = media
        self._members = members
        self._take = take

    async def settle(self, call: Call, present: Sequence[MediaParticipant]) -> None:
        """Remove, permit, announce. Raises Unavailable."""
        staying = []
        for participant in present:
            if participant.identity in call.scribes or self._may_stay(call, participant):
                staying.append(participant)
            else:
                log.info("somebody who may not be in the call is removed from %s", call.room_id)
                await self._media.remove(call.name, participant.identity)
        await self._permit(call, staying)
        await self._take(_unannounced(call, present, staying))
        if not call.facts.joined:
            await self._ask_members(call, staying)

    def _may_stay(self, call: Call, participant: MediaParticipant) -> bool:
        grant = call.grants.get(participant.identity)
        if grant is None or grant.revoked_ms is not None:
            return False
        return entrance.refusal(self._house, call.facts, call.running, grant) is None

    async def _permit(self, call: Call, staying: Sequence[MediaParticipant]) -> None:
        """Let those be heard and seen who may be, and nobody else, whatever their token said."""
        for participant in staying:
            grant = call.grants.get(participant.identity)
            if grant is None:
                continue  # the scribe
            may = entrance.may_publish(self._house, call.facts, call.running, grant.user_id)
            if may != participant.can_publish:
                await self._media.permit(call.name, participant.identity, can_publish=may)

    async def _ask_members(self, call: Call, staying: Sequence[MediaParticipant]) -> None:
        """Where the bot is not in the room, nobody tells us of a kick: ask, all at once.

        Whoever is gone is removed right away: with the time between two looks this has to stay
        below two seconds.
        """
        some = asyncio.Semaphore(_QUESTIONS)
        grants = [call.grants[p.identity] for p in staying if p.identity in call.grants]

        async def ask(grant: Grant) -> bool | None:
            try:
                async with some:
                    return await self._members.is_joined(grant.room_id, grant.user_id)
            except (HomeserverError, Unavailable) as error:
                log.info("the members of room %s are not known now: %s", grant.room_id, error)
                return None

        answers = await asyncio.gather(*map(ask, grants))
        for grant in [g for g, joined in zip(grants, answers, strict=True) if joined is False]:
            await self._media.remove(call.name, grant.identity)
            await self._take([_gone(grant)])


def _gone(grant: Grant) -> NewEntry:
    return news.gone(
        grant.room_id, user_id=grant.user_id, identity=grant.identity, granted_ms=grant.granted_ms
    )


def _unannounced(
    call: Call, present: Sequence[MediaParticipant], staying: Sequence[MediaParticipant]
) -> list[NewEntry]:
    """Entries for whoever came or went without a word."""
    stays = call.running.stays if call.running else ()
    known = {stay.sid for stay in stays}
    there = {participant.sid for participant in present}
    came = [
        news.seen_joined(call.room_id, identity=p.identity, sid=p.sid, joined_ms=p.joined_ms)
        for p in staying
        if p.sid not in known and p.state in {"JOINED", "ACTIVE"} and p.identity in call.grants
    ]
    left = [
        news.seen_left(call.room_id, identity=stay.identity, sid=stay.sid)
        for stay in stays
        if stay.left_ms is None and stay.sid not in there
    ]
    return came + left
