"""SIGTERM ends the process in time, whatever hangs.

The orderly end is the event loop's: sessions flush, the spool is closed. It may not come about: a
name server that does not answer holds a thread of asyncio's executor, which `asyncio.run` awaits
without a limit (Python 3.11); a disk may stall; the media SDK is native code that may block the
loop itself or the interpreter's end. So the signal is noticed by a thread of its own, and from then
on the process has `PATIENCE_S`. What was told by then is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

PATIENCE_S = 14.0
"""From the signal to the end of a process that hangs; where it hung is on standard error."""
REST_S = 2.0
"""For threads and libraries once everything is on disk."""


@contextlib.contextmanager
def told(ending: asyncio.Event) -> Iterator[None]:
    """Set `ending` at SIGTERM or SIGINT. Entered in the main thread, while its loop runs."""
    loop = asyncio.get_running_loop()
    hears, rings = socket.socketpair()
    rings.setblocking(False)

    def wait() -> None:
        with hears:
            if not hears.recv(1):
                return
        # Needs neither the loop nor the interpreter's lock.
        faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
        with contextlib.suppress(RuntimeError):  # the loop is closed: it ends already
            loop.call_soon_threadsafe(ending.set)

    # Python's own handlers run in the main thread, between two steps of it: where that thread is
    # blocked only this file descriptor is told.
    signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _noted)
    threading.Thread(target=wait, name="ending", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        rings.close()


def done() -> None:
    """Everything is on disk: what is still at work is not waited for."""
    last = threading.Timer(REST_S, os._exit, (0,))
    last.daemon = True
    last.start()


def _noted(number: int, frame: FrameType | None) -> None:
    """The thread knows it already."""
