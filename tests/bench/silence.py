"""Ten minutes each of silence, noise and music through the gates and the engine (figure 4).

    python -m tests.bench.silence [--minutes 10]

Offline, as fast as it goes, with the gates of a call and a real pocketsphinx behind them. Then one
sentence, on the same stream: what noise leaves behind in an engine is seen there.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import jiwer

from bridge.dev import speech
from bridge.scribe.engines import RATE, Final, Stream
from bridge.scribe.engines.pocketsphinx import PocketSphinx
from bridge.scribe.listener import Listener
from bridge.scribe.silero import Silero
from bridge.scribe.vad import FRAME, detector
from tests.support import not_speech
from tests.support.sound import Pcm, at_16k, joined, quiet

SENTENCE = "we agreed on the budget last week"


class Counted:
    """Counts what reaches the engine."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.samples = 0

    def push(self, pcm: bytes, start: int) -> None:
        self.samples += len(pcm) // 2
        self.stream.push(pcm, start)

    def end(self) -> None:
        self.stream.end()

    async def close(self) -> None:
        await self.stream.close()

    def __aiter__(self):  # type: ignore[no-untyped-def]
        return aiter(self.stream)


async def measured(
    engine: PocketSphinx, sound: not_speech.Sound, seconds: float, said: Pcm
) -> tuple[int, float, float, float]:
    """Words made of it; seconds that reached the engine; WER of what follows; CPU per second."""
    stream = Counted(await engine.open("en"))
    listener = Listener(stream, detector(), Silero(), 0)
    now, began = 0, time.process_time()
    for minute in range(max(1, round(seconds / 60))):
        now = _played(listener, sound(min(60.0, seconds), minute + 1), now)
        await asyncio.sleep(0)
    listener.finish()
    cost, reached = (time.process_time() - began) / seconds, stream.samples / RATE
    _played(listener, joined(quiet(1), said, quiet(1)), now)
    listener.finish()
    await stream.close()
    finals = [event async for event in stream if isinstance(event, Final)]
    words = [word for final in finals for word in final.words]
    invented = [word for word in words if word.start < now * RATE // 1000]
    after = " ".join(word.text for word in words if word.start >= now * RATE // 1000)
    return len(invented), reached, float(jiwer.wer(SENTENCE, after)), cost


def _played(listener: Listener, pcm: Pcm, now_ms: int) -> int:
    for at in range(0, len(pcm), FRAME):
        listener.accept(pcm[at : at + FRAME].tobytes(), now_ms + (at + FRAME) * 1000 // RATE)
    return now_ms + len(pcm) * 1000 // RATE


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        said = at_16k(speech.spoken(SENTENCE, "rms", Path(folder)))
    engine = PocketSphinx(workers=1)
    running = asyncio.create_task(engine.run())
    await engine.ready()
    print("| sound | words | seconds that reached the engine | WER of the next sentence | CPU |")
    print("|---|---|---|---|---|")
    for name, sound in not_speech.ALL.items():
        words, reached, wer, cost = await measured(engine, sound, seconds, said)
        print(f"| {name} | {words} | {reached:.1f} | {wer * 100:.0f} % | {cost * 100:.2f} % |")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
