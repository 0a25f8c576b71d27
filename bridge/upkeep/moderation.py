"""Muting and removing people: at our media server, and for it at the other sites.

Who is connected at another site's media server is out of our hands: that site's bridge is asked
(bridge.peers), and decides by its own knowledge of the room. `Moderation` answers such questions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.domain.conference import read_conferences
from bridge.errors import Unavailable
from bridge.ids import media_room
from bridge.media.server import MediaParticipant
from bridge.peers.messages import InvalidMessage, Measure, ModerateAsked, Moderated
from bridge.peers.way import Refusal
from bridge.rooms import facts as room_facts
from bridge.rooms import news
from bridge.rooms.house import House, Stores
from bridge.rooms.moderating import moderates
from bridge.store.errands import Errand
from bridge.store.inbox import NewEntry

log = logging.getLogger(__name__)

SITE_S = 5.0
"""How long another site has to answer; the room's other errands wait for it meanwhile."""


class Media(Protocol):
    """What is asked of bridge.media.server.MediaServer."""

    async def participants(self, name: str) -> list[MediaParticipant]: ...
    async def mute(
        self, name: str, identity: str, track_sid: str, *, muted: bool = True
    ) -> bool: ...
    async def remove(self, name: str, identity: str) -> bool: ...


class Links(Protocol):
    """What is asked of bridge.peers.links.Links."""

    async def moderate(self, server: str, asked: ModerateAsked) -> Moderated: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """`connections` of the person were found; `count`: microphones (mute) or connections ended."""

    connections: int
    count: int


class Hands:
    """Takes people's microphones, or their place, at our media server. Raises Unavailable."""

    def __init__(self, stores: Stores, media: Media) -> None:
        self._stores = stores
        self._media = media

    async def take(self, what: Measure, room_id: str, user_id: str) -> Done:
        """Mute or remove every connection of a person."""
        present = await self._of_person(room_id, user_id)
        act = self._mute if what == "mute" else self._remove
        return Done(connections=len(present), count=await act(media_room(room_id), present))

    async def _mute(self, name: str, present: Sequence[MediaParticipant]) -> int:
        for participant in present:
            for track in participant.tracks:
                if track.source == "MICROPHONE" and not track.muted:
                    await self._media.mute(name, participant.identity, track.sid)
        # All that are there, muted by us or not: after a restart ours look like their own.
        return len([t for p in present for t in p.tracks if t.source == "MICROPHONE"])

    async def _remove(self, name: str, present: Sequence[MediaParticipant]) -> int:
        for participant in present:
            await self._media.remove(name, participant.identity)
        return len(present)

    async def _of_person(self, room_id: str, user_id: str) -> list[MediaParticipant]:
        grants = await self._stores.grants.of_user(room_id, user_id)
        identities = {grant.identity for grant in grants}
        present = await self._media.participants(media_room(room_id))
        return [participant for participant in present if participant.identity in identities]


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What the other sites did. `refused`: the first that would not, '' where none is."""

    there: bool = False
    count: int = 0
    refused: str = ""


class OtherSites:
    """Has people muted or removed where they are connected. Raises Unavailable."""

    def __init__(self, stores: Stores, links: Links, *, site_s: float = SITE_S) -> None:
        self._stores = stores
        self._links = links
        self._site_s = site_s

    async def ask(self, what: Measure, errand: Errand) -> Elsewhere:
        """Ask every site where the errand's person is in the call now."""
        snapshot = await self._stores.conferences.load(None, errand.room_id)
        conference = next(iter(read_conferences(snapshot)), None)
        user_id = errand.content["user_id"]
        if conference is None or conference.phase != "running":
            return Elsewhere()
        if what == "remove" and user_id not in conference.removed:
            return Elsewhere()  # let in again since
        asked = ModerateAsked(
            room_id=errand.room_id,
            call=conference.call_id,
            what=what,
            user_id=user_id,
            asked_by=errand.content["asked_by"],
            event=errand.content["reply_to"],
        )
        found = Elsewhere()
        for site in conference.sites_of(user_id):
            found = _joined(found, site, await self._ask(site, asked))
        return found

    async def _ask(self, site: str, asked: ModerateAsked) -> Moderated:
        facts = room_facts.from_json(await self._stores.rooms.get(None, asked.room_id))
        if site not in facts.bridges:
            return Moderated(outcome="refused")
        try:
            async with asyncio.timeout(self._site_s):
                return await self._links.moderate(site, asked)
        except TimeoutError as error:
            raise Unavailable("homeserver_unavailable") from error
        except (Refusal, InvalidMessage) as error:
            log.warning("the bridge of %s does not %s: %s", site, asked.what, error)
            return Moderated(outcome="refused")


def _joined(found: Elsewhere, site: str, moderated: Moderated) -> Elsewhere:
    return Elsewhere(
        there=found.there or moderated.outcome == "done",
        count=found.count + moderated.count,
        refused=found.refused or (site if moderated.outcome == "refused" else ""),
    )


class Moderation:
    """Answers other sites whose people want somebody here muted or removed.

    The door has proved the asker's server, and that they are in the room. `take` is durable when
    it returns.
    """

    def __init__(
        self,
        house: House,
        stores: Stores,
        hands: Hands,
        *,
        take: Callable[[Sequence[NewEntry]], Awaitable[None]],
    ) -> None:
        self._house = house
        self._stores = stores
        self._hands = hands
        self._take = take

    async def moderate(self, asked: ModerateAsked) -> Moderated:
        """Mute or remove, if the asker may by what we know of the room. Raises Unavailable."""
        facts = room_facts.from_json(await self._stores.rooms.get(None, asked.room_id))
        snapshot = await self._stores.conferences.load(None, asked.room_id)
        conference = next(iter(read_conferences(snapshot)), None)
        if conference is None or conference.phase != "running" or conference.call_id != asked.call:
            return Moderated(outcome="absent")
        admitted = self._house.admits(asked.asked_by)
        if not admitted or not moderates(conference, facts, asked.asked_by, asked.user_id):
            return Moderated(outcome="refused")
        if asked.what == "remove":
            await self._take([news.put_out(asked)])
        done = await self._hands.take(asked.what, asked.room_id, asked.user_id)
        absent = asked.what == "mute" and not done.connections
        return Moderated(outcome="absent" if absent else "done", count=done.count)
