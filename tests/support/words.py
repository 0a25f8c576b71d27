"""A room's timeline in the rooms' world, and what is left of somebody's words in its store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.domain.conference import Conference
from bridge.matrix import references, timeline, wire
from bridge.rooms import news
from bridge.rooms.house import Stores
from bridge.store.outbox import Queued
from tests.support.rooms_world import ALICE, BOB, ROOM, World


@dataclass
class Timeline:
    """The room as its members see it: what the outbox holds is sent by `send()`."""

    world: World
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    redacted: set[str] = field(default_factory=set)

    async def send(self, *, gather: bool = False) -> None:
        outbox = self.world.stores.outbox
        while (row := await outbox.next(ROOM)) is not None:
            if gather:
                row = await outbox.gather(row, timeline.gathered)
            await self._send(row)

    async def _send(self, row: Queued) -> None:
        out, outbox = row.outgoing, self.world.stores.outbox
        known = await outbox.find(references.mentioned(out.content))
        ids = {txn: sent.event_id for txn, sent in known.items() if sent.event_id}
        try:
            content = references.resolve(out.content, ids)
        except references.TargetNotSent as error:
            await outbox.refused(row, str(error), forbidden=False, now_ms=0)
            return
        if out.kind == "withdrawn":
            await outbox.refused(row, "deleted", forbidden=False, now_ms=0)
        elif out.kind == "redaction":
            self.redacted.add(content["redacts"])
            await outbox.sent(row, f"$r{row.seq}")
        else:
            self.events[f"$e{row.seq}"] = {**content, "blob": out.blob}
            await outbox.sent(row, f"$e{row.seq}")

    def showing(self, word: str) -> list[str]:
        """Events that still show a word."""
        return [
            event_id
            for event_id, content in self.events.items()
            if event_id not in self.redacted
            and (word in str(content) or word.encode() in (content["blob"] or b""))
        ]

    def of(self, word: str) -> str:
        """The message of an utterance with this word, no edit."""
        return next(
            event_id
            for event_id in self.showing(word)
            if wire.UTTERANCE in self.events[event_id]
            and self.events[event_id][wire.RELATES_TO]["rel_type"] == wire.THREAD
        )

    def last(self) -> str:
        body: str = list(self.events.values())[-1]["body"]
        return body


async def call(world: World) -> Timeline:
    """A call in which Alice and Bob are, with a transcript."""
    for user in (ALICE, BOB):
        await world.grant(user)
    await world.give(world.wish({"active": True, "transcript": True}))
    await world.give(world.enters(ALICE, "P1"), world.enters(BOB, "P2"))
    return Timeline(world)


async def ended(world: World) -> Conference:
    await world.give(world.wish({"active": False}))
    await world.give(news.session(ROOM, "conf-0", "stopped"))
    conference: Conference = (await world.conferences())[0]
    assert conference.phase == "ended"
    return conference


async def holding_words(stores: Stores, word: str) -> list[str]:
    """Tables that have this word anywhere, in text or in bytes; the search's own among them."""
    tables = await stores.db.fetch(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search_words_%'"
    )
    found = []
    for (name,) in [tuple(row) for row in tables]:
        rows = await stores.db.fetch(f"SELECT * FROM {name}")  # noqa: S608 (names of tables)
        if any(word in _shown(value) for row in rows for value in tuple(row)):
            found.append(name)
    return found


def _shown(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
