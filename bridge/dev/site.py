"""One site of a development instance: a homeserver, its people, and its bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.config import Settings
from bridge.dev.bridge_process import BridgeProcess
from bridge.dev.homeserver import Synapse
from bridge.dev.layout import SitePlan, check_ports, write_config
from bridge.dev.person import Person
from bridge.matrix import registration
from bridge.media.keys import api_key

PASSWORD = "colloque"  # noqa: S105 - of development users on a loopback address


class Site:
    """Started with `start`, ended with `stop`; its data stay in the plan's folder."""

    def __init__(self, plan: SitePlan, authority: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.people: list[Person] = []
        self._say = say
        self.settings: Settings | None = write_config(plan) if plan.bridge else None
        self.homeserver = Synapse(
            plan.folder / "homeserver",
            client_port=plan.client_port,
            federation_port=plan.federation_port,
            authority=authority,
            registrations=[_registration(self.settings)] if self.settings else [],
            rtc_service_url=plan.page if plan.bridge else plan.service,
        )
        self.bridge = BridgeProcess(plan, self.settings, say) if self.settings else None

    @property
    def bot(self) -> str:
        """The bridge's user, '' without a bridge."""
        if self.settings is None:
            return ""
        path = self.settings.path(self.settings.appservice.registration)
        return registration.read(path).bot(self.plan.server_name)

    async def start(self) -> None:
        """Homeserver, people, bridge, in this order. Raises ColloqueError with one clear line."""
        check_ports(self.plan)
        self._say(f"site {self.plan.name}: starting the homeserver {self.plan.server_name}")
        await self.homeserver.start()
        self.people = list(
            await asyncio.gather(
                *(
                    self.homeserver.ensure_person(name, PASSWORD, f"{name.upper()}DEV")
                    for name in self.plan.people
                )
            )
        )
        if self.bridge is not None:
            self._say(f"site {self.plan.name}: starting the bridge, its sfu and its scribe")
            await self.bridge.start()

    async def stop(self) -> None:
        """Bridge first, so that its last messages still reach the homeserver."""
        if self.bridge is not None:
            await self.bridge.stop()
        await self.homeserver.stop()

    def facts(self) -> dict[str, Any]:
        """The site's entry in dev.json (docs/development.md)."""
        plan = self.plan
        entry: dict[str, Any] = {
            "name": plan.name,
            "server_name": plan.server_name,
            "homeserver": self.homeserver.client_url,
            "federation": self.homeserver.federation_url,
            "registration_shared_secret": self.homeserver.shared_secret,
            "data_dir": str(plan.folder),
            "users": [
                {
                    "user_id": person.user_id,
                    "password": person.password,
                    "access_token": person.access_token,
                    "device_id": person.device_id,
                }
                for person in self.people
            ],
        }
        pids: dict[str, Any] = {"homeserver": self.homeserver.pid}
        if self.bridge is not None and self.settings is not None:
            key, parts = api_key(self.settings), self.bridge.parts
            entry |= {
                "bot": self.bot,
                "page": plan.page,
                "livekit_service_url": plan.page,
                "sfu_url": self.settings.media.public_url,
                "api_key": key.key,
                "api_secret": key.secret,
                "metrics": f"{plan.page}/metrics",
            }
            pids |= {"bridge": self.bridge.pid, "sfu": parts.sfu, "scribe": parts.scribe}
        return {**entry, "pids": pids}


def _registration(settings: Settings) -> Path:
    path = settings.path(settings.appservice.registration)
    # The tokens are made once: they are the bridge's passwords. What else is in it, this version
    # of the bridge says.
    before = registration.read(path) if path.exists() else None
    path.touch(mode=0o600)
    path.write_text(registration.generate(settings, before), encoding="utf-8")
    return path
