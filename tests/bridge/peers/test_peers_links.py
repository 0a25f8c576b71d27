"""Telling peers: the newest alone, at a distance, each by itself, over either way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bridge.domain.federation import Person, Report
from bridge.errors import Unavailable
from bridge.matrix.client import HomeserverError
from bridge.peers import messages
from bridge.peers.links import Links, Revs
from bridge.peers.messages import ModerateAsked, Moderated, PageAsked, RoomReport
from bridge.peers.way import AGAIN_S, TO_DEVICE, FedProxy, Refusal, ToDevice, Way

Body = dict[str, Any]


class Peer:
    """Another bridge: `fails` first, then answers; every request is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Body]] = []
        self.fails: list[Exception] = []
        self.seen = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def ask(self, server: str, kind: str, body: Body) -> Body:
        self.asked.append((server, kind, body))
        await self.hold.wait()
        if self.fails:
            raise self.fails.pop(0)
        if kind == "utterances":
            return {"version": 1, "said": [], "total": 0}
        if kind == "moderate":
            return {"version": 1, "outcome": "done", "count": 2}
        answer = RoomReport(room_id=body["room_id"], report=Report(), rev=1, seen=self.seen)
        return messages.report_body(answer)


def told(room: str, user: str = "@a:a") -> RoomReport:
    return RoomReport(room_id=room, report=Report(people=(Person(user_id=user),)))


@contextlib.asynccontextmanager
async def linked(peer: Peer, answers: list[Any]) -> AsyncIterator[Links]:
    async def answered(server: str, report: RoomReport) -> None:
        answers.append((server, report.room_id))

    links = Links(peer, answered, Revs(lambda: 1000), distance_s=0.0, first_pause_s=0.01)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(links.run())
        yield links
        task.cancel()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


async def test_a_slow_peer_gets_the_newest_of_each_room() -> None:
    peer, answers = Peer(), []
    peer.hold.clear()
    async with linked(peer, answers) as links:
        links.tell("b", told("!1"))
        await until(lambda: peer.asked)
        for number in range(5):
            links.tell("b", told("!1", f"@p{number}:a"))
        links.tell("b", told("!2"))
        peer.hold.set()
        await until(lambda: len(answers) == 3)
    rooms = [(body["room_id"], body["people"][0]["user_id"]) for _, _, body in peer.asked]
    assert rooms == [("!1", "@a:a"), ("!1", "@p4:a"), ("!2", "@a:a")]
    revs = [body["rev"] for _, _, body in peer.asked]
    assert revs == sorted(set(revs))


async def test_what_fails_is_told_again_and_what_is_refused_is_not() -> None:
    peer, answers = Peer(), []
    peer.fails = [Unavailable("homeserver_unavailable"), Unavailable("homeserver_unavailable")]
    async with linked(peer, answers) as links:
        links.tell("b", told("!1"))
        await until(lambda: answers)
        assert len(peer.asked) == 3
        peer.fails = [Refusal(403, "no"), RuntimeError("a defect")]
        links.tell("b", told("!2"))
        links.tell("b", told("!3"))
        links.tell("b", told("!4"))
        await until(lambda: len(answers) == 2)
    assert answers == [("b", "!1"), ("b", "!4")]


async def test_a_dead_peer_holds_up_no_other() -> None:
    class Half(Peer):
        async def ask(self, server: str, kind: str, body: Body) -> Body:
            if server == "dead":
                await asyncio.Event().wait()
            return await super().ask(server, kind, body)

    peer, answers = Half(), []
    async with linked(peer, answers) as links:
        links.tell("dead", told("!1"))
        links.tell("b", told("!1"))
        await until(lambda: answers)
    assert answers == [("b", "!1")]


async def test_a_clock_put_back_does_not_make_us_old_news() -> None:
    peer, answers = Peer(), []
    peer.seen = 5000
    async with linked(peer, answers) as links:
        links.tell("b", told("!1"))
        await until(lambda: answers)
    assert [body["rev"] for _, _, body in peer.asked] == [1000, 5001]


def test_nobody_drives_our_numbers_far_ahead() -> None:
    revs = Revs(lambda: 1000)
    assert not revs.seen(messages.LATEST_MS)
    assert revs.next() == 1000


async def test_pages_are_asked_for() -> None:
    peer, answers = Peer(), []
    async with linked(peer, answers) as links:
        page = await links.page("b", PageAsked(room_id="!1", call="c", skip=3))
    assert page.total == 0
    assert peer.asked[0][2] == {"version": 1, "room_id": "!1", "call": "c", "skip": 3}


async def test_moderation_is_asked_for() -> None:
    peer = Peer()
    asked = ModerateAsked(
        room_id="!1", call="c", what="mute", user_id="@b:b", asked_by="@a:a", event="$e"
    )
    async with linked(peer, []) as links:
        assert await links.moderate("b", asked) == Moderated(outcome="done", count=2)
    assert messages.moderate_asked(peer.asked[0][2]) == asked


# ---- the ways


class StandInHomeserver:
    """Of server a. `answer` is what fed_proxy gives; to-device goes to `other`, if there is one."""

    def __init__(self, server: str = "a") -> None:
        self.user_id = f"@visio:{server}"
        self.server = server
        self.calls: list[tuple[str, str, Any]] = []
        self.answer: Any = {"status": 200, "content": {"ok": 1}}
        self.other: ToDevice | None = None

    async def object(self, method: str, path: str, **what: Any) -> Body:
        body = what.get("body") or {}
        self.calls.append((method, path, body))
        if path.endswith("fed_proxy"):
            if isinstance(self.answer, Exception):
                raise self.answer
            return dict(self.answer)
        if "/sendToDevice/" in path and self.other is not None:
            ((_, devices),) = body["messages"].items()
            event = {"type": TO_DEVICE, "sender": self.user_id, "content": devices["*"]}
            self.other.take(event)
        return {}


async def refuses(_origin: str, _kind: str, _body: Body) -> tuple[int, Body]:
    return 403, {"error": "no"}


async def test_fed_proxy_says_what_became_of_it() -> None:
    homeserver = StandInHomeserver()
    way = FedProxy(homeserver)
    assert await way.ask("b", "report", {"x": 1}) == {"ok": 1}
    _, _, sent = homeserver.calls[0]
    assert (sent["destination"], sent["method"], sent["body"]) == ("b", "POST", {"x": 1})
    assert sent["path"] == f"{messages.PREFIX}/report"
    homeserver.answer = {"status": 403, "content": {"error": "no"}}
    with pytest.raises(Refusal):
        await way.ask("b", "report", {})
    for late in (
        {"status": 429, "content": {}},
        {"status": 502, "content": {}},
        {"status": "odd", "content": {}},
        HomeserverError(502, "IO.ELEMENT.MSC4512.M_FEDPROXY_CONNECTION_FAILED"),
    ):
        homeserver.answer = late
        with pytest.raises(Unavailable):
            await way.ask("b", "report", {})


@pytest.mark.parametrize(
    "off",
    [
        HomeserverError(404, "M_UNRECOGNIZED"),  # not at our homeserver
        {"status": 404, "content": {"errcode": "M_UNRECOGNIZED"}},  # not at theirs
    ],
)
async def test_to_device_where_fed_proxy_is_off(off: Any) -> None:
    ours, theirs = StandInHomeserver("a"), StandInHomeserver("b")
    ours.answer = off
    asked: list[tuple[str, str, Body]] = []

    async def answering(origin: str, kind: str, body: Body) -> tuple[int, Body]:
        asked.append((origin, kind, body))
        return 200, {"hello": origin}

    here, there = ToDevice(ours, "D", refuses), ToDevice(theirs, "D", answering)
    ours.other, theirs.other = there, here
    now = 0.0
    way = Way(FedProxy(ours), here, clock=lambda: now)
    assert await way.ask("b", "report", {"x": 1}) == {"hello": "a"}
    assert asked == [("a", "report", {"x": 1})]
    await way.ask("b", "report", {})
    proxied = [path for _, path, _ in ours.calls if path.endswith("fed_proxy")]
    assert len(proxied) == 1, "it is not asked in vain each time"
    now += AGAIN_S + 1
    ours.answer = {"status": 200, "content": {"by": "fed_proxy"}}
    assert await way.ask("b", "report", {}) == {"by": "fed_proxy"}
    with pytest.raises(Refusal):
        await there.ask("a", "report", {})


async def test_to_device_heeds_bots_and_answers_to_its_own_questions_only() -> None:
    homeserver = StandInHomeserver()
    asked: list[str] = []

    async def answering(origin: str, _kind: str, _body: Body) -> tuple[int, Body]:
        asked.append(origin)
        return 200, {}

    way = ToDevice(homeserver, "D", answering)
    question = {"version": 1, "id": "1", "ask": "report", "body": {}}
    for event in (
        {"sender": "@eve:b", "content": question},
        {"sender": "@visio:b", "content": {"id": 5}},
        {"sender": "@visio:b", "content": {**question, "body": "none"}},
        {"sender": "@visio:b", "content": {"id": "never asked", "status": 200, "answer": {}}},
        {"sender": 7, "content": question},
        {"sender": "@visio:b"},
    ):
        way.take(event)
    await asyncio.sleep(0)
    waiting = asyncio.create_task(way.ask("b", "report", {}))
    await until(lambda: any("/sendToDevice/" in path for _, path, _ in homeserver.calls))
    sent = next(body for _, path, body in homeserver.calls if "/sendToDevice/" in path)
    ask_id = sent["messages"]["@visio:b"]["*"]["id"]
    answer = {"id": ask_id, "status": 200, "answer": {"by": "eve"}}
    way.take({"sender": "@visio:evil", "content": answer})
    assert not waiting.done()
    way.take({"sender": "@visio:b", "content": {**answer, "answer": {"by": "b"}}})
    assert await waiting == {"by": "b"}
    assert asked == []
    await way.close()
