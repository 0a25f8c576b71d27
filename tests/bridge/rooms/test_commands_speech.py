"""Commands about how somebody is heard: languages, and not being written down at all."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.recognition import Engine, understood
from bridge.rooms.house import House
from tests.support.rooms_world import ALICE, BOB, ROOM, World, state_event

CAROL = "@carol:elsewhere"


async def spoken(world: World) -> Any:
    rows = [row for row in await world.rows() if row["type"] == "eu.colloque.conference"]
    return rows[-1]["content"].get("languages") if rows else None


async def told(world: World) -> dict[str, Any]:
    """What the scribe was told of people."""
    await world.reconciler._turn(ROOM)
    await world.give()
    _, frame = world.scribe.calls[-1]
    assert isinstance(frame, dict)
    return {key: frame[key] for key in ("languages", "opted_out")}


@pytest.mark.parametrize(
    ("sender", "typed", "languages", "answer"),
    [
        (BOB, "language spoken me en-GB", {BOB: "en-GB"}, "I now listen to Bob"),
        (BOB, "langue parlée moi français", {BOB: "fr"}, "J’écoute désormais Bob"),
        (ALICE, f"language spoken {BOB} en", {BOB: "en"}, "I now listen to Bob"),
        (BOB, f"language spoken {BOB} en", {BOB: "en"}, "I now listen to Bob"),
    ],
)
async def test_each_person_has_a_language(
    world: World, sender: str, typed: str, languages: dict[str, str], answer: str
) -> None:
    await world.say(sender, f"!visio {typed}")
    assert await spoken(world) == languages
    assert (await world.bodies())[0].startswith(answer)


async def test_a_language_of_ones_own_is_taken_back(world: World) -> None:
    await world.say(BOB, "!visio language spoken me en-GB")
    await world.say(BOB, "!visio langue parlée moi aucune")
    assert await spoken(world) is None
    assert (await world.bodies())[-1].startswith("J’écoute de nouveau Bob dans la langue du salon")


async def test_only_who_may_sets_the_language_of_others(world: World) -> None:
    await world.say(BOB, f"!visio language spoken {ALICE} en")
    assert (await world.bodies())[0].startswith("Only a moderator of the room")
    await world.say(ALICE, "!visio language spoken Nobody en")
    assert (await world.bodies())[1].startswith("I know nobody called “Nobody”")
    assert await spoken(world) is None


async def test_a_language_that_no_engine_knows_is_set_and_said(world: World) -> None:
    await world.say(BOB, "!visio language spoken me de")
    assert await spoken(world) == {BOB: "de"}
    assert "knows the language de" in (await world.bodies())[1]


async def test_languages_reach_the_scribe_by_identity(world: World) -> None:
    wish = {"active": True, "transcript": True, "languages": {BOB: "en-GB", CAROL: "de"}}
    await world.give(world.wish(wish))
    await world.grant(BOB)
    assert await told(world) == {"languages": {f"{BOB}:D": "en-GB"}, "opted_out": []}
    await world.say(BOB, "!visio language spoken me none")
    assert (await told(world))["languages"] == {}


async def test_who_opts_out_is_not_heard_and_everybody_sees_it(world: World) -> None:
    await world.give(world.wish({"active": True, "transcript": True}))
    await world.grant(BOB)
    await world.give(world.enters(BOB, "P1"))
    world.media.enter(f"{BOB}:D", "P1", world.now_ms)
    await world.segment("s1", BOB, "before", at=0)
    world.now_ms += 60_000
    await world.say(BOB, "!visio transcribe-me no")
    assert "nothing that Bob says in this room" in (await world.bodies())[-1]
    assert (await told(world))["opted_out"] == [f"{BOB}:D"]
    await world.segment("s2", BOB, "on its way", at=61_000)
    await world.segment("s3", BOB, "said before, told late", at=30_000)
    stored = await world.stores.utterances.of_conference("conf-0")
    assert [u.text for u in stored] == ["before", "said before, told late"]
    await world.say(ALICE, "!visio who")
    assert "Not written down, at their wish: Bob" in await world.bodies()
    await world.say(BOB, "!visio me transcrire oui")
    assert "peut de nouveau être écrit" in (await world.bodies())[-1]
    assert (await told(world))["opted_out"] == []


async def test_a_scribe_and_a_bridge_that_restart_know_who_opted_out(worlds: Any) -> None:
    world = await worlds.open()
    await world.give(world.wish({"active": True, "captions": True}))
    await world.grant(BOB)
    await world.say(BOB, "!visio me transcrire non")
    await worlds.close()
    again = await worlds.open()
    assert (await told(again))["opted_out"] == [f"{BOB}:D"]
    assert again.scribe.calls[0][0] == "start"


async def test_opting_out_everywhere(world: World) -> None:
    await world.say(BOB, "!visio transcribe-me no everywhere")
    assert "in any room" in (await world.bodies())[-1]
    for room in (ROOM, "!other:a"):
        assert set(await world.stores.opted_out.of_room(room)) == {BOB}
    await world.say(BOB, "!visio transcribe-me yes")
    assert "has opted out everywhere" in (await world.bodies())[-1]
    await world.say(BOB, "!visio me transcrire oui partout")
    assert await world.stores.opted_out.of_room(ROOM) == {}
    await world.say(BOB, "!visio transcribe-me")
    assert (await world.bodies())[-1].startswith("Type !visio transcribe-me no")


async def test_every_site_obeys_and_one_answers(world: World) -> None:
    other = state_event("m.room.member", {"membership": "join"}, "@visio:elsewhere")
    world.homeserver.more_state.append(other)
    await world.say(CAROL, "!visio transcribe-me no")
    assert set(await world.stores.opted_out.of_room(ROOM)) == {CAROL}
    assert not any("carol" in body for body in await world.bodies())


async def test_the_announcement_stands_in_the_thread_and_names_engine_and_keeping(
    world: World,
) -> None:
    await world.give(world.wish({"active": True, "transcript": True, "retention_days": 30}))
    (said,) = [
        row["content"]
        for row in await world.rows()
        if "is written down in this room" in row["content"].get("body", "")
    ]
    assert "deleted after 30 days" in said["body"]
    assert "on this organisation’s server a" in said["body"]
    assert "!visio transcribe-me no" in said["body"]
    assert said["m.relates_to"]["event_id"] == "outbox:card:conf-0:0"
    assert said["m.mentions"] == {}


def test_where_voices_are_sent() -> None:
    def house(*urls: str) -> House:
        engines = [Engine(engine="openai", url=url, model="m") for url in urls]
        return House(
            bot="@b:etat.fr",
            server_name="etat.fr",
            public_url="",
            prefix="",
            defaults=None,  # type: ignore[arg-type]
            rules=None,  # type: ignore[arg-type]
            entry=None,  # type: ignore[arg-type]
            allow_servers=(),
            engines=tuple(engines),
        )

    here = house("https://speech.etat.fr/v1", "http://10.0.0.8:8000/v1", "http://localhost/v1")
    assert all(here.owns(host) for host in here.hosts)
    there = house("https://api.openai.com/v1", "https://notetat.fr/v1", "https://8.8.8.8/v1")
    assert not any(there.owns(host) for host in there.hosts)


def test_what_the_engines_may_know() -> None:
    inside = Engine()
    assert understood([inside], "en-GB")
    assert not understood([inside], "fr")
    french = Engine(engine="openai", url="https://h", model="m", languages=["fr", "en-GB"])
    assert understood([inside, french], "fr_CA")
    assert not understood([french], "en-US")
    after = Engine(engine="whisper", model_dir="/m", use="after")
    assert not understood([after], "fr")
