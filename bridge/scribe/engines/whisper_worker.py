"""The worker process of whisper: `python -m bridge.scribe.engines.whisper_worker FOLDER`.

Requests on standard input (a JSON object and PCM), one JSON answer each on standard output; ends
when its input does. It answers with segments as `verbose_json` has them.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bridge.scribe.engines.decoder import LENGTH

HEAD = struct.Struct(">II")
"""Lengths of the JSON object and of the PCM behind it."""
NEEDED = ("model.bin", "config.json", "tokenizer.json")
"""Without the last, faster-whisper would ask a server on the internet for one."""
BEAMS = 5


class NoModel(Exception):
    """The model cannot be had; the message says what to do."""


def load(folder: Path) -> Any:
    """The model in a folder. Raises NoModel, before anything is looked for elsewhere."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise NoModel(f"{folder} lacks {', '.join(missing)}: it is no CTranslate2 Whisper model")
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise NoModel(f"the extra `whisper` is not installed ({error})") from None
    try:
        return WhisperModel(str(folder), device="auto", local_files_only=True)
    except (RuntimeError, ValueError, OSError) as error:
        raise NoModel(f"{folder} cannot be loaded: {error}") from None


def answer(model: Any, head: dict[str, Any], pcm: bytes) -> dict[str, Any]:
    """Carry out one request."""
    if "ready" in head:
        return {"ready": True}
    if head["language"] not in model.supported_languages:
        return {"unknown_language": True}
    audio = np.frombuffer(pcm, dtype=np.int16).astype(np.float32) / 32768.0
    segments, _ = model.transcribe(
        audio,
        language=head["language"],
        beam_size=BEAMS,
        word_timestamps=True,
        # What was misheard once must not be repeated to the end; silence is cut away before.
        condition_on_previous_text=False,
        vad_filter=False,
    )
    return {
        "text": "",
        "samples": len(audio),
        "language": head["language"],
        "segments": [_segment(segment) for segment in segments],
    }


def _segment(segment: Any) -> dict[str, Any]:
    return {
        "start": float(segment.start),
        "end": float(segment.end),
        "text": segment.text,
        "avg_logprob": float(segment.avg_logprob),
        "no_speech_prob": float(segment.no_speech_prob),
        "words": [
            {"word": word.word, "start": float(word.start), "end": float(word.end)}
            for word in segment.words or ()
        ],
    }


def serve(folder: Path, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end. Without a model every answer is the error."""
    model, problem = None, ""
    try:
        model = load(folder)
    except NoModel as error:
        problem = str(error)
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        length, size = HEAD.unpack(head)
        asked = json.loads(requests.read(length))
        pcm = requests.read(size)
        body = json.dumps({"error": problem} if model is None else answer(model, asked, pcm))
        answers.write(LENGTH.pack(len(body.encode())) + body.encode())
        answers.flush()


def main() -> None:
    """Standard output belongs to the answers: whatever a library prints goes to the log."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(Path(sys.argv[1]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
