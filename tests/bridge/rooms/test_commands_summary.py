"""Summaries: asked for or wished for, made beside the room, posted with what they rest on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from bridge.domain import summary
from bridge.matrix import summary as shown
from bridge.rooms.house import House
from bridge.store.inbox import NewEntry
from bridge.upkeep.model import Model
from bridge.upkeep.summaries import Summaries
from tests.support.model_server import ModelServer, decides
from tests.support.rooms_world import ALICE, BOB, EVE, ROOM, T0, World


async def a_call(world: World, *words: str, wish: dict[str, Any] | None = None) -> None:
    """A call with these words of Bob's, over and written down."""
    await world.give(world.wish({"active": True, "transcript": True, **(wish or {})}))
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    for number, text in enumerate(words):
        await world.segment(f"s{number}", BOB, text, at=65_000 * number)
    world.now_ms += 600_000
    await world.say(ALICE, "!visio stop")
    stopped = {"type": "session", "conference": "conf-0", "state": "stopped"}
    await world.give(NewEntry(ROOM, "scribe", "session:conf-0:stopped", stopped))


async def is_sent(world: World) -> None:
    """Everything that waits got an event id."""
    await world.stores.db.execute(
        "UPDATE outbox SET state = 'sent', event_id = '$' || txn_id WHERE state = 'waiting'"
    )


@asynccontextmanager
async def model(world: World, *answers: Any) -> AsyncIterator[ModelServer]:
    """The world's errands ask this model."""
    async with ModelServer(*answers).running() as server:
        asked = Model(server.url, "petit-1", first_pause_s=0.01, timeout_s=5)
        summaries = Summaries(world.house, world.stores, asked)
        world.errands._kinds["summary"] = summaries.carry_out
        work = asyncio.create_task(summaries.run())
        yield server
        work.cancel()
        await asked.close()


async def errands(world: World) -> None:
    """Until the model has answered, and that is told."""
    async with asyncio.timeout(20):
        while any(e.kind == "summary" for e in await world.stores.errands.of_room(ROOM)):
            await world.errands._turn(ROOM)
            await world.give()
            await asyncio.sleep(0.02)


async def summaries(world: World) -> list[dict[str, Any]]:
    return [row for row in await world.rows() if row["txn_id"].startswith("doc:conf-0:summary:")]


async def test_a_summary_points_at_what_it_rests_on(world: World) -> None:
    await a_call(world, "we buy it", "Anne writes to them on Monday")
    await is_sent(world)
    told = {
        "points": [],
        "decisions": [{"text": "They <b>buy</b> it", "utterances": [1, 77]}],
        "actions": [
            {"text": "Write", "who": "Anne & co", "when": "Monday", "utterances": [2]},
            {"text": "Invented", "who": "", "when": "", "utterances": [12]},
        ],
    }
    async with model(world, json.dumps(told)) as server:
        event_id = await world.say(ALICE, "!visio summary")
        begun = (await world.rows())[-1]["content"]
        assert "the model petit-1" in begun["body"]
        assert begun["m.relates_to"] == {"m.in_reply_to": {"event_id": event_id}}
        await errands(world)
    (row,) = await summaries(world)
    assert row["txn_id"].startswith("doc:conf-0:summary:")
    content = row["content"]
    assert content["body"].splitlines() == [
        "Summary of the call, made by a machine (petit-1)",
        "It may be wrong or incomplete: check it by following the times, which lead to what was "
        "said.",
        "",
        "## Decisions made",
        "",
        "- They <b>buy</b> it [0:00]",
        "",
        "## To do",
        "",
        "- Write — Anne & co, Monday [1:05]",
    ]
    link = "https://matrix.to/#/%21room/%24utt%3As1%3A0?via=a"
    assert (
        f'<li>Write — Anne &amp; co, Monday (<a href="{link}">1:05</a>)</li>'
        in (content["formatted_body"])
    )
    assert "&lt;b&gt;buy" in content["formatted_body"]
    assert content["m.mentions"] == {}
    assert content["m.relates_to"]["event_id"] == "outbox:card:conf-0:0"
    assert content["eu.colloque.summary"]["model"] == "petit-1"
    assert [item["segments"] for item in content["eu.colloque.summary"]["items"]] == [
        ["s0"],
        ["s1"],
    ]
    assert "Anne writes to them" in server.requests[0]["messages"][1]["content"]


async def test_wished_for_it_is_made_after_each_call_and_once(world: World) -> None:
    async with model(world, decides("yes", 1)):
        await a_call(world, "hello", wish={"summary": True})
        await errands(world)
        assert len(await summaries(world)) == 1
        # New documents are no new summary.
        await world.segment("late", BOB, "late", at=1000)
        world.now_ms += 20_000
        await world.give(NewEntry(ROOM, "media", "due1", {"event": "colloque.due", "at_ms": T0}))
        assert "doc:conf-0:md:2" in await world.txns()
        await errands(world)
        assert len(await summaries(world)) == 1
        await world.say(ALICE, "!visio résumé")
        await world.say(BOB, "!visio résumé")  # at work already
        await errands(world)
        assert len(await summaries(world)) == 2
        world.now_ms += 1000
        await world.say(ALICE, "!visio résumé")
        await errands(world)
        assert len(await summaries(world)) == 3


@pytest.mark.parametrize(
    ("answers", "posted"),
    [
        (["no json at all", decides("yes", 1)], 1),
        (["no json at all"], 0),
        ([decides("of nothing", 99)], 1),
        (["429 0", decides("yes", 1)], 1),
        (["401"], 0),
    ],
)
async def test_answers_with_faults(world: World, answers: list[str], posted: int) -> None:
    await a_call(world, "hello")
    async with model(world, *answers):
        await world.say(ALICE, "!visio summary")
        await errands(world)
    assert len(await summaries(world)) == posted
    if not posted:
        assert (await world.bodies())[-1].startswith("The summary could not be made")
    elif "of nothing" in answers[0]:
        assert "I found no important point" in (await summaries(world))[0]["content"]["body"]


async def test_a_long_meeting_is_read_in_parts_that_are_merged(world: World) -> None:
    await a_call(world, *(f"word{n} " + "x" * 7000 for n in range(6)))

    def answer(request: dict[str, Any]) -> str:
        told = json.loads(request["messages"][1]["content"])
        if "items" in told:
            numbers = [n for item in told["items"] for n in item["utterances"]]
            return decides("all of it", *numbers, 500)
        return decides("one part", told["utterances"][0]["n"])

    async with model(world, answer) as server:
        await world.say(ALICE, "!visio summary")
        await errands(world)
    assert len(server.requests) == 3
    (item,) = (await summaries(world))[0]["content"]["eu.colloque.summary"]["items"]
    assert (item["text"], item["segments"]) == ("all of it", ["s0", "s3"])


async def test_parts_that_no_model_merges_stay_side_by_side(world: World) -> None:
    await a_call(world, *(f"word{n} " + "x" * 7000 for n in range(6)))

    def answer(request: dict[str, Any]) -> str:
        told = json.loads(request["messages"][1]["content"])
        if "items" in told:
            return "sorry"
        first = told["utterances"][0]["n"]
        return decides(f"part from {first}", first)

    async with model(world, answer):
        await world.say(ALICE, "!visio summary")
        await errands(world)
    items = (await summaries(world))[0]["content"]["eu.colloque.summary"]["items"]
    assert [item["text"] for item in items] == ["part from 1", "part from 4"]


async def test_what_does_not_fit_is_left_out_and_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "PARTS", 1)
    await a_call(world, *(f"word{n} " + "x" * 7000 for n in range(6)))
    async with model(world, decides("the beginning", 1)):
        await world.say(ALICE, "!visio summary")
        await errands(world)
    body = (await summaries(world))[0]["content"]["body"]
    assert "The end of the call (3 utterances) is not in it" in body


async def test_words_that_are_deleted_meanwhile_are_in_no_summary(world: World) -> None:
    await a_call(world, "hello", "a secret")
    said = (await world.stores.utterances.of_conference("conf-0"))[1]
    async with model(world, decides("a secret", 2)):
        await world.say(ALICE, "!visio summary")
        async with asyncio.timeout(20):
            while True:
                (errand,) = [
                    e for e in await world.stores.errands.of_room(ROOM) if e.kind == "summary"
                ]
                if "items" in errand.content:
                    break
                await world.errands._kinds["summary"](errand)
                await asyncio.sleep(0.02)
        async with world.stores.db.acquire() as conn, conn.transaction():
            await world.stores.utterances.put(conn, replace(said, rev=said.rev + 1, text=""))
        await world.errands._turn(ROOM)
        await errands(world)
    assert await summaries(world) == []
    assert (await world.bodies())[-1].startswith("What was said has changed")


async def test_words_that_are_deleted_later_take_the_summary_along(world: World) -> None:
    await a_call(world, "hello", "a secret")
    await is_sent(world)
    async with model(world, decides("a secret", 2)):
        await world.say(ALICE, "!visio summary")
        await errands(world)
    (row,) = await summaries(world)
    await world.give(world.event("m.room.redaction", ALICE, {"redacts": "$utt:s1:0"}))
    rows = {row["txn_id"]: row for row in await world.rows()}
    assert rows[row["txn_id"]]["kind"] == "withdrawn"
    assert "secret" not in str(rows[row["txn_id"]])
    assert rows[f"gone:{row['txn_id']}"]["content"] == {"redacts": f"outbox:{row['txn_id']}"}


async def test_who_may_and_where(world: World) -> None:
    await world.say(EVE.replace("evil.example", "a"), "!visio summary")
    assert (await world.bodies())[-1].startswith("There is no call")
    await a_call(world)
    await world.say(ALICE, "!visio summary")
    assert (await world.bodies())[-1].startswith("Nothing was transcribed")
    await world.segment("s9", BOB, "hello")
    await world.say("@carol:a", "!visio summary")
    assert (await world.bodies())[-1].startswith("Only a moderator of the room")
    await world.say("@carol:a", "!visio summary on")
    assert (await world.bodies())[-1].startswith("Only a moderator of the room")
    await world.say(ALICE, "!visio summary on")
    assert "is sent to the model petit-1" in (await world.bodies())[-1]
    await world.say(ALICE, "!visio résumé maybe")
    assert "Résumé par une machine après chaque appel transcrit : activé." in await world.bodies()
    await world.say("@carol:a", "!visio summary")
    assert "the model petit-1" in (await world.bodies())[-1]
    await world.say(ALICE, "!visio summary off")
    assert (await world.bodies())[-1] == "The summary is off."


async def test_nothing_of_an_encrypted_room_goes_to_a_model_unasked(world: World) -> None:
    await a_call(world, "hello")
    await world.give(world.event("m.room.encryption", ALICE, {"algorithm": "x"}, ""))
    await world.say(ALICE, "!visio summary")
    assert (await world.bodies())[-1].startswith("This room is encrypted: I send nothing")
    assert not any(e.kind == "summary" for e in await world.stores.errands.of_room(ROOM))


async def test_without_a_model_there_is_none(world: World) -> None:
    world.conductor._house = bare = replace(world.house, summary_model="")
    assert isinstance(bare, House)
    await a_call(world, "hello", wish={"summary": True})
    await world.say(ALICE, "!visio summary")
    assert (await world.bodies())[-1].startswith("No model is configured here")
    await world.say(ALICE, "!visio summary on")
    assert (await world.bodies())[-1].startswith("No model is configured here")
    assert await summaries(world) == []
    # It was configured when somebody asked.
    world.conductor._house = world.house
    await world.say(ALICE, "!visio summary")
    await errands(world)
    assert (await world.bodies())[-1].startswith("The summary could not be made")


def test_a_message_is_never_too_large() -> None:
    rests = tuple(shown.Rests(f"s{n}", n, f"${'e' * 250}{n}") for n in range(4))
    item = shown.Shown(
        section="actions", text="é" * 300, who="w" * 80, when="n" * 80, rests_on=rests
    )
    told = shown.Summary(
        room_id="!room:a",
        conference="c",
        model="m",
        language="fr",
        root="card:c:0",
        server="a",
        items=(item,) * 45,
    )
    content = shown.message(told)
    size = len(json.dumps(content, ensure_ascii=False).encode())
    assert 20_000 < size <= shown.LARGEST
    assert 5 < len(content["eu.colloque.summary"]["items"]) < 45
