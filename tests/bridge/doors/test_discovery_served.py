"""The documents clients find us by: byte for byte the address of the token service, with CORS."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.config import Homeserver, Settings, Web
from bridge.errors import Unavailable
from bridge.matrix.whoami import Whoami
from bridge.web.discovery import CORS, TRANSPORTS, WELL_KNOWN, Discovery
from tests.support.synapse import Synapse

FOCI = [{"type": "livekit", "livekit_service_url": "https://call.example.org"}]


@dataclass
class Asked:
    """A homeserver that knows one token; `down`: it does not answer."""

    down: bool = False
    tokens: list[str] = field(default_factory=list)

    async def user_of(self, token: str) -> str | None:
        self.tokens.append(token)
        if self.down:
            raise Unavailable("homeserver_unavailable")
        return "@alice:example.org" if token == "good" else None


def settings_of(**homeserver: str) -> Settings:
    return dataclasses.replace(
        Settings(),
        homeserver=Homeserver(server_name="example.org", **homeserver),
        web=Web(public_url="https://call.example.org/"),
    )


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, Asked, aiohttp.ClientSession]]:
    asked = Asked()
    discovery = Discovery(
        settings_of(public_address="https://hs.example.org/"),
        whoami=asked,  # type: ignore[arg-type]
        clock=lambda: 0.0,
    )
    app = web.Application()
    app.add_routes(discovery.routes())
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        yield str(server.make_url("")).rstrip("/"), asked, http


async def test_the_well_known_document(served: Any) -> None:
    url, _, http = served
    async with http.get(url + WELL_KNOWN) as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "m.homeserver": {"base_url": "https://hs.example.org"},
            "org.matrix.msc4143.rtc_foci": FOCI,
        }


async def test_the_transports_are_for_users_of_this_homeserver(served: Any) -> None:
    url, asked, http = served
    for headers, errcode in (
        ({}, "M_MISSING_TOKEN"),
        ({"Authorization": "Basic Z29vZA=="}, "M_MISSING_TOKEN"),
        ({"Authorization": "Bearer " + "x" * 5000}, "M_MISSING_TOKEN"),
        ({"Authorization": "Bearer bad"}, "M_UNKNOWN_TOKEN"),
    ):
        async with http.get(url + TRANSPORTS, headers=headers) as answer:
            assert (answer.status, (await answer.json())["errcode"]) == (401, errcode)
    assert asked.tokens == ["bad"]
    async with http.get(url + TRANSPORTS, headers={"Authorization": "Bearer good"}) as answer:
        assert (answer.status, await answer.json()) == (200, {"rtc_transports": FOCI})


async def test_a_homeserver_that_is_away_is_503(served: Any) -> None:
    url, asked, http = served
    asked.down = True
    async with http.get(url + TRANSPORTS, headers={"Authorization": "Bearer good"}) as answer:
        assert answer.status == 503


async def test_one_address_asks_only_so_often(served: Any) -> None:
    url, _, http = served
    statuses = []
    for _ in range(201):
        async with http.get(url + TRANSPORTS, headers={"Authorization": "Bearer good"}) as answer:
            statuses.append(answer.status)
    assert statuses == [200] * 200 + [429]


@pytest.mark.homeserver
async def test_whoami_asks_the_homeserver(homeserver: Synapse) -> None:
    alice = await homeserver.register("discovered")
    whoami = Whoami(homeserver.client_url)
    assert await whoami.user_of(alice.access_token) == alice.user_id
    assert await whoami.user_of("invented") is None


async def test_whoami_remembers_good_answers_for_a_minute(unused_tcp_port: int) -> None:
    now, answers = [0.0], [200, 500, 401]

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"user_id": "@alice:example.org"}, status=answers.pop(0))

    app = web.Application()
    app.add_routes([web.get("/_matrix/client/v3/account/whoami", answer)])
    async with TestServer(app, port=unused_tcp_port) as server:
        whoami = Whoami(str(server.make_url("")), clock=lambda: now[0])
        for _ in range(2):
            assert await whoami.user_of("t") == "@alice:example.org"
        now[0] = 61.0
        with pytest.raises(Unavailable):
            await whoami.user_of("t")
        assert await whoami.user_of("t") is None
    with pytest.raises(Unavailable):
        await whoami.user_of("t")


def test_cors_lets_a_page_of_another_origin_send_its_token() -> None:
    assert CORS["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in CORS["Access-Control-Allow-Headers"]
