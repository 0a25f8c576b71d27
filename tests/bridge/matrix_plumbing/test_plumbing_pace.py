"""Five events a second for a homeserver, and what waits together becomes one message."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from bridge.matrix import timeline, wire
from bridge.matrix.client import Homeserver
from bridge.matrix.outbox import Sender
from bridge.matrix.pace import EVENTS_PER_S, Pace
from bridge.store.database import Database
from bridge.store.outbox import Outbox, Outgoing
from bridge.store.utterances import Utterance
from tests.support.homeserver import FakeHomeserver

ROOM = "!room:fake.test"


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sent: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)

    def pace(self, most: int = EVENTS_PER_S) -> Pace:
        return Pace(most, now_s=lambda: self.now_s, sleep=self.sleep)


async def test_never_more_than_five_in_any_second() -> None:
    time = Time()
    pace = time.pace()
    for number in range(40):
        await pace.turn()
        time.sent.append(time.now_s)
        time.now_s += 0.03 * (number % 4)
    for at, later in zip(time.sent, time.sent[EVENTS_PER_S:], strict=False):
        assert later - at >= 1.0 - 1e-9
    assert time.sent[EVENTS_PER_S - 1] - time.sent[0] < 0.5, "a few may come at once"


async def test_what_does_not_wait_counts() -> None:
    time = Time()
    pace = time.pace(2)
    await pace.turn()
    pace.taken()
    await pace.turn()
    assert time.now_s == pytest.approx(101.0)


async def test_who_waits_goes_in_turn() -> None:
    time = Time()
    pace, order = time.pace(1), []

    async def one(number: int) -> None:
        await pace.turn()
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(6)))
    assert order == list(range(6))


# ---- one message for what waits together


def said(speaker: str, number: int, at_ms: int, text: str = "", **more: Any) -> dict[str, Any]:
    utterance = Utterance(
        conference="c1",
        segment=f"{speaker}{number}",
        rev=0,
        room_id=ROOM,
        speaker=f"@{speaker}:a",
        device="D",
        display_name=speaker.title(),
        text=text or f"{speaker} {number}",
        language="en",
        start_ms=at_ms,
        end_ms=at_ms + 500,
        engine="test",
        **more,
    )
    return timeline.utterance(utterance)


def test_a_turn_becomes_one_message() -> None:
    first, *later = said("anne", 0, 0), said("anne", 1, 900), said("anne", 2, 2000)
    content, places = timeline.gathered(first, later)
    assert list(places) == [0, 1]
    assert content["body"] == "Anne : anne 0 anne 1 anne 2"
    assert content[wire.RELATES_TO] == first[wire.RELATES_TO]
    told = content[wire.UTTERANCE]
    assert (told["segment"], told["text"]) == ("anne0", "anne 0 anne 1 anne 2")
    assert (told["start_ms"], told["end_ms"]) == (0, 2500)
    assert [part["segment"] for part in told["segments"]] == ["anne0", "anne1", "anne2"]
    # What is one message already takes more in, when it waits longer.
    more, places = timeline.gathered(content, [said("anne", 3, 2600)])
    assert [part["segment"] for part in more[wire.UTTERANCE]["segments"]][-1] == "anne3"


@pytest.mark.parametrize(
    "later",
    [
        said("bob", 0, 900),
        said("anne", 1, 500 + 4001),
        said("anne", 1, 900, voice="V2"),
        said("anne", 1, 900, "x" * 4001),
    ],
)
def test_another_turn_is_another_message(later: dict[str, Any]) -> None:
    first = said("anne", 0, 0)
    assert timeline.gathered(first, [later, said("anne", 9, 950)][:1]) == (first, [])


def test_only_where_many_wait_is_a_turn_gathered_past_the_others() -> None:
    first = said("anne", 0, 0)
    few = [said("bob", 0, 100), said("anne", 1, 600)]
    assert timeline.gathered(first, few)[1] == []
    many = [said(who, n, n * 600) for n in range(1, 6) for who in ("bob", "anne")]
    content, places = timeline.gathered(first, many)
    assert list(places) == [1, 3, 5, 7, 9]
    assert content["body"] == "Anne : " + " ".join(f"anne {n}" for n in range(6))


def test_a_message_does_not_grow_without_end() -> None:
    later = [said("anne", n, n * 100) for n in range(1, 60)]
    assert len(timeline.gathered(said("anne", 0, 0), later)[1]) == timeline.MOST


async def test_a_burst_of_eight_speakers_loses_nothing_and_keeps_their_order(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    """20 utterances a second for five seconds, with five events a second to say them in."""
    speakers, time = [f"s{n}" for n in range(8)], Time()
    rows = [
        Outgoing(
            room_id=ROOM,
            txn_id=f"utt:{speaker}{number}:0",
            kind="message",
            content=said(speaker, number, number * 400),
            segments=(f"{speaker}{number}",),
        )
        for number in range(13)
        for speaker in speakers
    ]
    sender = Sender(db, client, pace=time.pace())
    task = asyncio.create_task(sender.run())
    outbox = Outbox(db)
    for begin in range(0, len(rows), 20):
        async with db.acquire() as conn, conn.transaction():
            await outbox.put(conn, *rows[begin : begin + 20], now_ms=1)
        sender.wake(ROOM)
    async with asyncio.timeout(20):
        while await outbox.waiting():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    heard: dict[str, list[str]] = defaultdict(list)
    for event in fake.room(ROOM).events:
        told = event["content"][wire.UTTERANCE]
        heard[told["speaker"]] += [part["text"] for part in told.get("segments", [told])]
    assert heard == {f"@{s}:a": [f"{s} {n}" for n in range(13)] for s in speakers}
    events = len(fake.room(ROOM).events)
    assert events <= 40, "merged where they waited"
    assert time.now_s - 100 <= events / EVENTS_PER_S + 1
    # Every utterance knows the message it is in.
    known = await outbox.find(row.txn_id for row in rows)
    ids = {event["event_id"] for event in fake.room(ROOM).events}
    assert len(known) == len(rows)
    assert {sent.event_id for sent in known.values()} == ids


async def test_a_merged_message_that_is_refused_takes_its_parts_with_it(
    db: Database, fake: FakeHomeserver, client: Homeserver
) -> None:
    fake.fault("/send/", before="answer", status=413, body={"errcode": "M_TOO_LARGE", "error": "x"})
    sender = Sender(db, client)
    hello = Outgoing(room_id=ROOM, txn_id="hello", kind="redaction", content={"redacts": "$x"})
    async with db.acquire() as conn, conn.transaction():
        await Outbox(db).put(conn, hello, now_ms=1)
    task = asyncio.create_task(sender.run())
    async with asyncio.timeout(20):
        while await Outbox(db).waiting():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with db.acquire() as conn, conn.transaction():
        for number in range(2):
            row = Outgoing(
                room_id=ROOM,
                txn_id=f"utt:a{number}:0",
                kind="message",
                content=said("a", number, number * 100),
                segments=(f"a{number}",),
            )
            await Outbox(db).put(conn, row, now_ms=1)
    sender.wake(ROOM)
    query = "SELECT COUNT(*) FROM outbox WHERE state = 'refused' AND content = '{}'"
    async with asyncio.timeout(20):
        while await db.fetchval(query) != 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [event["type"] for event in fake.room(ROOM).events] == [wire.REDACTION]
