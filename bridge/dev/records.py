"""The sfu and scribe processes of a bridge, by the records it keeps of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bridge.config import Settings
from bridge.media.process import Process, ProcessRecord, is_running, read_record

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class PartPids:
    """Process ids of those that run now."""

    sfu: list[int]
    scribe: list[int]


def part_pids(settings: Settings) -> PartPids:
    """Who runs for this bridge, whether the bridge itself does or not."""
    return PartPids(
        *([record.pid for record in _running(settings, program)] for program in ("sfu", "scribe"))
    )


async def end_parts(settings: Settings) -> None:
    """End what a killed bridge left behind."""
    left = [*_running(settings, "sfu"), *_running(settings, "scribe")]
    await asyncio.gather(*(_end(record) for record in left))


def _running(settings: Settings, program: str) -> list[ProcessRecord]:
    found = []
    # bridge/media/supervisor.py: one record a process, `sfu.process`.
    for file in sorted(settings.path(settings.data_dir).glob(f"{program}*.process")):
        record = read_record(file)
        if record is not None and is_running(record):
            found.append(record)
    return found


async def _end(record: ProcessRecord) -> None:
    process = Process.adopt(record)
    if process is not None:
        await process.stop(patience_s=_PATIENCE_S)
        process.close()
