"""Events that make phones ring, as Element Call 0.26 sends them (MSC4075): contents only."""

from __future__ import annotations

from typing import Any

from bridge.domain.ringing import Ring
from bridge.ids import ROOM_CALL
from bridge.matrix.wire import RELATES_TO

WORTH_MS = 10_000
"""What could not be sent for so long is not sent: clients would ring for a call long begun."""


def ring_txn(ring_id: str) -> str:
    """Transaction id of a ring's notification."""
    return f"ring:{ring_id}"


def cancel_txn(ring_id: str) -> str:
    """Transaction id of its redaction."""
    return f"unring:{ring_id}"


def notification(ring: Ring, membership: str, *, now_ms: int) -> dict[str, Any]:
    """Content of the event that rings. `membership`: the event of the call it belongs to.

    Clients leave it aside once `lifetime` has passed since `sender_ts`.
    """
    return {
        "m.mentions": {"user_ids": list(ring.users)} if ring.users else {"room": True},
        "notification_type": ring.mode,
        RELATES_TO: {"rel_type": "m.reference", "event_id": membership},
        "sender_ts": now_ms,
        "lifetime": max(0, ring.until_ms - now_ms),
        "m.call.intent": "video",
        "slot_id": ROOM_CALL,
        "msc4354_sticky_key": ROOM_CALL,
    }


def cancellation(ring_id: str) -> dict[str, Any]:
    """What a row of kind "redaction" holds that takes a ring back."""
    return {"redacts": f"outbox:{ring_txn(ring_id)}", "reason": "the call has ended"}
