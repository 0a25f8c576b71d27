"""The bridge of a development site: started, watched, started again when it dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable

import aiohttp

from bridge.config import Settings
from bridge.dev.homeserver import ROOT
from bridge.dev.layout import SitePlan
from bridge.dev.process import last_words, spawn, stop
from bridge.dev.records import PartPids, end_parts, part_pids
from bridge.errors import ColloqueError

_START_S = 60.0
_POLL_S = 0.1
_RESTART_S = (0.2, 1.0, 5.0)  # systemd's RestartSec, growing while it keeps dying
_STEADY_S = 10.0


class BridgeProcess:
    """`python -m bridge run` for one site; it starts sfu and scribe, which outlive it."""

    def __init__(self, plan: SitePlan, settings: Settings, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._settings = settings
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self.held = False
        """While set, a bridge that died stays dead (for tests of its absence)."""
        self.log_path = plan.folder / "bridge.log"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    @property
    def parts(self) -> PartPids:
        """Process ids of the sfu and scribe processes that live now."""
        return part_pids(self._settings)

    async def start(self) -> None:
        """Start it; returns when bridge, sfu and scribe answer. Raises ColloqueError."""
        self._spawn()
        end = time.monotonic() + _START_S
        async with aiohttp.ClientSession() as http:
            while not await self._is_up(http):
                if self.pid is None:
                    raise ColloqueError(f"the bridge did not start: {last_words(self.log_path)}")
                if time.monotonic() > end:
                    raise ColloqueError(
                        f"the bridge was not ready within {_START_S:.0f} s: "
                        f"{last_words(self.log_path)}"
                    )
                await asyncio.sleep(_POLL_S)

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "bridge", "run", "--config", str(self._plan.config_path)]
        self._process = spawn(command, log=self.log_path, cwd=ROOT)

    async def _is_up(self, http: aiohttp.ClientSession) -> bool:
        health = f"{self._plan.page}/healthz"
        for url in (health, f"{self._settings.media.api_url}/"):
            try:
                async with http.get(url) as response:
                    if response.status != 200:
                        return False
            except aiohttp.ClientError:
                return False
        return bool(self.parts.sfu and self.parts.scribe)

    async def keep_running(self) -> None:
        """Start it again whenever it dies. Runs until cancelled."""
        attempt = 0
        while self._process is not None:
            started = time.monotonic()
            status = await _ended(self._process)
            attempt = 0 if time.monotonic() - started > _STEADY_S else attempt + 1
            self._say(
                f"site {self._plan.name}: the bridge ended with status {status}, starting it again"
            )
            await asyncio.sleep(_RESTART_S[min(attempt, len(_RESTART_S) - 1)])
            while self.held:  # noqa: ASYNC110 - a switch for tests, without an event of its own
                await asyncio.sleep(_POLL_S)
            self._spawn()

    async def stop(self) -> None:
        """End the bridge, and the sfu and scribe it started."""
        if self._process is not None:
            await stop(self._process, grace_s=15)
        # After a clean exit nothing is left; a bridge killed with -9 leaves both behind.
        await end_parts(self._settings)


async def _ended(process: subprocess.Popen[bytes]) -> int:
    # Polling, not a thread in waitpid: a thread could not be cancelled.
    while (status := process.poll()) is None:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)
    return status
