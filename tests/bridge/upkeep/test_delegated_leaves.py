"""The owner of the leaves that clients handed over, on a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bridge.config import Database, Settings
from bridge.domain.leaves import CONNECT_MS, GRACE_MS, Action, Leave
from bridge.errors import Unavailable
from bridge.matrix.admission import BadAsk
from bridge.matrix.delayed import Answer
from bridge.media.server import MediaParticipant
from bridge.store.database import Database as OpenDatabase
from bridge.store.database import open_database
from bridge.store.leaves import Leaves as Store
from bridge.upkeep.leaves import MOST_OF_A_USER, Leaves

ALICE, BOB = "@alice:a", "@bob:b"


def leave(user: str = ALICE, delay_id: str = "syd_1", **more: object) -> Leave:
    values = {
        "media_room": "media",
        "identity": f"{user}:DEV",
        "alias": "",
        "room_id": "!r",
        "user_id": user,
        "delay_id": delay_id,
        "timeout_ms": 3_600_000,
        "asked_ms": 0,
        **more,
    }
    return Leave(**values)  # type: ignore[arg-type]


@dataclass
class World:
    """The owner, and what it asks. `asked` fills with (delay id, action)."""

    store: Store
    db: OpenDatabase
    there: set[str] = field(default_factory=set)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Action]] = field(default_factory=list)
    slow: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    down: bool = False
    now_ms: int = 1_000
    looks: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.owner = Leaves(self.store, self, self, clock_ms=lambda: self.now_ms, look_s=0.01)

    # the media server

    async def participants(self, name: str) -> list[MediaParticipant]:
        self.looks += 1
        self.changed.set()
        if self.down:
            raise Unavailable("media_unavailable")
        return [
            MediaParticipant(identity, f"P{identity}", "", "ACTIVE", False, 0, ())
            for identity in sorted(self.there)
        ]

    # the homeservers

    def is_own(self, user_id: str) -> bool:
        return user_id.endswith(":a")

    async def reaches(self, user_id: str) -> bool:
        return user_id not in self.unknown

    async def ask(self, user_id: str, delay_id: str, action: Action) -> Answer:
        self.asked.append((delay_id, action))
        self.changed.set()
        if user_id in self.slow:
            await asyncio.sleep(3600)
        return self.answers.get(action, Answer("done"))

    # what the tests do

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with asyncio.timeout(20):
            running = asyncio.create_task(self.owner.run())
            yield
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    async def until(self, *asked: tuple[str, Action]) -> None:
        while not set(asked) <= set(self.asked):
            self.changed.clear()
            await self.changed.wait()

    async def some_looks(self) -> None:
        """Two whole looks at the media server have passed."""
        end = self.looks + 3
        while self.looks < end:
            self.changed.clear()
            await self.changed.wait()

    async def stored(self) -> list[str]:
        return [one.delay_id for one in await self.store.all()]

    async def until_dropped(self) -> None:
        while await self.stored():  # noqa: ASYNC110 -- without leaves there are no more looks
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    db = await open_database(Settings(database=Database(url=f"sqlite:{folder}/leaves.db")))
    try:
        yield World(Store(db), db)
    finally:
        await db.stop()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as made:
        yield made


async def test_postponed_while_there_and_sent_when_gone(world: World) -> None:
    async with world.at_work():
        await world.owner.take(leave())
        await world.some_looks()
        assert world.asked == [], "not connected yet"
        world.there = {"@alice:a:DEV"}
        await world.until(("syd_1", "restart"))
        world.now_ms += 2_880_000
        while world.asked.count(("syd_1", "restart")) < 2:
            await world.some_looks()
        world.there = set()
        await world.some_looks()
        assert ("syd_1", "send") not in world.asked
        world.now_ms += GRACE_MS
        await world.until(("syd_1", "send"))
        await world.until_dropped()


async def test_a_short_break_is_no_leave(world: World) -> None:
    async with world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
        for _ in range(3):
            world.there = set()
            await world.some_looks()
            world.now_ms += GRACE_MS - 1
            world.there = {"@alice:a:DEV"}
            await world.some_looks()
    assert world.asked == [("syd_1", "restart")]


async def test_who_never_connects_leaves(world: World) -> None:
    async with world.at_work():
        await world.owner.take(leave(asked_ms=world.now_ms))
        world.now_ms += CONNECT_MS
        await world.until(("syd_1", "send"))


async def test_the_newest_takes_the_place_of_the_older_which_is_taken_back(world: World) -> None:
    async with world.at_work():
        world.there = {"@alice:a:DEV", "@bob:b:DEV"}
        await world.owner.take(leave())
        await world.owner.take(leave(BOB, "syd_b"))
        await world.until(("syd_1", "restart"), ("syd_b", "restart"))
        await world.owner.take(leave(delay_id="syd_2"))
        await world.until(("syd_1", "cancel"), ("syd_2", "restart"))
        while await world.stored() != ["syd_2", "syd_b"]:
            await world.some_looks()


async def test_handing_the_same_over_again_changes_nothing(world: World) -> None:
    async with world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
        await world.owner.take(leave())
        await world.some_looks()
    assert world.asked == [("syd_1", "restart")]


async def test_the_other_name_of_the_same_device_counts(world: World) -> None:
    async with world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave(identity="hash", alias="@alice:a:DEV"))
        await world.until(("syd_1", "restart"))


async def test_a_departure_while_the_bridge_was_down_is_noticed(tmp_path: Path) -> None:
    async with opened(tmp_path) as world, world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
    async with opened(tmp_path) as again, again.at_work():
        await again.some_looks()
        again.now_ms += GRACE_MS
        await again.until(("syd_1", "send"))
        await again.until_dropped()


async def test_an_unknown_leave_is_done_with(world: World) -> None:
    world.answers["restart"] = Answer("unknown")
    async with world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
        await world.until_dropped()


async def test_a_failing_homeserver_is_asked_again_after_a_rest(world: World) -> None:
    world.answers["send"] = Answer("failed", rest_ms=7_000)
    async with world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
        world.there = set()
        await world.some_looks()
        world.now_ms += GRACE_MS
        await world.until(("syd_1", "send"))
        await world.some_looks()
        assert world.asked.count(("syd_1", "send")) == 1
        world.now_ms += 7_000
        world.answers.clear()
        await world.until_dropped()
    assert world.asked.count(("syd_1", "send")) == 2


async def test_while_the_media_server_does_not_answer_nobody_is_gone(world: World) -> None:
    async with world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
        world.down = True
        world.there = set()
        await world.some_looks()
        world.now_ms += 10 * GRACE_MS
        await world.some_looks()
        assert ("syd_1", "send") not in world.asked


async def test_slow_homeservers_of_others_hold_up_nobody_of_ours(world: World) -> None:
    strangers = [f"@s{n}:b" for n in range(40)]
    world.slow = set(strangers)
    async with world.at_work():
        world.there = {f"{user}:DEV" for user in (*strangers, ALICE)}
        for n, user in enumerate(strangers):
            await world.owner.take(leave(user, f"syd_s{n}"))
        while len(world.asked) < 8:
            await world.some_looks()
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
        assert len(world.asked) == 9


async def test_one_person_hands_over_a_few_and_no_more(world: World) -> None:
    for n in range(MOST_OF_A_USER):
        await world.owner.take(leave(delay_id=f"syd_{n}", identity=f"i{n}"))
    with pytest.raises(BadAsk) as refused:
        await world.owner.take(leave(delay_id="syd_x"))
    assert refused.value.errcode == "M_BAD_JSON"
    await world.owner.take(leave(BOB, "syd_b"))
    await world.owner.take(leave(delay_id="syd_0", identity="i0"))
    assert len(await world.stored()) == MOST_OF_A_USER + 1


async def test_whose_homeserver_cannot_be_found_hands_nothing_over(world: World) -> None:
    world.unknown = {BOB}
    with pytest.raises(BadAsk):
        await world.owner.take(leave(BOB))
    assert await world.stored() == []


async def test_what_came_while_it_was_asked_is_not_lost(world: World) -> None:
    world.slow = {ALICE}
    async with world.at_work():
        world.there = {"@alice:a:DEV"}
        await world.owner.take(leave())
        await world.until(("syd_1", "restart"))
        await world.owner.take(replace(leave(), timeout_ms=20_000))
        assert [one.timeout_ms for one in await world.store.all()] == [20_000]
