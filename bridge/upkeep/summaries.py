"""Having meetings summed up, beside the rooms: a model takes minutes, and nothing waits for it.

Durable as all errands are: whoever is killed asks the model again. What it answered is noted in
the errand, and judged and posted in the room's own transaction (bridge.rooms.requests_record).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bridge.domain import summary
from bridge.domain.conference import Conference
from bridge.domain.summary import Item, Line, Unusable
from bridge.rooms import record
from bridge.rooms.house import House, Stores
from bridge.rooms.news import CameBack
from bridge.store.database import DATABASE_ERRORS
from bridge.store.errands import Errand
from bridge.text import Language
from bridge.upkeep.model import NoAnswer

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Meetings that are summed up at a time; the others wait in the database."""


_EXPECTED: tuple[type[Exception], ...] = (NoAnswer, Unusable, *DATABASE_ERRORS)


class Model(Protocol):
    """What is asked of bridge.upkeep.model.Model."""

    async def ask(
        self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]
    ) -> str: ...


class Summaries:
    """Carries out errands of kind `summary`. `run()` owns the requests under way."""

    def __init__(self, house: House, stores: Stores, model: Model | None) -> None:
        self._house = house
        self._stores = stores
        self._model = model
        self._asked: dict[str, Errand] = {}
        self._came_back: dict[str, CameBack] = {}
        self._news = asyncio.Event()

    async def carry_out(self, errand: Errand) -> CameBack | None:
        """One look: None while the model is at it."""
        if self._model is None:
            return CameBack(errand.id, "failed")  # it was configured when this was asked
        told = self._came_back.pop(errand.id, None)
        if told is None and errand.id not in self._asked and len(self._asked) < AT_ONCE:
            self._asked[errand.id] = errand
            self._news.set()
        return told

    async def run(self) -> None:
        """Ask the model until cancelled."""
        begun: set[str] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._news.wait()
                self._news.clear()
                begun &= self._asked.keys()
                for errand in [e for e in self._asked.values() if e.id not in begun]:
                    begun.add(errand.id)
                    tasks.create_task(self._sum_up(errand))

    async def _sum_up(self, errand: Errand) -> None:
        outcome = "failed"
        try:
            content = await self._answer(errand)
            await self._stores.errands.note(errand.id, {**errand.content, **content})
            outcome = "done"
        except _EXPECTED as error:
            log.warning("no summary for %s: %s", errand.id, error)
        except Exception:  # the task's top level: a defect must not end the bridge
            log.exception("no summary for %s", errand.id)
        finally:
            self._asked.pop(errand.id, None)
            self._came_back[errand.id] = CameBack(errand.id, outcome)

    async def _answer(self, errand: Errand) -> dict[str, Any]:
        content = errand.content
        said = await self._lines(errand.room_id, content["conference"])
        pieces, left_out = summary.parts(said)
        language = content["language"]
        items: list[Item] = []
        for piece in pieces:
            items += await self._ask(summary.question(piece, language), [n.number for n in piece])
        if len(pieces) > 1:
            items = await self._merged(items, language)
        segments = {line.number: line.segment for line in said}
        return {
            "items": [_noted(item, segments) for item in summary.bounded(items)],
            "heard": [line.segment for line in said],
            "left_out": left_out,
        }

    async def _lines(self, room_id: str, conference: str) -> tuple[Line, ...]:
        c = await self._conference(room_id, conference)
        if c is None:
            return ()
        recorded = await record.load(self._house, self._stores, c, room_name="", now_ms=0)
        return summary.lines(recorded, c.language)

    async def _conference(self, room_id: str, conference: str) -> Conference | None:
        return await record.find(self._stores, room_id, conference)

    async def _merged(self, items: list[Item], language: Language) -> list[Item]:
        """One list of all; the parts' own, one behind the other, where the model makes none."""
        cited = sorted({number for item in items for number in item.rests_on})
        question = summary.merging(summary.bounded(items, most=60), language)
        try:
            return list(await self._ask(question, cited)) or items
        except (NoAnswer, Unusable) as error:
            log.warning("the parts of a summary stay apart: %s", error)
            return items

    async def _ask(
        self, question: list[dict[str, str]], allowed: Sequence[int]
    ) -> tuple[Item, ...]:
        """Ask; once more where the answer is not what was asked for."""
        assert self._model is not None  # noqa: S101 - carry_out() saw to it
        try:
            return summary.read(await self._model.ask(question, summary.SCHEMA), allowed)
        except Unusable as error:
            log.info("a model answered in its own way: %s", error)
            return summary.read(await self._model.ask(question, summary.SCHEMA), allowed)


def _noted(item: Item, segments: Mapping[int, str]) -> dict[str, Any]:
    noted = dataclasses.asdict(item)
    return {**noted, "rests_on": [segments[number] for number in item.rests_on]}
