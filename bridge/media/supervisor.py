"""Keeps the media server and the scribe running beside the bridge, and across its death.

Each is a process in a session of its own with a record in `data_dir`. A bridge that was killed
leaves them running; the next one finds them by the record and goes on with them, so a call does not
notice. Only a clean exit of the bridge ends them (`stop`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

import bridge
from bridge import secret_file
from bridge.errors import ColloqueError
from bridge.media.process import (
    Process,
    ProcessRecord,
    last_line,
    read_record,
    start_of,
    write_record,
)
from bridge.media.programs import Program

log = logging.getLogger(__name__)

State = Literal["starting", "running", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of supervision in seconds."""

    start: float = 20.0  # a start that takes longer has failed
    check: float = 2.0  # between two questions about health
    hung_after: int = 5  # questions without a good answer: it hangs
    first_pause: float = 0.5  # before the first restart; doubled each time
    longest_pause: float = 30.0
    steady: float = 60.0  # running this long makes the next pause the first one again
    stop: float = 5.0  # between SIGTERM and SIGKILL, beside what the program itself asks for
    hurry: float = 1.0  # between two SIGTERM, the second of which ends a program at once


class ProgramsDown(ColloqueError):
    """A program did not get healthy in time. The text says which and what it wrote last."""


class Supervisor:
    """All programs of one bridge. `run()` keeps them alive; `stop()` ends them."""

    def __init__(
        self,
        programs: Sequence[Program],
        data_dir: Path,
        *,
        registry: CollectorRegistry,
        pace: Pace | None = None,
    ) -> None:
        up = Gauge("colloque_process_up", "1: the process works.", ["process"], registry=registry)
        starts = Counter(
            "colloque_process_starts", "Starts of a process.", ["process"], registry=registry
        )
        data_dir.mkdir(parents=True, exist_ok=True)
        self._kept = [_Kept(one, data_dir, up, starts, pace or Pace()) for one in programs]

    async def run(self) -> None:
        """Adopt or start every program and keep it running. Cancel it; the programs go on."""
        async with asyncio.TaskGroup() as group:
            for one in self._kept:
                group.create_task(one.run(), name=f"supervise {one.program.name}")

    async def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Return when every program works. Raises ProgramsDown."""
        try:
            async with asyncio.timeout(timeout_s):
                for one in self._kept:
                    await one.ready.wait()
        except TimeoutError:
            down = [one for one in self._kept if one.state != "running"]
            said = "; ".join(f"{one.program.name}: {one.last_line or 'no answer'}" for one in down)
            raise ProgramsDown(f"not running after {timeout_s:.0f} s: {said}") from None

    async def stop(self) -> None:
        """End every program, for a clean exit. Cancel `run()` before or let it return by itself."""
        async with asyncio.TaskGroup() as group:
            for one in self._kept:
                group.create_task(one.stop())

    def hurry(self) -> None:
        """While `stop()` waits: end at once what may take its time."""
        for one in self._kept:
            one.hurry()

    @property
    def states(self) -> dict[str, State]:
        """Name of each program and how it is now."""
        return {one.program.name: one.state for one in self._kept}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the programs that run now."""
        return {one.program.name: one.pid for one in self._kept if one.pid is not None}


class _Kept:
    """One program: found or started, watched, started again."""

    def __init__(
        self, program: Program, data_dir: Path, up: Gauge, starts: Counter, pace: Pace
    ) -> None:
        self.program = program
        self.state: State = "down"
        self.ready = asyncio.Event()
        self._record = data_dir / f"{program.name}.process"
        self._log = data_dir / f"{program.name}.log"
        self._up = up.labels(process=program.name)
        self._starts = starts.labels(process=program.name)
        self._pace = pace
        self._process: Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def last_line(self) -> str:
        return last_line(self._log)

    async def run(self) -> None:
        pause = self._pace.first_pause
        try:
            while not self._stopping.is_set():
                self._hold(await self._find_or_start())
                since = time.monotonic()
                await self._watch()
                steady = time.monotonic() - since > self._pace.steady
                pause = self._pace.first_pause if steady else pause
                await self._pause(pause)
                pause = min(pause * 2, self._pace.longest_pause)
        finally:
            self._set("down")

    async def stop(self) -> None:
        self._stopping.set()
        process = self._process or self._recorded()[0]
        if process is not None:
            self._process = process
            await process.stop(patience_s=self._pace.stop + self.program.drain_s)
            process.close()
        self._process = None
        self._record.unlink(missing_ok=True)

    def hurry(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGTERM)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _recorded(self) -> tuple[Process | None, str]:
        """The running process the record speaks of, and as what it was started."""
        record = read_record(self._record)
        return (None, "") if record is None else (Process.adopt(record), record.digest)

    async def _find_or_start(self) -> Process:
        process, digest = self._recorded()
        if process is None:
            return self._spawn()
        if digest == self.program.digest:
            log.info("%s runs already (pid %d)", self.program.name, process.pid)
            return process
        log.warning("%s runs with other settings; it is started anew", self.program.name)
        await self._replace(process)
        return self._spawn()

    async def _replace(self, process: Process) -> None:
        """End it without its leisure: a bridge that starts cannot wait for calls to end."""
        process.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.hurry):
                await process.ended()
        await process.stop(patience_s=self._pace.stop)
        process.close()

    def _spawn(self) -> Process:
        for path, text in self.program.files.items():
            secret_file.replaced(path, text)
        process = Process.spawn(
            self.program.argv,
            environment={**os.environ, **self.program.secrets},
            folder=Path(bridge.__file__).resolve().parent.parent,  # where `-m` finds the packages
            log=self._log,
        )
        # None: it has ended by now; a record that fits no process is right for that.
        started = start_of(process.pid) or ""
        write_record(self._record, ProcessRecord(process.pid, started, self.program.digest))
        self._starts.inc()
        log.info("%s started (pid %d)", self.program.name, process.pid)
        return process

    def _hold(self, process: Process) -> None:
        self._process = process
        self._set("starting")

    async def _watch(self) -> None:
        """Return when the process has ended, by itself or because it hung."""
        process = self._process
        if process is None:  # stopped in the meantime
            return
        async with asyncio.TaskGroup() as group:
            health = group.create_task(self._check_health(process))
            status = await process.ended()
            health.cancel()
        process.close()
        self._process = None
        self._set("down")
        if not self._stopping.is_set():
            said = self.last_line
            log.error("%s ended (status %s)%s", self.program.name, status, said and f": {said}")

    async def _check_health(self, process: Process) -> None:
        deadline, failures = time.monotonic() + self._pace.start, 0
        while True:
            if await self.program.healthy():
                failures = 0
                self._set("running")
            elif self.state == "running":
                failures += 1
            if failures >= self._pace.hung_after or (
                self.state == "starting" and time.monotonic() > deadline
            ):
                log.error("%s does not answer; it is ended", self.program.name)
                process.signal(signal.SIGKILL)
                return
            await asyncio.sleep(0.1 if self.state == "starting" else self._pace.check)

    def _set(self, state: State) -> None:
        self.state = state
        self._up.set(state == "running")
        if state == "running":
            self.ready.set()
        else:
            self.ready.clear()
