"""Names derived from Matrix ids, exactly as MSC4195 derives them.

Vectors: MSC4195, "LiveKit room and participant identity"; both are in tests/bridge/test_ids.py.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode

ROOM_CALL = "m.call#ROOM"
"""The slot of a room's one call, as every shipping client names it (MSC4143)."""


def media_room(room_id: str, slot_id: str = ROOM_CALL) -> str:
    """The media server's room for one slot of a Matrix room."""
    return _digest([room_id, slot_id])


def plain_identity(user_id: str, device_id: str) -> str:
    """Identity behind a `org.matrix.msc3401.call.member` state event (`/sfu/get`)."""
    return f"{user_id}:{device_id}"


def hashed_identity(user_id: str, device_id: str, member_id: str) -> str:
    """Identity behind a sticky `rtc.member` event (`/get_token`)."""
    return _digest([user_id, device_id, member_id])


def server_of(matrix_id: str) -> str:
    """The server name of `@user:server`, `#alias:server` or `!room:server` ('' without one)."""
    return matrix_id.partition(":")[2]


def _digest(parts: list[str]) -> str:
    # Canonical JSON: compact, UTF-8, nothing escaped that need not be.
    canonical = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return b64encode(hashlib.sha256(canonical.encode()).digest()).decode().rstrip("=")
