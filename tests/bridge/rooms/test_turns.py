"""One turn per room at a time; rest, errors and the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bridge.rooms.turns import Turns


@asynccontextmanager
async def running(turns: Turns) -> AsyncIterator[None]:
    task = asyncio.create_task(turns.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def recorded(
    calls: list[str], then: Callable[[str], Awaitable[float | None]]
) -> Callable[[str], Awaitable[float | None]]:
    async def handle(room_id: str) -> float | None:
        calls.append(room_id)
        return await then(room_id)

    return handle


async def nothing(room_id: str) -> None:
    return None


async def test_every_woken_room_gets_its_turn() -> None:
    calls: list[str] = []
    turns = Turns(recorded(calls, nothing))
    async with running(turns):
        turns.wake(["a", "b", "a"])
        await turns.idle()
    assert sorted(calls) == ["a", "b"]


async def test_a_room_woken_during_its_turn_gets_another_but_never_two_at_once() -> None:
    calls: list[str] = []
    entered, gate = asyncio.Event(), asyncio.Event()
    at_once = 0

    async def work(room_id: str) -> None:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        entered.set()
        await gate.wait()
        at_once -= 1

    turns = Turns(recorded(calls, work))
    async with running(turns):
        turns.wake(["a"])
        await entered.wait()
        turns.wake(["a"])
        turns.wake(["a"])
        gate.set()
        await turns.idle()
    assert calls == ["a", "a"]


async def test_no_more_turns_at_once_than_the_limit() -> None:
    now, most = 0, 0

    async def work(room_id: str) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    turns = Turns(work, limit=2)
    async with running(turns):
        turns.wake("abcdefgh")
        await turns.idle()
    assert most == 2


async def test_a_resting_room_holds_no_place_and_comes_again() -> None:
    calls: list[str] = []
    rests = {"a": [0.02], "b": []}

    async def work(room_id: str) -> float | None:
        return rests[room_id].pop() if rests[room_id] else None

    turns = Turns(recorded(calls, work), limit=1)
    async with running(turns):
        turns.wake(["a", "b"])
        turns.wake(["a"])
        await turns.idle()
    assert calls == ["a", "b", "a"]


async def test_a_turn_that_fails_is_repeated_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[str] = []

    async def work(room_id: str) -> None:
        if calls.count(room_id) == 1 and room_id == "a":
            raise ValueError("a defect")

    turns = Turns(recorded(calls, work), rest_after_error_s=0.01)
    async with running(turns):
        turns.wake(["a", "b"])
        await turns.idle()
    assert calls == ["a", "b", "a"]
    assert "the turn of room a failed" in caplog.text


async def test_the_end_ends_turns_under_way() -> None:
    entered = asyncio.Event()
    ended = []

    async def work(room_id: str) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(room_id)

    turns = Turns(work)
    async with running(turns):
        turns.wake(["a"])
        await entered.wait()
    assert ended == ["a"]
