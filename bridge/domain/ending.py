"""How a conference ends, and what is then due: the scribe's last words, the documents.

`due` does what the time has come for in a running conference too.
"""

from __future__ import annotations

from dataclasses import replace

from bridge.domain import federation, joint
from bridge.domain.conference import Conference, Rules
from bridge.domain.happenings import Effect, PostDocuments, PostStatus
from bridge.domain.showing import Step, card_soon, with_card
from bridge.domain.stays import gone

SCRIBE_GRACE_MS = 10_000
"""How long the documents wait for the scribe's last segments after the end."""
LATE_PAUSE_MS = 10_000
"""Segments that arrive after the documents are gathered this long before new documents."""


def end(c: Conference, now_ms: int, by: str = "") -> Step:
    """The end for everybody. `by`: who asked for it, '' where it ran out by itself."""
    came = bool(c.stays or c.away)
    ended_ms = c.empty_since_ms if came and c.empty_since_ms is not None else now_ms
    shares_until_ms = now_ms + federation.PARTS_MS if c.spans else None
    ended = replace(
        c,
        phase="ending",
        ended_ms=ended_ms,
        stopped_by=by,
        stays=tuple(gone(stay, ended_ms) for stay in c.stays),
        joint=joint.ended(c.joint, ended_ms, shares_until_ms) if c.joint else None,
        claimed=tuple(gone(stay, ended_ms) for stay in c.claimed),
        empty_since_ms=None,
        card_due_ms=None,
        # Only a scribe that listened for the record can have something left to say.
        documents_due_ms=now_ms + SCRIBE_GRACE_MS if c.spans else now_ms,
    )
    return with_card(ended, PostStatus())


def media_finished(c: Conference, media_sid: str, now_ms: int) -> Step:
    """A room is closed at our media server: the end, unless people are at another."""
    # The room's name is the same in every conference of the room: the end of an earlier media room
    # may be reported when the next conference has begun. Only the one that people are in counts.
    if not media_sid or media_sid != c.media_sid:
        return c, ()
    if c.phase != "running":
        return replace(c, media_closed=True), ()
    if c.occupied_elsewhere:
        stays = tuple(gone(stay, now_ms) for stay in c.stays)
        return card_soon(replace(c, stays=stays, media_sid=""), now_ms), ()
    ended, effects = end(c, now_ms)
    return replace(ended, media_closed=True), effects


def due(c: Conference, now_ms: int, rules: Rules) -> Step:
    """Do what the time has come for."""
    effects: tuple[Effect, ...] = ()
    empty = c.empty_since_ms
    if c.phase == "running" and empty is not None and now_ms - empty >= rules.empty_timeout_ms:
        c, effects = end(c, now_ms)
    if c.card_due_ms is not None and now_ms >= c.card_due_ms:
        c, more = with_card(c)
        effects += more
    if c.documents_due_ms is not None and now_ms >= c.documents_due_ms:
        c, more = _documented(c) if _all_there(c, now_ms) else (_patient(c), ())
        effects += more
    return c, effects


def _all_there(c: Conference, now_ms: int) -> bool:
    """Whether the record need not wait for the shares of other sites (any longer)."""
    until = c.joint.shares_until_ms if c.joint and c.leading else None
    return until is None or now_ms >= until or not c.missing


def _patient(c: Conference) -> Conference:
    assert c.joint is not None  # noqa: S101 - only shares of other sites are waited for
    waiting = replace(c.joint, scribe_done=True)
    return replace(c, joint=waiting, documents_due_ms=waiting.shares_until_ms)


def _documented(c: Conference) -> Step:
    done = replace(c, phase="ended", documents_due_ms=None, documented=c.said)
    if c.said == c.documented or not c.said:
        return done, ()
    done = replace(done, documents_rev=c.documents_rev + 1)
    return with_card(done, PostDocuments(done.documents_rev))


def again(c: Conference, now_ms: int) -> Conference:
    """Make the record again, once what comes late has come."""
    due_ms = c.documents_due_ms or now_ms + LATE_PAUSE_MS
    return replace(c, documented=-1, documents_due_ms=due_ms)


def hurried(c: Conference, now_ms: int) -> Conference:
    """Wait for the other sites' shares no longer than it takes to have them."""
    waits = c.phase == "ending" and c.joint is not None and c.joint.scribe_done
    return replace(c, documents_due_ms=now_ms) if waits and not c.missing else c
