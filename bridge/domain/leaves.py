"""A leave that a client handed over: when to postpone it, and when to let it happen. Pure.

Clients schedule "I have left" at their homeserver (MSC4140) and postpone it for as long as they
are in the call. A client that hands this over (MSC4195, `delegate_delayed_leave`) relies on whoever
sees its media connection:

    not connected yet --connected--> postponed every 80 % --gone for GRACE_MS--> let happen
           | CONNECT_MS                        ^------- there again in time
           v
       let happen
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Action = Literal["restart", "send", "cancel"]
"""As MSC4140 names them: postpone, let happen now, take back."""
Outcome = Literal["done", "unknown", "failed", "refused"]
"""`unknown`: the homeserver has no such event (any more). `refused`: asking again is no use."""

CONNECT_MS = 60_000
"""Who handed a leave over and has not connected by then, is not in the call."""
GRACE_MS = 5_000
"""Who is there again within this time never left. The media server keeps a lost connection for
some time itself before it calls it gone (ours: 15 s without an answer, 10 s without signalling
too), so this is only for a client that connects anew, and for a media server that was restarted."""
DEFAULT_TIMEOUT_MS = 18_000
"""Where the client does not say how long its leave is postponed each time: the shortest that is in
use (Element Call without delegation). Too short costs requests; too long ends a membership."""
SHORTEST_PAUSE_MS = 4_000
"""Nobody makes us postpone more often than this."""
KEEP_TRYING_MS = 600_000
_FIRST_REST_MS, _LAST_REST_MS = 1_000, 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """One delayed event, and what is known of the participant it is about (times in Unix ms).

    `alias`: another name the same device may have at the media server, '' for none.
    `replaced`: the same device has handed over a newer one.
    """

    media_room: str
    identity: str
    alias: str
    room_id: str
    user_id: str
    delay_id: str
    timeout_ms: int
    asked_ms: int
    connected: bool = False
    replaced: bool = False
    gone_ms: int | None = None
    restarted_ms: int | None = None
    tries: int = 0
    rest_until_ms: int = 0

    @property
    def names(self) -> frozenset[str]:
        """Identities of which one must be there."""
        return frozenset({self.identity, self.alias} - {""})

    @property
    def since_ms(self) -> int:
        """When this came to its end, or began."""
        return self.asked_ms if self.gone_ms is None else self.gone_ms


def seen(leave: Leave, present: bool, now_ms: int) -> Leave:
    """After a look at the media server."""
    if present:
        return replace(leave, connected=True, gone_ms=None)
    if leave.connected and leave.gone_ms is None:
        return replace(leave, gone_ms=now_ms)
    return leave


def wanted(leave: Leave, now_ms: int) -> Action | None:
    """What to ask of the homeserver now."""
    if now_ms < leave.rest_until_ms:
        return None
    if leave.replaced:
        return "cancel"
    if not leave.connected:
        return "send" if now_ms - leave.asked_ms >= CONNECT_MS else None
    if leave.gone_ms is not None:
        return "send" if now_ms - leave.gone_ms >= GRACE_MS else None
    pause_ms = max(SHORTEST_PAUSE_MS, leave.timeout_ms * 8 // 10)
    due = leave.restarted_ms is None or now_ms - leave.restarted_ms >= pause_ms
    return "restart" if due else None


def answered(
    leave: Leave, action: Action, outcome: Outcome, now_ms: int, *, rest_ms: int = 0
) -> Leave | None:
    """After the homeserver's answer; None: nothing is left to do.

    `rest_ms`: how long a failing homeserver asks to be left alone. After the leave's own time the
    homeserver has let it happen by itself, so nobody tries for ever.
    """
    if outcome in {"unknown", "refused"}:
        return None
    if outcome == "done":
        if action != "restart":
            return None
        return replace(leave, restarted_ms=now_ms, tries=0, rest_until_ms=0)
    over = now_ms - leave.since_ms >= max(leave.timeout_ms, KEEP_TRYING_MS)
    if action != "restart" and over:
        return None
    rest = min(_FIRST_REST_MS << min(leave.tries, 10), _LAST_REST_MS)
    return replace(leave, tries=leave.tries + 1, rest_until_ms=now_ms + max(rest, rest_ms))
