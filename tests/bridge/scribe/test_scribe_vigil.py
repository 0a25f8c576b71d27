"""An interruption is known to whoever listens again, in the same process or in another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bridge.scribe.frames import Frame
from bridge.scribe.order import Order
from bridge.scribe.spool import Spool
from bridge.scribe.vigil import Vigil

EPOCH_MS = 1_000_000


def order(**more: Any) -> Order:
    frame = {
        "conference": "c",
        "room_id": "!r",
        "url": "ws://127.0.0.1:1",
        "token": "t",
        "language": "en",
        "captions": False,
        "transcript": True,
        "epoch_ms": EPOCH_MS,
        **more,
    }
    return Order.parse(frame)


class Watched:
    """A vigil with a clock of its own over a spool's file."""

    def __init__(self, spool: Spool) -> None:
        self.now_ms = EPOCH_MS
        self.understood_ms: int | None = None
        self.kept: list[Frame] = []
        self.vigil = Vigil(
            spool, lambda: {"c": self.understood_ms}, self.keep, clock_ms=lambda: self.now_ms
        )

    def awake(self) -> dict[str, int | None]:
        return {"c": self.understood_ms}

    async def keep(self, frame: Frame) -> None:
        self.kept.append(frame)

    async def again(self, at_ms: int, **more: Any) -> list[tuple[int, int]]:
        self.now_ms = EPOCH_MS + at_ms
        await self.vigil.began(order(**more))
        told = [(frame["start_ms"], frame["end_ms"]) for frame in self.kept]
        self.kept.clear()
        return told


@pytest.mark.parametrize(
    ("away_ms", "told"), [(2_400, []), (2_500, [(10_000, 12_500)]), (90_000, [(10_000, 100_000)])]
)
async def test_what_lies_between_two_hearings_is_told(
    tmp_path: Path, away_ms: int, told: list[tuple[int, int]]
) -> None:
    spool = await Spool.open(tmp_path / "spool")
    watched = Watched(spool)
    assert await watched.again(0) == []  # the first time nothing was interrupted
    await spool.listening({"c": EPOCH_MS + 10_000, "d": EPOCH_MS})
    await spool.close()
    spool = await Spool.open(tmp_path / "spool")  # as another process does
    assert await Watched(spool).again(10_000 + away_ms) == told
    assert await Watched(spool).again(10_000 + away_ms + 100) == []
    await spool.close()


async def test_what_nobody_wanted_written_is_no_loss(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    watched = Watched(spool)
    await watched.again(0)
    assert await watched.again(60_000, transcript=False) == []
    assert await watched.again(120_000) == [(60_000, 120_000)]
    await watched.vigil.ended("c")
    assert await watched.again(180_000) == []
    await spool.close()


async def test_one_interruption_has_one_name(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    watched = Watched(spool)
    await watched.again(0)
    watched.now_ms = EPOCH_MS + 5_000
    await watched.vigil.began(order())
    (frame,) = watched.kept
    assert frame["type"] == "interruption"
    assert frame["key"] == f"interruption:c:{EPOCH_MS}"
    assert (frame["conference"], frame["room_id"]) == ("c", "!r")
    await spool.close()


async def test_what_was_heard_and_not_understood_is_lost_with_the_process(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    watched = Watched(spool)
    await watched.again(0)
    watched.now_ms, watched.understood_ms = EPOCH_MS + 30_000, EPOCH_MS + 18_000
    marking = asyncio.create_task(watched.vigil.run())
    async with asyncio.timeout(10):
        while await spool.listened_until("c") != EPOCH_MS + 18_000:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.01)
    marking.cancel()
    # The same process still answers it.
    assert await watched.again(40_000) == [(30_000, 40_000)]
    await spool.listening({"c": EPOCH_MS + 18_000})
    assert await Watched(spool).again(45_000) == [(18_000, 45_000)]
    await spool.close()
