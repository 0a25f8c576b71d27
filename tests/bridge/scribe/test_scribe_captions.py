"""Captions on their way to the bridge: beside the segments, bounded, only while they are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest_asyncio

from bridge.scribe import frames
from bridge.scribe.captions import Captions
from bridge.scribe.delivery import Delivery
from bridge.scribe.merge import Piece
from bridge.scribe.order import Order
from bridge.scribe.spool import Spool
from tests.support.captions import until

ORDER = Order(
    conference="c",
    room_id="!r",
    url="ws://media",
    token="t",
    language="fr",
    captions=True,
    transcript=False,
    epoch_ms=0,
    watch=True,
)


class Wire:
    """The bridge's end: what was written, as frames; nothing is read while `stuck`."""

    def __init__(self) -> None:
        self.frames: list[frames.Frame] = []
        self.free = asyncio.Event()
        self.free.set()

    def write(self, data: bytes) -> None:
        self.frames.append(frames.decode(data[4:]))

    async def drain(self) -> None:
        await self.free.wait()

    def close(self) -> None:
        pass


def caption(segment: str, text: str, *, final: bool = True) -> frames.Frame:
    return {"type": "caption", "segment": segment, "text": text, "final": final}


@pytest_asyncio.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    made = await Spool.open(tmp_path / "spool")
    yield made
    await made.close()


async def test_the_newest_of_a_segment_goes_out_and_nothing_is_spooled(spool: Spool) -> None:
    wire = Wire()
    wire.free.clear()
    delivery = Delivery(wire, spool, [{"type": "hello", "sessions": []}])  # type: ignore[arg-type]
    sending = asyncio.create_task(delivery.send_all())
    for text in ("bon", "bonjour"):
        delivery.show(caption("s-0", text, final=False))
    delivery.show(caption("s-1", "Oui."))
    wire.free.set()
    await until(lambda: len(wire.frames) >= 3)
    sending.cancel()
    assert [f.get("text") for f in wire.frames] == [None, "bonjour", "Oui."]
    assert await spool.after(0) == []


def heard() -> Any:
    track = SimpleNamespace(identity="@anne:a:D", sid="TR")
    return SimpleNamespace(track=track, language="fr")


def test_the_bridge_is_told_only_while_it_watches_and_captions_are_on() -> None:
    shown: list[frames.Frame] = []
    captions = Captions(shown.append)
    piece = Piece(segment="s-0", text="bonjour", start_ms=5, end_ms=6, final=False)
    for change in ({"watch": False}, {"captions": False}):
        captions.put(piece, heard(), ORDER.updated({"type": "update", **change}))
    assert shown == []
    captions.put(piece, heard(), ORDER, "V2")
    assert shown == [
        {
            "type": "caption",
            "conference": "c",
            "segment": "s-0",
            "identity": "@anne:a:D",
            "text": "bonjour",
            "final": False,
            "language": "fr",
            "start_ms": 5,
            "voice": "V2",
        }
    ]
