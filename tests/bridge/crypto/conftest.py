"""A bridge as `bridge.app` wires it, at a real homeserver that federates with another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from bridge import app, config
from bridge.crypto import Handler
from bridge.dev.certificates import ensure_authority
from bridge.matrix import registration
from tests.support.encrypted_client import EncryptedClient
from tests.support.synapse import Person, Synapse, free_ports

Cleanup = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Sites:
    """Two homeservers; the bridge is registered at `near`."""

    near: Synapse
    far: Synapse
    folder: Path
    port: int

    def settings(self, folder: Path, url: str = "sqlite:bridge.db") -> config.Settings:
        return config.Settings(
            homeserver=config.Homeserver(
                address=self.near.client_url, server_name=self.near.server_name
            ),
            appservice=config.Appservice(
                registration=str(self.folder / "registration.yaml"),
                listen=f"127.0.0.1:{self.port}",
            ),
            database=config.Database(url=url),
            media=config.Media(
                backend="livekit", api_key="key", api_secret="s" * 32, api_url="http://127.0.0.1:9"
            ),
            scribe=config.Scribe(supervise=False, socket=str(folder / "scribe.sock")),
            conference=config.Conference(language="en"),
            # Shared: a bridge with a database of its own is a new device of the same bot.
            data_dir=str(self.folder / "data"),
            base=folder,
        )

    @property
    def bot(self) -> str:
        return f"@visio:{self.near.server_name}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sites]:
    """Shared by the tests of this folder, and so is the bot's account."""
    folder = tmp_path_factory.mktemp("encrypted")
    authority = ensure_authority(folder)
    ports = free_ports(5)
    servers = [
        Synapse(folder / name, client_port=client, federation_port=other, authority=authority)
        for name, client, other in (("near", ports[0], ports[1]), ("far", ports[2], ports[3]))
    ]
    made = Sites(servers[0], servers[1], folder, ports[4])
    path = folder / "registration.yaml"
    path.write_text(registration.generate(made.settings(folder)), encoding="utf-8")
    await asyncio.gather(servers[0].start([path]), servers[1].start())
    yield made
    await asyncio.gather(*(server.stop() for server in servers))


@asynccontextmanager
async def living(
    settings: config.Settings, handlers: Mapping[str, Handler] = MappingProxyType({})
) -> AsyncIterator[app.Bridge]:
    """A bridge at work, without media server and scribe; killed at the end, as it stands."""
    async with AsyncExitStack() as stack:
        # Counters are made once a process; a test has several bridges in one.
        stack.enter_context(mock.patch.object(app, "REGISTRY", CollectorRegistry()))
        bridge = await stack.enter_async_context(app.bridge_of(settings))
        assert bridge.crypto is not None
        for kind, handler in handlers.items():
            bridge.crypto.on_to_device(kind, handler)
        await stack.enter_async_context(app.serving(bridge.appservice, settings.appservice.listen))
        left_out = {"Supervisor.run", "ScribeLink.run"}
        async with asyncio.TaskGroup() as tasks:
            running = []
            for part in bridge.work():
                if part.__qualname__ in left_out:
                    part.close()
                else:
                    running.append(tasks.create_task(part))
            async with asyncio.timeout(30):
                await bridge.crypto.ready.wait()
            yield bridge
            for task in running:
                task.cancel()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def clients() -> AsyncIterator[Callable[[Person], Coroutine[Any, Any, EncryptedClient]]]:
    """Starts clients, and ends them after the last test."""
    started: list[EncryptedClient] = []

    async def start(person: Person) -> EncryptedClient:
        client = EncryptedClient(person)
        started.append(client)
        await client.start()
        return client

    yield start
    await asyncio.gather(*(client.stop() for client in started))
