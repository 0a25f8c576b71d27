"""Bringing the scribe to what the stored conferences want: its sessions, the bot's place in the
call, and the media keys.

While a scribe listens, the bot is a member of the call: people see who listens, and in an encrypted
call their devices give it their keys. In a direct chat it is none until two people are there:
phones ring for as long as nobody but the caller is in the call, and Element Call would take the bot
for the one who answered (and, when one of two has left, for the one to stay with).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.domain import wish
from bridge.domain.conference import Conference, read_conferences, scribe_identity
from bridge.errors import Unavailable
from bridge.ids import media_room
from bridge.matrix import wire
from bridge.matrix.http import HomeserverError
from bridge.rooms import news
from bridge.rooms.facts import Facts
from bridge.store.conferences import Conferences
from bridge.store.grants import Grant
from bridge.store.inbox import NewEntry
from bridge.upkeep.media_keys import HeldKey, MediaKeys
from bridge.upkeep.own_key import OwnKey

log = logging.getLogger(__name__)

SCRIBE_REST_S = 5.0
"""A session that failed is not asked for again sooner."""
PLACE_REST_S = 30.0
"""A place in a call that the homeserver refused is not asked for again sooner."""
PLACE_S = 8.0
HOLDER = "scribe"
DIRECT = 2
"""People in the room, the bots aside: then it is a direct chat."""


class Scribe(Protocol):
    """What is asked of bridge.scribe.link.ScribeLink."""

    connected: bool
    greetings: int
    sessions: dict[str, str]

    async def start(self, session: dict[str, Any]) -> None: ...
    async def update(self, conference: str, **flags: Any) -> None: ...
    async def key(self, conference: str, *, identity: str, index: int, key: str) -> None: ...
    async def stop(self, conference: str) -> None: ...


class Place(Protocol):
    """What is asked of bridge.matrix.own_membership.OwnMembership."""

    @property
    def identity(self) -> str: ...
    def published(self, room_id: str) -> bool: ...
    async def publish(self, room_id: str, *, holder: str = "") -> str: ...
    async def renew(self, room_id: str) -> None: ...
    async def withdraw(self, room_id: str, *, holder: str = "") -> None: ...


class Members(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def members(self, room_id: str) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScribeAccess:
    """How a scribe gets into a call: the media server's address and a maker of tokens.

    `token(media_room, identity)` gives a fresh token of a visible participant of kind agent.
    """

    url: str
    token: Callable[[str, str], str]


def encrypted_calls(conferences: Conferences) -> Callable[[str], Awaitable[bool]]:
    """Whether a room has a call that is encrypted and listened to."""

    async def wanted(room_id: str) -> bool:
        stored = read_conferences(await conferences.load(None, room_id))
        return any(c.listening and c.encrypted for c in stored)

    return wanted


class Hearing:
    """Brings one room at a time; the reconciler's turns call it, never two for one room."""

    def __init__(
        self,
        bot: str,
        scribe: Scribe,
        access: ScribeAccess,
        *,
        take: Callable[[Sequence[NewEntry]], Any],
        members: Members,
        place: Place,
        keys: MediaKeys,
        own_key: OwnKey | None = None,
        watched: Callable[[Conference], bool] = lambda conference: False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._bot = bot
        self._scribe = scribe
        self._access = access
        self._take = take
        self._members = members
        self._place = place
        self._keys = keys
        self._clock_ms = clock_ms
        self._own_key = own_key
        self._watched = watched
        self._told: dict[str, dict[str, Any]] = {}
        self._asked_ms: dict[str, int] = {}
        self._standing: dict[str, str] = {}
        self._refused_ms: dict[str, int] = {}
        self._direct: dict[str, bool] = {}
        self._handed: dict[str, set[HeldKey]] = {}
        self._greetings = 0
        self._people: dict[str, dict[str, Any]] = {}

    def identities(self, conferences: Iterable[Conference]) -> set[str]:
        """Every name a scribe may have in the room's media."""
        return {self._place.identity, *(scribe_identity(c.id) for c in conferences)}

    @property
    def sessions(self) -> list[str]:
        """The conferences the scribe is at."""
        return list(self._scribe.sessions) if self._scribe.connected else []

    async def bring(
        self,
        room_id: str,
        conferences: Sequence[Conference],
        facts: Facts,
        grants: Sequence[Grant],
        opted_out: Container[str] = (),
    ) -> None:
        """Compare one room's conferences with what the scribe does. Raises Unavailable.

        `opted_out`: Matrix ids of people who are not listened to.
        """
        self._people[room_id] = _people(facts, grants, opted_out)
        listening = next((c for c in conferences if c.listening), None)
        if listening is None:
            self._people.pop(room_id)
            await self._step_out(room_id)
        if not self._scribe.connected:
            return  # where the bot stands already it stays: the scribe is back in a moment
        for conference in conferences:
            if conference is not listening:
                self._direct.pop(conference.id, None)
                await self.stop(conference.id)
        if listening is not None and listening.encrypted:
            await self._bring_encrypted(room_id, listening, facts, grants)
        elif listening is not None:
            await self._bring_open(room_id, listening, facts)

    async def stop(self, conference: str) -> None:
        """End a session, if there is one."""
        for known in (self._told, self._asked_ms, self._handed):
            known.pop(conference, None)
        if self._scribe.sessions.get(conference, "stopped") != "stopped":
            await self._scribe.stop(conference)

    async def _bring_open(self, room_id: str, conference: Conference, facts: Facts) -> None:
        """Listen at once; the place in the call is for people to see who does."""
        allowed = self._may_be_member(facts)
        identity = self._place.identity if allowed else scribe_identity(conference.id)
        await self._listen(room_id, conference, identity)
        if allowed and not await self._waits(room_id, conference, facts):
            await self._step_in(room_id, conference)
        else:
            await self._step_out(room_id)

    async def _bring_encrypted(
        self, room_id: str, conference: Conference, facts: Facts, grants: Sequence[Grant]
    ) -> None:
        """Listen as a member of the call, or not at all: nobody else is given keys."""
        allowed = self._may_be_member(facts)
        if not allowed:
            await self._take([news.session(room_id, conference.id, "joining", "no_member")])
        if not allowed or await self._waits(room_id, conference, facts):
            await self._step_out(room_id)
            await self.stop(conference.id)
        elif await self._step_in(room_id, conference):
            await self._listen(room_id, conference, self._place.identity)
            await self._hand_keys(room_id, conference, self._place.identity, grants)
        else:
            await self.stop(conference.id)

    # ---- the session

    async def _listen(self, room_id: str, conference: Conference, identity: str) -> None:
        state = self._scribe.sessions.get(conference.id)
        flags = self._flags(conference)
        if state is None or state in {"failed", "stopped"}:
            await self._start(room_id, conference, identity)
        elif self._told.get(conference.id) != flags:
            await self._scribe.update(conference.id, **flags)
            self._told[conference.id] = flags

    async def _start(self, room_id: str, conference: Conference, identity: str) -> None:
        now_ms = self._clock_ms()
        asked_ms = self._asked_ms.get(conference.id)
        if asked_ms is not None and now_ms - asked_ms < SCRIBE_REST_S * 1000:
            return
        flags = self._flags(conference)
        session = {
            "conference": conference.id,
            "room_id": room_id,
            "url": self._access.url,
            "token": self._access.token(media_room(room_id), identity),
            "epoch_ms": conference.started_ms,
            **flags,
        }
        await self._scribe.start(session)
        self._told[conference.id] = flags
        self._asked_ms[conference.id] = now_ms
        self._handed.pop(conference.id, None)

    def _flags(self, conference: Conference) -> dict[str, Any]:
        return {
            "language": conference.spoken_language,
            "captions": conference.captions,
            "transcript": conference.transcript,
            "encrypted": conference.encrypted,
            "watch": self._watched(conference),
            **self._people[conference.room_id],
        }

    async def _hand_keys(
        self, room_id: str, conference: Conference, identity: str, grants: Sequence[Grant]
    ) -> None:
        """Give the scribe the keys it has not got yet; all of them after it was away."""
        if self._scribe.greetings != self._greetings:
            self._greetings = self._scribe.greetings
            self._handed.clear()
        held = set(self._keys.of(room_id, grants))
        if self._own_key is not None:
            held.add(HeldKey(identity, 0, self._own_key.give(conference)))
        handed = self._handed.setdefault(conference.id, set())
        for key in held - handed:
            encoded = base64.b64encode(key.key).decode()
            await self._scribe.key(
                conference.id, identity=key.identity, index=key.index, key=encoded
            )
            handed.add(key)
        handed &= held

    # ---- the bot's place in the call

    def _may_be_member(self, facts: Facts) -> bool:
        return facts.power.may_send_state(self._bot, wire.CALL_MEMBER)

    async def _waits(self, room_id: str, conference: Conference, facts: Facts) -> bool:
        """Whether this is a direct chat in which nobody has answered yet, or one has left."""
        if len(conference.present) >= DIRECT:
            return False
        if conference.id not in self._direct:
            try:
                members = set(await self._members.members(room_id))
            except (HomeserverError, Unavailable) as error:
                log.info("the members of room %s are not known now: %s", room_id, error)
                return True
            people = members - {self._bot, *facts.bridges.values()}
            self._direct[conference.id] = len(people) <= DIRECT
        return self._direct[conference.id]

    async def _step_in(self, room_id: str, conference: Conference) -> bool:
        there = self._place.published(room_id)
        if there and self._standing.get(room_id) == conference.id:
            return True
        now_ms = self._clock_ms()
        if now_ms < self._refused_ms.get(room_id, 0):
            return False
        try:
            async with asyncio.timeout(PLACE_S):
                await self._place.publish(room_id, holder=HOLDER)
                if there and conference.encrypted:
                    # It was there to let phones ring: keys that came then were left aside.
                    await self._place.renew(room_id)
        except (HomeserverError, Unavailable, TimeoutError) as error:
            log.warning("the bot is no member of the call in %s: %r", room_id, error)
            self._refused_ms[room_id] = now_ms + int(PLACE_REST_S * 1000)
            return False
        self._refused_ms.pop(room_id, None)
        self._standing[room_id] = conference.id
        return True

    async def _step_out(self, room_id: str) -> None:
        self._keys.forget(room_id)
        self._refused_ms.pop(room_id, None)
        if self._standing.pop(room_id, None) is not None:
            await self._place.withdraw(room_id, holder=HOLDER)


def _people(facts: Facts, grants: Sequence[Grant], opted_out: Container[str]) -> dict[str, Any]:
    """What a session is told of single participants."""
    languages = wish.languages(facts.wish)
    spoken = {g.identity: languages[g.user_id] for g in grants if g.user_id in languages}
    silent = sorted(g.identity for g in grants if g.user_id in opted_out)
    rooms = wish.shared_microphones(facts.wish)
    shared = sorted(g.identity for g in grants if g.user_id in rooms)
    return {"languages": spoken, "opted_out": silent, "shared": shared}
