"""Everybody who must not get in, at every public door, one row each, through real HTTP.

`hs.test` is another site's homeserver (a TLS server on 127.0.0.1, which here counts as public);
`inside` (127.0.0.2) is what an attacker wants us to reach: it must never be asked anything. What a
real homeserver says of members, kicks and bans is in test_doors_real.py.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from bridge.config import Conference, Database, Federation, Homeserver, Settings
from bridge.errors import Refused
from bridge.matrix.admission import Admission
from bridge.matrix.openid import OpenId
from bridge.matrix.wire import REASON
from bridge.media.keys import ApiKey
from bridge.store.database import open_database
from bridge.store.grants import Grants
from bridge.store.inbox import Inbox
from bridge.web.app import web_app
from tests.support.captions import quiet_feed
from tests.support.library import archive_over, challenges
from tests.support.strangers import USERINFO, Dns, Remote

KEY = ApiKey("k", "a secret that is long enough for HS256")
ROOM, OTHER_ROOM = "!room:example.org", "!other:example.org"
DOORS = ("/sfu/get", "/get_token", "/delegate_delayed_leave")
LIMIT_S = 1


@dataclass
class Doors:
    """The public port, and who is a member of what."""

    url: str
    http: aiohttp.ClientSession
    remote: Remote
    inside: Remote
    dns: Dns
    grants: Grants
    members: set[tuple[str, str]] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    handed_over: list[object] = field(default_factory=list)

    @property
    def server(self) -> str:
        return f"hs.test:{self.remote.port}"

    @property
    def bob(self) -> str:
        return f"@bob:{self.server}"

    # what stands behind the doors

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        return (room_id, user_id) in self.members

    async def display_name(self, room_id: str, user_id: str) -> str:
        return "Bob ~?>é"

    async def create_room(self, name: str, *, empty_timeout_s: int) -> None:
        return None

    async def allow(self, room_id: str, user_id: str) -> bool:
        if user_id in self.reasons:
            raise Refused(self.reasons[user_id])
        return True

    async def take(self, leave: object) -> None:
        self.handed_over.append(leave)

    # what the tests do

    async def ask(self, door: str, **changes: Any) -> tuple[int, dict[str, Any], Any]:
        token = {"access_token": "t", "matrix_server_name": self.server, "token_type": "Bearer"}
        member = {"id": "m", "claimed_user_id": self.bob, "claimed_device_id": "DEV"}
        room = changes.pop("room", ROOM)
        token |= changes.pop("token", {})
        member |= changes.pop("member", {})
        body = {"openid_token": token, "delay_id": "syd_1", **changes}
        if door == "/sfu/get":
            body |= {"room": room, "device_id": "DEV"}
        else:
            body |= {"room_id": room, "slot_id": "m.call#ROOM", "member": member}
        async with self.http.post(self.url + door, json=body) as answer:
            return answer.status, await answer.json(), answer.headers

    async def is_untouched(self) -> None:
        assert self.inside.seen == []
        assert await self.grants.of_room(ROOM) == []
        assert self.handed_over == []


@asynccontextmanager
async def opened(
    folder: Path, remotes: tuple[Remote, Remote], **changes: Any
) -> AsyncIterator[Doors]:
    allowed = changes.pop("allowed", lambda address: address == "127.0.0.1")
    federation = Federation(**{"openid_timeout_s": LIMIT_S, **changes})
    settings = dataclasses.replace(
        Settings(base=folder),
        homeserver=Homeserver(server_name="example.org"),
        database=Database(url=f"sqlite:{folder}/doors.db"),
        conference=Conference(),
        federation=federation,
    )
    remote, inside = remotes
    dns = Dns(
        hs_test=[["127.0.0.1"]],
        inside_test=[["127.0.0.2"]],
        rebind_test=[["127.0.0.1"], ["127.0.0.2"]],
        localhost=[["127.0.0.1", "::1"]],
    )
    async with AsyncExitStack() as stack:
        database = await open_database(settings)
        stack.push_async_callback(database.stop)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        doors = Doors("", http, remote, inside, dns, Grants(database))
        openid = OpenId(settings, resolver=dns, allowed=allowed, well_known_port=remote.port)
        registry = CollectorRegistry()
        admission = Admission(
            settings,
            KEY,
            homeserver=doors,
            grants=doors.grants,
            media=doors,
            entrance=doors,
            leaves=doors,
            registry=registry,
        )
        app = web_app(
            settings,
            key=KEY,
            admission=admission,
            openid=openid,
            rooms=doors.grants,
            inbox=Inbox(database),
            on_commit=lambda _rooms: None,
            checks={},
            registry=registry,
            feed=quiet_feed(database),
            members=doors,  # type: ignore[arg-type]
            archive=archive_over(settings, database, doors),
            challenges=challenges(),
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        doors.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        remote.answer({"sub": doors.bob})
        inside.answer({"sub": doors.bob})
        doors.members.add((ROOM, doors.bob))
        yield doors


@pytest.fixture
async def doors(tmp_path: Path, remotes: tuple[Remote, Remote]) -> AsyncIterator[Doors]:
    async with opened(tmp_path, remotes) as made:
        yield made


@pytest.mark.parametrize("door", DOORS)
async def test_who_may_come_in_comes_in(doors: Doors, door: str) -> None:
    """Without this row the others would prove nothing."""
    status, answer, headers = await doors.ask(door)
    assert status == 200, answer
    assert ("jwt" in answer) is (door != "/delegate_delayed_leave")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert len(doors.handed_over) == 1


# ---- people

Prepare = Callable[[Doors], dict[str, Any]]


def not_a_member(doors: Doors) -> dict[str, Any]:
    doors.members.clear()
    return {}


def member_of_another_room(doors: Doors) -> dict[str, Any]:
    doors.members = {(OTHER_ROOM, doors.bob)}
    return {}


def locked_out(doors: Doors) -> dict[str, Any]:
    doors.reasons[doors.bob] = "locked"
    return {}


def waiting(doors: Doors) -> dict[str, Any]:
    doors.reasons[doors.bob] = "waiting"
    return {}


def unknown_token(doors: Doors) -> dict[str, Any]:
    doors.remote.answer({"errcode": "M_UNKNOWN_TOKEN"}, status=401)
    return {}


def token_of_another_server(doors: Doors) -> dict[str, Any]:
    doors.remote.answer({"sub": "@bob:elsewhere.test"})
    return {}


def server_that_speaks_for_our_users(doors: Doors) -> dict[str, Any]:
    doors.members.add((ROOM, "@alice:example.org"))
    doors.remote.answer({"sub": "@alice:example.org"})
    return {"member": {"claimed_user_id": "@alice:example.org"}}


def server_that_speaks_for_its_name_without_port(doors: Doors) -> dict[str, Any]:
    doors.members.add((ROOM, "@bob:hs.test"))
    doors.remote.answer({"sub": "@bob:hs.test"})
    return {"member": {"claimed_user_id": "@bob:hs.test"}}


def answer_that_names_nobody(doors: Doors) -> dict[str, Any]:
    doors.remote.answer({"sub": ["@bob"]})
    return {}


def another_slot(doors: Doors) -> dict[str, Any]:
    return {"room": "not a room id"}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("stranger", "status", "errcode", "reason"),
    [
        (not_a_member, 403, "M_FORBIDDEN", "not_member"),
        (member_of_another_room, 403, "M_FORBIDDEN", "not_member"),
        (locked_out, 403, "M_FORBIDDEN", "locked"),
        (waiting, 403, "M_FORBIDDEN", "waiting"),
        (unknown_token, 401, "M_UNAUTHORIZED", None),
        (token_of_another_server, 401, "M_UNAUTHORIZED", None),
        (server_that_speaks_for_our_users, 401, "M_UNAUTHORIZED", None),
        (server_that_speaks_for_its_name_without_port, 401, "M_UNAUTHORIZED", None),
        (answer_that_names_nobody, 401, "M_UNAUTHORIZED", None),
        (another_slot, 400, "M_BAD_JSON", None),
    ],
)
async def test_who_is_refused(
    doors: Doors, door: str, stranger: Prepare, status: int, errcode: str, reason: str | None
) -> None:
    got, answer, headers = await doors.ask(door, **stranger(doors))
    assert (got, answer["errcode"], answer.get(REASON)) == (status, errcode, reason)
    assert "jwt" not in answer
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "no-store"
    await doors.is_untouched()


@pytest.mark.parametrize("door", ["/get_token", "/delegate_delayed_leave"])
async def test_a_stolen_token_does_not_make_one_its_owner(doors: Doors, door: str) -> None:
    eve = f"@eve:{doors.server}"
    doors.members.add((ROOM, eve))
    # Eve shows bob's token, and says that she is eve; or her own, and says that she is bob.
    for subject, claimed in ((doors.bob, eve), (eve, doors.bob)):
        doors.remote.answer({"sub": subject})
        token = {"access_token": f"of {subject}"}
        got, answer, _ = await doors.ask(door, token=token, member={"claimed_user_id": claimed})
        assert (got, answer["errcode"]) == (401, "M_UNAUTHORIZED")
    await doors.is_untouched()


async def test_a_stolen_token_shown_at_sfu_get_is_of_its_owner_in_every_respect(
    doors: Doors,
) -> None:
    # There nobody claims anything: what the thief gets carries the owner's name, for all to see.
    _, answer, _ = await doors.ask("/sfu/get")
    assert claims(answer)["sub"] == f"{doors.bob}:DEV"


async def test_a_token_shown_again_after_the_person_lost_the_room(doors: Doors) -> None:
    assert (await doors.ask("/sfu/get"))[0] == 200
    doors.members.clear()
    for door in DOORS:
        assert (await doors.ask(door))[0] == 403


async def test_a_server_that_is_not_admitted(
    tmp_path: Path, remotes: tuple[Remote, Remote]
) -> None:
    async with opened(tmp_path, remotes, allow_servers=["*.gouv.test"]) as doors:
        for door in DOORS:
            got, answer, _ = await doors.ask(door)
            assert (got, answer[REASON]) == (403, "server_not_admitted")
        assert doors.remote.seen == [], "it is not even asked"
        await doors.is_untouched()


# ---- malicious server names


@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1:{port}",
        "127.0.0.2:{port}",
        "[::1]:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "[64:ff9b::7f00:1]:{port}",
        "10.0.0.1",
        "192.168.1.1:80",
        "169.254.169.254",
        "0.0.0.0:{port}",
        "localhost:{port}",
        "inside.test:{port}",
        "127.1:{port}",
        "2130706433:{port}",
        "0x7f000001:{port}",
        "hs.test:{port}/path",
        "hs.test:{port}#",
        "user@hs.test:{port}",
        "hs.test:{port}\r\nX: y",
        "hs.test:0",
        "",
    ],
)
async def test_where_a_stranger_points_us_we_do_not_go(
    tmp_path: Path, remotes: tuple[Remote, Remote], name: str
) -> None:
    async with opened(tmp_path, remotes, allowed=None) as doors:  # the rule of production
        server = name.format(port=doors.inside.port)
        for door in DOORS:
            got, answer, _ = await doors.ask(door, token={"matrix_server_name": server})
            assert got == (401 if name else 400), answer
        assert doors.remote.seen == []
        await doors.is_untouched()


async def redirects(doors: Doors, _request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect(f"https://127.0.0.2:{doors.inside.port}{USERINFO}")


async def is_slow(_doors: Doors, _request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def drips(_doors: Doors, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(200):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def floods(_doors: Doors, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b"x" * 65536)
    return response


@pytest.mark.parametrize(
    ("malice", "status"), [(redirects, 401), (is_slow, 503), (drips, 503), (floods, 503)]
)
async def test_what_a_malicious_homeserver_answers(
    doors: Doors,
    malice: Callable[[Doors, web.Request], Awaitable[web.StreamResponse]],
    status: int,
) -> None:
    doors.remote.handlers[USERINFO] = lambda request: malice(doors, request)
    began = time.monotonic()
    for got, _, headers in await asyncio.gather(*map(doors.ask, DOORS)):
        assert got == status
        assert headers["Access-Control-Allow-Origin"] == "*"
    assert time.monotonic() - began < LIMIT_S + 4
    await doors.is_untouched()


@pytest.mark.parametrize("door", DOORS)
async def test_a_well_known_file_leads_to_no_forbidden_address(doors: Doors, door: str) -> None:
    for target in (f"127.0.0.2:{doors.inside.port}", f"inside.test:{doors.inside.port}"):
        doors.remote.answer({"m.server": target}, path="/.well-known/matrix/server")
        got, _, _ = await doors.ask(door, token={"matrix_server_name": "hs.test"})
        assert got == 401
        await doors.is_untouched()


async def test_a_name_that_changes_its_address_after_the_check(doors: Doors) -> None:
    server = f"rebind.test:{doors.remote.port}"
    doors.remote.answer({"sub": f"@bob:{server}"})
    doors.members.add((ROOM, f"@bob:{server}"))
    # The first answer of DNS is the one that was checked, and the one that is connected to.
    got, answer, _ = await doors.ask("/sfu/get", token={"matrix_server_name": server})
    assert (got, doors.inside.seen) == (200, []), answer
    # Asked again, DNS says something else: that is refused before anything is sent there.
    for door in DOORS:
        token = {"matrix_server_name": server, "access_token": f"another {door}"}
        got, _, _ = await doors.ask(door, token=token, member={"claimed_user_id": f"@bob:{server}"})
        assert (got, doors.inside.seen) == (401, [])


# ---- what clients can read


def claims(answer: dict[str, Any]) -> dict[str, Any]:
    """As Element Call reads a token: with `atob`, which knows the standard alphabet only."""
    payload = answer["jwt"].split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)
    decoded: dict[str, Any] = json.loads(base64.b64decode(padded, validate=True))
    return decoded


@pytest.mark.parametrize("sign", ["?", ">", "~", "é", "😀"])
async def test_no_room_name_or_member_breaks_a_client(doors: Doors, sign: str) -> None:
    for pad in ("", "a", "ab"):  # each offset within three bytes of base64
        room = f"!{pad}{sign}:example.org"
        doors.members |= {(room, doors.bob)}
        status, answer, _ = await doors.ask("/get_token", room=room, member={"id": pad + sign})
        assert status == 200, answer
        assert claims(answer)["name"] == "Bob ~?>é"


@pytest.mark.parametrize("door", DOORS)
async def test_a_browser_may_read_every_answer_of_a_door(doors: Doors, door: str) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        async with doors.http.request(method, doors.url + door) as answer:
            assert answer.status == 405
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for path in (f"{door}/", f"{door}/more", "/a/door/of/a/later/version"):
        async with doors.http.post(doors.url + path, json={}) as answer:
            assert answer.status == 404
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert (await answer.json())["errcode"] == "M_UNRECOGNIZED"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_healthz(doors: Doors, method: str) -> None:
    async with doors.http.request(method, f"{doors.url}/healthz") as answer:
        assert answer.status == 200
