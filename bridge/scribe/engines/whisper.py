"""faster-whisper on this machine, from a folder with a CTranslate2 model. Nothing is downloaded.

The model lives in one worker process, which does one thing at a time. A worker that dies is
replaced; what it had is asked of the next engine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import bridge
from bridge.scribe.engines import Capability, EngineDown, Stream, UnknownLanguage, Word, primary
from bridge.scribe.engines.decoder import LENGTH
from bridge.scribe.engines.parts import parts
from bridge.scribe.engines.verbose import Unreadable, words_of
from bridge.scribe.engines.whisper_worker import HEAD
from bridge.scribe.engines.whole import Utterances

log = logging.getLogger(__name__)

LOAD_S = 120.0
LIVE_S = 20.0
AFTER_S = 1800.0
"""For ten minutes of a recording, on a slow machine."""
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""The worker looks at the folder alone before it imports anything; this is the second lock."""


class Whisper:
    """A `Recognizer` and a `Transcriber`."""

    def __init__(self, model_dir: str | Path, *, live_s: float = LIVE_S) -> None:
        self.capability = Capability(
            f"whisper/{Path(model_dir).name}", frozenset(), interim=False, words=True
        )
        self.live_s = live_s
        self._folder = str(model_dir)
        self._process: asyncio.subprocess.Process | None = None
        self._one = asyncio.Lock()
        self._warm = asyncio.Event()
        self._known = asyncio.Event()
        """Whether there is a model or none: not while one is being loaded."""
        self._failure = ""
        self._tasks: asyncio.TaskGroup | None = None
        self._started = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Of the worker that lives now."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            self._started.set()
            await self._keep()

    async def ready(self) -> None:
        await self._warm.wait()

    async def open(self, language: str) -> Stream:
        await self._started.wait()
        if self._tasks is None:
            raise RuntimeError("a stream was opened outside of run()")
        stream = Utterances(self, language)
        self._tasks.create_task(stream.run())
        return stream

    async def transcribe(self, pcm: bytes, language: str) -> list[Word]:
        heard: list[Word] = []
        for start, part in parts(pcm):
            words = await self.ask(part, language, AFTER_S)
            heard += [Word(w.text, start + w.start, start + w.end) for w in words]
        return heard

    async def ask(self, pcm: bytes, language: str, seconds: float) -> list[Word]:
        """The words of one utterance. Raises EngineDown and UnknownLanguage."""
        try:
            async with asyncio.timeout(seconds):
                await self._loaded()
                async with self._one:
                    return self._words(await self._exchange({"language": primary(language)}, pcm))
        except TimeoutError:
            raise EngineDown("timeout") from None
        except (OSError, asyncio.IncompleteReadError):
            raise EngineDown("lost") from None

    async def _loaded(self) -> None:
        """Return when the worker has its model; raise EngineDown where it has none."""
        await self._known.wait()
        if self._failure:
            raise EngineDown(self._failure)

    def _words(self, answer: dict[str, Any]) -> list[Word]:
        if answer.get("unknown_language"):
            raise UnknownLanguage
        try:
            return words_of(json.dumps(answer).encode(), samples=int(answer.get("samples", 0)))
        except Unreadable:
            log.warning("%s: %s", self.capability.name, answer.get("error", "no answer"))
            raise EngineDown("protocol") from None

    async def _keep(self) -> None:
        """Own the worker: start it, and another when it has died."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                self._process = await _spawn(self._folder)
                async with asyncio.timeout(LOAD_S), self._one:
                    answer = await self._exchange({"ready": True}, b"")
                if "error" in answer:
                    raise OSError(answer["error"])
                self._failure, pause = "", FIRST_PAUSE_S
                self._warm.set()
                self._known.set()
                await self._process.wait()
                log.warning("%s: the worker died, starting another", self.capability.name)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self._failure = "model"
                self._known.set()
                log.error("%s: %s", self.capability.name, error)
            finally:
                self._warm.clear()
                if not self._failure:
                    self._known.clear()
                await self._end()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_S)

    async def _exchange(self, head: dict[str, Any], pcm: bytes) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise OSError("no worker")
        text = json.dumps(head).encode()
        try:
            process.stdin.write(HEAD.pack(len(text), len(pcm)) + text + pcm)
            await process.stdin.drain()
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            answer: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
        except BaseException:
            # It is still at that, and would answer the next question with it.
            if process.returncode is None:
                process.kill()
            raise
        return answer

    async def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


async def _spawn(folder: str) -> asyncio.subprocess.Process:
    # The worker finds this package wherever the scribe found it.
    root = str(Path(bridge.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge.scribe.engines.whisper_worker",
        folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **OFFLINE, "PYTHONPATH": path},
    )
