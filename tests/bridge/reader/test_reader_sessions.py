"""Sessions of pages: of two kinds, bounded, in memory, ended when asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from bridge.errors import Refused, Unavailable
from bridge.matrix.limits import Rate
from bridge.matrix.openid import NotAuthorised, OpenIdToken
from bridge.web.challenges import LIFE_S, Challenges
from bridge.web.sessions import LIFETIME_S, Sessions
from tests.support.library import challenges

ALICE = "@alice:example.org"
SITE = "https://visio.example.org"
ROOM = "!budget:example.org"
PROOF = {
    "openid_token": {"access_token": "good", "matrix_server_name": "example.org"},
    "room": ROOM,
}


class Identities:
    error: Exception | None = None

    async def user_of(self, token: OpenIdToken) -> str:
        if self.error:
            raise self.error
        if token.access_token != "good":
            raise NotAuthorised("bad")
        return ALICE


@dataclass
class Desk:
    url: str
    http: aiohttp.ClientSession
    identities: Identities
    challenges: Challenges
    now: float = 1000.0

    async def ask(
        self, method: str, path: str, session: str = "", body: object = None
    ) -> tuple[int, dict[str, object], aiohttp.typedefs.LooseHeaders]:
        headers = {"Authorization": f"Bearer {session}"} if session else {}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as got:
            return got.status, await got.json(), got.headers

    async def challenge(self) -> dict[str, str]:
        status, answer, headers = await self.ask(
            "POST", "/api/session/challenge", body={"user_id": ALICE}
        )
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        return {name: str(value) for name, value in answer.items()}

    def proves(self, asked: dict[str, str]) -> None:
        """Alice's client answers."""
        content = {"challenge": asked["challenge"], "site": asked["site"]}
        self.challenges.take({"sender": ALICE, "content": content})

    async def exchange(self, asked: dict[str, str], **other: str) -> tuple[int, dict[str, object]]:
        proof = {name: asked[name] for name in ("challenge", "secret")} | other
        return (await self.ask("POST", "/api/session", body=proof))[:2]

    async def begin(self) -> str:
        asked = await self.challenge()
        self.proves(asked)
        status, answer = await self.exchange(asked)
        assert status == 200
        return str(answer["session"])

    async def bound(self) -> str:
        status, answer, _ = await self.ask("POST", "/api/session", body=PROOF)
        assert status == 200
        return str(answer["session"])


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    identities = Identities()
    async with aiohttp.ClientSession() as http:
        known = challenges(SITE, clock=lambda: made.now, wait_s=0.05)
        made = Desk("", http, identities, known)
        sessions = Sessions(
            identities,
            known,
            clock=lambda: made.now,
            address_rate=Rate(per_second=1, burst=40),
            user_rate=Rate(per_second=1, burst=10),
        )

        async def me(_request: web.Request, user_id: str) -> web.Response:
            return web.json_response({"me": user_id})

        app = web.Application()
        app.add_routes(sessions.routes())
        app.router.add_get("/me", sessions.guarded(me))
        app.router.add_get("/in", sessions.guarded(me, room_of=lambda asked: asked.query["room"]))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
        await runner.cleanup()


async def test_who_proves_their_name_is_known_by_it(desk: Desk) -> None:
    asked = await desk.challenge()
    assert (asked["bot"], asked["device"], asked["site"]) == (
        "@visio:example.org",
        "COLLOQUE",
        SITE,
    )
    desk.proves(asked)
    status, answer = await desk.exchange(asked)
    assert (status, answer["expires_in"], answer["user_id"]) == (200, LIFETIME_S, ALICE)
    status, answer, headers = await desk.ask("GET", "/me", str(answer["session"]))
    assert (status, answer) == (200, {"me": ALICE})
    assert headers["Cache-Control"] == "no-store"


async def test_sessions_are_not_guessed_and_each_is_another(desk: Desk) -> None:
    first, second = await desk.begin(), await desk.begin()
    assert first != second
    assert len(first) >= 40
    for wrong in ("", "x", first[:-1], first + "x", "é"):
        status, answer, headers = await desk.ask("GET", "/me", wrong)
        assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
        assert headers["Cache-Control"] == "no-store"


async def test_a_session_ends_by_itself_and_when_asked(desk: Desk) -> None:
    session, other = await desk.begin(), await desk.begin()
    assert (await desk.ask("DELETE", "/api/session", session))[0] == 200
    assert (await desk.ask("DELETE", "/api/session", "never was"))[0] == 200
    assert (await desk.ask("GET", "/me", session))[0] == 401
    desk.now += LIFETIME_S - 1
    assert (await desk.ask("GET", "/me", other))[0] == 200
    desk.now += 1
    assert (await desk.ask("GET", "/me", other))[0] == 401


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotAuthorised("x"), 401),
        (Refused("server_not_admitted", server="x"), 403),
        (Unavailable("homeserver_unavailable"), 503),
    ],
)
async def test_no_session_without_proof(desk: Desk, error: Exception, status: int) -> None:
    desk.identities.error = error
    got, answer, _ = await desk.ask("POST", "/api/session", body=PROOF)
    assert got == status
    assert "session" not in answer


TOKEN = PROOF["openid_token"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"openid_token": 3, "room": ROOM},
        {"openid_token": {}, "room": ROOM},
        {"openid_token": TOKEN},
        {"openid_token": TOKEN, "room": ""},
        {"openid_token": TOKEN, "room": "!" + "x" * 255},
        {"challenge": "x"},
        {"challenge": 3, "secret": "x"},
    ],
)
async def test_nonsense_is_400(desk: Desk, body: object) -> None:
    status, answer, headers = await desk.ask("POST", "/api/session", body=body)
    assert (status, headers["Cache-Control"]) == (400, "no-store")
    assert "session" not in answer


@pytest.mark.parametrize("body", [[], {}, {"user_id": 3}, {"user_id": "alice"}])
async def test_a_challenge_is_for_somebody(desk: Desk, body: object) -> None:
    assert (await desk.ask("POST", "/api/session/challenge", body=body))[0] == 400


async def test_a_token_that_any_site_may_hold_opens_one_room_alone(desk: Desk) -> None:
    bound, whole = await desk.bound(), await desk.begin()
    for path, of_one_room, of_all in (
        (f"/in?room={ROOM}", 200, 200),
        ("/in?room=!other:example.org", 401, 200),
        ("/in?room=", 401, 200),
        ("/me", 401, 200),
        (f"/me?room={ROOM}", 401, 200),
    ):
        assert (await desk.ask("GET", path, bound))[0] == of_one_room, path
        assert (await desk.ask("GET", path, whole))[0] == of_all, path


async def test_a_challenge_opens_nothing_before_its_proof_and_once_after(desk: Desk) -> None:
    asked = await desk.challenge()
    status, answer = await desk.exchange(asked)
    assert (status, answer["eu.colloque.reason"]) == (401, "not_proved")
    desk.proves(asked)
    status, answer = await desk.exchange(asked, secret=asked["secret"] + "x")
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert (await desk.exchange(asked))[0] == 200
    status, answer = await desk.exchange(asked)
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    late = await desk.challenge()
    desk.proves(late)
    desk.now += LIFE_S
    assert (await desk.exchange(late))[0] == 401


async def test_one_person_asking_without_end_is_slowed_down(desk: Desk) -> None:
    session = await desk.begin()
    statuses = [(await desk.ask("GET", "/me", session))[0] for _ in range(12)]
    assert statuses == [200] * 9 + [429] * 3
    desk.now += 2
    assert (await desk.ask("GET", "/me", session))[0] == 200


async def test_one_address_asking_without_end_is_slowed_down(desk: Desk) -> None:
    statuses = [(await desk.ask("GET", "/me", "guess"))[0] for _ in range(50)]
    assert statuses == [401] * 40 + [429] * 10
