"""Muting and removing somebody who is connected at another site: that site decides and does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.media.server import MediaTrack
from bridge.peers.messages import InvalidMessage, ModerateAsked, Moderated
from bridge.peers.way import Refusal
from bridge.rooms import news
from bridge.upkeep.errands import PATIENCE_MS
from tests.support.rooms_world import ALICE, BOB, MEDIA, ROOM
from tests.support.sites_world import Site, Sites, until

MICROPHONE = MediaTrack("TR_1", "audio", "MICROPHONE", False)
CAROL = "@carol:c"


async def enters(site: Site, user: str, sid: str) -> None:
    await site.world.grant(user)
    site.world.media.enter(f"{user}:D", sid, site.world.now_ms, tracks=(MICROPHONE,))
    await site.give(site.world.enters(user, sid))


@asynccontextmanager
async def in_one_call(sites: Sites) -> AsyncIterator[tuple[Site, Site]]:
    """Alice at a, Bob at b."""
    async with sites.at_work():
        a, b = sites.of["a"], sites.of["b"]
        await enters(a, ALICE, "PA1")
        await until(lambda: _sees(b, ALICE))
        await enters(b, BOB, "PB1")
        await until(lambda: _sees(a, BOB))
        yield a, b


async def _sees(site: Site, user_id: str) -> bool:
    conferences = await site.world.conferences()
    return any(stay.user_id == user_id for c in conferences[:1] for stay in c.present)


async def asks(site: Site, user: str, command: str) -> str:
    """What the site answers, once it has asked wherever it must."""
    await site.give(site.world.message(user, f"!visio {command}"))
    await site.world.errands._turn(ROOM)
    await until(lambda: answers(site))
    return answers(site)[-1]


def answers(site: Site) -> list[str]:
    """What the site has answered to commands."""
    said = [content for server, _, content in site.sites.timeline if server == site.name]
    return [c["body"] for c in said if set(c.get("m.relates_to", {})) == {"m.in_reply_to"}]


async def test_a_microphone_at_the_other_site_is_muted(sites: Sites) -> None:
    async with in_one_call(sites) as (a, b):
        answer = await asks(a, ALICE, f"mute {BOB}")
        assert answer == "Bob’s microphone is off. They can switch it on again."
        assert b.world.media.calls == [("mute", MEDIA, f"{BOB}:D", "TR_1")]
        assert a.world.media.calls == []


async def test_somebody_at_the_other_site_is_removed_there(sites: Sites) -> None:
    async with in_one_call(sites) as (a, b):
        answer = await asks(a, ALICE, f"remove {BOB}")
        assert answer.startswith("Bob is out of this call")
        await b.world.rooms.idle()
        assert b.world.media.calls == [("remove", MEDIA, f"{BOB}:D")]
        assert [g.user_id for g in await b.world.stores.grants.revoked_in(ROOM)] == [BOB]
        (conference,) = await b.world.conferences()
        assert conference.removed == (BOB,)


async def test_who_may_not_by_their_own_site_is_not_obeyed_by_the_other(sites: Sites) -> None:
    async with in_one_call(sites) as (a, b):
        answer = await asks(b, BOB, f"mute {ALICE}")
        assert answer.startswith("Only a moderator of the room")
        asked = {"what": "mute", "user_id": ALICE, "asked_by": BOB}
        assert await ask(a, "b", **asked) == (200, "refused")
        assert await ask(a, "b", **{**asked, "what": "remove"}) == (200, "refused")
        assert await ask(a, "b", **asked, call="another") == (200, "absent")
        sites.strangers.add(BOB)
        assert (await ask(a, "b", **asked))[0] == 403
        assert a.world.media.calls == []
        assert await a.world.stores.grants.revoked_in(ROOM) == []


async def ask(site: Site, origin: str, **fields: Any) -> tuple[int, str]:
    call = (await site.world.conferences())[0].call_id
    body = {"version": 1, "room_id": ROOM, "call": call, "event": "$e", **fields}
    status, answer = await site.door.answer(origin, "moderate", body)
    return status, answer.get("outcome", "")


async def test_a_removal_that_comes_late_asks_for_rights_again(sites: Sites) -> None:
    """Between the door and the transaction the room may have changed its mind."""
    async with in_one_call(sites) as (a, b):
        asked = ModerateAsked(
            room_id=ROOM, call="", what="remove", user_id=ALICE, asked_by=BOB, event="$1"
        )
        call = (await a.world.conferences())[0].call_id
        for late in (asked, _of(asked, call=call, event="$2")):
            await a.give(news.put_out(late))
        assert (await a.world.conferences())[0].removed == ()
        await b.give(news.put_out(_of(asked, call=call, user_id=BOB, asked_by=ALICE)))
        assert (await b.world.conferences())[0].removed == (BOB,)


def _of(asked: ModerateAsked, **fields: Any) -> ModerateAsked:
    return replace(asked, **fields)


class Answering:
    """Links whose other end answers so."""

    def __init__(self, answer: Moderated | Exception) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def moderate(self, server: str, asked: ModerateAsked) -> Moderated:
        self.asked.append(server)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("command", ["mute", "remove"])
@pytest.mark.parametrize(
    "answer", [Moderated(outcome="refused"), Refusal(404, "?"), InvalidMessage("?")]
)
async def test_a_site_that_will_not_is_named(
    sites: Sites, answer: Moderated | Exception, command: str
) -> None:
    async with in_one_call(sites) as (a, _):
        a.world.links = Answering(answer)
        said = await asks(a, ALICE, f"{command} {BOB}")
        assert said.startswith("Bob is in the call through the server b, which has not done it.")


async def test_who_has_left_the_other_site_meanwhile_is_absent(sites: Sites) -> None:
    async with in_one_call(sites) as (a, b):
        b.world.media.there[MEDIA] = []
        assert (await asks(a, ALICE, f"mute {BOB}")).startswith("Bob is not in the call here.")


async def test_a_site_that_does_not_answer_is_waited_for_and_then_said(sites: Sites) -> None:
    async with in_one_call(sites) as (a, _):
        a.world.links = Answering(Unavailable("homeserver_unavailable"))
        await a.give(a.world.message(ALICE, f"!visio mute {BOB}"))
        await a.world.errands._turn(ROOM)
        assert answers(a) == []
        a.world.now_ms += PATIENCE_MS + 1
        await a.world.errands._turn(ROOM)
        await until(lambda: answers(a))
        assert "try again in a moment" in answers(a)[-1]


async def test_who_was_let_in_again_meanwhile_is_not_removed_elsewhere(sites: Sites) -> None:
    async with in_one_call(sites) as (a, _):
        links = Answering(Moderated(outcome="done"))
        a.world.links = links
        await a.give(a.world.message(ALICE, f"!visio remove {BOB}"))
        await a.give(a.world.message(ALICE, f"!visio invite {BOB}"))
        await a.world.errands._turn(ROOM)
        assert links.asked == []
