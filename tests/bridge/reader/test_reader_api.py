"""The API of meetings and search: who gets what, and what nobody learns."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge import config
from bridge.domain.documents import FORMS
from bridge.matrix.client import HomeserverError
from bridge.matrix.limits import Rate
from bridge.rooms.house import Stores
from bridge.store import search as search_module
from bridge.store.database import open_database
from bridge.store.peer_utterances import PeerUtterance
from bridge.web import archive as archive_module
from bridge.web.api_meetings import MeetingsApi
from bridge.web.api_search import SearchApi
from bridge.web.sessions import Sessions
from tests.support.library import (
    MINUTE,
    STARTED,
    archive_over,
    challenges,
    held,
    keep,
    utterance,
)

ALICE, BOB, EVE = "@alice:example.org", "@bob:b.example", "@eve:example.org"
BUDGET, LAW = "!budget:example.org", "!law:example.org"


class Homeserver:
    """Who is where, and since when."""

    def __init__(self) -> None:
        self.inside = {(BUDGET, ALICE), (BUDGET, BOB), (LAW, ALICE)}
        self.then: set[tuple[str, str]] = set()
        self.history: dict[str, str] = {}
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        self.asked.append(room_id)
        if self.error:
            raise self.error
        return (room_id, user_id) in self.inside

    async def was_joined(self, room_id: str, user_id: str, event_id: str) -> bool:
        return (event_id, user_id) in self.then

    async def state_event(
        self, room_id: str, event_type: str, state_key: str = ""
    ) -> dict[str, Any] | None:
        return {"history_visibility": self.history.get(room_id, "shared")}


class Desk:
    def __init__(self, stores: Stores, homeserver: Homeserver, sessions: Sessions) -> None:
        self.stores, self.homeserver, self.sessions = stores, homeserver, sessions
        self.url = ""
        self.http: aiohttp.ClientSession
        self.now = 0.0

    async def get(self, user_id: str, path: str, **query: str) -> Any:
        status, answer = await self.ask(user_id, path, **query)
        assert status == 200, answer
        return answer

    async def ask(self, user_id: str, path: str, **query: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.sessions.open(user_id)}"}
        async with self.http.get(self.url + path, params=query, headers=headers) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()

    async def found(self, user_id: str, query: str, **more: str) -> list[str]:
        answer = await self.get(user_id, "/api/search", q=query, **more)
        return sorted(result["segment"] for result in answer["results"])


Make = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def made(**more: Any) -> Desk:
            url = f"sqlite:{tmp_path}/reader.db"
            settings = config.Settings(
                database=config.Database(url=url),
                conference=config.Conference(time_zone="Europe/Paris"),
            )
            database = await open_database(settings)
            stack.push_async_callback(database.stop)
            homeserver = Homeserver()
            fast = Rate(per_second=1e6, burst=10_000)
            sessions = Sessions(None, challenges(), address_rate=fast, user_rate=fast)  # type: ignore[arg-type]
            desk = Desk(Stores.over(database), homeserver, sessions)
            archive = archive_over(settings, database, homeserver, clock=lambda: desk.now, **more)
            app = web.Application()
            app.add_routes(MeetingsApi(archive, sessions).routes())
            app.add_routes(SearchApi(archive, sessions, config.zone_of("Europe/Paris")).routes())
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            desk.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            desk.http = await stack.enter_async_context(aiohttp.ClientSession())
            await _two_meetings(desk.stores)
            return desk

        yield made


@pytest.fixture
async def desk(make: Make) -> Desk:
    return await make()


async def _two_meetings(stores: Stores) -> None:
    budget = held("c1", BUDGET, [ALICE, BOB])
    said = [
        utterance(budget, 0, ALICE, "Bonjour à tous.", event_id="$hello"),
        utterance(budget, 1, BOB, "We open the budget.", language="en", event_id="$open"),
        utterance(budget, 2, ALICE, "Le budget est ouvert.", event_id="$wrong"),
        utterance(budget, 2, ALICE, "Le budget est fermé.", rev=1, editor=BOB, event_id="$edit"),
        utterance(budget, 3, ALICE, "Une bêtise."),
        utterance(budget, 3, ALICE, "", rev=1),
    ]
    await keep(stores, budget, said, name="Budget 2027", root="$card1")
    later = STARTED + 60 * MINUTE
    law = held("c2", LAW, [ALICE], started_ms=later, ended_ms=later + 1)
    await keep(stores, law, [utterance(law, 0, ALICE, "budget secret")], name="Loi", root="$card2")


async def test_the_meetings_one_may_read(desk: Desk) -> None:
    answer = await desk.get(ALICE, "/api/meetings")
    assert [one["conference"] for one in answer["meetings"]] == ["c2", "c1"]
    assert answer["meetings"][1] == {
        "conference": "c1",
        "room": {"id": BUDGET, "name": "Budget 2027"},
        "title": "Visioconférence",
        "started_ms": STARTED,
        "ended_ms": STARTED + 10 * MINUTE,
        "language": "fr",
        "encrypted": False,
        "withheld": False,
        "event_id": "$card1",
        "people": 2,
    }
    assert (answer["next"], answer["complete"]) == (None, True)
    of = {user: await desk.get(user, "/api/meetings") for user in (BOB, EVE)}
    assert [one["conference"] for one in of[BOB]["meetings"]] == ["c1"]
    assert of[EVE] == {"meetings": [], "next": None, "complete": True}
    only = await desk.get(ALICE, "/api/meetings", room=BUDGET)
    assert [one["conference"] for one in only["meetings"]] == ["c1"]
    assert (await desk.get(BOB, "/api/meetings", room=LAW))["meetings"] == []


async def test_the_list_is_paged(desk: Desk) -> None:
    for n in range(70):
        more = held(f"p{n:02}", BUDGET, [BOB], started_ms=STARTED - n // 2)
        await keep(desk.stores, more, [], name="Budget")
    seen: list[str] = []
    before = ""
    for _ in range(3):
        answer = await desk.get(BOB, "/api/meetings", before=before)
        seen += [one["conference"] for one in answer["meetings"]]
        before = answer["next"]
    assert before is None
    assert len(seen) == len(set(seen)) == 71
    for nonsense in ("x", "1", "1.", ".c", "-1.c", "9" * 20 + ".c"):
        assert (await desk.ask(BOB, "/api/meetings", before=nonsense))[0] == 400


async def test_one_meeting(desk: Desk) -> None:
    answer = await desk.get(BOB, "/api/meetings/c1")
    assert [(turn["name"], turn["overlaps"]) for turn in answer["turns"]] == [
        ("Alice", False),
        ("Bob", False),
        ("Alice", False),
    ]
    hello, opened, closed = [turn["utterances"][0] for turn in answer["turns"]]
    assert hello == {
        "segment": "c1-0",
        "text": "Bonjour à tous.",
        "language": "fr",
        "start_ms": 0,
        "end_ms": 4_000,
        "editor": "",
        "event_id": "$hello",
    }
    assert opened["language"] == "en"
    assert (closed["text"], closed["editor"], closed["event_id"]) == (
        "Le budget est fermé.",
        BOB,
        "$wrong",
    ), "links go to the message that was corrected"
    assert answer["people"][0] == {
        "user_id": ALICE,
        "name": "Alice",
        "server": "example.org",
        "stays": [[STARTED, STARTED + 10 * MINUTE]],
        "present_ms": 10 * MINUTE,
        "spoken_ms": 8_000,
        "voices": [],
    }
    assert {form["form"] for form in answer["forms"]} == set(FORMS)
    assert answer["missing"] == []


async def test_voices_have_their_names(desk: Desk) -> None:
    room = held("c3", BUDGET, [ALICE])
    said = [
        utterance(room, 0, ALICE, "oui", voice="V1"),
        utterance(room, 1, ALICE, "x", voice="V2"),
    ]
    await keep(desk.stores, room, said, name="B")
    async with desk.stores.db.acquire() as conn:
        await desk.stores.voice_names.put(conn, "c3", ALICE, "V1", name="Zoé", by=BOB)
    answer = await desk.get(ALICE, "/api/meetings/c3")
    assert [turn["name"] for turn in answer["turns"]] == ["Zoé (Alice)", "Alice – voix 2"]
    voices = [voice["name"] for voice in answer["people"][0]["voices"]]
    assert voices == ["Zoé (Alice)", "Alice – voix 2"]


async def test_what_is_not_yours_is_not_there(desk: Desk) -> None:
    """The same answer for a stranger's meeting and for none at all, and as many questions."""
    paths = ("/api/meetings/{}", "/api/meetings/{}/document.md", "/api/meetings/{}/document.exe")
    for path in paths:
        desk.homeserver.asked.clear()
        answers = [await desk.ask(EVE, path.format(name)) for name in ("c1", "nothing")]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
        desk.now += 60
    assert len(desk.homeserver.asked) == 2
    assert (await desk.ask(BOB, "/api/meetings/c2"))[0] == 404
    assert await desk.found(EVE, "budget") == []
    assert await desk.found(BOB, "secret") == []
    assert await desk.found(BOB, "secret", room=LAW) == []


async def test_without_a_session_nothing(desk: Desk) -> None:
    for path in ("meetings", "meetings/c1", "meetings/c1/document.md", "search?q=budget"):
        async with desk.http.get(f"{desk.url}/api/{path}") as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (401, "no-store")


async def test_who_is_put_out_reads_no_more_within_half_a_minute(desk: Desk) -> None:
    assert await desk.found(BOB, "budget") != []
    desk.homeserver.inside.remove((BUDGET, BOB))
    desk.now += 30
    assert await desk.found(BOB, "budget") == []
    assert (await desk.ask(BOB, "/api/meetings/c1"))[0] == 404
    assert (await desk.ask(BOB, "/api/meetings/c1/document.json"))[0] == 404


async def test_a_newcomer_reads_what_the_room_shows_newcomers(desk: Desk) -> None:
    desk.homeserver.inside.add((BUDGET, EVE))
    assert await desk.found(EVE, "budget") == ["c1-1", "c1-2"]
    desk.homeserver.history[BUDGET] = "joined"
    desk.now += 60
    assert await desk.found(EVE, "budget") == []
    assert (await desk.get(EVE, "/api/meetings"))["meetings"] == []
    assert (await desk.ask(EVE, "/api/meetings/c1"))[0] == 404
    assert await desk.found(BOB, "budget") == ["c1-1", "c1-2"], "who took part was there"
    desk.homeserver.then.add(("$card1", EVE))
    desk.now += 60
    assert await desk.found(EVE, "budget") == ["c1-1", "c1-2"]


async def test_who_left_reads_what_they_were_there_for_where_the_policy_says_so(
    make: Make,
) -> None:
    desk = await make(policy="members_then")
    desk.homeserver.inside.remove((BUDGET, BOB))
    desk.homeserver.then.add(("$card2", EVE))
    assert await desk.found(BOB, "budget") == ["c1-1", "c1-2"]
    assert [m["conference"] for m in (await desk.get(EVE, "/api/meetings"))["meetings"]] == ["c2"]
    assert (await desk.ask(EVE, "/api/meetings/c1"))[0] == 404


@pytest.mark.parametrize("shown", [False, True])
async def test_words_of_encrypted_rooms_are_read_in_the_room(make: Make, shown: bool) -> None:
    desk = await make(encrypted=shown)
    sealed = held("c3", BUDGET, [ALICE], encrypted=True)
    await keep(desk.stores, sealed, [utterance(sealed, 0, ALICE, "clandestin")], name="Budget")
    answer = await desk.get(ALICE, "/api/meetings/c3")
    assert answer["withheld"] is not shown
    assert ("turns" in answer, "people" in answer) == (shown, shown)
    assert await desk.found(ALICE, "clandestin") == (["c3-0"] if shown else [])
    assert (await desk.ask(ALICE, "/api/meetings/c3/document.json"))[0] == (200 if shown else 404)


async def test_documents_are_handed_out_to_be_kept(desk: Desk) -> None:
    headers = {"Authorization": f"Bearer {desk.sessions.open(BOB)}"}
    for form, paper in FORMS.items():
        url = f"{desk.url}/api/meetings/c1/document.{form}"
        async with desk.http.get(url, headers=headers) as answer:
            body = await answer.read()
            assert answer.status == 200
            assert answer.content_type == paper.media_type
            named = f'attachment; filename="2026-09-21-{paper.file_name}"'
            assert answer.headers["Content-Disposition"] == named
            assert answer.headers["Cache-Control"] == "no-store"
            assert "sandbox" in answer.headers["Content-Security-Policy"]
        if form in {"odt", "docx"}:
            name = "content.xml" if form == "odt" else "word/document.xml"
            body = zipfile.ZipFile(io.BytesIO(body)).read(name)
        assert b"btise" not in body
        assert "bêtise".encode() not in body, "what was deleted is in no document"
    assert (await desk.ask(BOB, "/api/meetings/c1/document.exe"))[0] == 404


async def test_a_search_result(desk: Desk) -> None:
    answer = await desk.get(BOB, "/api/search", q="fermés budgets")
    assert (answer["next"], answer["complete"]) == (None, True)
    assert answer["results"] == [
        {
            "conference": "c1",
            "segment": "c1-2",
            "room": {"id": BUDGET, "name": "Budget 2027"},
            "title": "Visioconférence",
            "meeting_started_ms": STARTED,
            "speaker": ALICE,
            "name": "Alice",
            "said_ms": STARTED + 20_000,
            "language": "fr",
            "snippet": [
                {"text": "Le ", "found": False},
                {"text": "budget", "found": True},
                {"text": " est ", "found": False},
                {"text": "fermé", "found": True},
                {"text": ".", "found": False},
            ],
            "event_id": "$wrong",
        }
    ]
    assert await desk.found(BOB, "ouvert") == [], "what was corrected is not found"
    assert await desk.found(BOB, "bêtise") == []


async def test_search_is_filtered_by_room_speaker_and_day(desk: Desk) -> None:
    assert await desk.found(ALICE, "budget") == ["c1-1", "c1-2", "c2-0"]
    assert await desk.found(ALICE, "budget", room=BUDGET) == ["c1-1", "c1-2"]
    assert await desk.found(ALICE, "budget", room=BUDGET, who="bob") == ["c1-1"]
    day = {"from": "2026-09-21", "to": "2026-09-21"}
    assert await desk.found(ALICE, "budget", **day) == ["c1-1", "c1-2", "c2-0"]
    assert await desk.found(ALICE, "budget", **{"from": "2026-09-22"}) == []
    assert await desk.found(ALICE, "budget", to="2026-09-20") == []


async def test_search_is_paged(desk: Desk) -> None:
    long = held("c3", BUDGET, [ALICE])
    said = [utterance(long, n, ALICE, "crédit") for n in range(25)]
    await keep(desk.stores, long, said, name="B")
    first = await desk.get(ALICE, "/api/search", q="crédits")
    second = await desk.get(ALICE, "/api/search", q="crédits", offset=str(first["next"]))
    names = {result["segment"] for page in (first, second) for result in page["results"]}
    assert (len(first["results"]), len(names), second["next"]) == (20, 25, None)


@pytest.mark.parametrize(
    "query",
    [
        {"q": ""},
        {"q": "*"},
        {"q": "x" * 201},
        {"q": "a", "from": "yesterday"},
        {"q": "a", "to": "9999-12-31"},
        {"q": "a", "offset": "-1"},
        {"q": "a", "offset": "1001"},
        {"q": "a", "offset": "²"},
    ],
)
async def test_nonsense_is_400(desk: Desk, query: dict[str, str]) -> None:
    status, answer = await desk.ask(ALICE, "/api/search", **query)
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_homeserver_that_does_not_answer_opens_nothing(desk: Desk) -> None:
    desk.homeserver.error = HomeserverError(502)
    for path in ("/api/meetings", "/api/meetings/c1", "/api/search?q=budget"):
        assert (await desk.ask(ALICE, path))[0] == 503


async def test_a_search_that_takes_too_long_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "_LONGEST_S", 0.0)
    assert (await desk.ask(ALICE, "/api/search", q="budget"))[0] == 503
    monkeypatch.undo()
    assert await desk.found(ALICE, "budget") != []


async def test_more_rooms_than_are_looked_through_are_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MOST_ROOMS", 1)
    answer = await desk.get(ALICE, "/api/meetings")
    assert [one["conference"] for one in answer["meetings"]] == ["c2"]
    assert answer["complete"] is False
    assert (await desk.get(ALICE, "/api/search", q="budget"))["complete"] is False
    assert await desk.found(ALICE, "budget", room=BUDGET) == ["c1-1", "c1-2"]


async def test_what_was_said_at_other_sites(desk: Desk) -> None:
    there = PeerUtterance(
        conference="c1",
        site="b.example",
        segment="p1",
        rev=0,
        speaker=BOB,
        display_name="Bob",
        text="Depuis ailleurs",
        language="fr",
        start_ms=500_000,
        end_ms=501_000,
        engine="e",
    )
    await desk.stores.peer_utterances.put([there, replace(there, segment="c1-0", text="usurpé")])
    answer = await desk.get(ALICE, "/api/meetings/c1")
    last = answer["turns"][-1]["utterances"][-1]
    assert (last["text"], last["event_id"]) == ("Depuis ailleurs", None)
    assert await desk.found(ALICE, "ailleurs") == ["p1"]
    assert await desk.found(ALICE, "usurpé") == []
