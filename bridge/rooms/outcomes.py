"""What became of an errand, told where it was asked for, inside the transaction that learns it."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.domain.happenings import RingAsked, RingFailed, RingReady
from bridge.domain.policy import MODERATOR
from bridge.matrix import wire
from bridge.rooms import news, requests_record, requests_summary
from bridge.rooms.ledger import Ledger
from bridge.store.errands import Errand

_SENTENCES: Mapping[tuple[str, str], str] = {
    ("mute", "done"): "mute.done",
    ("mute", "absent"): "person.absent",
    ("mute", "unavailable"): "media_unavailable",
    ("mute", "elsewhere"): "moderate.elsewhere",
    ("remove", "elsewhere"): "moderate.elsewhere",
    ("remove", "done"): "remove.done",
    ("remove", "unavailable"): "remove.later",
    ("invite", "done"): "invite.done",
    ("invite", "refused"): "invite.impossible",
    ("invite", "unavailable"): "homeserver_unavailable",
    ("export", "unavailable"): "homeserver_unavailable",
}


async def tell(ledger: Ledger, told: news.CameBack) -> None:
    """Answer the command that sent the errand. Told once: the errand is gone with it."""
    if told.outcome == "ready":
        ring = await ledger.errand(told.errand)
        await _ringing(ledger, ring, told.event_id)
        return
    errand = await ledger.come_back(told.errand)
    if errand is None:
        return
    if errand.kind == "forget":
        return  # who asked for it was answered when it was done here
    if errand.kind == "ring":
        await _rung(ledger, errand, told.outcome)
        return
    if errand.kind == "hangup":
        _hung_up(ledger, errand, told.outcome)
        return
    if errand.kind == "export" and told.outcome == "done":
        await requests_record.with_chat(ledger, errand)
        return
    if errand.kind == "summary":
        await requests_summary.came_back(ledger, errand, told.outcome)
        return
    key = _SENTENCES[errand.kind, told.outcome]
    if key == "mute.done" and not told.count:
        key = "mute.nothing"
    _answer(ledger, errand, key, site=told.site)
    if key == "invite.done" and ledger.running:
        await _call_invited(ledger, errand)


async def _ringing(ledger: Ledger, errand: Errand | None, membership: str) -> None:
    conference = ledger.conference(errand.content["conference"]) if errand else None
    if errand and conference:
        ready = RingReady(ring=errand.content["ring"], membership=membership)
        await ledger.apply(conference, ready)


async def _rung(ledger: Ledger, errand: Errand, outcome: str) -> None:
    conference = ledger.conference(errand.content["conference"])
    if conference and outcome != "done":
        await ledger.apply(conference, RingFailed(ring=errand.content["ring"]))


def _hung_up(ledger: Ledger, errand: Errand, outcome: str) -> None:
    if outcome == "done":
        return
    before = errand.content["before"]
    values: dict[str, str | int] = {
        "event_type": wire.CALL_MEMBER,
        # Without an entry of its own, what the room asks for any state.
        "before": str(MODERATOR if before is None else before),
        "level": ledger.facts.power.needed_for_state(wire.POWER_LEVELS),
    }
    ledger.answer(f"hangup.{outcome}", ledger.language, values)


async def _call_invited(ledger: Ledger, errand: Errand) -> None:
    """Who has just been invited rings as soon as they are in the room."""
    asked = RingAsked(
        ring=errand.content["reply_to"],
        by=errand.content["asked_by"],
        mode="ring",
        users=(errand.content["user_id"],),
        name=errand.content["name"],
    )
    if ledger.running:
        await ledger.apply(ledger.running, asked)


def _answer(ledger: Ledger, errand: Errand, key: str, *, site: str) -> None:
    content = errand.content
    ledger.answer(
        key,
        content["language"],
        {"name": content.get("name", ""), "user_id": content.get("user_id", ""), "site": site},
        reply_to=content["reply_to"],
        thread_root=content["thread_root"],
    )
