"""People come into a conference at our media server, knock at its lobby, and go."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from bridge.domain.conference import Conference
from bridge.domain.happenings import Knocked, ParticipantJoined, Say
from bridge.domain.showing import Step, card_soon
from bridge.domain.stays import Stay, gone

STAYS_KEPT = 100
"""Connections of one person that a snapshot tells apart: attendance is exact up to here."""
KNOCKS_TOLD = 100
"""People waiting in the lobby of one call that the room is told of."""


def joined(c: Conference, event: ParticipantJoined, now_ms: int) -> Conference:
    """Somebody is connected to our media server."""
    if c.phase != "running" or any(stay.sid == event.sid for stay in c.stays):
        return c
    stay = Stay(
        identity=event.identity,
        sid=event.sid,
        user_id=event.user_id,
        device_id=event.device_id,
        display_name=event.display_name,
        joined_ms=now_ms,
    )
    # An identity is connected once: the media server has closed the older connection.
    stays = tuple(gone(s, now_ms) if s.identity == event.identity else s for s in c.stays)
    return card_soon(
        replace(
            c,
            stays=(*_bounded(stays, event.user_id), stay),
            empty_since_ms=None,
            media_sid=event.media_sid or c.media_sid,
        ),
        now_ms,
    )


def _bounded(stays: tuple[Stay, ...], user_id: str) -> tuple[Stay, ...]:
    """A bad network must not make the snapshot grow for ever: its shortest gap is closed."""
    past = sorted(
        (stay for stay in stays if stay.user_id == user_id and stay.left_ms is not None),
        key=lambda stay: stay.joined_ms,
    )
    if len(past) < STAYS_KEPT:
        return stays
    one, other = min(pairwise(past), key=lambda pair: pair[1].joined_ms - (pair[0].left_ms or 0))
    left_ms = max(one.left_ms or 0, other.left_ms or 0)
    both = replace(other, joined_ms=one.joined_ms, left_ms=left_ms)
    return tuple(both if stay is other else stay for stay in stays if stay is not one)


def left(c: Conference, sid: str, now_ms: int) -> Conference:
    """The connection `sid` is gone."""
    if not any(stay.sid == sid and stay.left_ms is None for stay in c.stays):
        return c
    stays = tuple(gone(stay, now_ms) if stay.sid == sid else stay for stay in c.stays)
    without = card_soon(replace(c, stays=stays), now_ms)
    return replace(without, empty_since_ms=None if without.occupied else now_ms)


def knocked(c: Conference, event: Knocked) -> Step:
    """Somebody waits in the lobby: the room is told once."""
    known = event.user_id in c.knocked or event.user_id in c.admitted
    if c.phase != "running" or known or len(c.knocked) >= KNOCKS_TOLD:
        return c, ()
    told = Say("lobby.knocked", {"name": event.display_name, "user_id": event.user_id})
    return replace(c, knocked=(*c.knocked, event.user_id)), (told,)
