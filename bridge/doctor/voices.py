"""Telling voices apart at a shared microphone: is what it takes there, and does it load?

The folder is looked at before it is loaded: loading it runs what is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from bridge.doctor.findings import Remark, failed, ok, unchecked
from bridge.doctor.visit import Visit
from bridge.scribe.diarizer import worker
from bridge.scribe.diarizer.directory import BadDirectory, check


async def voices(visit: Visit) -> Remark:
    """The interpreter, the folder and whose it is, and the pipeline once loaded."""
    wanted = visit.settings.diarization
    if not wanted.model_dir:
        return unchecked("voices.off")
    python = shutil.which(wanted.python or sys.executable)
    if python is None:
        return failed("voices.python", python=wanted.python)
    folder = visit.settings.path(wanted.model_dir)
    try:
        check(folder)
    except BadDirectory as error:
        if error.key in {"owner", "writable"}:
            return failed("voices.foreign", path=str(error.path))
        return failed("voices.folder", path=str(error.path))
    answer = await _loaded(python, folder)
    if answer.get("ready"):
        return ok("voices.loads", path=str(folder))
    reason = str(answer.get("error", ""))
    if reason.startswith(("ModuleNotFoundError", "ImportError")):
        return failed("voices.extra", python=python, reason=reason)
    return failed("voices.broken", path=str(folder), reason=reason)


async def _loaded(python: str, folder: Path) -> dict[str, Any]:
    """What the worker says to `--check`: `ready`, or `error`. Killed when we are cancelled."""
    process = await asyncio.create_subprocess_exec(
        python,
        worker.__file__,
        str(folder),
        "--check",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **worker.SILENT},
    )
    try:
        said, _ = await process.communicate()
        answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": f"exit status {process.returncode}"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return answer
