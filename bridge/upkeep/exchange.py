"""What the sites of each room tell each other, and who of them is there.

Reports are news of the moment: they are kept in memory, told again at each beat, and only what
they change becomes an inbox entry of the room. One task tells, one looks who fell silent; sending
is the links' (bridge.peers), so that a slow site holds up nothing here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bridge.domain import federation
from bridge.domain.conference import read_conferences
from bridge.domain.federation import BEAT_MS, DEAD_MS, Report
from bridge.errors import Unavailable
from bridge.matrix.limits import Rate, RateLimit, Recent
from bridge.peers import messages
from bridge.peers.links import Revs
from bridge.peers.messages import Page, PageAsked, RoomReport
from bridge.rooms import facts as room_facts
from bridge.rooms import news
from bridge.rooms.facts import Facts
from bridge.rooms.house import House, Stores
from bridge.rooms.record import in_call
from bridge.store.database import DATABASE_ERRORS
from bridge.store.inbox import NewEntry
from bridge.upkeep.standing import Standing, standing

log = logging.getLogger(__name__)

LOOK_S = 0.5
ASLEEP_MS = 5_000
"""Who looks around after so long was away itself (suspended, overloaded): nobody else is dead."""
MAX_ROOMS = 2_000
"""Rooms whose reports are remembered; the one that was spoken of longest ago is forgotten."""
PAGE_BYTES = 40_000

READS = Rate(per_second=2.0, burst=50)
"""How many rooms are read because another site speaks of them."""
UNREAD_MS = 60_000
"""How long a room is not asked about again."""
READ_S = 5.0

Take = Callable[[Sequence[NewEntry]], Awaitable[None]]
Tell = Callable[[str, RoomReport], None]


class Members(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    async def is_joined(self, room_id: str, user_id: str) -> bool: ...


@dataclass(slots=True)
class _Heard:
    report: Report
    rev: int
    at_ms: int


@dataclass(slots=True)
class _Room:
    """`since_ms`: since when its call runs, as far as this process knows: whoever has not spoken
    since is not dead before DEAD_MS have passed. `given`: what the room was told last."""

    heard: dict[str, _Heard] = field(default_factory=dict)
    since_ms: int | None = None
    given: str = ""
    told: dict[str, str] = field(default_factory=dict)
    beat_ms: int = 0


class Exchange:
    """Owner of the reports. `run()` works until cancelled; it is the door's `Rooms`."""

    def __init__(
        self,
        house: House,
        stores: Stores,
        members: Members,
        *,
        take: Take,
        tell: Tell,
        revs: Revs,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        look_s: float = LOOK_S,
    ) -> None:
        self._house = house
        self._stores = stores
        self._members = members
        self._take = take
        self._tell = tell
        self._revs = revs
        self._clock_ms = clock_ms
        self._look_s = look_s
        self._rooms: OrderedDict[str, _Room] = OrderedDict()
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()
        self._boot = clock_ms()
        self.looked_ms = self._boot
        self._count = 0
        self._unread: Recent[str, bool] = Recent(MAX_ROOMS)
        self._reads = RateLimit(READS, capacity=1)

    def wake(self, room_ids: Iterable[str]) -> None:
        """Something of these rooms has changed here. Never blocks."""
        for room_id in room_ids:
            self._changed[room_id] = None
        self._news.set()

    async def run(self) -> None:
        """Tell and look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._telling())
            tasks.create_task(self._looking())

    # ---- what comes in

    async def bridges(self, room_id: str) -> Collection[str] | None:
        """Servers whose bridge is in this room, ours among them; None where ours is not."""
        facts = await self._facts(room_id)
        if not facts.known and await self._read(room_id):
            facts = await self._facts(room_id)
        return {*facts.bridges, self._house.server_name} if facts.joined else None

    async def take(self, origin: str, told: RoomReport) -> RoomReport:
        """Take note of a report that the door let in. Returns how we stand."""
        seen = await self._note(origin, told)
        rev = self._revs.next()
        stands = await standing(self._house, self._stores, told.room_id)
        return RoomReport(room_id=told.room_id, report=stands.report, rev=rev, seen=seen)

    async def answered(self, server: str, told: RoomReport) -> None:
        """Take note of how another site stands: its answer to our report, checked like one."""
        bridges = await self.bridges(told.room_id)
        if bridges is None or server not in bridges:
            return
        lie = federation.lies(server, told.report, bridges)
        if lie:
            log.warning(
                "an answer of %s on room %s is left aside: it %s", server, told.room_id, lie
            )
            return
        await self._note(server, told)

    async def page(self, _origin: str, asked: PageAsked) -> Page | None:
        """What was said here in a call, from the revision after the first `skip`."""
        snapshot = await self._stores.conferences.load(None, asked.room_id)
        parts = [c for c in read_conferences(snapshot) if c.call_id == asked.call]
        if not parts:
            return None
        said = [
            messages.Said(
                segment=u.segment,
                rev=u.rev,
                speaker=u.speaker,
                display_name=u.display_name[:256],
                text=u.text[: messages.MAX_TEXT],
                language=u.language[:35],
                start_ms=u.start_ms,
                end_ms=u.end_ms,
                engine=u.engine[:200],
                voice=u.voice,
                words=u.words,
                editor=u.editor,
            )
            for part in reversed(parts)
            for u in [in_call(u, part) for u in await self._stores.utterances.revisions(part.id)]
        ]
        return Page(said=tuple(_fitting(said[asked.skip :])), total=len(said))

    async def forget(self, origin: str, asked: messages.ForgetAsked) -> None:
        """Take note of what another site has deleted."""
        await self._take([news.forgotten(origin, asked)])

    async def _facts(self, room_id: str) -> Facts:
        return room_facts.from_json(await self._stores.rooms.get(None, room_id))

    async def _read(self, room_id: str) -> bool:
        """Have a room read that we are in and know nothing of: the database was lost.

        Whether that was done in time. A stranger may name any room: the homeserver is asked first
        whether the bot is there, and neither is done often.
        """
        now_ms = self._clock_ms()
        asked, _ = self._unread.get(room_id, now_ms)
        if asked or self._reads.take("", now_ms / 1000) > 0:
            return False
        self._unread.put(room_id, True, until=now_ms + UNREAD_MS)
        if not await self._members.is_joined(room_id, self._house.bot):
            return False
        await self._take([news.unread(room_id, now_ms)])
        try:
            async with asyncio.timeout(READ_S):
                while True:  # the room's turn reads it
                    if (await self._facts(room_id)).known:
                        return True
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False

    async def _note(self, site: str, told: RoomReport) -> int:
        room = self._room(told.room_id)
        known = room.heard.get(site)
        if known is not None and told.rev <= known.rev:
            return known.rev
        room.heard[site] = _Heard(told.report, told.rev, self._clock_ms())
        await self._give(told.room_id, room)
        return told.rev

    def _room(self, room_id: str) -> _Room:
        room = self._rooms.setdefault(room_id, _Room())
        self._rooms.move_to_end(room_id)
        if len(self._rooms) > MAX_ROOMS:
            self._rooms.popitem(last=False)
        return room

    async def _give(self, room_id: str, room: _Room) -> None:
        """Tell the room, where what it was told last is not true any more.

        What a site said before its bridge was known here counts once it is: it is told again.
        """
        bridges = await self.bridges(room_id) or ()
        others = {*bridges, *room.heard} - {self._house.server_name}
        reports = {site: messages.report_json(heard.report) for site, heard in room.heard.items()}
        silent = self._silent(room, others)
        digest = json.dumps([reports, silent, sorted(bridges)], sort_keys=True)
        if digest == room.given:
            return
        self._count += 1
        key = f"{room_id}:{self._boot}:{self._count}"
        await self._take([news.peers(room_id, key, reports, silent)])
        room.given = digest

    def _silent(self, room: _Room, sites: Iterable[str]) -> tuple[str, ...]:
        now_ms, silent = self._clock_ms(), []
        for site in sites:
            heard = room.heard.get(site)
            last_ms = max(heard.at_ms if heard else 0, room.since_ms or now_ms)
            if now_ms - last_ms > DEAD_MS:
                silent.append(site)
        return tuple(sorted(silent))

    # ---- what goes out

    async def _telling(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            changed, self._changed = self._changed, {}
            for room_id in changed:
                await self._guarded(self._tell_room(room_id, beat=False))

    async def _looking(self) -> None:
        while True:
            await self._guarded(self._look())
            await asyncio.sleep(self._look_s)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except _PASSING as error:
            log.error("the sites of a room cannot be told now: %s", error)
        except Exception:  # the task's top level: the next beat tells it again
            log.exception("telling the sites of a room failed")

    async def _look(self) -> None:
        """At each beat tell how we stand where a call runs, and see who has fallen silent."""
        now_ms = self._clock_ms()
        if now_ms - self.looked_ms > ASLEEP_MS:
            for room in self._rooms.values():
                room.since_ms = now_ms
        active = await self._stores.conferences.active()
        for room_id in active:
            await self._tell_room(room_id, beat=True)
        self.looked_ms = now_ms
        for room_id in [room_id for room_id in self._rooms if room_id not in active]:
            self._rooms[room_id].since_ms = None

    async def _tell_room(self, room_id: str, *, beat: bool) -> None:
        stands = await standing(self._house, self._stores, room_id)
        if not stands.peers:
            return
        room, now_ms = self._room(room_id), self._clock_ms()
        if stands.running:
            room.since_ms = room.since_ms or now_ms
        if room.heard or (stands.running and beat):
            await self._give(room_id, room)
        due = stands.running and now_ms - room.beat_ms >= BEAT_MS
        if due:
            room.beat_ms = now_ms
        self._tell_peers(room_id, room, stands, due=due)

    def _tell_peers(self, room_id: str, room: _Room, stands: Standing, *, due: bool) -> None:
        digest = json.dumps(messages.report_json(stands.report), sort_keys=True)
        if digest == _NOTHING and not room.told:
            return
        for server in stands.peers:
            if due or room.told.get(server) != digest:
                room.told[server] = digest
                self._tell(server, RoomReport(room_id=room_id, report=stands.report))


_PASSING: tuple[type[Exception], ...] = (Unavailable, *DATABASE_ERRORS)
_NOTHING = json.dumps(messages.report_json(Report()), sort_keys=True)


def _fitting(said: Sequence[messages.Said]) -> Sequence[messages.Said]:
    """As many as one answer holds, one at least."""
    size = 0
    for count, one in enumerate(said[: messages.PAGE]):
        size += len(one.text.encode()) + len(one.display_name.encode()) + 400
        size += sum(len(word.encode()) + 30 for word, _, _ in one.words)
        if count and size > PAGE_BYTES:
            return said[:count]
    return said[: messages.PAGE]
