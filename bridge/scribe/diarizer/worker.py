"""The process that tells voices apart: `PYTHON worker.py MODEL_DIR [--threads N] [--check]`.

It runs under `diarization.python`, which has torch and pyannote.audio and need not have Colloque:
this file imports nothing of ours and is started by its path. Requests on standard input, one
answer each on standard output; it ends when its input does. With `--check` it loads the pipeline,
says so in one line of JSON, and ends.

A request is a header (`HEAD`: length, most speakers, 0 for any number) and mono samples, signed 16
bit, 16 kHz. The answer is a length and JSON: `turns`, `[[first sample, end, voice], ...]` without
overlaps, and `prints`, an embedding of each voice; or `error`.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import types
import warnings
from typing import Any, BinaryIO

RATE = 16_000
HEAD = struct.Struct(">II")
LENGTH = struct.Struct(">I")
SHORTEST = RATE // 2
"""Less than half a second holds no voice that could be told from another."""
SILENT = {
    "PYANNOTE_METRICS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""pyannote.audio 4 reports each use to its makers unless told not to, before it is imported."""


def import_pyannote() -> None:
    """Import pyannote.audio with its telemetry off. Raises ImportError or OSError."""
    os.environ.update(SILENT)
    # Files are never decoded here: torchcodec, which wants FFmpeg, is not missed.
    warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed")
    try:
        import torchaudio  # noqa: F401
    except OSError:
        _stand_in_for_the_extension()
    import pyannote.audio  # noqa: F401


def _stand_in_for_the_extension() -> None:
    # torchaudio 2.11 on PyPI is linked to CUDA and does not load beside a torch without it. What
    # pyannote uses of it is Python alone: its compiled part is answered for here.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    extension: Any = types.ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
    extension._check_cuda_version = lambda: None
    extension.fail_if_no_align = lambda function: function
    sys.modules["torchaudio._extension"] = extension


def load(folder: str, threads: int) -> Any:
    """The pipeline in a folder laid out as pyannote's community-1."""
    import_pyannote()
    import torch
    from pyannote.audio import Pipeline

    torch.set_num_threads(threads)
    pipeline = Pipeline.from_pretrained(folder)
    if pipeline is None:
        raise ValueError("pyannote.audio found no pipeline there")
    if torch.cuda.is_available():
        pipeline.to(torch.device("cuda"))
    return pipeline


def diarize(pipeline: Any, pcm: bytes, most: int) -> dict[str, Any]:
    """What one request is answered with."""
    import numpy as np
    import torch

    samples = np.frombuffer(pcm, np.int16)
    if len(samples) < SHORTEST:
        return {"turns": [], "prints": {}}
    wave = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
    file = {"waveform": wave, "sample_rate": RATE, "uri": "track"}
    with torch.inference_mode():
        found = pipeline(file, **({"max_speakers": most} if most else {}))
    turns = [
        [round(turn.start * RATE), min(round(turn.end * RATE), len(samples)), str(voice)]
        for turn, _, voice in found.exclusive_speaker_diarization.itertracks(yield_label=True)
    ]
    names = map(str, found.speaker_diarization.labels())
    prints = {
        name: [round(float(value), 5) for value in row]
        for name, row in zip(names, found.speaker_embeddings, strict=True)
        if np.isfinite(row).all() and np.any(row)
    }
    return {"turns": turns, "prints": prints}


def serve(pipeline: Any, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    write(answers, {"ready": True})
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        length, most = HEAD.unpack(head)
        pcm = requests.read(length)
        try:
            answer = diarize(pipeline, pcm, most)
        except (ValueError, RuntimeError, IndexError, ArithmeticError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        write(answers, answer)


def write(answers: BinaryIO, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    answers.write(LENGTH.pack(len(body)) + body)
    answers.flush()


def main(arguments: list[str]) -> int:
    folder, *options = arguments
    threads = int(options[options.index("--threads") + 1]) if "--threads" in options else 1
    # Libraries print; what they print must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        os.nice(5)  # captions come first
    try:
        pipeline = load(folder, threads)
    except Exception as error:  # whatever a library or a model raises is said to who asked
        problem = {"error": f"{type(error).__name__}: {error}"[:500]}
        if "--check" in options:
            answers.write(json.dumps(problem).encode() + b"\n")
            answers.flush()
        else:
            write(answers, problem)
        return 1
    if "--check" in options:
        answers.write(b'{"ready": true}\n')
        answers.flush()
        return 0
    serve(pipeline, sys.stdin.buffer, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
