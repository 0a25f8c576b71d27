"""Both ways between bridges over two real homeservers: what is asked arrives, and from whom."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge import config
from bridge.app import serving
from bridge.config import Settings
from bridge.dev.certificates import ensure_authority
from bridge.matrix import appservice, registration, wire
from bridge.matrix.client import Homeserver
from bridge.peers import door
from bridge.peers.door import Door
from bridge.peers.way import TO_DEVICE, FedProxy, Refusal, ToDevice
from bridge.web.challenges import Challenges
from tests.bridge.peers.test_peers_door import StandInRooms, report
from tests.support.library import challenges
from tests.support.rooms_world import Worlds
from tests.support.synapse import Synapse, free_ports

pytestmark = [pytest.mark.homeserver]


@dataclasses.dataclass
class End:
    """One homeserver with as much of a bridge as talks to others."""

    synapse: Synapse
    homeserver: Homeserver
    rooms: StandInRooms
    to_device: ToDevice
    challenges: Challenges


@pytest_asyncio.fixture
async def ends(tmp_path: Path, worlds: Worlds) -> AsyncIterator[list[End]]:
    authority = ensure_authority(tmp_path)
    async with AsyncExitStack() as stack:
        yield list(
            await asyncio.gather(
                *(_end(_made(tmp_path / name), authority, worlds, stack) for name in ("1", "2"))
            )
        )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _end(folder: Path, authority: Path, worlds: Worlds, stack: AsyncExitStack) -> End:
    client_port, federation_port, port = free_ports(3)
    server = f"localhost:{federation_port}"
    settings = Settings(
        homeserver=config.Homeserver(server_name=server),
        appservice=config.Appservice(listen=f"127.0.0.1:{port}"),
    )
    file = folder / "registration.yaml"
    file.write_text(registration.generate(settings), encoding="utf-8")
    granted = registration.read(file)
    synapse = Synapse(
        folder,
        client_port=client_port,
        federation_port=federation_port,
        authority=authority,
        registrations=[file],
    )
    homeserver = Homeserver(synapse.client_url, server, granted)
    rooms = StandInRooms()
    doorway = Door(server, ["*"], rooms, rooms, rooms)
    proofs = challenges(bot=homeserver.user_id)
    to_device = ToDevice(homeserver, "COLLOQUE", doorway.answer)
    stack.push_async_callback(homeserver.close)
    stack.push_async_callback(to_device.close)
    world = await worlds.open(folder.name)

    def heard(message: dict[str, Any]) -> None:
        if message.get("type") == TO_DEVICE:
            to_device.take(message)
        elif message.get("type") == wire.SESSION:
            proofs.take(message)

    app = appservice.routes(
        world.stores.inbox, granted, lambda _: None, server_name=server, on_to_device=heard
    )
    app.add_routes(door.routes(doorway))
    await stack.enter_async_context(serving(app, f"127.0.0.1:{port}"))
    await synapse.start()
    stack.push_async_callback(synapse.stop)
    await homeserver.ensure_registered()
    return End(synapse, homeserver, rooms, to_device, proofs)


async def _prove_who_reads(one: End, other: End) -> None:
    """Somebody of another server answers a challenge of this one's bridge."""
    alice = await other.synapse.register("alice")
    asked = one.challenges.ask(alice.user_id, "a")
    content = {"challenge": asked.challenge, "site": asked.site}
    path = f"/_matrix/client/v3/sendToDevice/{wire.SESSION}/1"
    body = {"messages": {asked.bot: {asked.device: content}}}
    await alice.request("PUT", path, body)
    assert await one.challenges.user_of(asked.challenge, asked.secret) == alice.user_id


async def test_fed_proxy_and_to_device_prove_the_same_server(ends: list[End]) -> None:
    one, other = ends
    servers = [end.synapse.server_name for end in ends]
    for end in ends:

        async def bridges(room_id: str) -> set[str]:
            return set(servers)

        end.rooms.bridges = bridges  # type: ignore[method-assign]
    answer = await FedProxy(one.homeserver).ask(servers[1], "report", report(rev=5))
    assert answer["seen"] == 5
    # Messages reach devices: the first question may come before the other bot has one.
    await other.to_device.listen()
    answer = await one.to_device.ask(servers[1], "report", report(rev=6))
    assert answer["seen"] == 6
    assert [origin for origin, _ in other.rooms.taken] == [servers[0]] * 2
    lie = report(people=[{"user_id": f"@x:{servers[1]}", "joined_ms": 1}])
    for way in (FedProxy(one.homeserver), one.to_device):
        with pytest.raises(Refusal):
            await way.ask(servers[1], "report", lie)
    await _prove_who_reads(one, other)
