"""faster-whisper itself in our worker, with a model of random weights: it loads from its folder,
answers, and looks nothing up. `python -m tests.bench.whisper_local`; needs the extra `whisper`.

Proof of the last: in the worker every look-up and every connection is written down and refused. A
control, which does look something up, must be written down.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bridge.scribe.engines import RATE
from bridge.scribe.engines.whisper import Whisper
from tests.support.tiny_whisper import make

WATCH = """
import os, socket

def refused(*what, **more):
    with open(os.environ["LOOKED_UP"], "a") as file:
        file.write(repr(what) + "\\n")
    raise OSError("nothing is looked up here")

socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refused
socket.socket.connect = refused
"""
SECONDS = 3


async def main() -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as place:
        folder, watch = make(Path(place) / "tiny"), Path(place) / "watch"
        watch.mkdir()
        (watch / "sitecustomize.py").write_text(WATCH)
        looked_up = Path(place) / "looked_up"
        os.environ |= {"PYTHONPATH": str(watch), "LOOKED_UP": str(looked_up)}
        control = "import socket; socket.getaddrinfo('control.invalid', 1)"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", control, stderr=-3)
        await process.wait()
        assert "control.invalid" in looked_up.read_text(), "the watch does not watch"
        looked_up.unlink()
        engine = Whisper(folder)
        task = asyncio.create_task(engine.run())
        began = time.monotonic()
        async with asyncio.timeout(120):
            await engine.ready()
        loaded = time.monotonic() - began
        noise = np.random.default_rng(1).normal(0, 1000, SECONDS * RATE).astype(np.int16)
        began = time.monotonic()
        words = await engine.transcribe(noise.tobytes(), "en")
        took = time.monotonic() - began
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        looks = looked_up.read_text().splitlines() if looked_up.exists() else []
    print(f"| loaded in | {loaded:.1f} s |")
    print(f"| {SECONDS} s of noise | {took:.1f} s, {len(words)} words of nonsense |")
    print(f"| look-ups and connections | {len(looks)} |")
    for look in looks:
        print(look)
    raise SystemExit(1 if looks else 0)


if __name__ == "__main__":
    asyncio.run(main())
