"""The doors behind the homeserver: who it says asks, in both shapes of the request."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge.config import Homeserver, Media, Settings, Web
from bridge.errors import Refused
from bridge.matrix.admission import Admitted, Ask, Delay
from bridge.matrix.rtc_proxy import rtc_routes

TOKEN = "the homeserver's token"
CLIENT = "/_matrix/client/unstable/io.element.msc4195/rtc/livekit/get_token"
FEDERATION = "/_matrix/federation/unstable/io.element.msc4195/rtc/livekit/get_token"
SFU = "wss://sfu.example.org"
ROOM = {"room_id": "!r:example.org", "slot_id": "m.call#ROOM", "url": SFU}


@dataclass
class Admissions:
    """Notes who was sent on; refuses mallory."""

    asks: list[Ask] = field(default_factory=list)
    delegated: list[Ask] = field(default_factory=list)

    async def delegate(self, ask: Ask) -> None:
        self.delegated.append(ask)
        if ask.user_id.startswith("@mallory"):
            raise Refused("not_member")

    async def admit(self, ask: Ask) -> Admitted:
        self.asks.append(ask)
        if ask.user_id.startswith("@mallory"):
            raise Refused("not_member")
        return Admitted(SFU, "a.jwt.here")


@dataclass
class Proxy:
    url: str
    http: aiohttp.ClientSession
    admissions: Admissions

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {TOKEN}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(self.url + path, json=body, headers=sent) as answer:
            return answer.status, await answer.json()

    async def as_client(self, body: Any, user: str = "@alice:example.org") -> tuple[int, Any]:
        return await self.post(CLIENT, body, X_Matrix_User_Identifier=user)

    async def as_server(self, body: Any, origin: str = "far.org") -> tuple[int, Any]:
        return await self.post(FEDERATION, body, X_Matrix_Origin=origin)


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    settings = dataclasses.replace(
        Settings(),
        homeserver=Homeserver(server_name="example.org"),
        media=Media(public_url=SFU),
        web=Web(public_url="https://call.example.org"),
    )
    admissions = Admissions()
    app = web.Application()
    app.add_routes(rtc_routes(settings, TOKEN, admissions))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as http:
        yield Proxy(f"http://127.0.0.1:{runner.addresses[0][1]}", http, admissions)
    await runner.cleanup()


async def test_a_user_of_ours(proxy: Proxy) -> None:
    member = {"id": "m1", "claimed_device_id": "DEV"}
    status, answer = await proxy.as_client({**ROOM, "member": member})
    assert (status, answer) == (200, {"jwt": "a.jwt.here", "url": SFU})
    assert proxy.admissions.asks == [
        Ask(
            room_id="!r:example.org",
            user_id="@alice:example.org",
            device_id="DEV",
            member_id="m1",
        )
    ]


@pytest.mark.parametrize(("member_id", "device"), [("m1", ""), ("@alice:example.org:DEV", "DEV")])
async def test_the_flat_shape(proxy: Proxy, member_id: str, device: str) -> None:
    status, _ = await proxy.as_client({**ROOM, "member_id": member_id})
    assert status == 200
    (ask,) = proxy.admissions.asks
    assert (ask.member_id, ask.device_id) == (member_id, device)


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "@bob:far.org", "member_id": "m1"},
        {"member": {"id": "m1", "claimed_user_id": "@bob:far.org", "claimed_device_id": "D"}},
    ],
)
async def test_another_homeserver_asks_for_its_user(proxy: Proxy, body: dict[str, Any]) -> None:
    status, answer = await proxy.as_server({**ROOM, **body})
    assert (status, answer["jwt"]) == (200, "a.jwt.here")
    assert proxy.admissions.asks[0].user_id == "@bob:far.org"


@pytest.mark.parametrize(
    ("body", "origin"),
    [
        ({"user_id": "@alice:example.org", "member_id": "m"}, "far.org"),
        ({"user_id": "@bob:far.org:8448", "member_id": "m"}, "far.org"),
        ({"user_id": "", "member_id": "m"}, ""),
        ({"member_id": "m"}, "far.org"),
        ({"user_id": "bob", "member_id": "m"}, "far.org"),
        ({"member": {"id": "m", "claimed_user_id": 3}}, "far.org"),
        (
            {"user_id": "@bob:far.org", "member": {"id": "m", "claimed_user_id": "@eve:far.org"}},
            "far.org",
        ),
    ],
)
async def test_a_homeserver_speaks_for_its_own_users_only(
    proxy: Proxy, body: dict[str, Any], origin: str
) -> None:
    status, answer = await proxy.as_server({**ROOM, **body}, origin)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
    assert proxy.admissions.asks == []


@pytest.mark.parametrize("user", ["", "@bob:far.org", "alice"])
async def test_a_user_that_is_not_ours_is_refused(proxy: Proxy, user: str) -> None:
    status, _ = await proxy.as_client({**ROOM, "member_id": "m"}, user)
    assert status == 401


@pytest.mark.parametrize("path", [CLIENT, FEDERATION, CLIENT.replace("get_token", "other")])
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", TOKEN, "Bearer é"])
async def test_only_the_homeserver_is_served(proxy: Proxy, path: str, authorization: str) -> None:
    status, answer = await proxy.post(path, ROOM, Authorization=authorization)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_who_is_not_a_member_is_refused(proxy: Proxy) -> None:
    status, answer = await proxy.as_client({**ROOM, "member_id": "m"}, "@mallory:example.org")
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("changes", "status", "errcode"),
    [
        ({"url": "wss://elsewhere.org"}, 400, "M_INVALID_PARAM"),
        ({"url": 3}, 400, "M_BAD_JSON"),
        ({"room_id": None}, 400, "M_BAD_JSON"),
        ({"room_id": ["!r"]}, 400, "M_BAD_JSON"),
        ({"member": "m"}, 400, "M_BAD_JSON"),
        ({"member": {}}, 400, "M_BAD_JSON"),
        ({"member": {"id": "m", "claimed_user_id": "@eve:example.org"}}, 401, "M_UNAUTHORIZED"),
        ({"server_name": "far.org"}, 404, "M_UNRECOGNIZED"),
    ],
)
async def test_requests_that_cannot_be_served(
    proxy: Proxy, changes: dict[str, Any], status: int, errcode: str
) -> None:
    body = {**ROOM, "member": {"id": "m", "claimed_device_id": "D"}, **changes}
    got, answer = await proxy.as_client(body)
    assert (got, answer["errcode"]) == (status, errcode)
    assert proxy.admissions.asks == []


@pytest.mark.parametrize("url", [SFU, f"{SFU}/", "https://call.example.org", ""])
async def test_every_name_of_our_media_server_is_known(proxy: Proxy, url: str) -> None:
    assert (await proxy.as_client({**ROOM, "url": url, "member_id": "m"}))[0] == 200


async def test_other_versions_of_the_path_and_other_paths(proxy: Proxy) -> None:
    stable = CLIENT.replace("unstable/io.element.msc4195", "v1")
    body = {**ROOM, "member_id": "m"}
    user = "@alice:example.org"
    assert (await proxy.post(stable, body, X_Matrix_User_Identifier=user))[0] == 200
    other = CLIENT.replace("get_token", "something_else")
    status, answer = await proxy.post(other, body, X_Matrix_User_Identifier=user)
    assert (status, answer["errcode"]) == (404, "M_UNRECOGNIZED")


LEAVE = CLIENT.replace("get_token", "delegate_delayed_leave")


@pytest.mark.parametrize(
    ("member", "device"),
    [
        ({"member": {"id": "m1", "claimed_device_id": "DEV"}}, "DEV"),
        ({"member_id": "m1"}, ""),
    ],
)
@pytest.mark.parametrize(
    ("timeout", "ms"), [({}, 18_000), ({"delay_timeout": 3_600_000}, 3_600_000)]
)
async def test_a_leave_is_handed_over(
    proxy: Proxy, member: dict[str, Any], device: str, timeout: dict[str, int], ms: int
) -> None:
    body = {**ROOM, **member, **timeout, "delay_id": "syd_1"}
    status, answer = await proxy.post(LEAVE, body, X_Matrix_User_Identifier="@alice:example.org")
    assert (status, answer) == (200, {})
    (ask,) = proxy.admissions.delegated
    assert (ask.user_id, ask.member_id, ask.device_id) == ("@alice:example.org", "m1", device)
    assert ask.delay == Delay("syd_1", ms)
    status, answer = await proxy.as_client(body)
    assert (status, answer["jwt"]) == (200, "a.jwt.here")
    assert proxy.admissions.asks[0].delay == Delay("syd_1", ms)


@pytest.mark.parametrize(
    ("changes", "user", "status", "errcode"),
    [
        ({"delay_id": ""}, "@alice:example.org", 400, "M_BAD_JSON"),
        ({"delay_timeout": 0}, "@alice:example.org", 400, "M_BAD_JSON"),
        ({"delay_timeout": True}, "@alice:example.org", 400, "M_BAD_JSON"),
        ({"delay_timeout": "1000"}, "@alice:example.org", 400, "M_BAD_JSON"),
        ({"member_id": None}, "@alice:example.org", 400, "M_BAD_JSON"),
        ({"server_name": "far.org"}, "@alice:example.org", 404, "M_UNRECOGNIZED"),
        ({"url": "wss://elsewhere.org"}, "@alice:example.org", 400, "M_INVALID_PARAM"),
        ({}, "@mallory:example.org", 403, "M_FORBIDDEN"),
        ({}, "@bob:far.org", 401, "M_UNAUTHORIZED"),
    ],
)
async def test_leaves_that_are_not_taken_over(
    proxy: Proxy, changes: dict[str, Any], user: str, status: int, errcode: str
) -> None:
    body = {**ROOM, "member_id": "m", "delay_id": "syd_1", "delay_timeout": 1000, **changes}
    got, answer = await proxy.post(LEAVE, body, X_Matrix_User_Identifier=user)
    assert (got, answer["errcode"]) == (status, errcode)
