"""A bridge's rooms on a real SQLite store, with recording stand-ins for what lies beyond.

Homeserver, media server and scribe are stood in for at their Protocol; their own tests and the
end-to-end tests use the real ones.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from bridge.config import Conference, Database, Federation, Homeserver, Settings, Summary, Web
from bridge.domain.conference import read_conferences
from bridge.errors import Unavailable
from bridge.ids import media_room
from bridge.matrix import wire
from bridge.matrix.client import HomeserverError, Member, Page
from bridge.media.server import MediaParticipant, MediaRoom, MediaTrack
from bridge.peers.messages import ForgetAsked, ModerateAsked, Moderated
from bridge.rooms.conductor import Conductor
from bridge.rooms.entrance import Entrance
from bridge.rooms.house import House, Stores
from bridge.rooms.worker import Rooms
from bridge.store.database import open_database
from bridge.store.grants import Grant
from bridge.store.inbox import NewEntry
from bridge.upkeep import forgetting, moderation
from bridge.upkeep.callout import CallOut
from bridge.upkeep.chat import Chat
from bridge.upkeep.errands import Errands
from bridge.upkeep.forgetting import Telling
from bridge.upkeep.hangup import HangUp
from bridge.upkeep.hearing import Hearing, ScribeAccess, encrypted_calls
from bridge.upkeep.janitor import Janitor
from bridge.upkeep.media_keys import MediaKeys
from bridge.upkeep.moderation import Hands, OtherSites
from bridge.upkeep.reconcile import Reconciler
from bridge.upkeep.summaries import Summaries

ROOM = "!room"
BOT = "@visio:a"
ALICE, BOB, EVE = "@alice:a", "@bob:b", "@eve:evil.example"
MEDIA = media_room(ROOM)

T0 = 1_700_000_000_000

SETTINGS = Settings(
    homeserver=Homeserver(server_name="a"),
    web=Web(public_url="https://visio.a"),
    conference=Conference(language="en", empty_timeout_s=60, ring_s=40),
    federation=Federation(allow_servers=["a", "b"]),
    summary=Summary(url="http://model.example/v1", model="petit-1"),
)


class StandInHomeserver:
    """Knows one room's state and people's names."""

    def __init__(self) -> None:
        self.levels: dict[str, Any] = {"users": {ALICE: 100, BOT: 50}}
        self.more_state: list[dict[str, Any]] = []
        self.names = {ALICE: "Alice", BOB: "Bob"}
        self.senders: dict[str, str] = {}
        self.joined: list[tuple[str, list[str]]] = []
        self.reads = 0
        self.gone: set[str] = set()
        self.unseen: set[str] = set()
        self.invited: list[str] = []
        self.refused: set[str] = set()
        self.written: list[tuple[str, str, dict[str, Any]]] = []
        self.failure: Exception | None = None
        self.history: list[dict[str, Any]] = []

    async def join(self, room_id: str, via: Sequence[str] = ()) -> str:
        self._check()
        self.joined.append((room_id, list(via)))
        return room_id

    async def state(self, room_id: str) -> list[dict[str, Any]]:
        self._check()
        self.reads += 1
        whole = [
            state_event("m.room.create", {"room_version": "11"}),
            state_event("m.room.power_levels", self.levels),
            state_event("m.room.name", {"name": "The room"}),
            state_event("m.room.member", {"membership": "join"}, BOT),
            *self.more_state,
        ]
        return [event for event in whole if event["state_key"] not in self.unseen]

    async def state_event(
        self, room_id: str, event_type: str, state_key: str = ""
    ) -> dict[str, Any] | None:
        self._check()
        if event_type == wire.POWER_LEVELS:
            return self.levels
        return None

    async def send_state(
        self, room_id: str, event_type: str, state_key: str, content: dict[str, Any]
    ) -> str:
        self._check()
        if event_type in self.refused:
            raise HomeserverError(403, "M_FORBIDDEN")
        self.written.append((event_type, state_key, content))
        if event_type == wire.POWER_LEVELS:
            self.levels = content
        else:
            gone = [e for e in self.more_state if e["state_key"] != state_key]
            self.more_state = [*gone, state_event(event_type, content, state_key)]
        return "$written"

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        self._check()
        return user_id not in self.gone

    async def members(self, room_id: str) -> dict[str, Member]:
        self._check()
        return {user: Member(display_name=name) for user, name in {**self.names, BOT: BOT}.items()}

    async def invite(self, room_id: str, user_id: str) -> None:
        self._check()
        if user_id in self.refused:
            raise HomeserverError(403, "M_FORBIDDEN")
        self.invited.append(user_id)

    async def before(self, room_id: str, at_ms: int) -> str | None:
        self._check()
        return "0" if self.history else None

    async def page(self, room_id: str, start: str, limit: int) -> Page:
        """Of `history`, which a test sets: the newest first."""
        self._check()
        at = int(start)
        rest = self.history[at + limit :]
        names = {"@carol:c.example": "Carol"}
        return Page(self.history[at : at + limit], names, str(at + limit) if rest else "")

    async def sender_of(self, room_id: str, event_id: str) -> str:
        return self.senders.get(event_id, "")

    async def display_name(self, room_id: str, user_id: str) -> str:
        self._check()
        return self.names.get(user_id, user_id)

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


class Bell:
    """Rings whenever anything was done, for tests that wait for it."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Return when `condition()` holds, which may be awaitable."""
        while True:
            self._rung.clear()
            held = condition()
            if await held if inspect.isawaitable(held) else held:
                return
            await self._rung.wait()


class StandInMedia:
    """Rooms and who is in them; every change is recorded in `calls`."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self.there: dict[str, list[MediaParticipant]] = {}
        self.calls: list[tuple[str, ...]] = []
        self.down = False

    async def create_room(
        self, name: str, *, metadata: str = "", empty_timeout_s: int = 300
    ) -> MediaRoom:
        self._check()
        if name not in self.there:
            self._note("create", name, metadata)
            self.there[name] = []
        return self._room(name)

    async def delete_room(self, name: str) -> bool:
        self._check()
        self._note("delete", name)
        return self.there.pop(name, None) is not None

    async def rooms(self, names: Sequence[str] = ()) -> list[MediaRoom]:
        self._check()
        return [self._room(name) for name in self.there]

    async def participants(self, name: str) -> list[MediaParticipant]:
        self._check()
        return list(self.there.get(name, []))

    async def remove(self, name: str, identity: str) -> bool:
        self._check()
        self._note("remove", name, identity)
        self.there[name] = [p for p in self.there[name] if p.identity != identity]
        return True

    async def mute(self, name: str, identity: str, track_sid: str, *, muted: bool = True) -> bool:
        self._check()
        self._note("mute", name, identity, track_sid)
        return True

    async def permit(self, name: str, identity: str, *, can_publish: bool) -> bool:
        self._check()
        self._note("permit", name, identity, str(can_publish))
        self.there[name] = [
            replace(p, can_publish=can_publish) if p.identity == identity else p
            for p in self.there[name]
        ]
        return True

    def enter(
        self,
        identity: str,
        sid: str,
        joined_ms: int,
        name: str = MEDIA,
        tracks: tuple[MediaTrack, ...] = (),
    ) -> None:
        who = MediaParticipant(identity, sid, "whatever", "ACTIVE", False, joined_ms, tracks)
        self.there.setdefault(name, []).append(who)

    def _note(self, *call: str) -> None:
        self.calls.append(call)
        self._bell.ring()

    def _room(self, name: str) -> MediaRoom:
        return MediaRoom(name, "RM", "", len(self.there[name]), 0)

    def _check(self) -> None:
        if self.down:
            raise Unavailable("media_unavailable")


class StandInMembership:
    """The bot's own membership: who holds it. Every change is recorded in `calls`."""

    identity = f"{BOT}:COLLOQUE"

    def __init__(self) -> None:
        self.holders: set[str] = set()
        self.calls: list[str] = []
        self.failure: Exception | None = None

    def published(self, room_id: str) -> bool:
        return bool(self.holders)

    async def publish(self, room_id: str, *, intent: str | None = None, holder: str = "") -> str:
        if self.failure is not None:
            raise self.failure
        self.holders.add(holder)
        self.calls.append("publish")
        return "$own"

    async def renew(self, room_id: str) -> None:
        self.calls.append("renew")

    async def withdraw(self, room_id: str, *, holder: str = "") -> None:
        self.holders.discard(holder)
        self.calls.append("withdraw")


class StandInScribe:
    """Sessions, and every call in `calls`."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self.connected = True
        self.greetings = 1
        self.sessions: dict[str, str] = {}
        self.calls: list[tuple[str, Any]] = []

    async def start(self, session: dict[str, Any]) -> None:
        self.calls.append(("start", session))
        self.sessions[session["conference"]] = "listening"

    async def key(self, conference: str, *, identity: str, index: int, key: str) -> None:
        self.calls.append(("key", (conference, identity, index, key)))

    async def update(self, conference: str, **flags: Any) -> None:
        self.calls.append(("update", {"conference": conference, **flags}))

    async def stop(self, conference: str) -> None:
        self.calls.append(("stop", conference))
        self.sessions.pop(conference, None)
        self._bell.ring()


class Links(moderation.Links, forgetting.Links, Protocol):
    """What this bridge asks of another."""


class NoLinks:
    """Of a bridge that is alone in its rooms: there is nobody it could ask."""

    async def forget(self, server: str, asked: ForgetAsked) -> None:
        raise AssertionError(f"{server} has no bridge")

    async def moderate(self, server: str, asked: ModerateAsked) -> Moderated:
        raise AssertionError(f"{server} has no bridge")


def state_event(kind: str, content: dict[str, Any], key: str = "") -> dict[str, Any]:
    return {"type": kind, "state_key": key, "sender": ALICE, "content": content}


@dataclass
class World:
    """The rooms' code and everything it touches. `now_ms` is its clock."""

    stores: Stores
    homeserver: StandInHomeserver = field(default_factory=StandInHomeserver)
    bell: Bell = field(default_factory=Bell)
    now_ms: int = T0
    woken: list[str] = field(default_factory=list)
    count: int = 0
    working: bool = False
    server: str = "a"
    listeners: list[Callable[[list[str]], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.media = StandInMedia(self.bell)
        self.scribe = StandInScribe(self.bell)
        self.own = StandInMembership()
        own = dataclasses.replace(SETTINGS, homeserver=Homeserver(server_name=self.server))
        self.house = House.of(own, f"@visio:{self.server}")
        self.conductor = Conductor(
            self.house,
            self.stores,
            self.homeserver,
            clock_ms=lambda: self.now_ms,
            new_id=self._new_id,
        )
        self.entrance = Entrance(
            self.house, self.stores, self.homeserver, take=self.give_all, clock_ms=self.clock
        )
        self.rooms = Rooms(
            self.stores,
            self.conductor,
            on_handled=self._handled,
            registry=CollectorRegistry(),
            clock_ms=lambda: self.now_ms,
            first_rest_s=0.01,
        )
        self.keys = MediaKeys(
            encrypted_calls(self.stores.conferences), self.stores.grants.of_user, self._handled
        )
        self.hearing = Hearing(
            BOT,
            self.scribe,
            ScribeAccess(url="ws://media", token=lambda room, identity: f"token of {identity}"),
            take=self.rooms.take,
            members=self.homeserver,
            place=self.own,
            keys=self.keys,
            clock_ms=lambda: self.now_ms,
        )
        self.reconciler = Reconciler(
            self.house,
            self.stores,
            self.media,
            self.hearing,
            take=self.rooms.take,
            members=self.homeserver,
            clock_ms=lambda: self.now_ms,
            see_s=0.05,
            due_s=0.05,
        )
        self.hands = Hands(self.stores, self.media)
        self.links: Links = NoLinks()
        self.summaries = Summaries(self.house, self.stores, None)
        self.errands = Errands(
            self.stores,
            self.hands,
            OtherSites(self.stores, self, site_s=2.0),
            self.homeserver,
            callout=CallOut(self.house, self.stores, self.own, clock_ms=lambda: self.now_ms),
            hangup=HangUp(self.house, self.stores, self.homeserver, clock_ms=lambda: self.now_ms),
            chat=Chat(self.house, self.stores.errands, self.homeserver),
            summaries=self.summaries,
            telling=Telling(self.stores.errands, self, site_s=2.0),
            take=self.rooms.take,
            clock_ms=lambda: self.now_ms,
            look_s=0.05,
        )

        self.janitor = Janitor(
            self.house,
            self.stores,
            self.media,
            take=self.rooms.take,
            clock_ms=lambda: self.now_ms,
            look_s=0.05,
        )

    async def moderate(self, server: str, asked: ModerateAsked) -> Moderated:
        """What this bridge asks of another: through `links`, that a test may set."""
        return await self.links.moderate(server, asked)

    async def forget(self, server: str, asked: ForgetAsked) -> None:
        """What this bridge tells another that it deleted: through `links`."""
        await self.links.forget(server, asked)

    def _new_id(self) -> str:
        name = f"conf-{self.now_ms - T0}"
        return name if self.server == "a" else f"{self.server}-{name}"

    def _handled(self, room_ids: Any) -> None:
        woken = list(room_ids)
        self.woken += woken
        if self.working:
            self.reconciler.wake(woken)
            self.errands.wake(woken)
        for listener in self.listeners:
            listener(woken)
        self.bell.ring()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Worker and reconciler running, the one waking the other, as in the bridge."""
        self.working = True
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            parts = (self.rooms, self.reconciler, self.errands)
            running = [tasks.create_task(part.run()) for part in parts]
            yield
            for task in running:
                task.cancel()

    def clock(self) -> int:
        return self.now_ms

    async def give_all(self, entries: Sequence[NewEntry]) -> None:
        await self.give(*entries)

    # ---- what happens

    async def give(self, *entries: NewEntry) -> None:
        """Commit entries and handle all that waits, in order."""
        await self.stores.inbox.commit(entries, now_ms=self.now_ms)
        while (entry := await self.stores.inbox.next(ROOM)) is not None:
            await self.conductor.handle(entry)

    async def say(self, sender: str, body: str, /, **content: Any) -> str:
        entry = self.message(sender, body, **content)
        await self.give(entry)
        return entry.key

    def message(self, sender: str, body: str, /, **content: Any) -> NewEntry:
        return self.event(wire.MESSAGE, sender, {"msgtype": "m.text", "body": body, **content})

    def event(
        self,
        kind: str,
        sender: str,
        content: dict[str, Any],
        key: str | None = None,
        ago_ms: int = 0,
    ) -> NewEntry:
        self.count += 1
        event_id = f"$event{self.count}"
        event: dict[str, Any] = {
            "type": kind,
            "room_id": ROOM,
            "event_id": event_id,
            "sender": sender,
            "origin_server_ts": self.now_ms - ago_ms,
            "content": content,
        }
        if key is not None:
            event["state_key"] = key
        return NewEntry(ROOM, "matrix", event_id, event)

    def wish(self, content: dict[str, Any], sender: str = ALICE, ago_ms: int = 0) -> NewEntry:
        return self.event(wire.CONFERENCE, sender, content, "", ago_ms)

    def member(
        self,
        user: str,
        membership: str,
        sender: str = ALICE,
        *,
        stale: bool = False,
        **more: Any,
    ) -> NewEntry:
        """Somebody's place in the room changes; `stale`: this is told late, and is so no more."""
        if membership == "join":
            self.homeserver.gone.discard(user)
        elif not stale:
            self.homeserver.gone.add(user)
        return self.event(wire.MEMBER, sender, {"membership": membership, **more}, user)

    async def grant(self, user: str, revoked_ms: int | None = None) -> Grant:
        grant = Grant(
            media_room=MEDIA,
            identity=f"{user}:D",
            room_id=ROOM,
            user_id=user,
            device_id="D",
            granted_ms=self.now_ms,
            revoked_ms=revoked_ms,
        )
        await self.stores.grants.put(grant)
        return grant

    def enters(self, user: str, sid: str, *, ago_ms: int = 0) -> NewEntry:
        """The webhook of somebody joining the media."""
        return self.webhook("participant_joined", f"{user}:D", sid, self.now_ms - ago_ms)

    def leaves(self, user: str, sid: str) -> NewEntry:
        return self.webhook("participant_left", f"{user}:D", sid, self.now_ms)

    def webhook(self, event: str, identity: str, sid: str, at_ms: int) -> NewEntry:
        payload = {
            "event": event,
            "id": f"EV-{event}-{sid}",
            "created_at": at_ms // 1000,
            "room": {"name": MEDIA, "sid": "RM1"},
            "participant": {"identity": identity, "sid": sid, "joined_at_ms": at_ms},
        }
        return NewEntry(ROOM, "media", payload["id"], payload)

    async def segment(
        self, segment: str, user: str, text: str, /, *, rev: int = 0, at: int = 0, **more: Any
    ) -> None:
        await self.give(self.heard(segment, user, text, rev=rev, at=at, **more))

    def heard(
        self, segment: str, user: str, text: str, /, *, rev: int = 0, at: int = 0, **more: Any
    ) -> NewEntry:
        frame = {
            "type": "segment",
            "key": f"{segment}:{rev}",
            "conference": f"conf-{0}",
            "room_id": ROOM,
            "segment": segment,
            "rev": rev,
            "identity": f"{user}:D",
            "name": "Somebody else entirely",
            "text": text,
            "language": "en",
            "start_ms": at,
            "end_ms": at + 500,
            "engine": "test",
            **more,
        }
        return NewEntry(ROOM, "scribe", frame["key"], frame)

    # ---- what came of it

    async def conferences(self) -> list[Any]:
        return read_conferences(await self.stores.conferences.load(None, ROOM))

    async def rows(self) -> list[dict[str, Any]]:
        rows = await self.stores.db.fetch("SELECT * FROM outbox ORDER BY seq")
        return [{**dict(row), "content": json.loads(row["content"])} for row in rows]

    async def txns(self) -> list[str]:
        return [row["txn_id"] for row in await self.rows()]

    async def bodies(self) -> list[str]:
        """First lines of all messages, edits as `* …`."""
        rows = await self.rows()
        said = [r for r in rows if r["kind"] == "message" and r["type"] == wire.MESSAGE]
        return [r["content"]["body"].split("\n")[0] for r in said]

    async def set_aside(self) -> list[str]:
        rows = await self.stores.db.fetch("SELECT reason FROM inbox WHERE state = 'set_aside'")
        return [row["reason"] for row in rows]


@dataclass
class Worlds:
    """Opens worlds on one database file, one after the other: a restart of the bridge."""

    folder: Path
    opened: list[Any] = field(default_factory=list)

    async def open(self, name: str = "colloque", server: str = "a") -> World:
        settings = Settings(database=Database(url=f"sqlite:{self.folder / name}.db"))
        db = await open_database(settings)
        self.opened.append(db)
        return World(Stores.over(db), server=server)

    async def close(self) -> None:
        for db in self.opened:
            await db.stop()
        self.opened.clear()
