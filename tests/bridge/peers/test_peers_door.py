"""What another bridge may ask, and what is refused: over HTTP, as the homeserver passes it on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from bridge.domain.federation import Report
from bridge.matrix.appservice import routes as appservice_routes
from bridge.matrix.registration import Registration
from bridge.peers import door, messages
from bridge.peers.messages import PREFIX, ModerateAsked, Moderated, Page, PageAsked, RoomReport
from tests.support.rooms_world import ROOM, Worlds

TOKEN = "the homeserver's token"


@dataclass
class StandInRooms:
    """One room with the bridges of a (ours) and b; what is let in is in `taken`."""

    taken: list[tuple[str, Any]] = field(default_factory=list)

    async def bridges(self, room_id: str) -> Collection[str] | None:
        return {"a", "b"} if room_id == ROOM else None

    async def take(self, origin: str, told: RoomReport) -> RoomReport:
        self.taken.append((origin, told))
        return RoomReport(room_id=told.room_id, report=Report(), rev=7, seen=told.rev)

    async def page(self, origin: str, asked: PageAsked) -> Page | None:
        self.taken.append((origin, asked))
        return Page(said=(), total=0) if asked.call == "known" else None

    async def is_server_joined(self, room_id: str, server: str) -> bool:
        return server == "late"

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        return user_id != "@gone:b"

    async def moderate(self, asked: ModerateAsked) -> Moderated:
        self.taken.append((asked.asked_by, asked))
        return Moderated(outcome="done", count=1)


@dataclass
class Doorway:
    url: str
    http: aiohttp.ClientSession
    rooms: StandInRooms
    now: float = 0.0

    async def ask(
        self, kind: str, body: Any, origin: str | None = "b", token: str = TOKEN
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        if origin is not None:
            headers["X-Matrix-Origin"] = origin
        url = f"{self.url}{PREFIX}/{kind}"
        async with self.http.post(url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest_asyncio.fixture
async def doorway(worlds: Worlds) -> AsyncIterator[Doorway]:
    rooms = StandInRooms()
    world = await worlds.open()
    registration = Registration(
        id="colloque",
        url="http://127.0.0.1:1",
        as_token="x",
        hs_token=TOKEN,
        sender_localpart="visio",
        user_namespaces=(),
    )
    # The application as the bridge serves it: the homeserver's token is checked for every path.
    app = appservice_routes(world.stores.inbox, registration, lambda _: None, server_name="a")
    opened = Doorway("", aiohttp.ClientSession(), rooms)
    allow = ["b", "late", "c"]
    app.add_routes(
        door.routes(door.Door("a", allow, rooms, rooms, rooms, clock=lambda: opened.now))
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield opened
    await opened.http.close()
    await runner.cleanup()


def report(**fields: Any) -> dict[str, Any]:
    return {"version": 1, "room_id": ROOM, "rev": 1, "seen": 0, **fields}


def stand(**fields: Any) -> dict[str, Any]:
    call = {"id": "c1", "home": "b", "started_ms": 5, "started_by": "@bob:b"}
    return {"call": call, "lead": "b", "term": 1, **fields}


async def test_a_report_is_answered_with_ours(doorway: Doorway) -> None:
    status, answer = await doorway.ask("report", report(rev=5, stand=stand()))
    assert status == 200
    assert messages.room_report(answer).seen == 5
    ((origin, told),) = doorway.rooms.taken
    assert origin == "b"
    assert told.report.stand.call.started_by == "@bob:b"


@pytest.mark.parametrize(
    "lie",
    [
        {"people": [{"user_id": "@alice:a", "joined_ms": 1}]},
        {"people": [{"user_id": "@bob:b", "joined_ms": 1}, {"user_id": "@x:a", "joined_ms": 1}]},
        {"ends": [{"call": "c1", "at_ms": 1, "by": "@alice:a"}]},
        {"stand": stand(lead="nowhere")},
    ],
)
async def test_who_speaks_for_people_of_another_ministry_is_refused(
    doorway: Doorway, lie: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        status, answer = await doorway.ask("report", report(**lie))
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert doorway.rooms.taken == []
    assert "is refused" in caplog.text


@pytest.mark.parametrize(
    ("origin", "room"),
    [
        ("c", ROOM),  # admitted, and not in the room
        ("stranger", ROOM),  # not admitted
        ("a", ROOM),  # ourselves
        ("", ROOM),
        (None, ROOM),
        ("b", "!another"),  # we are not in that room
    ],
)
@pytest.mark.parametrize("kind", ["report", "utterances"])
async def test_who_shares_no_room_with_us_learns_nothing(
    doorway: Doorway, origin: str | None, room: str, kind: str
) -> None:
    body = report(room_id=room, call="known", skip=0)
    status, answer = await doorway.ask(kind, body, origin)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert doorway.rooms.taken == []


async def test_a_server_whose_bot_has_just_come_may_ask(doorway: Doorway) -> None:
    status, _ = await doorway.ask("report", report(), "late")
    assert status == 200


async def test_only_the_homeserver_brings_requests(doorway: Doorway) -> None:
    status, _ = await doorway.ask("report", report(), token="guessed")
    assert status == 403
    assert doorway.rooms.taken == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": 1},
        report(rev="1"),
        report(rev=-1),
        report(rev=True),
        report(room_id=5),
        report(people="everybody"),
        report(people=[{"user_id": "@bob:b", "joined_ms": 1}] * 301),
        report(people=["@bob:b"]),
        report(people=[{"user_id": "bob", "joined_ms": 1}]),
        report(people=[{"user_id": "@bob:b\n", "joined_ms": 1}]),
        report(people=[{"user_id": "@bob:b", "joined_ms": 1, "display_name": "x" * 300}]),
        report(stand=stand(term=0)),
        report(stand=stand(term=10**9)),
        report(stand=stand(card="not an event")),
        report(stand="mine"),
        report(ends=[{"call": "c" * 100, "at_ms": 1}]),
        report(parts=[{"call": "c1", "said": -1}]),
    ],
)
async def test_what_is_not_of_the_agreed_shape_is_refused(doorway: Doorway, body: Any) -> None:
    status, answer = await doorway.ask("report", body)
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")
    assert doorway.rooms.taken == []


async def test_what_is_too_long_or_no_object_is_refused(doorway: Doorway) -> None:
    status, _ = await doorway.ask("report", report(padding="x" * 70_000))
    assert status == 400
    status, _ = await doorway.ask("report", [])
    assert status == 400


async def test_who_asks_too_often_waits_and_others_do_not(doorway: Doorway) -> None:
    answers = [(await doorway.ask("report", report(rev=n)))[0] for n in range(door.RATE.burst + 1)]
    assert answers == [200] * door.RATE.burst + [429]
    assert (await doorway.ask("report", report(), "late"))[0] == 200
    doorway.now += 1.0
    assert (await doorway.ask("report", report()))[0] == 200


async def test_pages_of_known_calls_only(doorway: Doorway) -> None:
    asked = {"version": 1, "room_id": ROOM, "call": "known", "skip": 0}
    assert (await doorway.ask("utterances", asked))[0] == 200
    status, answer = await doorway.ask("utterances", {**asked, "call": "other"})
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")
    assert (await doorway.ask("utterances", {**asked, "skip": -1}))[0] == 400


async def test_another_request_is_not_known(doorway: Doorway) -> None:
    rooms = doorway.rooms
    asked = door.Door("a", ["*"], rooms, rooms, rooms)
    assert (await asked.answer("b", "anything", {}))[0] == 404


def moderation(**fields: Any) -> dict[str, Any]:
    asked = {"call": "c1", "what": "mute", "user_id": "@alice:a", "asked_by": "@bob:b"}
    return {"version": 1, "room_id": ROOM, "event": "$e", **asked, **fields}


async def test_a_site_has_people_muted_for_its_own_members(doorway: Doorway) -> None:
    status, answer = await doorway.ask("moderate", moderation())
    assert (status, answer) == (200, {"version": 1, "outcome": "done", "count": 1})
    ((asked_by, asked),) = doorway.rooms.taken
    assert (asked_by, asked.what, asked.user_id) == ("@bob:b", "mute", "@alice:a")


@pytest.mark.parametrize(
    "asked_by",
    [
        "@alice:a",  # ours
        "@carol:c",  # of a server without a bridge here: any site could name its moderators
        "@gone:b",  # their own, and not in the room
    ],
)
async def test_nobody_is_muted_in_another_servers_name(
    doorway: Doorway, asked_by: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        status, answer = await doorway.ask("moderate", moderation(asked_by=asked_by))
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert doorway.rooms.taken == []
    assert asked_by in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"what": "ban"}, {"what": 1}, {"user_id": "alice"}, {"event": "x"}, {"call": ""}]
)
async def test_moderation_of_another_shape_is_refused(
    doorway: Doorway, wrong: dict[str, Any]
) -> None:
    assert (await doorway.ask("moderate", moderation(**wrong)))[0] == 400


async def test_moderation_in_a_room_that_is_not_shared_is_refused(doorway: Doorway) -> None:
    assert (await doorway.ask("moderate", moderation(room_id="!another")))[0] == 403
    assert (await doorway.ask("moderate", moderation(), "c"))[0] == 403
    assert doorway.rooms.taken == []
