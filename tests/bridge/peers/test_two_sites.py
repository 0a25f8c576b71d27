"""Two bridges, one call: one card, one thread, one record, whoever dies."""

from __future__ import annotations

import functools
import json
from typing import Any

from bridge.config import Transcripts
from bridge.domain.federation import DEAD_MS
from bridge.rooms import news
from bridge.store.inbox import NewEntry
from tests.support.rooms_world import ALICE, BOB, ROOM
from tests.support.sites_world import Site, Sites, until
from tests.support.words import holding_words

CARD = "eu.colloque.card"
UTTERANCE = "eu.colloque.utterance"
STATUS = "eu.colloque.conference.status"
TRANSCRIPT = "eu.colloque.transcript"
FORMS = len(Transcripts().documents)


async def enters(site: Site, user: str, sid: str) -> None:
    await site.world.grant(user)
    await site.give(site.world.enters(user, sid))


async def running(site: Site) -> Any:
    conferences = await site.world.conferences()
    return conferences[0] if conferences and conferences[0].phase == "running" else None


async def lead(site: Site) -> str:
    conference = await running(site)
    if conference is None:
        return "no call"
    return conference.joint.stand.lead if conference.joint else site.name


async def say(site: Site, user: str, segment: str, text: str, at: int) -> None:
    conference = (await site.world.conferences())[0].id
    heard = site.world.heard(segment, user, text, at=at, conference=conference)
    await site.give(heard)


async def test_the_second_site_follows(sites: Sites) -> None:
    async with sites.at_work():
        a, b = sites.of["a"], sites.of["b"]
        await enters(a, ALICE, "PA1")
        await until(lambda: _follows(b, "a"))
        await enters(b, BOB, "PB1")
        await until(lambda: _shows(sites, a, "Bob"))
        assert len(sites.cards()) == 1
        shown = (await running(b)).present
        assert {(stay.user_id, stay.site) for stay in shown} == {(ALICE, "a"), (BOB, "")}
        shown = (await running(a)).present
        assert {(stay.user_id, stay.site) for stay in shown} == {(ALICE, ""), (BOB, "b")}
        await until(lambda: len([key for key in sites.states if key[0] == STATUS]) == 2)
        statuses = [sites.states[STATUS, server] for server in ("a", "b")]
        assert {status["conference"] for status in statuses} == {(await running(a)).id}
        assert {status["card"] for status in statuses} == set(sites.cards())


async def _follows(site: Site, server: str) -> bool:
    return await lead(site) == server


async def _shows(sites: Sites, site: Site, name: str) -> bool:
    site.world.now_ms += 3_000  # the card's pause
    await site.give(_due(site))
    cards = sites.standing()
    return any(name in content["body"] for content in cards.values())


def _due(site: Site) -> Any:
    return news.due(ROOM, "any", site.world.now_ms)


async def test_two_that_begin_at_once_become_one(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    a.alive = b.alive = False
    async with sites.at_work():
        await enters(a, ALICE, "PA1")
        await enters(b, BOB, "PB1")
        a.alive = b.alive = True
        await until(lambda: _follows(b, "a"))
        await until(lambda: len(sites.standing()) == 1 and len(sites.redacted) == 1)
        ((card, content),) = sites.standing().items()
        assert card.startswith("$a-")
        assert content[CARD]["conference"] == (await running(b)).call_id == (await running(a)).id


async def test_a_bridge_no_event_told_of_is_believed_when_it_speaks(sites: Sites) -> None:
    # A bot that joins while ours does: Synapse tells our bridge no event of it.
    a, b = sites.of["a"], sites.of["b"]
    b.hide("a")
    async with sites.at_work():
        b.world.homeserver.gone.clear()
        await enters(b, BOB, "PB1")
        await enters(b, ALICE, "PB2")  # Element Call listens at every media server of the call
        await enters(a, ALICE, "PA1")
        await until(lambda: _agreed(a, b))
        await until(lambda: len(sites.standing()) == 1)
        await until(lambda: _knows(a, BOB))
        shown = {(stay.user_id, stay.site) for stay in (await running(a)).present}
        assert shown == {(ALICE, ""), (BOB, "b")}


async def test_what_a_site_said_counts_once_its_bridge_is_known(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    b.hide("a")
    async with sites.at_work():
        await enters(a, ALICE, "PA1")
        await until(lambda: a.asked)
        b.world.now_ms += 1_000
        await enters(b, BOB, "PB1")
        assert await lead(b) == "b", "for all it knows it is alone"
        await b.give(b.world.member("@visio:a", "join"))
        await until(lambda: _agreed(a, b))
        await until(lambda: len(sites.standing()) == 1)
        assert await lead(b) == "a"


async def test_a_call_that_a_guest_began_before_their_own_bridge_came(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    b.hide("a")
    a.alive = False
    async with sites.at_work():
        await enters(b, ALICE, "PB1")
        assert (await running(b)).started_by == ALICE
        a.world.now_ms += 1_000
        await enters(a, ALICE, "PA1")
        a.alive = True
        await b.give(b.world.member("@visio:a", "join"))
        await until(lambda: _agreed(a, b))
        assert await lead(a) == "b"
        # Nobody has rights over a call by the word of another ministry.
        assert (await running(a)).joint.stand.call.started_by == "@visio:b"


async def _agreed(one: Site, other: Site) -> bool:
    calls = [await running(site) for site in (one, other)]
    return None not in calls and len({call.call_id for call in calls}) == 1


async def test_one_thread_and_one_record(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    async with sites.at_work():
        await enters(a, ALICE, "PA1")
        await until(lambda: _follows(b, "a"))
        await enters(b, BOB, "PB1")
        await until(lambda: _root_known(b))
        await say(a, ALICE, "seg-a", "hello from a", 1000)
        await say(b, BOB, "seg-b", "hello from b", 2000)
        await a.give(a.world.message(ALICE, "!visio stop"))
        await until(lambda: _over(b))
        for site in (a, b):
            await _stop_scribe(site)
        await until(lambda: len(sites.with_key(TRANSCRIPT)) == FORMS)
        roots = {c["m.relates_to"]["event_id"] for _, c in sites.with_key(UTTERANCE)}
        assert roots == set(sites.standing())
        record = _record(sites)
        assert [said["text"] for said in record["utterances"]] == ["hello from a", "hello from b"]
        assert record["missing"] == []
        assert {one["user_id"] for one in record["participants"]} == {ALICE, BOB}
        assert {server for server, _ in sites.with_key(TRANSCRIPT)} == {"a"}


async def test_a_site_that_is_down_at_the_end_is_waited_for_and_then_missing(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    async with sites.at_work():
        await enters(a, ALICE, "PA1")
        await until(lambda: _follows(b, "a"))
        await enters(b, BOB, "PB1")
        await until(lambda: _knows(a, BOB))
        await say(b, BOB, "seg-b", "hello from b", 2000)
        await say(a, ALICE, "seg-a", "hello from a", 3000)
        b.alive = False
        await a.give(a.world.message(ALICE, "!visio stop"))
        await _stop_scribe(a)
        assert sites.with_key(TRANSCRIPT) == []
        await sites.pass_time(31_000)
        await a.give(_due(a))
        await until(lambda: len(sites.with_key(TRANSCRIPT)) == FORMS)
        record = _record(sites)
        assert [said["text"] for said in record["utterances"]] == ["hello from a"]
        assert record["missing"] == ["b"]
        b.alive = True
        await until(lambda: _over(b))
        await _stop_scribe(b)
        await until(lambda: _again(sites, a))
        record = _record(sites)
        assert [said["text"] for said in record["utterances"]] == ["hello from b", "hello from a"]
        assert record["missing"] == []
        assert sites.with_key(TRANSCRIPT)[-1][1][TRANSCRIPT]["rev"] == 2


async def test_the_lead_dies_and_comes_back(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    async with sites.at_work():
        await enters(a, ALICE, "PA1")
        await until(lambda: _follows(b, "a"))
        await enters(b, BOB, "PB1")
        await until(lambda: _root_known(b))
        await until(lambda: _knows(a, BOB))
        a.alive = False
        await sites.pass_time(DEAD_MS + 5_000)
        await until(lambda: _follows(b, "b"))
        await until(lambda: len(sites.standing()) == 2)
        replacement = next(card for card in sites.standing() if card.startswith("$b-"))
        body = sites.standing()[replacement]["body"]
        assert "Bob" in body
        assert "Alice" in body, "who was there is still there, as far as known"
        a.alive = True
        await until(lambda: _follows(a, "b"))
        await until(lambda: set(sites.standing()) == {replacement})
        await sites.pass_time(6_000)
        await until(lambda: _knows(b, ALICE))
        assert await lead(b) == "b", "leading does not move back"
        await b.give(b.world.message(BOB, "!visio stop"))


async def test_an_end_by_somebody_who_may_not_is_refused(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    async with sites.at_work():
        await enters(a, ALICE, "PA1")
        await until(lambda: _follows(b, "a"))
        await enters(b, BOB, "PB1")
        await until(lambda: _knows(a, BOB))
        body = {
            "version": 1,
            "room_id": ROOM,
            "rev": a.world.now_ms + 10,
            "seen": 0,
            "ends": [{"call": (await running(a)).id, "at_ms": 1, "by": BOB}],
        }
        status, _ = await a.door.answer("b", "report", body)
        assert status == 200
        await a.world.rooms.idle()
        assert await running(a) is not None


async def _over(site: Site) -> bool:
    conferences = await site.world.conferences()
    return bool(conferences) and conferences[0].phase != "running"


async def _knows(site: Site, user_id: str) -> bool:
    conference = await running(site)
    return conference is not None and user_id in {s.user_id for s in conference.present}


async def _root_known(site: Site) -> bool:
    conference = await running(site)
    txn = f"call:{conference.call_id}" if conference else ""
    return await site.world.stores.outbox.event_id(txn) is not None


async def _stop_scribe(site: Site) -> None:
    conference = (await site.world.conferences())[0].id
    frame = {"type": "session", "conference": conference, "state": "stopped"}
    await site.give(NewEntry(ROOM, "scribe", f"session:{conference}", frame))


async def _again(sites: Sites, site: Site) -> bool:
    site.world.now_ms += 1_000
    await site.give(_due(site))
    return len(sites.with_key(TRANSCRIPT)) == 2 * FORMS


def _record(sites: Sites) -> dict[str, Any]:
    files = [c for _, c in sites.with_key(TRANSCRIPT) if c[TRANSCRIPT]["format"] == "json"]
    document: dict[str, Any] = json.loads(files[-1]["blob"])
    return document


async def test_what_is_deleted_at_one_site_is_gone_at_all(sites: Sites) -> None:
    a, b = sites.of["a"], sites.of["b"]
    sites.on_errands = True
    async with sites.at_work():
        await enters(a, ALICE, "PA1")
        await until(lambda: _follows(b, "a"))
        await enters(b, BOB, "PB1")
        await until(lambda: _root_known(b))
        await say(a, ALICE, "seg-a", "hello from a", 1000)
        await say(b, BOB, "seg-b", "a secret from b", 2000)
        await a.give(a.world.message(ALICE, "!visio stop"))
        await until(lambda: _over(b))
        for site in (a, b):
            await _stop_scribe(site)
        await until(lambda: len(sites.with_key(TRANSCRIPT)) == FORMS)
        said = next(event for _, event, c in sites.timeline if "secret" in str(c.get(UTTERANCE)))
        await b.give(b.world.event("m.room.redaction", BOB, {"redacts": said}))
        # The lead hears of it, takes its documents back and makes them again.
        await until(lambda: _forgotten(a))
        papers = {e for server, e, c in sites.timeline if server == "a" and TRANSCRIPT in c}
        await until(lambda: papers <= sites.redacted)
        await sites.pass_time(11_000)
        await a.give(_due(a))
        await until(lambda: len(sites.with_key(TRANSCRIPT)) == 2 * FORMS)
        record = _record(sites)
        assert [one["text"] for one in record["utterances"]] == ["hello from a"]
        for site in (a, b):
            await until(functools.partial(_nothing_left, site))
            log = await site.world.stores.redactions.of_room(ROOM)
            assert [(one.kind, list(one.items)) for one in log][-1][1] == ["seg-b"]


async def _forgotten(site: Site) -> bool:
    rows = await site.world.stores.db.fetch("SELECT text FROM peer_utterance")
    return bool(rows) and not any(row["text"] for row in rows)


async def _nothing_left(site: Site) -> bool:
    errands = await site.world.stores.errands.of_room(ROOM)
    return not errands and not await holding_words(site.world.stores, "secret")
