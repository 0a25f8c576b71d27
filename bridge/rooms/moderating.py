"""Who may mute or remove whom, and what a removal by another site changes here.

What is then done at the media servers is bridge.upkeep.moderation's.
"""

from __future__ import annotations

from bridge.domain import policy
from bridge.domain.conference import Conference
from bridge.domain.happenings import PersonRemoved
from bridge.rooms import news
from bridge.rooms.facts import Facts
from bridge.rooms.ledger import Ledger


def moderates(conference: Conference | None, facts: Facts, user_id: str, person: str) -> bool:
    """Whether somebody may mute or remove this person in this call."""
    started_by = conference.started_by if conference else ""
    # Who started the call and was put out of it moderates it no longer.
    if conference and started_by in conference.removed:
        started_by = ""
    return policy.may_moderate(user_id, person, started_by=started_by, power=facts.power)


async def put_out(ledger: Ledger, told: news.PutOut) -> None:
    """Carry out another site's removal, inside its transaction: by the room as it is now."""
    running = ledger.running
    if running is None or running.call_id != told.call:
        return
    if moderates(running, ledger.facts, told.asked_by, told.user_id):
        await ledger.revoke(told.user_id)
        await ledger.apply(running, PersonRemoved(user_id=told.user_id))
