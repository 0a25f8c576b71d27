"""Fetching what was said at other sites, for the record of a call that this site leads.

Asked for in pages once the call is over, and again when a site has more: each site's share is
fetched by one task at a time, so that a slow site delays nothing but its own share.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from bridge.domain import federation
from bridge.domain.conference import Conference, read_conferences
from bridge.domain.joint import Share
from bridge.errors import Unavailable
from bridge.peers.messages import MAX_UTTERANCES, InvalidMessage, Page, PageAsked, Said
from bridge.peers.way import Refusal
from bridge.rooms import facts as room_facts
from bridge.rooms import news
from bridge.rooms.house import House, Stores
from bridge.rooms.turns import Turns
from bridge.store.inbox import NewEntry
from bridge.store.peer_utterances import PeerUtterance

log = logging.getLogger(__name__)

REST_S = 3.0


class Links(Protocol):
    """What is asked of bridge.peers.links.Links."""

    async def page(self, server: str, asked: PageAsked) -> Page: ...


class Shares:
    """Owner of the fetching. `run()` works until cancelled; woken after each committed entry."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        links: Links,
        *,
        take: Callable[[Sequence[NewEntry]], Awaitable[None]],
        rest_s: float = REST_S,
    ) -> None:
        self._house = house
        self._stores = stores
        self._links = links
        self._take = take
        self._rest_s = rest_s
        self._turns = Turns(self._turn, limit=8, rest_after_error_s=rest_s)

    def wake(self, room_ids: Iterable[str]) -> None:
        """Something of these rooms has changed."""
        self._turns.wake(room_ids)

    async def run(self) -> None:
        """Fetch until cancelled. What was to be fetched before a restart is looked for first."""
        self.wake(await self._stores.conferences.active())
        await self._turns.run()

    async def _turn(self, room_id: str) -> float | None:
        snapshot = await self._stores.conferences.load(None, room_id)
        wanted = [
            (conference, share)
            for conference in read_conferences(snapshot)
            for share in _wanted(conference)
        ]
        fetched = await asyncio.gather(*(self._fetch(room_id, c, share) for c, share in wanted))
        return None if all(fetched) else self._rest_s

    async def _fetch(self, room_id: str, conference: Conference, share: Share) -> bool:
        """Whether all of the share was fetched, or never will be."""
        try:
            said = await self._pages(room_id, conference.call_id, share.site)
        except Unavailable as error:
            log.info("what was said at %s is fetched later: %s", share.site, error)
            return False
        except (Refusal, InvalidMessage) as error:
            log.warning("what was said at %s cannot be had: %s", share.site, error)
            return True
        facts = room_facts.from_json(await self._stores.rooms.get(None, room_id))
        bridges = {*facts.bridges, self._house.server_name}
        theirs = [one for one in said if federation.speaks_for(share.site, one.speaker, bridges)]
        if len(theirs) < len(said):
            log.warning("%s tells what people said who are not its own: left aside", share.site)
        await self._stores.peer_utterances.put(
            [_stored(conference.id, share.site, one) for one in theirs]
        )
        _, segments = await self._stores.peer_utterances.count(conference.id, share.site)
        entry = news.share_taken(room_id, conference.id, share.site, len(said), segments)
        await self._take([entry])
        return True

    async def _pages(self, room_id: str, call: str, site: str) -> list[Said]:
        said: list[Said] = []
        while True:
            page = await self._links.page(
                site, PageAsked(room_id=room_id, call=call, skip=len(said))
            )
            said += page.said
            if not page.said or len(said) >= min(page.total, MAX_UTTERANCES):
                return said


def _wanted(conference: Conference) -> list[Share]:
    if conference.phase == "running" or conference.joint is None or not conference.joint.leading:
        return []
    return [share for share in conference.joint.shares if share.said > share.taken]


def _stored(conference: str, site: str, said: Said) -> PeerUtterance:
    return PeerUtterance(conference=conference, site=site, **dataclasses.asdict(said))
