"""The embedded engine: pocketsphinx with its own English model. Nothing to download.

Good enough to show and to test the whole path; far from today's state of the art, and says so in
the documents by its name. Decoding holds Python's lock, so it happens in worker processes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bridge
from bridge.scribe.engines import RATE, Capability, Final, Stream, UnknownLanguage, Word
from bridge.scribe.engines.backlog import Backlog, Utterance
from bridge.scribe.engines.decoder import AUDIO, END, HEAD, LENGTH, READY

log = logging.getLogger(__name__)

AT_ONCE = 3
"""Utterances (and so decoders) one worker works on in turns."""
STEP, LEAP = RATE * 2 * 12 // 100, RATE * 2
"""Bytes given at once: 0.12 s while people speak, up to 1 s when catching up."""
ANSWER_S = 30.0
"""A worker that has not answered by then is ended."""
FRAMES_A_WORD = 100
FRAME = RATE // 100
"""Samples of one pocketsphinx frame."""


@dataclass(eq=False)
class _Worker:
    """One process and the streams whose utterances are in its hands."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    streams: dict[Backlog, int] = field(default_factory=dict)


class PocketSphinx:
    """A `Recognizer` with a pool of worker processes, which are replaced when they die."""

    capability = Capability("pocketsphinx/en-us", frozenset({"en"}), interim=True, words=True)

    def __init__(self, workers: int = 2) -> None:
        self._workers = [_Worker() for _ in range(workers)]
        self._streams: list[Backlog] = []
        self._numbers = itertools.count(1)
        self._warm = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(self._run(worker))

    async def ready(self) -> None:
        await self._warm.wait()

    async def open(self, language: str) -> Stream:
        if not self.capability.understands(language):
            raise UnknownLanguage(language)
        stream = Backlog(self.wake)
        self._streams.append(stream)
        return stream

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live now."""
        return [w.process.pid for w in self._workers if w.process and w.process.returncode is None]

    def wake(self) -> None:
        """Something changed: every worker looks whether it is concerned."""
        for worker in self._workers:
            worker.wake.set()

    async def _run(self, worker: _Worker) -> None:
        """Own one worker process for ever: start it, feed it, replace it when it dies."""
        pause = 0.2
        while True:
            try:
                worker.process = await _spawn()
                await _ask(worker.process, READY, 0, b"")
                self._warm.set()
                pause = 0.2
                await self._feed(worker)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                log.warning("pocketsphinx: a worker died (%r), starting another", error)
            finally:
                await _end(worker.process)
                self._hand_back(worker)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)

    async def _feed(self, worker: _Worker) -> None:
        while True:
            worker.wake.clear()
            stream = self._choose(worker)
            if stream is None:
                await worker.wake.wait()
            else:
                await self._advance(worker, stream)

    def _choose(self, worker: _Worker) -> Backlog | None:
        """The next stream with something to do, in turns; its own first, then one nobody has."""
        self._streams = [stream for stream in self._streams if not stream.finished]
        for stream in worker.streams:
            if _ready(stream.head):
                return stream
        others = [len(w.streams) for w in self._workers if w is not worker and _alive(w)]
        if len(worker.streams) >= min([AT_ONCE, *(count + 1 for count in others)]):
            return None
        taken = {stream for w in self._workers for stream in w.streams}
        return next((s for s in self._streams if s not in taken and _ready(s.head)), None)

    async def _advance(self, worker: _Worker, stream: Backlog) -> None:
        """Give one step of a stream's head to the worker, and its end where that is reached."""
        number = worker.streams.pop(stream, None) or next(self._numbers)
        worker.streams[stream] = number  # moved to the end: streams take turns
        utterance, process = stream.head, worker.process
        if utterance is None or process is None:
            raise RuntimeError("a worker was given a stream without an utterance")
        if utterance.waiting:
            pcm = stream.take(LEAP)
            payload = (stream.memory or "").encode() + b"\n" + pcm
            answer = await _ask(process, AUDIO, number, payload)
            stream.interim(tuple(str(answer["text"]).split()))
        if utterance.ended and not utterance.waiting:
            answer = await _ask(process, END, number, b"")
            del worker.streams[stream]
            if telling(answer["words"]):
                stream.memory = answer["memory"] or stream.memory
            stream.answered(_final(utterance, answer["words"]))
            self.wake()

    def _hand_back(self, worker: _Worker) -> None:
        for stream in worker.streams:
            stream.failed()
        worker.streams.clear()
        self.wake()


def _alive(worker: _Worker) -> bool:
    return worker.process is not None and worker.process.returncode is None


def telling(words: list[tuple[str, int, int]]) -> bool:
    """Whether an utterance says enough of a voice to remember it.

    After noise that came through as a word or two in ten seconds, what the decoder remembers (its
    cepstral mean) garbles the next sentence: three words, and one a second, are somebody speaking.
    """
    return len(words) >= 3 and words[-1][2] - words[0][1] <= len(words) * FRAMES_A_WORD


def _ready(utterance: Utterance | None) -> bool:
    return utterance is not None and (utterance.ended or len(utterance.waiting) >= STEP)


def _final(utterance: Utterance, words: list[tuple[str, int, int]]) -> Final:
    at = utterance.start
    return Final(
        at, tuple(Word(w, at + start * FRAME, at + end * FRAME) for w, start, end in words)
    )


async def _spawn() -> asyncio.subprocess.Process:
    # The worker finds this package wherever the scribe found it.
    root = str(Path(bridge.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge.scribe.engines.decoder",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


async def _ask(
    process: asyncio.subprocess.Process, operation: bytes, number: int, payload: bytes
) -> dict[str, Any]:
    """One request. Raises OSError, IncompleteReadError or TimeoutError when the worker is dead."""
    if process.stdin is None or process.stdout is None:
        raise OSError("a worker without pipes")
    async with asyncio.timeout(ANSWER_S):
        process.stdin.write(HEAD.pack(len(payload), operation, number) + payload)
        await process.stdin.drain()
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        answer: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
        return answer


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is not None and process.returncode is None:
        process.kill()  # it holds nothing: every utterance lives in its stream until answered
        await process.wait()
