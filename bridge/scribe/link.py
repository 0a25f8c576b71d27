"""The bridge's end of the socket to a scribe: connects, reconnects, acknowledges.

The link keeps no wish of its own. `sessions` is what the scribe last said it does; the bridge
compares that with what it wants, again and again, and calls `start` or `stop` on a difference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bridge.errors import Unavailable
from bridge.scribe import frames
from bridge.scribe.frames import Frame, FrameError

log = logging.getLogger(__name__)

OnSegments = Callable[[list[dict[str, Any]]], Awaitable[None]]
OnSession = Callable[[dict[str, Any]], Awaitable[None]]
OnCaption = Callable[[dict[str, Any]], None]

SPOOLED = frozenset({"segment", "interruption"})
"""Frames that come again until they are acknowledged."""
BATCH = 64
PING_S = 5.0
SILENCE_S = 15.0
FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0


class ScribeLink:
    """A connection to the scribe that heals itself; `run()` owns it.

    `on_segment` gets new final segments in order and returns when they are durable; only then are
    they acknowledged. If it raises, the same segments are offered again. `on_session` gets every
    change of a session's state; `state` is `joining`, `listening`, `failed` or `stopped`, and
    `failed` with the detail `lost` means that the scribe has restarted and knows no such session.
    `on_caption` gets captions as they come, and must not wait: who misses one gets the next.
    """

    def __init__(
        self,
        socket_path: Path | str,
        on_segment: OnSegments,
        on_session: OnSession,
        on_caption: OnCaption = lambda caption: None,
    ) -> None:
        self.socket_path = Path(socket_path)
        self.connected = False
        self.greetings = 0
        """How often a scribe said hello: what it was told before may be lost."""
        self.sessions: dict[str, str] = {}
        self._on_segment = on_segment
        self._on_session = on_session
        self._on_caption = on_caption
        self._writer: asyncio.StreamWriter | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = FIRST_RETRY_S
        while True:
            try:
                await self._connection()
                pause = FIRST_RETRY_S
            except FrameError as error:
                log.warning("scribe: %s; connecting again", error)
            except OSError as error:
                log.debug("scribe at %s does not answer: %s", self.socket_path, error)
            _stop_if_cancelled()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY_S)

    async def wait_connected(self) -> None:
        """Return once the scribe has said hello."""
        while not self.connected:
            self._changed.clear()
            await self._changed.wait()

    async def start(self, session: dict[str, Any]) -> None:
        """Ask for a session, or give a running one a fresh token. Raises Unavailable.

        `session`: conference, room_id, url, token, language, captions, transcript, epoch_ms,
        encrypted, watch, languages, opted_out.
        """
        await self._send({**session, "type": "start"})

    async def update(self, conference: str, **flags: Any) -> None:
        """Change any flag of a session that `start` has. Raises Unavailable."""
        await self._send({**flags, "type": "update", "conference": conference})

    async def key(self, conference: str, *, identity: str, index: int, key: str) -> None:
        """Give a session a participant's media key, in base64. Raises Unavailable."""
        frame = {"conference": conference, "identity": identity, "index": index, "key": key}
        await self._send({**frame, "type": "key"})

    async def stop(self, conference: str) -> None:
        """Ask for the end of a session; the state `stopped` comes after its last segment."""
        await self._send({"type": "stop", "conference": conference})

    async def _send(self, frame: Frame) -> None:
        writer = self._writer
        if writer is None or not self.connected:
            raise Unavailable("scribe_unavailable")
        try:
            writer.write(frames.encode(frame))
            await writer.drain()
        except ConnectionError as error:
            raise Unavailable("scribe_unavailable") from error

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self.socket_path)
        self._writer = writer
        # Bounded: a store that cannot keep up slows the scribe's sending down, and the spool waits.
        inbox: asyncio.Queue[Frame | None] = asyncio.Queue(BATCH)
        try:
            async with asyncio.TaskGroup() as tasks:
                pings = tasks.create_task(self._ping(writer))
                tasks.create_task(self._handle_all(inbox))
                await self._read(reader, inbox)
                pings.cancel()
        except* (ConnectionError, TimeoutError, Unavailable):
            log.info("scribe: connection lost")
        except* FrameError as errors:
            log.warning("scribe: %s; connecting again", errors.exceptions[0])
        finally:
            self._writer = None
            self._set_connected(False)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, inbox: asyncio.Queue[Frame | None]) -> None:
        while True:
            async with asyncio.timeout(SILENCE_S):
                frame = await frames.read(reader)
            if frame is not None and frame["type"] == "caption":
                self._on_caption(frame)  # not behind segments that wait for the store
            elif frame is None or frame["type"] != "pong":
                await inbox.put(frame)
            if frame is None:
                return

    async def _handle_all(self, inbox: asyncio.Queue[Frame | None]) -> None:
        while (frame := await inbox.get()) is not None:
            segments: list[Frame] = []
            # Segments that wait already travel together: one transaction, not sixty.
            while frame is not None and frame["type"] in SPOOLED:
                segments.append(frame)
                frame = None if inbox.empty() or len(segments) >= BATCH else inbox.get_nowait()
            if segments:
                await self._deliver(segments)
            if frame is not None:
                await self._handle(frame)

    async def _handle(self, frame: Frame) -> None:
        try:
            if frame["type"] == "hello":
                await self._hello(frame)
            elif frame["type"] == "session":
                self._note(frame)
                await self._on_session(frame)
        except (KeyError, TypeError) as error:
            raise FrameError(f"a {frame['type']} frame lacks {error}") from error

    async def _hello(self, frame: Frame) -> None:
        known = {s["conference"]: s for s in frame.get("sessions", [])}
        lost = [c for c, s in self.sessions.items() if c not in known and s != "stopped"]
        self.sessions = {c: str(s["state"]) for c, s in known.items()}
        self.greetings += 1
        self._set_connected(True)
        for conference in lost:
            await self._on_session(_session(conference, "failed", "lost"))

    async def _deliver(self, segments: list[Frame]) -> None:
        pause = FIRST_RETRY_S
        while True:
            try:
                await self._on_segment(segments)
                break
            except Exception:  # the task's top level: whatever failed, nothing may be lost
                log.exception(
                    "scribe: %d segments could not be stored, trying again", len(segments)
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY_S)
        await self._send({"type": "ack", "keys": [segment["key"] for segment in segments]})

    async def _ping(self, writer: asyncio.StreamWriter) -> None:
        # The first one at once: the scribe says hello to whoever speaks.
        while True:
            writer.write(frames.encode({"type": "ping"}))
            await writer.drain()
            await asyncio.sleep(PING_S)

    def _note(self, frame: Frame) -> None:
        if frame["state"] == "stopped":
            self.sessions.pop(frame["conference"], None)
        else:
            self.sessions[frame["conference"]] = frame["state"]

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        self._changed.set()


def _session(conference: str, state: str, detail: str) -> Frame:
    return {"type": "session", "conference": conference, "state": state, "detail": detail}


def _stop_if_cancelled() -> None:
    # A task group that is cancelled while one of its tasks fails raises the failure alone.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
