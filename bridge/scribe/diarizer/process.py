"""The diarizer's worker process: started when first needed, fed in turns, replaced when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.scribe.diarizer import Diarized, NotDiarized, VoiceTurn, worker
from bridge.scribe.diarizer.directory import BadDirectory, check
from bridge.scribe.engines import RATE

log = logging.getLogger(__name__)

LOAD_S = 120.0
"""torch and a model from a slow disk."""
ANSWER_S, ANSWER_PER_S = 20.0, 0.5
"""Patience with one request, and more for each second of its audio (measured: 0.05 of it)."""
WAITING, PATIENT = 8, 64
"""Requests that may wait. The oldest of those somebody waits for is dropped for a newer one; one
that is patient is refused."""
ATTEMPTS = 2
"""How many workers may die of one request before it is given up."""
IDLE_S = 600.0
"""A worker nobody needed for so long is ended: it holds half a gigabyte."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 60.0


@dataclass(slots=True, eq=False)
class _Job:
    pcm: bytes
    most: int
    answer: asyncio.Future[Diarized] = field(repr=False)
    attempts: int = 0

    def fail(self, reason: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(NotDiarized(reason))


class Diarization:
    """A `Diarizer` in a process of its own. `run()` owns the process.

    `python`: an interpreter that has pyannote.audio; `folder`: a pipeline laid out as community-1;
    `most`: people at one microphone; `command`: what is started instead, for tests.
    """

    def __init__(
        self,
        python: str,
        folder: Path,
        *,
        most: int = 8,
        threads: int = 1,
        command: Sequence[str] = (),
    ) -> None:
        self.most = most
        self._folder = folder
        self._command = tuple(command) or (python, worker.__file__)
        self._options = (str(folder), "--threads", str(threads))
        self._jobs: deque[_Job] = deque()
        self._patient: deque[_Job] = deque()
        self._job: _Job | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._wake = asyncio.Event()
        self._warming = False

    @property
    def pid(self) -> int | None:
        """Of the worker that lives now."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    def warm(self) -> None:
        # Loading takes longer than an utterance waits for its label. Once: what cannot be loaded
        # is tried again when it is asked something.
        if self.pid is None:
            self._warming = True
            self._wake.set()

    async def diarize(self, pcm: bytes, max_speakers: int, *, patient: bool = False) -> Diarized:
        job = _Job(pcm, max_speakers, asyncio.get_running_loop().create_future())
        if patient and len(self._patient) >= PATIENT:
            raise NotDiarized("too much waits for the diarizer")
        if not patient and len(self._jobs) >= WAITING:
            self._jobs.popleft().fail("something newer took its place")
        (self._patient if patient else self._jobs).append(job)
        self._wake.set()
        return await job.answer

    async def run(self) -> None:
        """Start workers and feed them until cancelled."""
        pause = FIRST_PAUSE_S
        try:
            while True:
                await self._next(warming=True)
                failure = await self._shift()
                if failure is None:
                    pause = FIRST_PAUSE_S
                    continue
                self._failed(failure)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE_S)
        finally:
            self._refuse("the scribe ends")

    async def _shift(self) -> Exception | None:
        """One worker's life; what ended it, None where it was idle."""
        try:
            await self._work()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            return error
        except (BadDirectory, _Unloadable) as error:
            return error
        finally:
            await self._end()
        return None

    async def _work(self) -> None:
        """Start a worker and have it answer until it has been idle for `IDLE_S`."""
        try:
            await self._start()
        finally:
            self._warming = False
        while await self._next(IDLE_S):
            await self._answer()

    async def _start(self) -> None:
        check(self._folder)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                *self._options,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **worker.SILENT},
            )
            ready = await self._read(LOAD_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise _Unloadable(f"{self._command[0]} cannot be started: {error!r}") from error
        if "error" in ready:
            raise _Unloadable(str(ready["error"]))

    async def _answer(self) -> None:
        job = self._job
        if job is None or self._process is None or self._process.stdin is None:
            raise RuntimeError("a worker without work")
        job.attempts += 1
        header = worker.HEAD.pack(len(job.pcm), job.most)
        limit = ANSWER_S + ANSWER_PER_S * len(job.pcm) / (2 * RATE)
        async with asyncio.timeout(limit):
            self._process.stdin.write(header + job.pcm)
            await self._process.stdin.drain()
        answer = await self._read(limit)
        self._job = None
        if "error" in answer:
            job.fail(str(answer["error"]))
        elif not job.answer.done():
            job.answer.set_result(_diarized(answer))

    async def _read(self, limit_s: float) -> dict[str, Any]:
        if self._process is None or self._process.stdout is None:
            raise OSError("a worker without pipes")
        async with asyncio.timeout(limit_s):
            head = await self._process.stdout.readexactly(worker.LENGTH.size)
            (length,) = worker.LENGTH.unpack(head)
            answer: dict[str, Any] = json.loads(await self._process.stdout.readexactly(length))
        return answer

    async def _next(self, timeout: float | None = None, *, warming: bool = False) -> bool:
        """Whether there is something to do, waiting for it if need be; `warming` counts as that."""
        try:
            async with asyncio.timeout(timeout):
                while self._job is None and not (warming and self._warming):
                    self._wake.clear()
                    self._job = self._taken()
                    if self._job is None:
                        await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _taken(self) -> _Job | None:
        for jobs in (self._jobs, self._patient):
            while jobs:
                job = jobs.popleft()
                if not job.answer.done():  # who asked may have gone
                    return job
        return None

    def _failed(self, failure: Exception) -> None:
        if isinstance(failure, BadDirectory | _Unloadable):
            log.warning("no voices are told apart: %s", failure)
            self._refuse(str(failure))
            return
        log.warning("the diarizer's worker died (%r), starting another", failure)
        if self._job is not None and self._job.attempts >= ATTEMPTS:
            self._job.fail("the worker died of it")
            self._job = None

    def _refuse(self, reason: str) -> None:
        """It cannot be made to work now: nobody shall wait for it."""
        for job in (self._job, *self._jobs, *self._patient):
            if job is not None:
                job.fail(reason)
        self._job = None
        self._jobs.clear()
        self._patient.clear()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # it holds nothing: every request is kept here until answered
        if process.stdin is not None:
            process.stdin.close()
        await process.communicate()


class _Unloadable(Exception):
    """The worker says that it cannot load the pipeline."""


def _diarized(answer: dict[str, Any]) -> Diarized:
    return Diarized(
        tuple(VoiceTurn(start, end, voice) for start, end, voice in answer["turns"]),
        {voice: tuple(values) for voice, values in answer["prints"].items()},
    )
