"""pyannote.audio itself, with the tiny pipeline of tests/tools/train_tiny_diarizer.py."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from bridge.scribe.diarizer import worker
from bridge.scribe.engines import RATE
from tests.support import crowd
from tests.support.crowd import Turn
from tests.support.diarization import MODULES, PYTHON, error_rate, tiny_model

WITHOUT_NAMES = """
import runpy, socket, sys
def refuse(*asked, **_):
    print("LOOKED UP", asked[0], file=sys.stderr, flush=True)
    raise OSError("this process looks nothing up")
socket.getaddrinfo = socket.gethostbyname = refuse
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    try:
        socket.getaddrinfo("it-would-be-seen.example", 443)
    except OSError:
        pass
"""


async def test_two_voices_are_told_apart_and_no_name_is_looked_up(tmp_path: Path) -> None:
    audio, said = crowd.mixture(2042, ("flite:rms", "flite:slt"), 20)
    pcm = crowd.pcm(audio)
    # Nothing in the environment switches telemetry off: the worker itself does.
    environment = {k: v for k, v in os.environ.items() if k not in worker.SILENT}
    process = await asyncio.create_subprocess_exec(
        *(str(PYTHON), "-c", WITHOUT_NAMES, str(worker.__file__), str(tiny_model(tmp_path))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, "PYTHONPATH": str(MODULES)},
    )
    requests = worker.HEAD.pack(0, 8) + worker.HEAD.pack(len(pcm), 8) + pcm
    # The input ends, and so does the process: what it would send at its end is sent.
    output, errors = await asyncio.wait_for(process.communicate(requests), 150)
    assert process.returncode == 0, errors.decode()
    looked_up = [line for line in errors.decode().splitlines() if line.startswith("LOOKED UP")]
    assert looked_up == ["LOOKED UP it-would-be-seen.example"]

    ready, empty, answer = answers(output)
    assert ready == {"ready": True}
    assert empty == {"turns": [], "prints": {}}
    turns = [Turn(start / RATE, end / RATE, voice) for start, end, voice in answer["turns"]]
    assert len({turn.voice for turn in turns}) == 2
    assert {len(vector) for vector in answer["prints"].values()} == {64}
    assert error_rate(said, turns) < 0.2


def answers(output: bytes) -> list[dict[str, dict[str, list[float]]]]:
    found = []
    while output:
        (length,) = worker.LENGTH.unpack(output[: worker.LENGTH.size])
        found.append(json.loads(output[worker.LENGTH.size : worker.LENGTH.size + length]))
        output = output[worker.LENGTH.size + length :]
    return found
