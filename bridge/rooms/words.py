"""Utterances as messages: rows of the outbox, inside the transaction of an entry.

One message shows one utterance, or several that waited together (bridge.matrix.timeline.together).
A correction edits the whole message.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.domain.conference import Conference
from bridge.matrix import timeline
from bridge.rooms import record
from bridge.rooms.house import Stores
from bridge.store.database import Connection
from bridge.store.outbox import Outgoing
from bridge.store.shown import Message
from bridge.store.utterances import Utterance

Names = dict[tuple[str, str], str]


async def row(
    stores: Stores, conn: Connection, c: Conference, utterance: Utterance
) -> tuple[Outgoing, bool]:
    """What shows a stored utterance, and whether that corrects a message."""
    txn = timeline.utterance_txn(utterance.segment, utterance.rev)
    message = await stores.shown.message_of(conn, utterance.segment)
    if message is not None:
        return await edit(stores, conn, c, message, txn), True
    return await new(stores, conn, c, [utterance], txn), False


async def new(
    stores: Stores, conn: Connection, c: Conference, utterances: Sequence[Utterance], txn: str
) -> Outgoing:
    """A message of its own. `txn`: what the outbox calls it."""
    return Outgoing(
        room_id=c.room_id,
        txn_id=txn,
        kind="message",
        content=await _content(stores, conn, c, utterances),
        segments=tuple(utterance.segment for utterance in utterances),
    )


async def edit(
    stores: Stores, conn: Connection, c: Conference, message: Message, txn: str
) -> Outgoing:
    """An edit that shows what the message's utterances are now."""
    latest = await stores.utterances.latest(conn, message.segments)
    said = [utterance for utterance in latest if utterance.text] or latest
    return Outgoing(
        room_id=c.room_id,
        txn_id=txn,
        kind="message",
        content=timeline.edit(await _content(stores, conn, c, said), message.txn_id),
        segments=message.segments,
        base=message.txn_id,
    )


async def _content(
    stores: Stores, conn: Connection, c: Conference, utterances: Sequence[Utterance]
) -> timeline.Content:
    names = await stores.voice_names.of_conference(c.id, conn)
    contents = [
        timeline.utterance(
            record.in_call(one, c),
            root=timeline.root_txn(c),
            name=record.label(one, names, c.language),
        )
        for one in utterances
    ]
    return timeline.together(contents)
