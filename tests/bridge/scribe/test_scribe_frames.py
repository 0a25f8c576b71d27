"""Frames between bridge and scribe."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.scribe import frames
from bridge.scribe.frames import FrameError


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def test_frames_come_out_as_they_went_in() -> None:
    one, two = {"type": "segment", "text": "été"}, {"type": "ping"}
    reader = reader_of(frames.encode(one) + frames.encode(two))
    assert await frames.read(reader) == one
    assert await frames.read(reader) == two
    assert await frames.read(reader) is None


@pytest.mark.parametrize("cut", [1, 3, 4, 9])
async def test_a_connection_cut_in_mid_frame_is_an_end(cut: int) -> None:
    assert await frames.read(reader_of(frames.encode({"type": "ping"})[:cut])) is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", frames.LIMIT + 1),
        b"\xff\xff\xff\xff",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 2) + b"{}",
        struct.pack(">I", 10) + b'{"type":1}',
        struct.pack(">I", 1) + b"\xff",
        struct.pack(">I", 0),
    ],
)
async def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        await frames.read(reader_of(data))


def test_a_frame_too_large_is_not_sent() -> None:
    with pytest.raises(FrameError):
        frames.encode({"type": "segment", "text": "x" * frames.LIMIT})


@given(st.binary(max_size=200))
def test_garbage_is_a_frame_error_and_nothing_else(body: bytes) -> None:
    try:
        frame = frames.decode(body)
    except FrameError:
        return
    assert isinstance(frame["type"], str)


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(FrameError):
        frames.decode(b"[" * 200_000)
