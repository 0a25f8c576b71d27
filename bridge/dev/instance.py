"""A whole development instance: sites side by side, one room everybody is in, dev.json."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from bridge.dev.certificates import ensure_authority
from bridge.dev.layout import PORTS_A_SITE, SitePlan
from bridge.dev.person import Person
from bridge.dev.site import Site
from bridge.errors import ColloqueError

WISH = "eu.colloque.conference"
_PEOPLE = (("alice", "bob"), ("carol", "dave"))
_PORTS = "ports.json"
_JOIN_S = 30.0
_REFRESH_S = 0.25


def plan_sites(var: Path, port_base: int, count: int) -> list[SitePlan]:
    """The sites of `python -m bridge dev`."""
    return [
        SitePlan(
            name=name,
            folder=var / f"site-{name}",
            first_port=port_base + number * PORTS_A_SITE,
            people=people,
        )
        for number, (name, people) in enumerate(zip("ab", _PEOPLE, strict=True))
    ][:count]


class Instance:
    """Everything `python -m bridge dev` starts. Use: `start`, `keep_running`, `stop`."""

    def __init__(self, var: Path, plans: Sequence[SitePlan], say: Callable[[str], None]) -> None:
        """`say` gets a line for each step. Raises ColloqueError where `var` is in use."""
        self.var = var.resolve()
        self.room_id = ""
        self._say = say
        self._written = ""
        self._lock = _lock(self.var)
        try:
            self._check_same_ports(plans)
            authority = ensure_authority(self.var / "authority")
            self.sites = [Site(plan, authority, say) for plan in plans]
        except BaseException:
            self.close()
            raise

    @staticmethod
    def port_base_of(var: Path) -> int | None:
        """The ports the data in `var` belong to, if there are data."""
        ports = _ports_of(var)
        return min(ports.values()) if ports else None

    @staticmethod
    def check_unused(var: Path) -> None:
        """Raise ColloqueError where an instance runs in `var`."""
        _lock(var).close()

    @property
    def facts_path(self) -> Path:
        """Where outside clients and tests read what runs where; there while all is up."""
        return self.var / "dev.json"

    @property
    def people(self) -> list[Person]:
        """Everybody, site by site."""
        return [person for site in self.sites for person in site.people]

    async def start(self) -> None:
        """Start all sites, then make or find the shared room, then write dev.json."""
        self.facts_path.unlink(missing_ok=True)
        # A group: where one site fails, the other's start is cancelled and awaited.
        try:
            async with asyncio.TaskGroup() as group:
                for site in self.sites:
                    group.create_task(site.start())
        except* ColloqueError as errors:
            raise _first(errors) from None
        self.room_id = await self._shared_room()
        self._write_facts()

    async def keep_running(self) -> None:
        """Start bridges again that died, and keep dev.json true. Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for site in self.sites:
                if site.bridge is not None:
                    group.create_task(site.bridge.keep_running())
            group.create_task(self._refresh())

    async def stop(self) -> None:
        """End every process. The data stay."""
        self.facts_path.unlink(missing_ok=True)
        await asyncio.gather(*(site.stop() for site in self.sites))
        self.close()

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.close()

    # the room

    async def _shared_room(self) -> str:
        note = self.var / "room_id"
        host, *others = self.people
        if note.exists():
            room_id = note.read_text(encoding="utf-8").strip()
        else:
            self._say("making the room everybody is in")
            room_id = await self._make_room(host)
            note.write_text(room_id, encoding="utf-8")
        via = [self.sites[0].plan.server_name]
        for person in others:
            if room_id not in await person.joined_rooms():
                await person.join(room_id, via)
        await self._all_joined(room_id)
        return room_id

    async def _make_room(self, host: Person) -> str:
        bots = [site.bot for site in self.sites if site.bridge is not None]
        guests = [person.user_id for person in self.people if person is not host]
        return await host.create_room(
            "Colloque",
            invite=[*guests, *bots],
            # 50: bots write the call's status into the room's state.
            power=dict.fromkeys(bots, 50),
            # As clients make rooms today, so that Element Call's button works for everybody.
            events={"org.matrix.msc3401.call.member": 0},
            initial_state=[
                {
                    "type": WISH,
                    "state_key": "",
                    "content": {"captions": True, "transcript": True, "language": "en"},
                }
            ],
        )

    async def _all_joined(self, room_id: str) -> None:
        """Return when each homeserver shows everybody in the room, the bridges too."""
        bots = {site.bot for site in self.sites if site.bridge is not None}
        everybody = bots | {person.user_id for person in self.people}
        end = time.monotonic() + _JOIN_S
        for site in self.sites:
            while absent := everybody - set(await site.people[0].members(room_id)):
                if time.monotonic() > end:
                    raise ColloqueError(
                        f"{', '.join(sorted(absent))} did not come into the room within "
                        f"{_JOIN_S:.0f} s: see bridge.log in {self.var}"
                    )
                await asyncio.sleep(0.1)

    # files

    def _write_facts(self) -> None:
        content: dict[str, Any] = {
            "version": 1,
            "pid": os.getpid(),
            "room_id": self.room_id,
            "sites": [site.facts() for site in self.sites],
        }
        text = json.dumps(content, indent=2) + "\n"
        if text == self._written:
            return
        # Renamed into place: a reader never sees half a file.
        fresh = self.facts_path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.facts_path)
        self._written = text

    async def _refresh(self) -> None:
        gone: set[str] = set()
        while True:
            self._write_facts()
            for site in self.sites:
                name = site.plan.name
                if site.homeserver.pid is None and name not in gone:
                    gone.add(name)
                    self._say(f"site {name}: the homeserver ended: {site.homeserver.log_path}")
            await asyncio.sleep(_REFRESH_S)

    def _check_same_ports(self, plans: Sequence[SitePlan]) -> None:
        # A homeserver's name has its port in it and cannot change once it has a database.
        ports, before = {plan.name: plan.first_port for plan in plans}, _ports_of(self.var)
        for name, port in ports.items():
            if before.get(name, port) != port:
                raise ColloqueError(
                    f"the data in {self.var} belong to --port-base {min(before.values())}: "
                    "use that, or another folder with --var"
                )
        (self.var / _PORTS).write_text(json.dumps({**before, **ports}), encoding="utf-8")


def _ports_of(var: Path) -> dict[str, int]:
    note = var / _PORTS
    return dict(json.loads(note.read_text(encoding="utf-8"))) if note.exists() else {}


def _lock(var: Path) -> IO[str]:
    var.mkdir(parents=True, exist_ok=True)
    file = (var / "lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ColloqueError(
            f"an instance runs in {var} already: end it, or use another folder with --var"
        ) from None
    return file


def _first(group: BaseExceptionGroup[ColloqueError]) -> ColloqueError:
    error = group.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
