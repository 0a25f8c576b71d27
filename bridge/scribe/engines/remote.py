"""A streaming engine behind a WebSocket: one connection for each track that is heard speaking.

Each stream is one task: it connects when there is speech, sends and listens, begins again when the
connection breaks, and gives it back when nobody speaks. What a server says is a `Dialogue`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from bridge.scribe.engines import (
    RATE,
    Capability,
    EngineDown,
    Event,
    Final,
    Gap,
    Interim,
    UnknownLanguage,
    Word,
)
from bridge.scribe.engines.dialogue import BEAT_S, Dialogue, Done, Frame, Quiet, Said, repeats
from bridge.scribe.engines.feed import Feed, Lost, Over, Speech
from bridge.scribe.sentences import Segment, Sentences

log = logging.getLogger(__name__)

CHUNK = RATE * 8 // 100
"""Samples sent at once."""
EVENTS = 1000
"""Answers that may wait to be taken; the server is not read meanwhile."""
TRIES = 3
"""How often the same speech is sent before it is given up: it may be what breaks the server."""
MESSAGE = 1 << 20
"""Bytes of the largest message taken from a server."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    connect_s: float = 3.0
    """A connection is made within."""
    stall_s: float = 5.0
    """A server that owes an answer says something within."""
    down_s: float = 6.0
    """An engine that has answered nothing for so long is down: EngineDown."""
    pause_s: float = 0.25
    """Between two attempts."""
    linger_s: float = 10.0
    """A connection is kept after the last utterance; below moshi-server's 120 s."""


class Remote:
    """A `Recognizer` at an address.

    `open` raises UnknownLanguage, and EngineDown while the last attempt of anybody failed less than
    `down_s` ago. Iterating a stream raises EngineDown when the engine was away for `down_s`, at
    once when the key is not accepted; before that it is reached for again, and what it had not
    answered is sent again.
    """

    def __init__(
        self,
        url: URL,
        headers: Callable[[str], dict[str, str]],
        api_key: str | Path,
        capability: Capability,
        dialogue: Callable[[str], Dialogue],
        patience: Patience,
    ) -> None:
        self.capability = capability
        self.patience = patience
        self.dialogue = dialogue
        self._url = url
        self._headers = headers
        self._key = api_key
        self._http: aiohttp.ClientSession | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._started = asyncio.Event()
        self._lingering: dict[RemoteStream, None] = {}
        self._failed: tuple[float, str] | None = None

    async def run(self) -> None:
        async with aiohttp.ClientSession() as self._http, asyncio.TaskGroup() as self._tasks:
            self._started.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._started.clear()

    async def ready(self) -> None:
        # The engine is elsewhere, and may come later than the first meeting.
        await self._started.wait()

    async def open(self, language: str) -> RemoteStream:
        if not self.capability.understands(language):
            raise UnknownLanguage(language)
        await self._started.wait()
        now = asyncio.get_running_loop().time()
        if self._failed is not None and now - self._failed[0] < self.patience.down_s:
            raise EngineDown(self._failed[1])
        if self._tasks is None:
            raise RuntimeError("a stream was opened outside of run()")
        stream = RemoteStream(self, language)
        self._tasks.create_task(stream.run())
        return stream

    async def connect(self) -> aiohttp.ClientWebSocketResponse:
        """A connection. Raises EngineDown."""
        if self._http is None:
            raise RuntimeError("a connection outside of run()")
        key = await self._read_key()
        headers = self._headers(key) if key else {}
        try:
            async with asyncio.timeout(self.patience.connect_s):
                # The heartbeat finds a server that is gone without a word; its own pings are
                # answered while we read.
                return await self._http.ws_connect(
                    self._url, headers=headers, heartbeat=10.0, max_msg_size=MESSAGE
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineDown(reason(error)) from None  # the error holds the headers, and the key

    async def _read_key(self) -> str:
        if isinstance(self._key, str):
            return self._key
        try:
            return (await asyncio.to_thread(self._key.read_text, encoding="utf-8")).strip()
        except (OSError, UnicodeDecodeError):
            log.error("%s: %s cannot be read", self.capability.name, self._key)
            raise EngineDown("key") from None

    def worked(self) -> None:
        """The engine has answered."""
        self._failed = None

    def down(self, reason: str) -> None:
        """The engine was given up by somebody."""
        self._failed = asyncio.get_running_loop().time(), reason

    def lingers(self, stream: RemoteStream) -> None:
        """This stream keeps a connection that it does not need now."""
        self._lingering[stream] = None

    def returns(self, stream: RemoteStream) -> None:
        """...or needs it again, or has given it back."""
        self._lingering.pop(stream, None)

    def make_room(self) -> None:
        """The server has no channel left: give the one back that was unused for longest."""
        stream = next(iter(self._lingering), None)
        if stream is not None:
            stream.leave()


class RemoteStream:
    """A `Stream`; `run()` is its one task, and ends after `close()` or when the engine is down."""

    def __init__(self, remote: Remote, language: str) -> None:
        self._remote = remote
        self._language = language
        self._patience = remote.patience
        self._feed = Feed()
        self._sentences = Sentences()
        self._events: deque[Event] = deque()
        self._heard = asyncio.Event()
        self._wake = asyncio.Event()
        self._closing = self._leaving = self._ended = False
        self._failure: EngineDown | None = None
        self._down_since: float | None = None
        self._tries = (0, 0)
        self._heard_at = 0.0
        self._last: Word | None = None
        self._seam: Word | None = None

    def push(self, pcm: bytes, start: int) -> None:
        if not self._ended:
            self._feed.push(pcm, start)
            self._wake.set()

    def end(self) -> None:
        self._feed.end()
        self._wake.set()

    async def close(self) -> None:
        self.end()
        self._closing = True
        self._wake.set()

    def leave(self) -> None:
        """Give the connection back, if it is not needed just now."""
        self._leaving = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return
            self._heard.clear()
            await self._heard.wait()

    async def run(self) -> None:
        """Serve until closed and answered. Ends quietly: the iteration tells what went wrong."""
        try:
            while await self._speech_waits():
                await self._attempt()
        except EngineDown as error:
            log.warning("%s is down: %s", self._remote.capability.name, error)
            self._remote.down(str(error))
            self._segments(self._sentences.flush())
            self._failure = error
        except Exception:  # a task's top level: one broken stream must not end the others
            log.exception("%s: a stream broke", self._remote.capability.name)
            self._failure = EngineDown("protocol")
        finally:
            self._ended = True
            self._heard.set()

    async def _speech_waits(self) -> bool:
        """Whether there is anything to connect for; False: closed, and all is answered."""
        while True:
            self._wake.clear()
            if self._feed.waiting and isinstance(self._feed.waiting[0], Speech):
                return True
            item = self._feed.take(CHUNK)
            if isinstance(item, Lost):
                self._lost(item)
            elif item is not None:
                self._told(Done())
            elif self._closing:
                return False
            else:
                await self._wake.wait()

    async def _attempt(self) -> None:
        """One connection, until it is given back or breaks; raises EngineDown when to give up."""
        dialogue = self._remote.dialogue(self._language)
        try:
            await self._converse(dialogue)
        except EngineDown as error:
            log.info("%s: connection lost (%s)", self._remote.capability.name, error)
            if not (dialogue.owes or self._feed.waiting):
                return  # it was kept for later: whoever speaks next sees whether it is there
            self._seam = self._last
            self._send_again()
            await self._retry(error)
        finally:
            self._remote.returns(self)

    def _send_again(self) -> None:
        position = next((i.start for i in self._feed.sent if not isinstance(i, Over)), -1)
        if self._down_since is None:  # the server has worked: what broke it may be this speech
            same = position == self._tries[0]
            self._tries = position, self._tries[1] + 1 if same else 1
        if position >= 0 and self._tries == (position, TRIES):
            self._feed.give_up()
        else:
            self._feed.again()

    async def _retry(self, error: EngineDown) -> None:
        now = asyncio.get_running_loop().time()
        if self._down_since is None:
            self._down_since = now
        if str(error) == "key" or now - self._down_since >= self._patience.down_s:
            raise error
        if str(error) == "busy":
            self._remote.make_room()
        await asyncio.sleep(self._patience.pause_s)

    async def _converse(self, dialogue: Dialogue) -> None:
        async with await self._remote.connect() as ws:
            self._heard_at = asyncio.get_running_loop().time()
            listening = asyncio.create_task(self._listen(ws, dialogue))
            speaking = asyncio.create_task(self._speak(ws, dialogue))
            try:
                await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
                if speaking.done() and speaking.exception() is not None:
                    # What the server said last tells more than that it does not take more.
                    await asyncio.wait({listening}, timeout=1.0)
                for task in (listening, speaking):
                    if task.done():
                        task.result()
            finally:
                listening.cancel()
                speaking.cancel()
                await asyncio.gather(listening, speaking, return_exceptions=True)

    async def _listen(self, ws: aiohttp.ClientWebSocketResponse, dialogue: Dialogue) -> None:
        async for message in ws:
            if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                break
            self._heard_at = asyncio.get_running_loop().time()
            said = dialogue.heard(message.data)
            for one in said:
                self._told(one, dialogue.slack)
            self._feed.answered(dialogue.answered)
            if said:
                self._down_since = None
                self._remote.worked()
            self._wake.set()
            while len(self._events) > EVENTS:  # noqa: ASYNC110 - an event for each answer taken
                await asyncio.sleep(BEAT_S)
        raise EngineDown("lost")

    async def _speak(self, ws: aiohttp.ClientWebSocketResponse, dialogue: Dialogue) -> None:
        await self._send(ws, dialogue.greeting())
        while True:
            self._check(dialogue)
            self._wake.clear()
            item = self._feed.take(CHUNK) if dialogue.ready else None
            if isinstance(item, Lost):
                self._lost(item)
            elif isinstance(item, Over):
                await self._over(ws, dialogue)
            elif item is not None:
                await self._send(ws, dialogue.speech(bytes(item.pcm), item.start))
            elif not dialogue.owes:
                if self._closing or not await self._stays():
                    return
            elif not await self._woken(BEAT_S):
                await self._send(ws, dialogue.idle())

    def _check(self, dialogue: Dialogue) -> None:
        """Raise EngineDown where the server has owed an answer for too long."""
        now = asyncio.get_running_loop().time()
        if not dialogue.due:
            self._heard_at = now
        elif now - self._heard_at > self._patience.stall_s:
            raise EngineDown("timeout")

    async def _over(self, ws: aiohttp.ClientWebSocketResponse, dialogue: Dialogue) -> None:
        if dialogue.owes:
            await self._send(ws, dialogue.over())
        else:  # all of it was answered before the connection was lost
            self._told(Done())

    async def _stays(self) -> bool:
        """Wait for more speech; False: none came, or somebody else needs the channel."""
        self._leaving = False
        self._remote.lingers(self)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.linger_s):
                while not (self._feed.waiting or self._leaving or self._closing):
                    self._wake.clear()
                    await self._wake.wait()
        self._remote.returns(self)
        return bool(self._feed.waiting)

    async def _woken(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _send(self, ws: aiohttp.ClientWebSocketResponse, frames: list[Frame]) -> None:
        try:
            async with asyncio.timeout(self._patience.stall_s):
                for frame in frames:
                    if isinstance(frame, bytes):
                        await ws.send_bytes(frame)
                    else:
                        await ws.send_str(frame)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineDown(reason(error)) from None

    def _told(self, said: Said, slack: int = 0) -> None:
        if isinstance(said, Word):
            self._word(said, slack)
        elif isinstance(said, Quiet):
            self._segments(self._sentences.quiet(said.position))
        elif isinstance(said, Done):
            self._feed.utterance_answered()
            (segment,) = self._sentences.flush() or [()]
            self._emit(Final(segment[0].start if segment else 0, segment))
        else:
            self._segments(self._sentences.pause(said.position))

    def _word(self, word: Word, slack: int) -> None:
        seam, self._seam = self._seam, None
        if seam is not None and repeats(word, seam, slack):
            return
        self._last = word
        self._segments(self._sentences.word(word))
        words = self._sentences.pending
        if words:
            texts = tuple(word.text for word in words)
            self._emit(Interim(words[0].start, texts, sure=True))

    def _segments(self, segments: list[Segment]) -> None:
        for words in segments:
            self._emit(Final(words[0].start, words, last=False))

    def _lost(self, lost: Lost) -> None:
        self._segments(self._sentences.flush())
        self._emit(Gap(lost.start, lost.end))

    def _emit(self, event: Event) -> None:
        # Interims are worth something only while they are news: the newest replaces the last.
        if isinstance(event, Interim) and self._events and isinstance(self._events[-1], Interim):
            self._events.pop()
        self._events.append(event)
        self._heard.set()


def address(url: str, path: str) -> URL:
    """A WebSocket's address, with `path` where it has none. Raises ValueError."""
    made = URL(url)
    if made.scheme not in ("ws", "wss", "http", "https") or not made.host:
        raise ValueError("not an address of a WebSocket")
    return made if made.path not in ("", "/") else made.with_path(path)


def reason(error: Exception) -> str:
    """The word for a connection that was not made, or broke."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        if error.status in (401, 403):
            return "key"
        return "busy" if error.status in (429, 503) else "protocol"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "refused" if isinstance(error, aiohttp.ClientConnectorError) else "lost"
