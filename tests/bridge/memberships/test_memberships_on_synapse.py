"""Memberships, ghosts and rooms by name, as two real homeservers show them to people."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import CollectorRegistry

from bridge import config
from bridge.dev.certificates import ensure_authority
from bridge.dev.process import spawn
from bridge.ids import ROOM_CALL
from bridge.matrix import appservice, registration, wire
from bridge.matrix.client import Homeserver
from bridge.matrix.outbox import Sender
from bridge.rooms.conductor import Conductor
from bridge.rooms.house import House, Stores
from bridge.rooms.worker import Rooms
from bridge.store.database import open_database
from bridge.upkeep.aliases import AliasRooms
from bridge.upkeep.janitor import Janitor
from tests.support.rooms_world import Bell, StandInMedia
from tests.support.synapse import MatrixError, Person, Synapse, free_ports

pytestmark = [pytest.mark.homeserver, pytest.mark.asyncio(loop_scope="module")]

OURS, THEIRS = "https://visio.a", "https://visio.b"


@dataclass
class Site:
    """A homeserver with the bridge registered at it, and one it federates with."""

    server: Synapse
    other: Synapse
    registration: Path
    settings: config.Settings

    def homeserver(self) -> Homeserver:
        granted = registration.read(self.registration)
        return Homeserver(self.server.client_url, self.server.server_name, granted)

    @property
    def bot(self) -> str:
        return f"@visio:{self.server.server_name}"

    async def person(self, name: str) -> Person:
        return await self.server.ensure_person(name, f"a password of {name}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("memberships")
    authority = ensure_authority(folder)
    client_port, federation_port, bridge_port = free_ports(3)
    server = Synapse(
        folder / "homeserver",
        client_port=client_port,
        federation_port=federation_port,
        authority=authority,
    )
    settings = config.Settings(
        homeserver=config.Homeserver(address=server.client_url, server_name=server.server_name),
        appservice=config.Appservice(listen=f"127.0.0.1:{bridge_port}"),
        database=config.Database(url=f"sqlite:{folder}/bridge.db"),
        conference=config.Conference(language="en"),
        web=config.Web(public_url=OURS),
    )
    path = folder / "registration.yaml"
    path.write_text(registration.generate(settings), encoding="utf-8")
    started, other = await asyncio.gather(
        server.start([path]), Synapse.create(folder / "other", authority=authority)
    )
    assert started is None
    yield Site(server, other, path, settings)
    await asyncio.gather(server.stop(), other.stop())


@asynccontextmanager
async def bridge(site: Site) -> AsyncIterator[Stores]:
    """Appservice port, rooms, sender and a janitor that is content with a second."""
    async with AsyncExitStack() as stack:
        stores = Stores.over(await open_database(site.settings))
        stack.push_async_callback(stores.db.stop)
        homeserver = site.homeserver()
        stack.push_async_callback(homeserver.close)
        house = House.of(site.settings, site.bot)
        sender = Sender(stores.db, homeserver, first_pause_s=0.1)

        def handled(room_ids: Iterable[str]) -> None:
            for room_id in room_ids:
                sender.wake(room_id)

        rooms = Rooms(
            stores,
            Conductor(house, stores, homeserver),
            on_handled=handled,
            registry=CollectorRegistry(),
        )
        janitor = Janitor(
            house, stores, StandInMedia(Bell()), take=rooms.take, ghost_ms=1000, look_s=0.2
        )
        aliases = AliasRooms(house, stores.alias_rooms, homeserver, access="public")
        await listen(stack, site, stores, rooms, aliases)
        await homeserver.ensure_registered()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(part.run()) for part in (sender, rooms, janitor, aliases)]
        await homeserver.ping()
        yield stores
        for task in running:
            task.cancel()


async def listen(
    stack: AsyncExitStack, site: Site, stores: Stores, rooms: Rooms, aliases: AliasRooms
) -> None:
    app = appservice.routes(
        stores.inbox,
        registration.read(site.registration),
        rooms.wake,
        server_name=site.server.server_name,
        make_room=aliases.make,
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, _, port = site.settings.appservice.listen.rpartition(":")
    await web.TCPSite(runner, host, int(port)).start()


def membership(device: str, url: str) -> dict[str, Any]:
    return {
        "application": "m.call",
        "call_id": "",
        "scope": "m.room",
        "device_id": device,
        "expires": 14_400_000,
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [{"type": "livekit", "livekit_service_url": url}],
    }


def emptied(key: str) -> Any:
    return lambda event: (
        (event["type"], event.get("state_key")) == (wire.CALL_MEMBER, key)
        and event["content"] == {}
    )


def state_of(event_type: str) -> Any:
    return lambda event: event["type"] == event_type and event["content"]


async def test_a_crashed_clients_ghost_is_cleared_and_no_other(site: Site) -> None:
    alice, bob = await site.person("alice"), await site.other.ensure_person("bob", "of bob")
    async with bridge(site):
        room_id = await alice.create_room("Budget", invite=[bob.user_id], power={site.bot: 100})
        await bob.join(room_id, via=[site.server.server_name])
        await alice.invite(room_id, site.bot)
        # The bot lets everybody be in calls: bob, without power, writes his own membership.
        await alice.wait_for(
            room_id,
            lambda e: (
                e["type"] == wire.POWER_LEVELS
                and e["content"].get("events", {}).get(wire.CALL_MEMBER) == 0
            ),
        )
        levels = await alice.state(room_id, wire.POWER_LEVELS)
        assert levels["events"]["m.room.power_levels"] == 100, "nothing else has changed"
        for event_type in (wire.BRIDGE, wire.BRIDGE_UNSTABLE, wire.RTC_SLOT):
            await bob.wait_for(room_id, state_of(event_type))
        theirs, ours = f"_{bob.user_id}_PHONE_m.call", f"_{bob.user_id}_LAPTOP_m.call"
        await bob.wait_for(room_id, state_of(wire.POWER_LEVELS))
        await bob.set_state(room_id, wire.CALL_MEMBER, membership("PHONE", THEIRS), theirs)
        await bob.set_state(room_id, wire.CALL_MEMBER, membership("LAPTOP", OURS + "/"), ours)
        cleared = await bob.wait_for(room_id, emptied(ours))
        assert cleared["sender"] == site.bot
        left = await bob.state(room_id, wire.CALL_MEMBER, theirs)
    assert left["device_id"] == "PHONE"


async def test_people_at_another_site_are_shown(site: Site) -> None:
    alice = await site.person("alice")
    async with bridge(site) as stores:
        room_id = await alice.create_room("Budget", power={site.bot: 50}, invite=[site.bot])
        await alice.wait_for(room_id, state_of(wire.RTC_SLOT))
        await alice.set_state(
            room_id, wire.CALL_MEMBER, membership("D", THEIRS), f"_{alice.user_id}_D_m.call"
        )
        path = f"/_matrix/client/v3/rooms/{room_id}/send/{wire.RTC_MEMBER}/sticky1"
        content = {
            "slot_id": ROOM_CALL,
            "application": {"type": "m.call"},
            "member": {"user_id": alice.user_id, "device_id": "E", "id": "uuid"},
            "transports": {"published": [{"type": "livekit", "livekit_service_url": THEIRS}]},
            "msc4354_sticky_key": "uuid",
        }
        sticky = {"org.matrix.msc4354.sticky_duration_ms": "3600000"}
        await alice.request("PUT", path, content, params=sticky)
        await alice.say(room_id, "!visio start")
        await alice.say(room_id, "!visio who")
        await alice.wait_for(
            room_id, lambda e: f"alice ({site.server.server_name})" in e["content"].get("body", "")
        )
        said = await stores.memberships.of_room(None, room_id)
        assert sorted((one.kind, one.device_id) for one in said) == [
            ("state", "D"),
            ("sticky", "E"),
        ]


async def test_a_room_is_made_for_whoever_looks_for_it(site: Site) -> None:
    alice, bob = await site.person("alice"), await site.other.ensure_person("bob", "of bob")
    alias = f"#visio_budget-2027:{site.server.server_name}"
    async with bridge(site):
        path = f"/_matrix/client/v3/join/{alias.replace('#', '%23')}"
        room_id = str((await bob.request("POST", path, {}))["room_id"])
        assert (await bob.state(room_id, "m.room.name"))["name"] == "Budget 2027"
        levels = await bob.state(room_id, wire.POWER_LEVELS)
        assert levels["events"][wire.CALL_MEMBER] == 0
        assert levels["events"][wire.POWER_LEVELS] == 100
        assert (await bob.state(room_id, wire.RTC_SLOT, ROOM_CALL))["status"] == "open"
        again = await alice.request("POST", path, {})
        assert again["room_id"] == room_id
        # The first of the bot's own server moderates, and is told what to do.
        moderated = await bob.wait_for(
            room_id,
            lambda e: (
                e["type"] == wire.POWER_LEVELS and alice.user_id in e["content"].get("users", {})
            ),
        )
        assert moderated["content"]["users"][alice.user_id] == 50
        await bob.wait_for(room_id, lambda e: "Hello" in str(e["content"].get("body")))
        await alice.say(room_id, "!visio start")
        await bob.wait_for(room_id, lambda e: "📞" in str(e["content"].get("body")))
        with pytest.raises(MatrixError):
            await alice.request("POST", path.replace("visio_budget-2027", "visio_"), {})


MEMBER = """
    import asyncio, json, sys
    from pathlib import Path
    from bridge.matrix import registration
    from bridge.matrix.client import Homeserver
    from bridge.matrix.own_membership import OwnMembership

    async def main(address, server_name, path, room_id):
        homeserver = Homeserver(address, server_name, registration.read(Path(path)))
        own = OwnMembership(homeserver, "https://visio.a", leave_after_ms=4000, put_off_every_s=0.5)
        await own.publish(room_id, intent="audio")
        await own.run()

    asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def test_the_bot_leaves_the_call_when_the_bridge_is_killed(
    site: Site, tmp_path: Path
) -> None:
    alice = await site.person("alice")
    key = f"_{site.bot}_COLLOQUE_m.call"
    async with AsyncExitStack() as stack:
        homeserver = site.homeserver()
        stack.push_async_callback(homeserver.close)
        await homeserver.ensure_registered()
        room_id = await alice.create_room("Budget", invite=[site.bot], power={site.bot: 50})
        await homeserver.join(room_id)
        where = [site.server.client_url, site.server.server_name, str(site.registration), room_id]
        process = spawn(
            [sys.executable, "-c", textwrap.dedent(MEMBER), json.dumps(where)],
            log=tmp_path / "member.log",
            cwd=Path.cwd(),
        )
        try:
            await alice.wait_for(room_id, state_of(wire.CALL_MEMBER))
            since = str((await alice.sync())["next_batch"])
            # As long as it lives it is put off, past the 4 s.
            await asyncio.sleep(5)
            assert (await alice.state(room_id, wire.CALL_MEMBER, key))["device_id"] == "COLLOQUE"
        finally:
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        left = await alice.wait_for(room_id, emptied(key), since=since)
    assert left["sender"] == site.bot
