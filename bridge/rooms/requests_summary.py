"""`summary`, `résumé`: having a call summed up by a model, now or after each call."""

from __future__ import annotations

import hashlib

from bridge.domain.conference import Conference
from bridge.domain.transcript import current
from bridge.matrix import summary as shown
from bridge.matrix import timeline
from bridge.rooms import requests_settings
from bridge.rooms.asking import Asking
from bridge.rooms.ledger import Ledger
from bridge.store.errands import Errand
from bridge.store.outbox import Outgoing
from bridge.store.shown import documents_mark


async def summary(asking: Asking) -> None:
    """`summary` sums up a call, `summary on` has it done after each one.

    The site that posts the record does it, whoever asks.
    """
    if asking.command.switch is not None or asking.command.arguments:
        if not asking.silent:
            await requests_settings.summary(asking)
        return
    c = await asking.ledger.call_below(asking.message.thread_root)
    if c is None:
        asking.say("export.none")
    elif c.leading:
        asking.silent = False
        await _ask(asking, c)


async def _ask(asking: Asking, c: Conference) -> None:
    ledger = asking.ledger
    wished = ledger.wish.summary
    if not ledger.house.summary_model:
        asking.say("summary.unconfigured")
    elif not c.said:
        asking.say("summary.empty")
    elif ledger.facts.encrypted and not wished:
        asking.say("summary.encrypted")
    elif wished or asking.may_change_wish():
        if not await ledger.is_summing_up(c):
            await asking.errand("summary", conference=c.id)
        asking.say("summary.begun", model=ledger.house.summary_model)


async def came_back(ledger: Ledger, errand: Errand, outcome: str) -> None:
    """The model has answered, or it has not."""
    content = errand.content
    c = await ledger.recall(content["conference"])
    if c is None:
        return  # deleted meanwhile
    if outcome != "done":
        _say(ledger, c, errand, "summary.failed")
        return
    recorded = await ledger.recorded(c)
    known = {
        said.segment: shown.Rests(said.segment, said.start_ms, "")
        for said in current(recorded.utterances)
    }
    if not known.keys() >= set(content["heard"]):
        # Words it has read are deleted since: what it says may be of them.
        _say(ledger, c, errand, "summary.outdated")
        return
    cited = {segment for item in content["items"] for segment in item["rests_on"]}
    for segment in cited:
        event_id = await ledger.shown_at(segment)
        known[segment] = shown.Rests(segment, known[segment].at_ms, event_id)
    _post(ledger, c, errand, shown.read_items(content["items"], known))


def _post(ledger: Ledger, c: Conference, errand: Errand, items: tuple[shown.Shown, ...]) -> None:
    told = shown.Summary(
        room_id=c.room_id,
        conference=c.call_id,
        model=ledger.house.summary_model,
        language=c.language,
        root=timeline.root_txn(c),
        server=ledger.house.server_name,
        items=items,
        left_out=int(errand.content["left_out"]),
    )
    asked = f"{errand.content['reply_to']}{errand.created_ms}"
    # Named as all documents of the call are: what is deleted later takes it along.
    txn = f"doc:{c.id}:summary:{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
    ledger.add(
        Outgoing(
            room_id=c.room_id,
            txn_id=txn,
            kind="message",
            content=shown.message(told),
            segments=(documents_mark(c.id),),
        )
    )


def _say(ledger: Ledger, c: Conference, errand: Errand, key: str) -> None:
    """Where it was asked for; else below the call's card."""
    root = f"outbox:{timeline.root_txn(c)}"
    ledger.answer(
        key,
        errand.content["language"],
        {},
        reply_to=errand.content["reply_to"] or root,
        thread_root=errand.content["thread_root"] if errand.content["reply_to"] else root,
    )
