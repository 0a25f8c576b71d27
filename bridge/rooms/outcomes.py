"""What became of an errand, told where it was asked for, inside the transaction that learns it."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.rooms import news
from bridge.rooms.ledger import Ledger
from bridge.store.errands import Errand

_SENTENCES: Mapping[tuple[str, str], str] = {
    ("mute", "done"): "mute.done",
    ("mute", "absent"): "person.absent",
    ("mute", "unavailable"): "media_unavailable",
    ("remove", "done"): "remove.done",
    ("remove", "unavailable"): "remove.later",
    ("invite", "done"): "invite.done",
    ("invite", "refused"): "invite.impossible",
    ("invite", "unavailable"): "homeserver_unavailable",
}


async def tell(ledger: Ledger, told: news.CameBack) -> None:
    """Answer the command that sent the errand. Told once: the errand is gone with it."""
    errand = await ledger.come_back(told.errand)
    if errand is None:
        return
    key = _SENTENCES[errand.kind, told.outcome]
    if key == "mute.done" and not told.count:
        key = "mute.nothing"
    _answer(ledger, errand, key)


def _answer(ledger: Ledger, errand: Errand, key: str) -> None:
    content = errand.content
    ledger.answer(
        key,
        content["language"],
        {"name": content["name"], "user_id": content["user_id"]},
        reply_to=content["reply_to"],
        thread_root=content["thread_root"],
    )
