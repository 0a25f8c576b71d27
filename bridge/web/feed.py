"""Captions of running calls, from the scribe to those members of the room who watch them.

One channel for each room that somebody watches. The room is looked at again every few seconds and
after each thing that happened in it: who is a member (who is not is cut off), whether the call's
captions are on, who speaks under which identity. What the scribe says goes to the watchers' bounded
queues at once; nothing is written anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bridge.domain import captions
from bridge.domain.captions import Caption, Latest, Spoken
from bridge.domain.conference import Conference, read_conferences
from bridge.domain.membership import normal
from bridge.domain.stays import Stay
from bridge.matrix.admission import TooOften
from bridge.matrix.client import HomeserverError, Member
from bridge.rooms.house import Stores
from bridge.web.watcher import Captions, State, Watcher

log = logging.getLogger(__name__)

LOOK_S = 4.0
"""Rights are looked at again at least so often."""
REST_S = 0.3
"""And not more often than this, however much happens in the room."""
BLIND_S = 30.0
"""Who cannot be vouched for that long is cut off."""
LINGER_S = 60.0
"""A channel nobody watches is kept for so long: whoever was cut off by their network comes back."""
PER_PERSON, PER_ROOM, IN_ALL = 6, 300, 2000
SITES = 12
FULL_S = 20.0


class Members(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def members(self, room_id: str) -> dict[str, Member]: ...


@dataclass(eq=False)
class Channel:
    """What is known of one room while somebody watches it. `speakers`: Matrix id and name by media
    identity. `seen_at`, `left_at`: when it was last looked at, and since when nobody watches."""

    seen_at: float
    left_at: float
    watchers: list[Watcher] = field(default_factory=list)
    state: State = field(default_factory=State)
    latest: Latest = field(default_factory=Latest)
    speakers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    due: asyncio.Event = field(default_factory=asyncio.Event)


class Feed:
    """Owner of the channels; `run()` looks after them until cancelled.

    `sessions`: the scribe's, by conference. `wake`: told the rooms whose scribe must be told
    something else. `shows`: whether a call's captions may be read beside it.
    """

    def __init__(
        self,
        stores: Stores,
        members: Members,
        *,
        service_url: str,
        sessions: Callable[[], Mapping[str, str]],
        wake: Callable[[Iterable[str]], None],
        shows: Callable[[Conference], bool],
        clock: Callable[[], float] = time.monotonic,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        look_s: float = LOOK_S,
        rest_s: float = REST_S,
    ) -> None:
        self._look_s, self._rest_s = look_s, rest_s
        self._stores = stores
        self._members = members
        self._service_url = normal(service_url)
        self._sessions = sessions
        self._tell_scribe = wake
        self._shows = shows
        self._clock = clock
        self._clock_ms = clock_ms
        self._channels: dict[str, Channel] = {}
        self._rooms: dict[str, str] = {}
        self._kept: set[str] = set()
        self._changed = asyncio.Event()

    # ---- who watches

    def watched(self, conference: Conference) -> bool:
        """Whether the scribe is to send this call's captions here."""
        return conference.room_id in self._channels and self._captions(conference) == "on"

    def enter(self, room_id: str, user_id: str) -> Watcher:
        """Begin to watch; whoever enters has been admitted. Raises TooOften when it is full.

        A seventh connection of one person ends their first: it may have died unnoticed.
        """
        everybody = [one for c in self._channels.values() for one in c.watchers]
        channel = self._channels.get(room_id)
        crowded = channel is not None and len(channel.watchers) >= PER_ROOM
        if crowded or max(len(everybody), len(self._channels)) >= IN_ALL:
            raise TooOften(FULL_S)
        own = [one for one in everybody if one.user_id == user_id and one.end is None]
        for oldest in own[: max(0, len(own) - PER_PERSON + 1)]:
            oldest.cut("elsewhere")
        watcher = Watcher(room_id, user_id)
        channel = channel or self._open(room_id)
        channel.watchers.append(watcher)
        channel.due.set()
        return watcher

    async def ready(self, watcher: Watcher, limit_s: float = 10.0) -> None:
        """Wait until the room was looked at for this watcher. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            while watcher.state is None and watcher.end is None:
                await watcher.something(limit_s)

    def resume(self, watcher: Watcher, stream: str, number: int) -> int:
        """Give a watcher the finals after `number` of `stream`; how many of those are gone."""
        channel = self._channels[watcher.room_id]
        if channel.state.stream != stream or channel.state.captions != "on":
            return 0
        now_ms = self._clock_ms()
        for caption in channel.latest.after(number, now_ms):
            watcher.put(caption)
        return channel.latest.missed(number, now_ms)

    def leave(self, watcher: Watcher) -> None:
        """Cease to watch."""
        channel = self._channels[watcher.room_id]
        channel.watchers.remove(watcher)
        channel.left_at = self._clock()
        channel.due.set()

    async def ended(self, _app: object = None) -> None:
        """The bridge stops: those who watch come back when it runs again."""
        for channel in self._channels.values():
            for watcher in channel.watchers:
                watcher.cut("restart")

    # ---- what happens

    def take(self, frame: Mapping[str, Any]) -> None:
        """A `caption` frame of the scribe. Never waits."""
        spoken = captions.read(frame)
        channel = self._channels.get(self._rooms.get(spoken.conference, "")) if spoken else None
        if spoken is None or channel is None or channel.state.captions != "on":
            return
        caption = _attributed(channel, spoken)
        if caption is None:
            return
        if caption.final:
            caption = channel.latest.add(caption, self._clock_ms())
        for watcher in channel.watchers:
            watcher.put(caption)

    def wake(self, room_ids: Iterable[str]) -> None:
        """Something happened in these rooms: somebody may have been put out."""
        for room_id in room_ids:
            channel = self._channels.get(room_id)
            if channel is not None:
                channel.due.set()

    async def run(self) -> None:
        """Look after every channel until cancelled: a task for each, owned here."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                for room_id in self._channels.keys() - self._kept:
                    self._kept.add(room_id)
                    tasks.create_task(self._keep(room_id, self._channels[room_id]))
                await self._changed.wait()

    # ---- looking at a room

    async def _keep(self, room_id: str, channel: Channel) -> None:
        """Look again and again, until nobody comes back."""
        while not self._over(channel):
            channel.due.clear()
            try:
                await self._look(room_id, channel)
                channel.seen_at = self._clock()
            except Exception as error:  # the task's top level: it looks again
                log.warning("room %s cannot be looked at for its captions: %r", room_id, error)
                if self._clock() - channel.seen_at > BLIND_S:
                    for watcher in channel.watchers:
                        watcher.cut("unavailable")
            await asyncio.sleep(self._rest_s)
            try:
                async with asyncio.timeout(self._look_s):
                    await channel.due.wait()
            except TimeoutError:
                continue
        self._close(room_id)

    def _over(self, channel: Channel) -> bool:
        useless = channel.state.captions != "on"
        return not channel.watchers and (useless or self._clock() - channel.left_at > LINGER_S)

    async def _look(self, room_id: str, channel: Channel) -> None:
        """See who may watch, who speaks, and whether the captions are on."""
        # Whoever comes while the homeserver is asked was not asked about.
        asked = list(channel.watchers)
        members = await self._members_of(room_id)
        for watcher in asked:
            if watcher.user_id not in members:
                watcher.cut("not_member")
        running = _running(read_conferences(await self._stores.conferences.load(None, room_id)))
        sites = await self._sites(room_id) if running else ()
        stays = running.stays if running else ()
        channel.speakers = {stay.identity: _speaker(stay, members) for stay in stays}
        self._turn(room_id, channel, self._state(running, sites, channel.state.stream))
        for watcher in asked:
            watcher.tell(channel.state)

    async def _members_of(self, room_id: str) -> Mapping[str, Member]:
        try:
            return await self._members.members(room_id)
        except HomeserverError as error:
            if error.status in {403, 404}:
                return {}  # the bot is not there any more: nobody can be vouched for
            raise

    async def _sites(self, room_id: str) -> tuple[str, ...]:
        """The services of the call's other sites, as their people name them in the room."""
        now_ms = self._clock_ms()
        said = await self._stores.memberships.of_room(None, room_id)
        urls = {one.service_url for one in said if one.service_url and one.expires_ms > now_ms}
        return tuple(sorted(urls - {self._service_url}))[:SITES]

    def _state(self, running: Conference | None, sites: tuple[str, ...], stream: str) -> State:
        if running is None:
            return State()
        return State(
            captions=self._captions(running),
            call=running.id,
            stream=stream,
            language=running.spoken_language,
            scribe=self._sessions().get(running.id, ""),
            sites=sites,
        )

    def _captions(self, conference: Conference) -> Captions:
        if conference.phase != "running":
            return "no_call"
        if not conference.captions:
            return "off"
        return "on" if self._shows(conference) else "forbidden"

    def _turn(self, room_id: str, channel: Channel, state: State) -> None:
        """Take over a state; another call, or captions that went off, leave nothing behind."""
        before, channel.state = channel.state, state
        if (state.call, state.captions) == (before.call, before.captions):
            return
        self._disown(room_id)
        channel.latest = Latest()
        if state.call:
            channel.state = replace(state, stream=secrets.token_hex(4))
            self._rooms[state.call] = room_id
        self._tell_scribe([room_id])

    def _open(self, room_id: str) -> Channel:
        now = self._clock()
        channel = self._channels[room_id] = Channel(seen_at=now, left_at=now)
        self._changed.set()
        self._tell_scribe([room_id])
        return channel

    def _close(self, room_id: str) -> None:
        del self._channels[room_id]
        self._kept.discard(room_id)
        self._disown(room_id)
        self._tell_scribe([room_id])

    def _disown(self, room_id: str) -> None:
        self._rooms = {call: room for call, room in self._rooms.items() if room != room_id}


def _attributed(channel: Channel, spoken: Spoken) -> Caption | None:
    """With its speaker. An interim of somebody not known yet is left to its next one."""
    known = channel.speakers.get(spoken.identity)
    if known is None:
        channel.due.set()
        return spoken.caption("", "") if spoken.final else None
    return spoken.caption(*known)


def _running(conferences: list[Conference]) -> Conference | None:
    newest = conferences[0] if conferences else None
    return newest if newest is not None and newest.phase == "running" else None


def _speaker(stay: Stay, members: Mapping[str, Member]) -> tuple[str, str]:
    member = members.get(stay.user_id)
    name = member["display_name"] if member else stay.display_name
    return stay.user_id, name or stay.user_id
