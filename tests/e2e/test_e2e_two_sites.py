"""Two homeservers, two bridges, two media servers, one call: one card, one thread, one record."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import expect

from bridge.dev.caller import Caller
from bridge.dev.instance import WISH, Instance, plan_sites
from bridge.dev.person import Person
from bridge.dev.ports import free_block
from bridge.dev.site import Site
from bridge.dev.speech import Pcm
from tests.bridge.page.browser import chromium, open_page, sign_in
from tests.e2e.scene import eventually

pytestmark = [
    pytest.mark.homeserver,
    pytest.mark.livekit,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

CALL_MEMBER = "org.matrix.msc3401.call.member"
CARD, UTTERANCE = "eu.colloque.card", "eu.colloque.utterance"
STATUS, TRANSCRIPT = "eu.colloque.conference.status", "eu.colloque.transcript"
Event = dict[str, Any]


class Ministries:
    """Two running sites with two people each."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.a, self.b = instance.sites
        self.alice, self.bob = self.a.people
        self.carol, self.dave = self.b.people

    async def room(self) -> str:
        """A new room with everybody and both bots in it, where text is wished for."""
        others = [self.bob, self.carol, self.dave]
        bots = [self.a.bot, self.b.bot]
        wish = {"captions": False, "transcript": True, "language": "en"}
        room_id = await self.alice.create_room(
            "Test",
            invite=[*bots, *(person.user_id for person in others)],
            power={**dict.fromkeys(bots, 50), self.carol.user_id: 50},
            initial_state=[{"type": WISH, "state_key": "", "content": wish}],
        )
        for person in others:
            await person.join(room_id, [self.a.plan.server_name])
        for person in (self.alice, self.carol):
            await eventually(lambda person=person: self._all_in(person, room_id), timeout=30)
        return room_id

    async def _all_in(self, person: Any, room_id: str) -> bool:
        return {self.a.bot, self.b.bot} <= set(await person.members(room_id))

    @asynccontextmanager
    async def call(self, room_id: str) -> AsyncIterator[list[Caller]]:
        """All four in the room's call, each at their own ministry's media server."""
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(Caller.in_call(person, site.plan.page, room_id))
                for site in (self.a, self.b)
                for person in site.people
            ]

    async def see(
        self, room_id: str, enough: Callable[[Shown], object], timeout: float = 40.0
    ) -> Shown:
        """The room as carol's homeserver shows it, once it shows enough. Raises TimeoutError."""
        end = time.monotonic() + timeout
        while True:
            shown = Shown(await self.carol.messages(room_id), {self.a.bot, self.b.bot})
            if enough(shown):
                return shown
            if time.monotonic() > end:
                raise TimeoutError(shown.describe())
            await asyncio.sleep(0.2)


class Shown:
    """What a room's timeline shows of a call."""

    def __init__(self, events: list[Event], bots: set[str]) -> None:
        self.cards: dict[str, Event] = {}
        self.by: dict[str, str] = {}
        self.utterances: list[tuple[str, Event, str]] = []
        self.files: list[Event] = []
        for event in events:
            if event["type"] == "m.room.message" and event["sender"] in bots:
                self._take(event["event_id"], event["sender"], event["content"])

    def _take(self, event_id: str, sender: str, content: Event) -> None:
        relation = content.get("m.relates_to") or {}
        if CARD in content:
            if relation.get("rel_type") == "m.replace":
                self.cards[relation["event_id"]] = content["m.new_content"]
            else:
                self.cards[event_id] = content
                self.by[event_id] = sender
        elif UTTERANCE in content:
            self.utterances.append((sender, content[UTTERANCE], relation.get("event_id", "")))
        elif TRANSCRIPT in content:
            self.files.append({**content, "thread": relation.get("event_id", "")})

    @property
    def standing(self) -> dict[str, Event]:
        """The cards that stand for a call."""
        return {key: card for key, card in self.cards.items() if card[CARD]["phase"] != "moved"}

    @property
    def forms(self) -> set[str]:
        """Of the documents."""
        return {file[TRANSCRIPT]["format"] for file in self.files}

    def describe(self) -> str:
        cards = {key: card["body"] for key, card in self.cards.items()}
        said = [said["text"] for _, said, _ in self.utterances]
        return f"cards {cards}, said {said}, {len(self.files)} files"


def everybody(shown: Shown, *names: str) -> bool:
    """Whether one card stands, and names all of these."""
    cards = list(shown.standing.values())
    return len(cards) == 1 and everybody_in(cards[0], *names)


def everybody_in(card: Event, *names: str) -> bool:
    """Whether a card names all of these."""
    return all(name in card["body"] for name in names)


@asynccontextmanager
async def dead(site: Site) -> AsyncIterator[None]:
    """The site's bridge is killed and stays dead for the block; its media server lives."""
    bridge = site.bridge
    assert bridge is not None
    bridge.held = True
    before = bridge.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    try:
        yield
    finally:
        bridge.held = False
    await eventually(lambda: bridge.pid not in {None, before})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ministries(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ministries]:
    """Two sites, running as `python -m bridge dev --sites 2` runs them."""
    var = tmp_path_factory.mktemp("ministries")
    instance = Instance(var, plan_sites(var, free_block(20), 2), print)
    try:
        await instance.start()
        keeping = asyncio.create_task(instance.keep_running())
        yield Ministries(instance)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    finally:
        await instance.stop()


async def test_four_people_of_two_ministries_and_either_bridge_killed(
    ministries: Ministries, sentences: dict[str, Pcm]
) -> None:
    room_id = await ministries.room()
    first, second, third, _ = sentences.values()
    async with ministries.call(room_id) as (alice, bob, carol, dave):
        names = [
            caller.person.user_id.partition(":")[0][1:] for caller in (alice, bob, carol, dave)
        ]
        shown = await ministries.see(room_id, lambda s: everybody(s, *names))
        ((card, _),) = shown.standing.items()
        assert shown.by[card] == ministries.a.bot, "who began the call leads it"

        await asyncio.gather(alice.listened_to(), carol.listened_to())
        await alice.speak(first)
        await carol.speak(second)
        shown = await ministries.see(room_id, lambda s: len(s.utterances) >= 2)
        by = {said["speaker"]: sender for sender, said, _ in shown.utterances}
        assert by == {
            alice.person.user_id: ministries.a.bot,
            carol.person.user_id: ministries.b.bot,
        }
        assert {thread for _, _, thread in shown.utterances} == {card}

        async with dead(ministries.a):
            # The lead is dead: the other site's card takes its place, once.
            shown = await ministries.see(room_id, lambda s: len(s.standing) == 2)
            replacement = next(key for key in shown.standing if key != card)
            assert shown.by[replacement] == ministries.b.bot
            assert everybody_in(shown.standing[replacement], *names), shown.describe()
            await dave.speak(third)
            shown = await ministries.see(room_id, lambda s: len(s.utterances) >= 3)
            assert shown.utterances[-1][2] == card, "the thread stays where it began"
            assert not any(caller.disconnected.is_set() for caller in (alice, bob, carol, dave))
        # It is back, and does not double.
        shown = await ministries.see(room_id, lambda s: set(s.standing) == {replacement})

        # Carol, a moderator at the other ministry, ends it for all.
        await ministries.carol.say(room_id, "!visio stop")
        for caller in (alice, bob, carol, dave):
            await eventually(caller.disconnected.is_set)
        shown = await ministries.see(room_id, lambda s: "json" in s.forms)
    assert set(shown.standing) == {replacement}
    assert shown.standing[replacement][CARD]["phase"] == "ended"
    record = await the_record(ministries, shown)
    assert [said["speaker"] for said in record["utterances"]] == [
        alice.person.user_id,
        carol.person.user_id,
        dave.person.user_id,
    ]
    assert record["missing"] == []
    people = {one["user_id"] for one in record["participants"]}
    assert people == {caller.person.user_id for caller in (alice, bob, carol, dave)}
    for site in (ministries.a, ministries.b):
        state = await ministries.alice.state(room_id, STATUS, site.plan.server_name)
        assert state["conference"] == record["conference"]
        assert state["phase"] == "ended"


async def the_record(ministries: Ministries, shown: Shown) -> dict[str, Any]:
    file = next(one for one in shown.files if one[TRANSCRIPT]["format"] == "json")
    document: dict[str, Any] = json.loads(await ministries.alice.attachment(file["file"]))
    return document


async def test_captions_beside_the_call_come_from_both_sites(
    ministries: Ministries, sentences: dict[str, Pcm]
) -> None:
    room_id = await ministries.room()
    alice, carol = ministries.alice, ministries.carol
    wish = {"captions": True, "transcript": False, "language": "en"}
    await alice.set_state(room_id, WISH, wish)
    # As their clients say in the room where they publish.
    for person, site in ((alice, ministries.a), (carol, ministries.b)):
        await person.set_state(room_id, CALL_MEMBER, *membership(person, site.plan.page))
    first, second, *_ = sentences.values()
    own = {ministries.a.plan.page, ministries.b.plan.page, alice.homeserver}
    link = f"{ministries.a.plan.page}/captions#/room/{quote(room_id, safe='')}"
    async with (
        Caller.in_call(alice, ministries.a.plan.page, room_id) as at_a,
        Caller.in_call(carol, ministries.b.plan.page, room_id) as at_b,
        chromium() as browser,
        open_page(browser, link, own=own) as watched,
    ):
        page = watched.page
        await sign_in(page, alice.user_id, alice.password)
        await expect(page.locator("#panel-state")).to_have_text("En direct", timeout=30_000)
        await asyncio.gather(at_a.listened_to(), at_b.listened_to())
        await asyncio.gather(at_a.speak(first, 2.0), at_b.speak(second, 2.0))
        log = page.get_by_role("log")
        for who in (alice, carol):
            line = log.locator("p").filter(has_text=who.user_id)
            await expect(line.first).to_be_visible(timeout=20_000)
        assert watched.errors == []
        assert watched.foreign == []


def membership(person: Person, service: str) -> tuple[Event, str]:
    """Content and key of a membership as Element Call writes it."""
    content = {
        "application": "m.call",
        "call_id": "",
        "device_id": person.device_id,
        "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
        "foci_preferred": [{"type": "livekit", "livekit_service_url": service}],
    }
    return content, f"_{person.user_id}_{person.device_id}_m.call"
