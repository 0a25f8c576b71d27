"""What is heard of a call at other sites: their reports, their shares, who says they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bridge.domain import ending, joint
from bridge.domain.conference import Conference
from bridge.domain.happenings import PostStatus, RetireCard
from bridge.domain.joint import NO_CARD, Joint, PeersHeard, ShareTaken
from bridge.domain.showing import Step, card_soon, with_card
from bridge.domain.stays import Stay, followed


def peers(c: Conference, event: PeersHeard, now_ms: int) -> Step:
    """What the sites believe of the call together, and who leads it."""
    before = c.joint or joint.alone(event.stand.call)
    now = joint.told(before, event, now_ms)
    if c.phase != "running":
        late = before.missing and not now.missing and c.phase == "ended"
        kept = replace(now, stand=before.stand, leading=before.leading, away=before.away)
        told = replace(c, joint=kept)
        return (ending.again(told, now_ms) if late else ending.hurried(told, now_ms)), ()
    call = event.stand.call
    told = replace(c, joint=now, started_by=call.started_by, started_name=call.started_name)
    if told.occupied:
        told = replace(told, empty_since_ms=None)
    elif told.empty_since_ms is None:
        told = replace(told, empty_since_ms=now_ms)
    if told.present != c.present:
        told = card_soon(told, now_ms)
    return _lead_changed(c, told, now)


def _lead_changed(before: Conference, c: Conference, now: Joint) -> Step:
    if now.leading and (not before.leading or now.card_first == NO_CARD):
        shown, effects = with_card(c, PostStatus())
        if now.card_first == NO_CARD:
            shown = replace(shown, joint=replace(now, card_first=shown.card_rev))
        return shown, effects
    if before.leading and not now.leading and now.card_first != NO_CARD:
        redact = not c.utterances and c.call_id != before.id
        retire = RetireCard(now.card_first, redact)
        kept = replace(now, card_first=NO_CARD if redact else now.card_first)
        rev = c.card_rev + 1
        return replace(c, joint=kept, card_rev=rev), (retire, PostStatus())
    if not now.leading and before.joint is not None and before.joint.stand.root != now.stand.root:
        # The status names the card, which is known only now.
        return replace(c, card_rev=c.card_rev + 1), (PostStatus(),)
    return c, ()


def share_taken(c: Conference, event: ShareTaken, now_ms: int) -> Conference:
    """Another site's words for the record are here."""
    if c.joint is None:
        return c
    before = c.joint
    had = replace(c, joint=joint.taken(before, event))
    if c.phase == "ended":
        return had if had.joint == before else ending.again(had, now_ms)
    return ending.hurried(had, now_ms)


def claimed(c: Conference, there: Sequence[Stay], now_ms: int) -> Conference:
    """Who is at another site's media server now, by their own word in the room."""
    if c.phase != "running":
        return c
    seen = replace(c, claimed=followed(c.claimed, there, now_ms))
    seen = seen if seen.present == c.present else card_soon(seen, now_ms)
    if seen.occupied:
        return replace(seen, empty_since_ms=None)
    return replace(seen, empty_since_ms=c.empty_since_ms or now_ms)
