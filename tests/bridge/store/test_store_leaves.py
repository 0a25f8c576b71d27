"""Leaves that clients handed over, on both databases."""

from __future__ import annotations

from dataclasses import replace

from bridge.domain.leaves import Leave
from bridge.store.database import Database
from bridge.store.leaves import Leaves

LEAVE = Leave(
    media_room="media",
    identity="@alice:a:DEV",
    alias="hash",
    room_id="!r",
    user_id="@alice:a",
    delay_id="syd_1",
    timeout_ms=3_600_000,
    asked_ms=1_700_000_000_000,
)


async def test_what_was_handed_over_is_found_again(db: Database) -> None:
    leaves = Leaves(db)
    await leaves.put(LEAVE)
    assert await leaves.all() == [LEAVE]
    await leaves.connected(LEAVE)
    assert await leaves.all() == [replace(LEAVE, connected=True)]
    await leaves.drop(LEAVE)
    assert await leaves.all() == []


async def test_a_newer_one_replaces_the_older_of_the_same_participant(db: Database) -> None:
    leaves = Leaves(db)
    newer = replace(LEAVE, delay_id="syd_2", asked_ms=LEAVE.asked_ms + 1)
    other = replace(LEAVE, identity="@bob:b:DEV", asked_ms=LEAVE.asked_ms + 2)
    for leave in (LEAVE, other, newer):
        await leaves.put(leave)
    assert await leaves.all() == [replace(LEAVE, replaced=True), newer, other]
    await leaves.drop(LEAVE)
    assert await leaves.all() == [newer, other]


async def test_the_same_again_is_the_same_and_stays_connected(db: Database) -> None:
    leaves = Leaves(db)
    await leaves.put(LEAVE)
    await leaves.connected(LEAVE)
    later = replace(LEAVE, timeout_ms=1, asked_ms=LEAVE.asked_ms + 5)
    await leaves.put(later)
    assert await leaves.all() == [replace(later, connected=True)]
