"""Processes a development instance starts: they end with it, whatever happens to it."""

from __future__ import annotations

import asyncio
import ctypes
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_TELLING = re.compile(r"Error|ERROR|^colloque:")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)  # loaded here: after a fork nothing may wait for a lock


def _end_with_parent() -> None:
    # Between fork and exec. A parent killed with -9 cannot end its children; the kernel can.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def spawn(
    command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process; its output goes to the end of `log`.

    It gets a session of its own: Ctrl-C in a terminal reaches the parent alone, which then ends
    its children in the right order.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


async def stop(process: subprocess.Popen[bytes], *, grace_s: float = 5.0) -> int:
    """SIGTERM, then SIGKILL after `grace_s` seconds. Returns the exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(process.wait, grace_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    return await asyncio.to_thread(process.wait)


def last_words(log: Path) -> str:
    """The line of a log that most likely says why a process ended, and where the rest is."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines[-60:] if _TELLING.search(line)]
    last = (telling or lines or ["it said nothing"])[-1]
    return f"{last} (all of it: {log})"
