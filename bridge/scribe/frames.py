"""How bridge and scribe talk: frames of 4 bytes big-endian length and that much UTF-8 JSON.

Every frame is an object with a `type`. What a frame may say is in docs/scribe.md.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

LIMIT = 1 << 20
"""Largest frame in bytes, without its length."""

_LENGTH = struct.Struct(">I")

Frame = dict[str, Any]


class FrameError(ValueError):
    """The other side sent something that is no frame; the connection is of no more use."""


def encode(frame: Frame) -> bytes:
    """One frame as bytes. Raises FrameError when it is larger than `LIMIT`."""
    body = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > LIMIT:
        raise FrameError(f"a frame of {len(body)} bytes is larger than {LIMIT}")
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Frame:
    """The object in a frame's body. Raises FrameError for anything else."""
    try:
        frame = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FrameError("a frame holds no JSON") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise FrameError("a frame is not an object with a type")
    return frame


async def read(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame, or None at the end of the connection. Raises FrameError."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > LIMIT:
            raise FrameError(f"a frame of {length} bytes is larger than {LIMIT}")
        return decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
