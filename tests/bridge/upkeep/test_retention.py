"""What is too old goes: records step by step, rows that are done; and one person's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import main
from bridge.domain.keeping import DAY_MS
from bridge.matrix import wire
from bridge.rooms import news
from bridge.store import sweeping
from bridge.store.inbox import NewEntry
from bridge.upkeep.retention import Retention
from tests.support.rooms_world import ALICE, BOB, ROOM, World
from tests.support.words import Timeline, call, ended, holding_words


async def a_record(world: World, utterances: int = 2) -> Timeline:
    room = await call(world)
    for number in range(utterances):
        await world.segment(f"s{number}", (ALICE, BOB)[number % 2], "a secret", at=number * 9000)
    await ended(world)
    await room.send()
    return room


def retention(world: World) -> Retention:
    return Retention(world.house, world.stores, take=world.give_all, clock_ms=world.clock)


async def kept_for(world: World, days: int) -> None:
    content = {"transcript": True, "retention_days": days, "active": False}
    await world.give(world.wish(content))


async def test_an_old_record_goes_in_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.rooms.forgetting.STEP", 2)
    room = await a_record(world, 5)
    await kept_for(world, 30)
    sweep = retention(world)
    world.now_ms += 29 * DAY_MS
    assert not await sweep.look()
    assert len(room.showing("secret")) > 5
    world.now_ms += 2 * DAY_MS
    for left in (3, 1):
        assert await sweep.look()
        await room.send()
        said = await world.stores.utterances.of_conference("conf-0")
        assert len([one for one in said if one.text]) == left
        world.now_ms += 15_000
    assert await sweep.look()
    world.now_ms += 15_000
    await world.give(news.due(ROOM, "conf-0", world.now_ms))
    await room.send()
    assert not await sweep.look()
    assert room.showing("secret") == []
    papers = {e for e, content in room.events.items() if wire.TRANSCRIPT in content}
    assert papers <= room.redacted
    assert await holding_words(world.stores, "secret") == []
    assert await world.stores.meetings.of_room(ROOM) == []
    assert await world.stores.utterances.revisions("conf-0") == []
    cards = [c["body"] for c in room.events.values() if "eu.colloque.card" in c]
    assert "The transcript was deleted" in cards[-1]
    log = await world.stores.redactions.of_room(ROOM)
    assert [one.kind for one in log] == ["utterance"] * 3 + ["meeting"]
    assert {(one.by_user, one.why) for one in log} == {("", "retention")}


async def test_a_running_call_and_what_is_kept_for_ever_stay(world: World) -> None:
    await a_record(world)
    world.now_ms += 4000 * DAY_MS
    assert not await retention(world).look()
    await world.give(news.expired(ROOM, "unknown", 1))
    await kept_for(world, 1)
    await world.give(world.wish({"active": True, "transcript": True}))
    newest = (await world.conferences())[0]
    await world.give(news.expired(ROOM, newest.id, 1))
    assert not (await world.conferences())[0].expired


@pytest.mark.parametrize("lifetime", [None, True, "7", 7 * DAY_MS])
async def test_the_rooms_own_retention(world: World, lifetime: Any) -> None:
    await a_record(world)
    await world.give(world.event(wire.RETENTION, ALICE, {"max_lifetime": lifetime}, ""))
    world.now_ms += 8 * DAY_MS
    assert await retention(world).look() == (lifetime == 7 * DAY_MS)


async def test_rows_that_are_done_go_after_a_month(world: World) -> None:
    room = await a_record(world)
    db, utterances = world.stores.db, "SELECT COUNT(*) FROM outbox WHERE txn_id LIKE 'utt:%'"
    before = {
        table: await db.fetchval(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 (own names)
        for table in ("inbox", "outbox")
    }
    first = await world.stores.inbox.first_heard_of(ROOM)
    world.now_ms += sweeping.HORIZON_MS
    await retention(world).look()
    assert await db.fetchval("SELECT COUNT(*) FROM inbox") == before["inbox"]
    world.now_ms += 1
    await retention(world).look()
    assert await db.fetchval("SELECT COUNT(*) FROM inbox") == 1
    assert await db.fetchval("SELECT COUNT(*) FROM outbox") < before["outbox"]
    assert await world.stores.inbox.first_heard_of(ROOM) == first
    # What shows words can still be found by them.
    assert await db.fetchval(utterances) == 2
    await world.give(world.event(wire.REDACTION, ALICE, {"redacts": room.of("secret")}))
    said = await world.stores.utterances.of_conference("conf-0")
    assert [one.text for one in said] == ["", "a secret"]


async def test_an_entry_that_waits_stays(world: World) -> None:
    world.now_ms -= 2 * sweeping.HORIZON_MS
    entries = [NewEntry(ROOM, "media", f"k{n}", {"event": "x"}) for n in range(3)]
    await world.stores.inbox.commit(entries, now_ms=world.now_ms)
    assert await sweeping.sweep(world.stores.db, world.now_ms + 3 * sweeping.HORIZON_MS) == 0


# ---- one person


async def test_one_persons_words_are_exported_and_erased(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = await a_record(world, 4)
    config = await _config(world, tmp_path)
    assert await _run("export", ALICE, "--config", config) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["segment"] for one in found["utterances"]] == ["s0", "s2"]
    assert {one["room_id"] for one in found["utterances"]} == {ROOM}
    for more in (["--dry-run"], ["--room", "!other"]):
        assert await _run("erase", ALICE, "--config", config, *more) == 0
        assert capsys.readouterr().out == (f"{ROOM}\n" if more == ["--dry-run"] else "")
        assert await world.stores.inbox.next(ROOM) is None
    assert await _run("erase", ALICE, "--config", config) == 0
    await world.give()
    await room.send()
    said = await world.stores.utterances.of_conference("conf-0")
    assert [one.text for one in said] == ["", "a secret", "", "a secret"]
    assert len([e for e in room.showing("secret") if wire.UTTERANCE in room.events[e]]) == 2
    log = await world.stores.redactions.of_room(ROOM)
    assert [(one.by_user, one.why) for one in log] == [(ALICE, "person")]


async def _config(world: World, folder: Path) -> str:
    file = folder / "bridge.yaml"
    (row,) = await world.stores.db.fetch("PRAGMA database_list")
    settings = {
        "homeserver": {"server_name": "a", "address": "http://127.0.0.1:9"},
        "database": {"url": f"sqlite:{tuple(row)[2]}"},
        "web": {"public_url": "https://visio.a"},
    }
    file.write_text(json.dumps(settings), encoding="utf-8")
    return str(file)


async def _run(*arguments: str) -> int:
    import asyncio

    return await asyncio.to_thread(main, ["person", *arguments])
