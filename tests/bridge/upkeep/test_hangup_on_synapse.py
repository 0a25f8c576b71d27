"""The end of a call against a client that re-joins by force, on a real Synapse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge import config
from bridge.dev.person import MatrixError, Person
from bridge.matrix import registration, wire
from bridge.matrix.client import Homeserver
from bridge.rooms.house import House, Stores
from bridge.store.database import open_database
from bridge.store.errands import Errand
from bridge.upkeep.hangup import HangUp
from tests.support.synapse import Synapse

pytestmark = pytest.mark.homeserver
HOLD_MS = 2_000


class StubbornClient:
    """Writes its membership again as soon as it is gone, as matrix-js-sdk 43 does.

    Refused, it takes the call for ended (there: MembershipManagerError).
    """

    def __init__(self, person: Person, room_id: str) -> None:
        self._person = person
        self._room_id = room_id
        self._key = f"_{person.user_id}_{person.device_id}_m.call"
        self.joins = 0
        self.refused = asyncio.Event()

    async def join(self) -> None:
        content = {"application": "m.call", "call_id": "", "device_id": self._person.device_id}
        await self._person.set_state(self._room_id, wire.CALL_MEMBER, content, self._key)
        self.joins += 1

    async def stay(self) -> None:
        while True:
            if not await self._person.state(self._room_id, wire.CALL_MEMBER, self._key):
                try:
                    await self.join()
                except MatrixError as error:
                    if error.errcode != "M_FORBIDDEN":
                        raise
                    self.refused.set()
                    return
            await asyncio.sleep(0.05)


class Site:
    """The bot at a real homeserver, and the errand on a real store."""

    def __init__(self, stores: Stores, homeserver: Homeserver, house: House) -> None:
        self.stores = stores
        self.homeserver = homeserver
        self._house = house

    async def hang_up(self, room_id: str) -> None:
        errand = Errand(
            id="hangup:c",
            room_id=room_id,
            kind="hangup",
            content={"conference": "c"},
            created_ms=0,
        )
        async with self.stores.db.acquire() as conn:
            await self.stores.errands.put(conn, errand)

    async def look(self, room_id: str) -> str | None:
        """One look of a process that knows nothing but the store."""
        hangup = HangUp(self._house, self.stores, self.homeserver, hold_ms=HOLD_MS)
        (errand,) = await self.stores.errands.of_room(room_id)
        outcome = await hangup.carry_out(errand)
        return None if outcome is None else outcome.outcome

    async def carry_out(self, room_id: str) -> str:
        async with asyncio.timeout(30):
            while True:
                if (outcome := await self.look(room_id)) is not None:
                    return outcome
                await asyncio.sleep(0.2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registered(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Synapse, registration.Registration]]:
    folder = tmp_path_factory.mktemp("hangup")
    path = folder / "registration.yaml"
    path.write_text(registration.generate(config.Settings()), encoding="utf-8")
    server = await Synapse.create(folder / "homeserver", registrations=[path])
    yield server, registration.read(path)
    await server.stop()


@asynccontextmanager
async def site_of(
    folder: Path, server: Synapse, granted: registration.Registration
) -> AsyncIterator[Site]:
    settings = config.Settings(
        homeserver=config.Homeserver(address=server.client_url, server_name=server.server_name),
        database=config.Database(url=f"sqlite:{folder}/rooms.db"),
    )
    db = await open_database(settings)
    homeserver = Homeserver(server.client_url, server.server_name, granted)
    try:
        await homeserver.ensure_registered()
        yield Site(Stores.over(db), homeserver, House.of(settings, homeserver.user_id))
    finally:
        await homeserver.close()
        await db.stop()


async def room_with(site: Site, alice: Person, bob: Person, level: int, **more: Any) -> str:
    bot = site.homeserver.user_id
    room_id = await alice.create_room(
        "Budget",
        invite=[bot, bob.user_id],
        power={bot: level},
        events={wire.CALL_MEMBER: 0, wire.POWER_LEVELS: 100},
        **more,
    )
    await site.homeserver.join(room_id)
    await bob.join(room_id)
    return room_id


async def people(server: Synapse) -> tuple[Person, Person]:
    alice = await server.ensure_person("alice", "a password of alice")
    return alice, await server.ensure_person("bob", "a password of bob")


@pytest.mark.parametrize("killed", [False, True])
async def test_a_client_that_comes_back_by_force_stays_out(
    tmp_path: Path, registered: tuple[Synapse, registration.Registration], killed: bool
) -> None:
    server, granted = registered
    alice, bob = await people(server)
    async with site_of(tmp_path, server, granted) as site, asyncio.TaskGroup() as tasks:
        room_id = await room_with(site, alice, bob, 100)
        before = await alice.state(room_id, wire.POWER_LEVELS)
        client = StubbornClient(bob, room_id)
        await client.join()
        staying = tasks.create_task(client.stay())
        await site.hang_up(room_id)
        if killed:
            # The level is raised, and we are gone for longer than it should have been.
            await site.look(room_id)
            assert (await alice.state(room_id, wire.POWER_LEVELS)) != before
            await asyncio.sleep(HOLD_MS / 1000)
        outcome = await site.carry_out(room_id)
        async with asyncio.timeout(20):
            await staying
        assert client.refused.is_set()
        assert outcome == "done"
        assert await alice.state(room_id, wire.POWER_LEVELS) == before
        # And whoever wants to calls again.
        await client.join()


async def test_a_client_of_a_room_where_the_bot_has_no_power_comes_back(
    tmp_path: Path, registered: tuple[Synapse, registration.Registration]
) -> None:
    server, granted = registered
    alice, bob = await people(server)
    async with site_of(tmp_path, server, granted) as site, asyncio.TaskGroup() as tasks:
        room_id = await room_with(site, alice, bob, 50, version="11")
        before = await alice.state(room_id, wire.POWER_LEVELS)
        client = StubbornClient(bob, room_id)
        await client.join()
        staying = tasks.create_task(client.stay())
        await site.hang_up(room_id)
        assert await site.carry_out(room_id) == "weak"
        async with asyncio.timeout(20):
            while client.joins < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        staying.cancel()
        assert await alice.state(room_id, wire.POWER_LEVELS) == before
