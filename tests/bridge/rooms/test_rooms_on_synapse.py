"""Rooms on a real Synapse: what people type, and what their own homeserver then shows them.

Media server and scribe are stood in for; everything between the chat and the timeline is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import CollectorRegistry

from bridge import config
from bridge.dev.certificates import ensure_authority
from bridge.ids import media_room
from bridge.matrix import appservice, registration, wire
from bridge.matrix.client import Homeserver
from bridge.matrix.outbox import Sender
from bridge.matrix.own_membership import OwnMembership
from bridge.matrix.registration import Registration
from bridge.matrix.timeline import CARD
from bridge.rooms.conductor import Conductor
from bridge.rooms.hearing import Hearing, ScribeAccess, encrypted_calls
from bridge.rooms.house import House, Stores
from bridge.rooms.media_keys import MediaKeys
from bridge.rooms.reconcile import Reconciler
from bridge.rooms.worker import Rooms
from bridge.store.database import open_database
from bridge.store.grants import Grant
from tests.support.rooms_world import Bell, StandInMedia, StandInScribe
from tests.support.synapse import Person, Synapse, free_ports

pytestmark = pytest.mark.homeserver


class Bridge:
    """Appservice port, rooms, reconciler and sender of one bridge."""

    def __init__(self, folder: Path, server: Synapse, granted: Registration) -> None:
        self.settings = config.Settings(
            homeserver=config.Homeserver(address=server.client_url, server_name=server.server_name),
            database=config.Database(url=f"sqlite:{folder}/rooms.db"),
            conference=config.Conference(language="en"),
        )
        self.bot = granted.bot(server.server_name)
        self._granted = granted
        self.bell = Bell()
        self.media, self.scribe = StandInMedia(self.bell), StandInScribe(self.bell)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.stores = Stores.over(await open_database(self.settings))
            stack.push_async_callback(self.stores.db.stop)
            homeserver = Homeserver(
                self.settings.homeserver.address,
                self.settings.homeserver.server_name,
                self._granted,
            )
            stack.push_async_callback(homeserver.close)
            parts = self._wired(homeserver)
            await self._listen(stack)
            await homeserver.ensure_registered()
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            running = [tasks.create_task(part.run()) for part in parts]
            await homeserver.ping()
            yield
            for task in running:
                task.cancel()

    def _wired(self, homeserver: Homeserver) -> list[Any]:
        house = House.of(self.settings, self.bot)
        sender = Sender(self.stores.db, homeserver, first_pause_s=0.1)

        def handled(room_ids: Iterable[str]) -> None:
            for room_id in room_ids:
                sender.wake(room_id)
                reconciler.wake([room_id])
            self.bell.ring()

        conductor = Conductor(house, self.stores, homeserver)
        registry = CollectorRegistry()
        self.rooms = Rooms(self.stores, conductor, on_handled=handled, registry=registry)
        access = ScribeAccess(url="ws://media", token=lambda room, identity: "token")
        place = OwnMembership(homeserver, "https://visio.a")
        hearing = Hearing(
            self.bot,
            self.scribe,
            access,
            take=self.rooms.take,
            members=homeserver,
            place=place,
            keys=MediaKeys(
                encrypted_calls(self.stores.conferences), self.stores.grants.of_user, handled
            ),
        )
        reconciler = Reconciler(
            house, self.stores, self.media, hearing, take=self.rooms.take, members=homeserver
        )
        return [sender, self.rooms, reconciler, place]

    async def _listen(self, stack: AsyncExitStack) -> None:
        app = appservice.routes(
            self.stores.inbox,
            self._granted,
            self.rooms.wake,
            server_name=self.settings.homeserver.server_name,
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = int(self._granted.url.rpartition(":")[2])
        await web.TCPSite(runner, "127.0.0.1", port).start()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registered(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Synapse, Registration]]:
    folder = tmp_path_factory.mktemp("rooms")
    client_port, federation_port, bridge_port = free_ports(3)
    server = Synapse(
        folder / "homeserver",
        client_port=client_port,
        federation_port=federation_port,
        authority=ensure_authority(folder),
    )
    settings = config.Settings(
        homeserver=config.Homeserver(server_name=server.server_name),
        appservice=config.Appservice(listen=f"127.0.0.1:{bridge_port}"),
    )
    path = folder / "registration.yaml"
    path.write_text(registration.generate(settings), encoding="utf-8")
    await server.start([path])
    yield server, registration.read(path)
    await server.stop()


async def alice_of(server: Synapse) -> Person:
    return await server.ensure_person("alice", "a password of alice")


async def room_with_bot(bridge: Bridge, alice: Person, **more: Any) -> str:
    room_id = await alice.create_room("Budget", invite=[bridge.bot], **more)
    await seen(alice, room_id, "Hello, I run video conferences")
    return room_id


async def seen(alice: Person, room_id: str, words: str) -> None:
    await alice.wait_for(
        room_id, lambda event: words in str(event["content"].get("body")), timeout=20
    )


async def bodies(bridge: Bridge, alice: Person, room_id: str) -> list[str]:
    """First lines of what the bot said, as the homeserver shows it; edits are left out."""
    return [
        event["content"]["body"].partition("\n")[0]
        for event in await alice.messages(room_id)
        if event["sender"] == bridge.bot
        and event["type"] == wire.MESSAGE
        and event["content"].get("m.relates_to", {}).get("rel_type") != "m.replace"
    ]


async def test_a_whole_call_in_a_real_timeline(
    tmp_path: Path, registered: tuple[Synapse, Registration]
) -> None:
    server, granted = registered
    alice = await alice_of(server)
    bridge = Bridge(tmp_path, server, granted)
    async with bridge.alive():
        room_id = await room_with_bot(bridge, alice, power={bridge.bot: 50})
        wish = {"captions": True, "transcript": True, "language": "en"}
        await alice.set_state(room_id, wire.CONFERENCE, wish)
        await alice.say(room_id, "!visio start")
        await seen(alice, room_id, "Video conference in progress")
        await bridge.bell.until(lambda: bridge.scribe.sessions)
        (conference,) = bridge.scribe.sessions
        await bridge.stores.grants.put(
            Grant(
                media_room=media_room(room_id),
                identity=f"{alice.user_id}:D",
                room_id=room_id,
                user_id=alice.user_id,
                device_id="D",
                granted_ms=1,
            )
        )
        frame = {
            "type": "segment",
            "key": "s1:0",
            "conference": conference,
            "room_id": room_id,
            "segment": "s1",
            "rev": 0,
            "identity": f"{alice.user_id}:D",
            "name": "",
            "text": "good <morning>",
            "language": "en",
            "start_ms": 100,
            "end_ms": 900,
            "engine": "test",
        }
        await bridge.rooms.segments([frame, frame])
        await seen(alice, room_id, "good <morning>")
        status = await alice.state(room_id, wire.CONFERENCE_STATUS, server.server_name)
        await alice.say(room_id, "!visio stop")
        await bridge.bell.until(lambda: ("delete", media_room(room_id)) in bridge.media.calls)
        await bridge.rooms.session({"conference": conference, "state": "stopped"})
        await seen(alice, room_id, "transcript.json")
        events = await alice.messages(room_id)
        said = await bodies(bridge, alice, room_id)
        ended = await alice.state(room_id, wire.CONFERENCE_STATUS, server.server_name)
        wished = await alice.state(room_id, wire.CONFERENCE)
    assert said[1:] == [
        "📞 Video conference in progress",
        "alice : good <morning>",
        "transcript.md",
        "transcript.vtt",
        "transcript.json",
    ]
    card = next(event for event in events if CARD in event["content"])
    assert (status["active"], status["card"]) == (True, card["event_id"])
    assert (ended["active"], ended["phase"]) == (False, "ended")
    assert wished == {"version": 1, **wish, "active": False}
    thread = [
        e for e in events if e["content"].get("m.relates_to", {}).get("rel_type") == "m.thread"
    ]
    assert [e["content"]["m.relates_to"]["event_id"] for e in thread] == [card["event_id"]] * 4
    assert thread[0]["content"]["eu.colloque.utterance"]["speaker"] == alice.user_id
    document = await alice.download(thread[1]["content"]["url"])
    assert "good \\<morning\\>" in document.decode()


async def test_in_a_room_that_gives_the_bot_no_power(
    tmp_path: Path, registered: tuple[Synapse, Registration]
) -> None:
    server, granted = registered
    alice = await alice_of(server)
    bridge = Bridge(tmp_path, server, granted)
    async with bridge.alive():
        room_id = await room_with_bot(bridge, alice)
        for command in ("start", "transcript on", "status", "stop"):
            await alice.say(room_id, f"!visio {command}")
        await seen(alice, room_id, "Video conference ended")
        said = await bodies(bridge, alice, room_id)
    assert said[1].startswith("📞")
    assert said[2].startswith("I may not write this room's state")
    assert said[3].startswith("The transcript is on")
    assert said[4].startswith("Call in progress for 0 s: nobody present.")
    assert len(said) == 5
