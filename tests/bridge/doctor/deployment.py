"""A whole deployment to spoil: Synapse, bridge, sfu and scribe, and a reverse proxy of ours."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from ruamel.yaml import YAML

from bridge.config import Settings
from bridge.dev.certificates import ensure_authority
from bridge.dev.homeserver import _CONSTANT
from bridge.dev.layout import SitePlan
from bridge.dev.ports import free_block, free_ports
from bridge.dev.site import Site
from bridge.doctor.findings import Finding
from bridge.doctor.run import examine
from bridge.doctor.words import Words
from bridge.media.keys import api_key

FEATURES: dict[str, bool] = _CONSTANT["experimental_features"]
_numbers = itertools.count(1)
_yaml = YAML(typ="safe")


@dataclass
class Deployment:
    """A running site; the doctor is shown copies of its files with a mistake in them."""

    site: Site
    room: str = ""

    @property
    def settings(self) -> Settings:
        """Of the running bridge."""
        assert self.site.settings is not None
        return self.site.settings

    @property
    def registration(self) -> Path:
        """The file homeserver and bridge have."""
        return self.settings.path(self.settings.appservice.registration)

    def config(self, **changes: Any) -> Path:
        """The bridge's configuration, with `section__key=value` changed."""
        document = _yaml.load(self.site.plan.config_path.read_text())
        for name, value in changes.items():
            section, _, key = name.partition("__")
            if key:
                document[section][key] = value
            else:
                document[section] = value
        path = self.site.plan.folder / f"spoilt-{next(_numbers)}.yaml"
        with path.open("w") as out:
            _yaml.dump(document, out)
        return path

    def spoilt_registration(self, without: tuple[str, ...] = (), **changes: Any) -> Path:
        """A copy of the registration, with keys left out or changed."""
        document = _yaml.load(self.registration.read_text())
        document = {key: value for key, value in document.items() if key not in without}
        path = self.site.plan.folder / f"registration-{next(_numbers)}.yaml"
        with path.open("w") as out:
            _yaml.dump({**document, **changes}, out)
        return path

    async def examine(
        self,
        *only: str,
        room: str = "",
        clock: Callable[[], float] = time.time,
        **changes: Any,
    ) -> dict[str, Finding]:
        """What the doctor finds with this configuration, by check."""
        found = await examine(self.config(**changes), room=room, only=only, clock=clock)
        return {finding.check: finding for finding in found}

    async def bot_joins(self, room: str) -> None:
        """Return once the bot has followed its invitation."""
        async with asyncio.timeout(30):
            while self.site.bot not in await self.site.people[0].members(room):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # another process joins

    async def restart(self, changes: Mapping[str, Any], registration: Path | None = None) -> None:
        """The homeserver with other settings (None: without them)."""
        self.site.homeserver.changes = dict(changes)
        await self.site.homeserver.restart([registration or self.registration])


def remedy(found: Mapping[str, Finding], check: str, key: str) -> str:
    """What to do about the remarks of this key, in English and in French."""
    remarks = [one for one in found[check].remarks if one.key == key]
    assert remarks, (check, found[check].outcome, list(found[check].remarks))
    assert {one.outcome for one in remarks} <= {"warning", "failed"}
    languages = (Words("en"), Words("fr"))
    assert all(words.said(one) for one in remarks for words in languages)
    return "\n".join(words.remedy(one) for one in remarks for words in languages)


@contextlib.asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Deployment]:
    """Everything up, with a room of alice's that the bot is in."""
    plan = SitePlan(name="a", folder=folder / "site", first_port=free_block(10), people=("alice",))
    site = Site(plan, ensure_authority(folder / "authority"), lambda _line: None)
    made = Deployment(site)
    try:
        await site.start()
        alice = site.people[0]
        made.room = await alice.create_room(
            "Budget",
            invite=[site.bot],
            power={site.bot: 50},
            events={"org.matrix.msc3401.call.member": 0},
        )
        await made.bot_joins(made.room)
        yield made
    finally:
        await site.stop()


@contextlib.asynccontextmanager
async def proxy(
    upstream: str,
    *,
    passes: Callable[[str], str | None] = lambda path: path,
    headers: Mapping[str, str] | None = None,
    redirect: str = "",
    answer: Mapping[str, Any] | None = None,
) -> AsyncIterator[str]:
    """A reverse proxy with a mistake. `passes`: the path it asks for upstream, None: its own 404.

    `headers` are added to each answer; `answer`: what it answers itself to everything.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        if redirect:
            raise web.HTTPFound(redirect)
        if answer is not None:
            return web.json_response(dict(answer))
        path = passes(request.path)
        if path is None:
            return web.Response(status=404, text="not here")
        kept = {
            name: value
            for name, value in request.headers.items()
            if name in {"Content-Type", "Origin"} or name.startswith("Access-Control")
        }
        async with (
            aiohttp.ClientSession(auto_decompress=False) as http,
            http.request(
                request.method, upstream + path, data=await request.read(), headers=kept
            ) as reply,
        ):
            response = web.Response(status=reply.status, body=await reply.read())
            for name, value in reply.headers.items():
                if name in {"Content-Type"} or name.startswith("Access-Control"):
                    response.headers[name] = value
            for name, value in (headers or {}).items():
                response.headers.add(name, value)
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    (port,) = free_ports(1)
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def second_sfu(keys: str, *more: str) -> Iterator[str]:
    """Another media server of this machine, `http://…`."""
    port, udp, tcp = free_ports(3)
    ports = ["--port", str(port), "--udp-port", str(udp), "--tcp-port", str(tcp)]
    process = subprocess.Popen(
        [sys.executable, "-m", "sfu", "--bind", "127.0.0.1", *ports, *more],
        env={**os.environ, "LIVEKIT_KEYS": keys},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()


def key_line(deployment: Deployment) -> str:
    """The deployment's media key, as LIVEKIT_KEYS takes it."""
    key = api_key(deployment.settings)
    return f"{key.key}: {key.secret}"


def with_feature(**off: bool) -> dict[str, bool]:
    """The homeserver's experimental features with some changed."""
    return {**FEATURES, **off}
