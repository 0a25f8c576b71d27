"""The scribe's process: `python -m bridge scribe --socket PATH --spool FILE`.

It owns a socket to which one bridge connects at a time (the newest wins), a spool of segments not
yet acknowledged, the engine, and one task for each session. A bridge that dies is waited for: the
sessions go on listening. What is sent, and in which order, is in docs/scribe.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sqlite3
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from bridge import config, recognition
from bridge.errors import ConfigError
from bridge.recognition import Engine
from bridge.scribe import ending as end
from bridge.scribe import frames
from bridge.scribe.delivery import Delivery
from bridge.scribe.diarizer import options as options_of_voices
from bridge.scribe.diarizer.process import Diarization
from bridge.scribe.engines.catalogue import recognizer
from bridge.scribe.engines.choice import Choice
from bridge.scribe.frames import Frame, FrameError
from bridge.scribe.order import Keyring, MediaKey, Order
from bridge.scribe.session import Session, State
from bridge.scribe.spool import Spool, SpoolError
from bridge.scribe.vigil import Vigil

log = logging.getLogger(__name__)

SILENCE_S = 30.0
"""A bridge pings every few seconds; one that is silent for so long is gone."""
SPOOL_RETRY_S = 1.0
REMEMBERED = 200
"""Stopped sessions still told of to a bridge that connects later."""
END_S = 9.0
"""For sessions to finish what was said; the process has `ending.PATIENCE_S` in all."""


class Scribe:
    """Sessions on one side, the bridge on the other, the spool between them."""

    def __init__(self, spool: Spool, engine: Choice, diarizer: Diarization | None = None) -> None:
        self._spool = spool
        self._engine = engine
        self._diarizer = diarizer
        self._sessions: dict[str, Session] = {}
        self._stopped: deque[str] = deque(maxlen=REMEMBERED)
        self._bridge: Delivery | None = None
        self._next_orders: dict[str, Order] = {}
        self._keys: dict[str, Keyring] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._ending = False
        self._tasks: asyncio.TaskGroup | None = None
        self._vigil = Vigil(spool, self._awake, self._keep)

    async def run(self, listening: socket.socket, ending: asyncio.Event) -> None:
        """Serve until `ending` is set; then stop every session and leave their segments spooled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            aside = [tasks.create_task(self._engine.run())]
            if self._diarizer is not None:
                aside.append(tasks.create_task(self._diarizer.run()))
            await self._engine.ready()
            vigil = tasks.create_task(self._vigil.run())
            server = await asyncio.start_unix_server(self._connected, sock=listening)
            await ending.wait()
            server.close()
            await self._stop_all()
            if self._bridge is not None:
                self._bridge.close()
            for task in (*aside, vigil):
                task.cancel()

    def _awake(self) -> dict[str, int | None]:
        return {c: one.understood_ms for c, one in self._sessions.items() if one.awake}

    async def _stop_all(self) -> None:
        self._ending = True  # these conferences go on: the next scribe is to know since when
        for session in self._sessions.values():
            session.stop()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=END_S)
            for task in late:
                log.error("a session did not end in time")
                task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Only who says something is the bridge: a connection that says nothing is somebody
            # looking whether the scribe lives, and must not take the bridge's place.
            first = await self._next(reader)
            if first is not None:
                await self._serve(first, reader, writer)
        except FrameError as error:
            log.warning("the bridge sent nonsense: %s", error)
        except (TimeoutError, ConnectionError):
            log.info("the bridge is gone")
        finally:
            writer.close()

    async def _serve(
        self, first: Frame, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._bridge is not None:
            self._bridge.close()
        bridge = self._bridge = Delivery(writer, self._spool, self._states())
        sending = asyncio.create_task(bridge.send_all())
        try:
            frame: Frame | None = first
            while frame is not None:
                await self._frame(frame, bridge)
                frame = await self._next(reader)
        finally:
            if self._bridge is bridge:
                self._bridge = None
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _next(self, reader: asyncio.StreamReader) -> Frame | None:
        async with asyncio.timeout(SILENCE_S):
            return await frames.read(reader)

    async def _frame(self, frame: Frame, bridge: Delivery) -> None:
        kind = frame["type"]
        if kind == "start":
            self._start(Order.parse(frame))
        elif kind == "update":
            session = self._sessions.get(_conference(frame))
            if session is not None:
                session.change(session.wanted.updated(frame))
        elif kind == "key":
            self._key(frame)
        elif kind == "stop":
            self._stop(_conference(frame))
        elif kind == "ack":
            await self._ack(frame)
        elif kind == "ping":
            bridge.post({"type": "pong"})
        # A newer bridge may know more frames than this scribe: those are not for it.

    def _start(self, order: Order) -> None:
        known = self._sessions.get(order.conference)
        if known is None:
            self._begin(order)
        elif known.stopping:
            self._next_orders[order.conference] = order
        else:
            known.change(order)

    def _begin(self, order: Order) -> None:
        if self._tasks is None:
            raise RuntimeError("a session was started outside of run()")
        keys = self._keys.setdefault(order.conference, Keyring())
        session = Session(
            order,
            self._engine,
            self._keep,
            self._show,
            self._report,
            keys,
            self._vigil.began,
            self._diarizer,
        )
        self._sessions[order.conference] = session
        task = self._tasks.create_task(self._session(order.conference, session))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _session(self, conference: str, session: Session) -> None:
        try:
            await session.run()
            if not self._ending:
                await self._vigil.ended(conference)
        except Exception:  # a task's top level: one broken session must not end the others
            log.exception("conference %s: its session broke", conference)
            self._report(conference, "failed", "internal")
        finally:
            del self._sessions[conference]
        order = self._next_orders.pop(conference, None)
        if order is not None:
            self._begin(order)
        else:
            self._keys.pop(conference, None)

    def _key(self, frame: Frame) -> None:
        # Keys of a conference whose session has ended meanwhile are for nobody.
        session = self._sessions.get(_conference(frame))
        if session is not None:
            session.key(MediaKey.parse(frame))

    def _stop(self, conference: str) -> None:
        self._next_orders.pop(conference, None)
        session = self._sessions.get(conference)
        if session is None:  # stopped long ago, or by a restart: the bridge need not wait
            self._report(conference, "stopped", "")
        else:
            session.stop()

    async def _ack(self, frame: Frame) -> None:
        keys = frame.get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise FrameError("an ack without a list of keys")
        await self._spool.ack(keys)

    async def _keep(self, segment: Frame) -> None:
        """Put a segment on disk, however long the disk refuses; then send it."""
        while True:
            try:
                await self._spool.put(segment)
                break
            except sqlite3.Error as error:
                log.error("a segment could not be spooled (%s), trying again", error)
            await asyncio.sleep(SPOOL_RETRY_S)
        if self._bridge is not None:
            self._bridge.wake()

    def _show(self, caption: Frame) -> None:
        """Let the bridge show a caption; where none is connected nobody watches."""
        if self._bridge is not None:
            self._bridge.show(caption)

    def _report(self, conference: str, state: State, detail: str) -> None:
        if state == "stopped":
            self._stopped.append(conference)
        elif conference in self._stopped:
            self._stopped.remove(conference)
        if self._bridge is not None:
            self._bridge.post(_session(conference, state, detail))

    def _states(self) -> list[Frame]:
        """What to tell a bridge first: who listens, and, after its segments, who has stopped."""
        live = [{"conference": c, "state": s.state} for c, s in self._sessions.items()]
        details = [_session(c, s.state, s.detail) for c, s in self._sessions.items() if s.detail]
        stopped = [_session(c, "stopped", "") for c in self._stopped]
        return [{"type": "hello", "sessions": live}, *details, *stopped]


def _conference(frame: Frame) -> str:
    conference = frame.get("conference")
    if not isinstance(conference, str):
        raise FrameError("a frame without a conference")
    return conference


def _session(conference: str, state: State, detail: str) -> Frame:
    return {"type": "session", "conference": conference, "state": state, "detail": detail}


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, for its owner only.

    Raises OSError when another scribe listens there; a socket left by a dead one is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
        else:
            raise OSError(f"another scribe listens at {path}")
    listening = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(mask)
    listening.listen(8)
    return listening


async def serve(
    path: Path, spool_file: Path, engine: Choice, diarizer: Diarization | None = None
) -> None:
    """Run a scribe until SIGTERM or SIGINT. Raises SpoolError or OSError when it cannot start."""
    ending = asyncio.Event()
    with end.told(ending):
        spool = await Spool.open(spool_file)
        try:
            listening = bind(path)
            try:
                await Scribe(spool, engine, diarizer).run(listening, ending)
            finally:
                os.unlink(path)
        finally:
            await spool.close()
    end.done()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 after a clean end, 1 with one clear line otherwise."""
    parser = argparse.ArgumentParser("scribe", description="Writes down what is said in calls.")
    parser.add_argument("--socket", type=Path, required=True, help="where the bridge connects")
    parser.add_argument("--spool", type=Path, required=True, help="segments not yet delivered")
    engines = parser.add_mutually_exclusive_group()
    engines.add_argument("--engines", type=Path, help="the recognizers, as the bridge writes them")
    engines.add_argument("--config", type=Path, help="the bridge's settings of speech")
    parser.add_argument("--workers", type=int, default=2, help="processes of the engine inside")
    options_of_voices.add(parser)
    parser.add_argument("--log-level", default="INFO")
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # The SDK logs addresses with tokens in them below this level.
    logging.getLogger("livekit").setLevel(logging.ERROR)
    try:
        engine = recognizer(_engines(options), workers=options.workers)
        diarizer = options_of_voices.made(options)
        asyncio.run(serve(options.socket, options.spool, engine, diarizer))
    except (SpoolError, ConfigError, OSError) as error:
        print(f"scribe: {error}", file=sys.stderr)
        return 1
    return 0


def _engines(options: argparse.Namespace) -> Sequence[Engine]:
    """Raises ConfigError, and OSError where there is no such file."""
    if options.engines is not None:
        return recognition.from_json(options.engines.read_text(encoding="utf-8"))
    if options.config is not None:
        settings = config.load(options.config)
        text = recognition.to_json(settings.scribe.engines, settings.base)
        return recognition.from_json(text)
    return [Engine()]
