"""The sender against a homeserver that fails in every way: in order, none lost, none twice."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from bridge.matrix.attachments import unseal
from bridge.matrix.client import Homeserver
from bridge.matrix.outbox import Sender
from bridge.store.database import Database
from bridge.store.outbox import Outbox, Outgoing
from tests.support.homeserver import BOT, REGISTRATION, SERVER_NAME, FakeHomeserver, Fault

ROOM = "!room:fake.test"


def _message(txn_id: str, room_id: str = ROOM, more: dict[str, Any] | None = None) -> Outgoing:
    return Outgoing(
        room_id=room_id,
        txn_id=txn_id,
        kind="message",
        content={"msgtype": "m.notice", "body": txn_id, **(more or {})},
    )


async def put(db: Database, *rows: Outgoing) -> None:
    async with db.acquire() as conn, conn.transaction():
        await Outbox(db).put(conn, *rows, now_ms=1)


@asynccontextmanager
async def sending(db: Database, client: Homeserver) -> AsyncIterator[Sender]:
    sender = Sender(db, client, first_pause_s=0.02)
    task = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


async def until(db: Database, query: str, value: int, timeout: float = 20) -> None:
    """Until the store answers so. It has no event to wait for, so it is asked."""
    async with asyncio.timeout(timeout):
        while await db.fetchval(query) != value:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def empty(db: Database, timeout: float = 20) -> None:
    """Until nothing waits."""
    await until(db, "SELECT COUNT(*) FROM outbox WHERE state = 'waiting'", 0, timeout)


async def test_rows_go_out_in_order_one_at_a_time(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.delay_s = 0.005
    names = [f"m{number}" for number in range(20)]
    await put(db, *(_message(name) for name in names))
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == names
    assert fake.most_in_flight[ROOM] == 1
    event = fake.room(ROOM).events[0]
    assert event["content"]["eu.colloque.txn"] == "m0"
    assert await Outbox(db).event_id("m0") == event["event_id"]


async def test_rooms_do_not_wait_for_each_other(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.fault("!stuck", before="hang", times=100)
    await put(db, _message("stuck", "!stuck:x"), *(_message(f"m{n}") for n in range(3)))
    async with sending(db, client):
        await until(db, "SELECT COUNT(*) FROM outbox WHERE event_id IS NOT NULL", 3)
    assert fake.bodies(ROOM) == ["m0", "m1", "m2"]
    assert await Outbox(db).waiting_rooms() == ["!stuck:x"]


async def test_what_is_worth_nothing_later_is_not_sent_later(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    late = dataclasses.replace(_message("late"), not_after_ms=1)
    soon = dataclasses.replace(_message("soon"), not_after_ms=2**52)
    await put(db, late, soon)
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == ["soon"]


async def test_wake_sends_what_came_later(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    async with sending(db, client) as sender:
        for number in range(5):
            await put(db, _message(f"m{number}"))
            sender.wake(ROOM)
            if number % 2:
                await empty(db)
        await empty(db)
    assert fake.bodies(ROOM) == [f"m{number}" for number in range(5)]


@pytest.mark.parametrize(
    "fault",
    [
        {"after": "cut"},
        {"before": "cut"},
        {"after": "answer", "status": 502, "body": "<html>"},
        {"before": "answer", "status": 502, "body": "<html>"},
        {"after": "answer", "status": 500, "body": {"errcode": "M_UNKNOWN", "error": "x"}},
        {"before": "answer", "status": 503, "body": {"errcode": "M_UNKNOWN", "error": "x"}},
        {"after": "answer", "status": 200, "body": "cut off"},
    ],
)
@pytest.mark.parametrize("forgets", [False, True])
async def test_an_unclear_failure_is_looked_up_before_it_is_repeated(
    db: Database, fake: FakeHomeserver, client: Homeserver, fault: dict[str, Any], forgets: bool
) -> None:
    fake.fault("/send/m.room.message/m1", forget=forgets, **fault)
    await put(db, _message("m0"), _message("m1"), _message("m2"))
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == ["m0", "m1", "m2"]
    assert await Outbox(db).event_id("m1") == fake.room(ROOM).events[1]["event_id"]


async def test_what_was_in_flight_when_the_process_died_is_looked_up(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.fault("/send/m.room.message/m1", after="hang")
    await put(db, _message("m0"), _message("m1"), _message("m2"))
    async with sending(db, client):
        await fake.wait_for(lambda: fake.bodies(ROOM) == ["m0", "m1"])
    assert await Outbox(db).event_id("m1") is None
    fake.forget_transactions()
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == ["m0", "m1", "m2"]


async def test_a_redaction_in_flight_is_found_again(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    await put(
        db,
        _message("m0"),
        Outgoing(
            room_id=ROOM,
            txn_id="redact:m0",
            kind="redaction",
            content={"redacts": "outbox:m0", "reason": "asked for"},
        ),
    )
    fake.fault("/redact/", after="cut")
    async with sending(db, client):
        await fake.wait_for(lambda: len(fake.room(ROOM).events) == 2)
        fake.forget_transactions()
        await empty(db)
    target, redaction = fake.room(ROOM).events
    assert redaction["content"] == {"redacts": target["event_id"], "reason": "asked for"}


async def test_a_homeserver_that_is_away_gets_everything_once_it_is_back(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    names = [f"m{number}" for number in range(10)]
    async with sending(db, client) as sender:
        await put(db, *(_message(name) for name in names[:5]))
        sender.wake(ROOM)
        await fake.wait_for(lambda: len(fake.bodies(ROOM)) >= 2)
        await fake.stop()
        await put(db, *(_message(name) for name in names[5:]))
        sender.wake(ROOM)
        await fake.restart()
        await empty(db)
    assert fake.bodies(ROOM) == names


async def test_a_sign_of_life_ends_a_long_pause(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    await fake.stop()
    sender = Sender(db, client, first_pause_s=30)
    await put(db, _message("m0"))
    task = asyncio.create_task(sender.run())
    await until(db, "SELECT attempts FROM outbox", 1)
    await fake.start()
    sender.wake()
    await fake.wait_for(lambda: fake.bodies(ROOM) == ["m0"], timeout=5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_rate_limit_is_respected(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    limit = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many", "retry_after_ms": 150}
    fake.fault("/send/", status=429, body=limit, times=2)
    await put(db, _message("m0"), _message("m1"))
    start = time.monotonic()
    async with sending(db, client) as sender:
        while not fake.bodies(ROOM):
            sender.wake()  # no sign of life shortens what the homeserver asked for
            await asyncio.sleep(0.01)
        await empty(db)
    assert time.monotonic() - start > 0.3
    assert len([path for _, path in fake.requests if "/send/" in path]) == 4


async def test_what_is_refused_does_not_hold_up_the_room(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    too_large = {"errcode": "M_TOO_LARGE", "error": "event too large"}
    fake.fault("/m1", status=413, body=too_large)
    await put(db, _message("m0"), _message("m1"), _message("m2"))
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == ["m0", "m2"]
    reason = await db.fetchval("SELECT reason FROM outbox WHERE state = 'refused'")
    assert reason == "413 M_TOO_LARGE: event too large"


async def test_a_token_the_homeserver_does_not_know_loses_nothing(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.fault("/send/", status=401, body={"errcode": "M_UNKNOWN_TOKEN", "error": "x"}, times=3)
    await put(db, _message("m0"))
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == ["m0"]


async def test_state_without_the_power_for_it_is_said_in_the_room_once(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.room(ROOM).bot_may_set_state = False
    states = [
        Outgoing(
            room_id=ROOM,
            txn_id=f"status:{number}",
            kind="state",
            type="eu.colloque.conference.status",
            state_key="fake.test",
            content={"rev": number},
            if_forbidden={"msgtype": "m.notice", "body": "no power"},
        )
        for number in range(4)
    ]
    await put(db, *states[:2], _message("m0"))
    async with sending(db, client) as sender:
        await empty(db)
        assert fake.bodies(ROOM) == ["m0", "no power"]
        fake.room(ROOM).bot_may_set_state = True
        await put(db, *states[2:])
        sender.wake(ROOM)
        await empty(db)
    assert fake.bodies(ROOM) == ["m0", "no power"]
    state = fake.room(ROOM).state["eu.colloque.conference.status", "fake.test"]
    assert state["content"] == {"rev": 3}


async def test_threads_edits_and_files(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    thread = {"rel_type": "m.thread", "event_id": "outbox:card:c:1"}
    await put(
        db,
        _message("card:c:1"),
        _message("utt:s:1", more={"m.relates_to": thread}),
        _message(
            "card:c:2",
            more={"m.relates_to": {"rel_type": "m.replace", "event_id": "outbox:card:c:1"}},
        ),
        Outgoing(
            room_id=ROOM,
            txn_id="doc:c:vtt",
            kind="file",
            content={"body": "Transcript", "m.relates_to": thread},
            blob=b"WEBVTT",
            media_type="text/vtt",
            file_name="transcript.vtt",
        ),
    )
    # The upload arrives, the message does not: the file is not uploaded again.
    fake.fault("/send/m.room.message/doc", before="cut", times=2)
    async with sending(db, client):
        await empty(db)
    card, utterance, edit, file = (event["content"] for event in fake.room(ROOM).events)
    root = fake.room(ROOM).events[0]["event_id"]
    assert "m.relates_to" not in card
    assert utterance["m.relates_to"] == {"rel_type": "m.thread", "event_id": root}
    assert edit["m.relates_to"] == {"rel_type": "m.replace", "event_id": root}
    ((mxc, upload),) = fake.uploads.items()
    data, *told = upload
    assert told == ["application/octet-stream", "encrypted"]
    info = file.pop("file")
    assert (info["url"], unseal(data, info)) == (mxc, b"WEBVTT")
    assert file == {
        "msgtype": "m.file",
        "body": "Transcript",
        "filename": "transcript.vtt",
        "info": {"mimetype": "text/vtt", "size": 6},
        "m.relates_to": {"rel_type": "m.thread", "event_id": root},
        "eu.colloque.txn": "doc:c:vtt",
    }


async def test_what_hangs_below_a_refused_card(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.fault("/card", status=413, body={"errcode": "M_TOO_LARGE", "error": "x"})
    thread = {"rel_type": "m.thread", "event_id": "outbox:card"}
    edit = {"rel_type": "m.replace", "event_id": "outbox:card"}
    await put(
        db,
        _message("card"),
        _message("utt", more={"m.relates_to": thread}),
        _message("edit", more={"m.relates_to": edit}),
    )
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == ["utt"]
    assert "m.relates_to" not in fake.room(ROOM).events[0]["content"]
    assert await db.fetchval("SELECT COUNT(*) FROM outbox WHERE state = 'refused'") == 2


async def test_a_reference_does_not_reach_into_another_room(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    await put(db, _message("elsewhere", "!other:x"))
    async with sending(db, client) as sender:
        await empty(db)
        await put(db, _message("here", more={"name": "outbox:elsewhere"}))
        sender.wake(ROOM)
        await empty(db)
    assert fake.room(ROOM).events[0]["content"]["name"] == "outbox:elsewhere"


async def test_a_bot_that_was_thrown_out_gives_up_the_rooms_rows(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    del fake.room(ROOM).members[BOT]
    fake.fault("/send/", before="cut")  # in doubt: the look-up is forbidden, too
    await put(db, _message("m0"), _message("m1"))
    async with sending(db, client):
        await empty(db)
    assert fake.bodies(ROOM) == []


async def test_a_hundred_random_faults(db: Database, fake: FakeHomeserver) -> None:
    """Whatever happens in whatever order: every message once, in order, in each of four rooms."""
    client = Homeserver(fake.address, SERVER_NAME, REGISTRATION, timeout_s=0.3)
    kinds: list[dict[str, Any]] = [
        {"before": "cut"},
        {"after": "cut"},
        {"after": "cut", "forget": True},
        {"after": "hang", "forget": True},
        {"before": "answer", "status": 500},
        {"after": "answer", "status": 502, "body": "x", "forget": True},
        {"before": "answer", "status": 429, "body": {"retry_after_ms": 5}},
    ]
    random, left = Random(1), [100]

    def chaos(method: str, path: str) -> Fault | None:
        if not left[0] or random.random() < 0.5:
            return None
        left[0] -= 1
        return Fault(path, **random.choice(kinds))

    fake.chaos = chaos
    rooms = [f"!r{number}:x" for number in range(4)]
    names = [f"m{number}" for number in range(25)]
    await put(db, *(_message(f"{room}{name}", room) for name in names for room in rooms))
    async with sending(db, client):
        await empty(db, 60)
    for room in rooms:
        assert fake.bodies(room) == [f"{room}{name}" for name in names]
    assert left == [0]
    await client.close()


def _merge(txn_id: str, content: dict[str, Any]) -> Outgoing:
    return Outgoing(
        room_id=ROOM, txn_id=txn_id, kind="merge", type="m.room.power_levels", content=content
    )


async def test_what_is_missing_goes_into_state_as_it_is_then(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    levels = {"users": {"@alice:a": 100}, "events": {"m.room.name": 50}, "invite": 50}
    key = ("m.room.power_levels", "")
    fake.room(ROOM).state[key] = {"event_id": "$0", "content": levels}
    await put(db, _merge("m1", {"events": {"call": 0, "m.room.name": 0}, "ban": 70}))
    async with sending(db, client):
        await empty(db)
    merged = fake.room(ROOM).state[key]
    assert merged["content"] == {
        "users": {"@alice:a": 100},
        "events": {"m.room.name": 50, "call": 0},
        "invite": 50,
        "ban": 70,
    }
    await put(db, _merge("m2", {"events": {"call": 0}}))
    async with sending(db, client):
        await empty(db)
    assert fake.room(ROOM).state[key] is merged, "nothing was missing"
    assert await Outbox(db).event_id("m1") == merged["event_id"]


async def test_nothing_goes_into_state_that_is_not_there(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    await put(db, _merge("m1", {"events": {"call": 0}}))
    async with sending(db, client):
        await empty(db)
    assert fake.room(ROOM).events == []
