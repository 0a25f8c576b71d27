"""A process that outlives whoever started it, and can be found again.

It is known by its pid together with when it started: pids are given out again. Signals and the wait
for its end go through a pidfd, which stays the handle of that one process whatever happens to the
number (Linux 5.3).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_LOG_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 2048


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What is kept in `data_dir` about a running process. Nothing in it is a secret."""

    pid: int
    started: str  # boot id and start time in clock ticks: with the pid, unique
    digest: str  # of command and environment: what it was started as


def read_record(file: Path) -> ProcessRecord | None:
    """The record in a file, None where there is none or it is not one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return ProcessRecord(int(value["pid"]), str(value["started"]), str(value["digest"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(file: Path, record: ProcessRecord) -> None:
    """Replace the record, so that a reader sees the old one or the new one."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(json.dumps(asdict(record)), encoding="utf-8")
    fresh.replace(file)


def start_of(pid: int) -> str | None:
    """When a process started, None where it does not run (or is only waiting to be reaped)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # proc(5): the name, in parentheses, may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def is_running(record: ProcessRecord) -> bool:
    """Whether the recorded process, and not a later one of that number, runs now."""
    return start_of(record.pid) == record.started


class Process:
    """A handle on one running process, a child of ours or not."""

    def __init__(self, pid: int, pidfd: int, child: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._child = child

    @classmethod
    def spawn(
        cls, argv: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path
    ) -> Process:
        """Start a program in a session of its own, its output appended to a file.

        Not to a pipe: a pipe breaks when its reader dies, and with it the program.
        """
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(log.suffix + ".1"))
        with log.open("ab") as output:
            child = subprocess.Popen(
                argv,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(child.pid, os.pidfd_open(child.pid), child)

    @classmethod
    def adopt(cls, record: ProcessRecord) -> Process | None:
        """The recorded process if it still runs."""
        try:
            pidfd = os.pidfd_open(record.pid)
        except OSError:
            return None
        # Compared after the pidfd is open: from here on the number cannot become another process.
        if not is_running(record):
            os.close(pidfd)
            return None
        return cls(record.pid, pidfd, None)

    async def ended(self) -> int | None:
        """Wait for the end. The exit status (negative: the signal), None if not our child."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.dup(self._pidfd)  # several may wait: a loop takes a descriptor once
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return None if self._child is None else self._child.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where the process has ended."""
        if self._pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return

    async def stop(self, *, patience_s: float) -> None:
        """End it: SIGTERM, and SIGKILL where it still runs after `patience_s`."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience_s):
                await self.ended()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.ended()

    def close(self) -> None:
        """Give back the handle, once or more often. A process that still runs goes on."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def last_line(log: Path) -> str:
    """The last line a program wrote, for the message that says that it ended."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
