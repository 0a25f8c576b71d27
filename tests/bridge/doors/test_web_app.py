"""The public port without a homeserver: shapes, CORS, limits, page, webhook, health, metrics."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from yarl import URL

from bridge.config import Database, Federation, Homeserver, Media, Settings, Web
from bridge.errors import Refused, Unavailable
from bridge.matrix.admission import Admitted, Ask, Delay, TooOften
from bridge.matrix.openid import NotAuthorised, OpenIdToken
from bridge.media.keys import ApiKey
from bridge.store.database import open_database
from bridge.store.grants import Grant, Grants
from bridge.store.inbox import Inbox
from bridge.web.app import web_app
from bridge.web.discovery import TRANSPORTS
from bridge.web.page import page_config, panel_headers, security_headers
from tests.support.captions import quiet_feed
from tests.support.library import archive_over, challenges

KEY = ApiKey("devkey", "a secret that is long enough for HS256")
ALICE = "@alice:example.org"
OPENID = {"access_token": "good", "matrix_server_name": "example.org", "token_type": "Bearer"}
SFU_GET = {"room": "!r:example.org", "device_id": "DEV", "openid_token": OPENID, "more": 1}
GET_TOKEN = {
    "room_id": "!r:example.org",
    "slot_id": "m.call#ROOM",
    "openid_token": OPENID,
    "member": {"id": "m1", "claimed_user_id": ALICE, "claimed_device_id": "DEV"},
}


@dataclass
class Parts:
    """What stands behind the doors; `error` is raised instead of admitting."""

    error: Exception | None = None
    asks: list[Ask] = field(default_factory=list)
    committed: list[set[str]] = field(default_factory=list)
    healthy: bool = True

    async def admit(self, ask: Ask) -> Admitted:
        self.asks.append(ask)
        if self.error is not None:
            raise self.error
        return Admitted("wss://sfu.example.org", "a.jwt.here")

    async def delegate(self, ask: Ask) -> None:
        await self.admit(ask)

    async def user_of(self, token: OpenIdToken) -> str:
        if token.access_token != "good":
            raise NotAuthorised("bad")
        return ALICE

    async def check(self) -> bool:
        if not self.healthy:
            await asyncio.sleep(60)
        return True


@dataclass
class Port:
    url: str
    http: aiohttp.ClientSession
    parts: Parts
    grants: Grants
    inbox: Inbox

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.post(self.url + path, data=data, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        url = URL(self.url + path, encoded=True)
        async with self.http.get(url, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    settings = dataclasses.replace(
        Settings(base=tmp_path),
        homeserver=Homeserver(server_name="example.org", public_address="https://hs.example.org/"),
        media=Media(public_url="wss://sfu.example.org/rtc-path"),
        web=Web(public_url="https://call.example.org/"),
        database=Database(url=f"sqlite:{tmp_path}/test.db"),
    )
    database = await open_database(settings)
    parts, grants, inbox = Parts(), Grants(database), Inbox(database)
    app = web_app(
        settings,
        key=KEY,
        admission=parts,  # type: ignore[arg-type]
        openid=parts,  # type: ignore[arg-type]
        rooms=grants,
        inbox=inbox,
        on_commit=parts.committed.append,
        checks={"media": parts.check},
        registry=CollectorRegistry(),
        feed=quiet_feed(database),
        members=parts,  # type: ignore[arg-type]
        archive=archive_over(settings, database, parts),
        challenges=challenges(),
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(auto_decompress=True) as http:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield Port(url, http, parts, grants, inbox)
    await runner.cleanup()
    await database.stop()


# token doors


async def test_both_doors_answer_with_address_and_token(port: Port) -> None:
    for path, body in (("/sfu/get", SFU_GET), ("/get_token", GET_TOKEN)):
        status, answer, headers = await port.post(path, body)
        assert (status, answer) == (200, {"url": "wss://sfu.example.org", "jwt": "a.jwt.here"})
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert headers["Cache-Control"] == "no-store"
    assert port.parts.asks == [
        Ask(room_id="!r:example.org", user_id=ALICE, device_id="DEV"),
        Ask(room_id="!r:example.org", user_id=ALICE, device_id="DEV", member_id="m1"),
    ]


@pytest.mark.parametrize("path", ["/sfu/get", "/get_token", "/delegate_delayed_leave"])
async def test_a_browser_may_ask_from_any_page(port: Port, path: str) -> None:
    async with port.http.options(port.url + path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"{", "M_NOT_JSON"),
        (b"\xff", "M_NOT_JSON"),
        (b"[" * 5000, "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        ({}, "M_BAD_JSON"),
        ({**SFU_GET, "room": 3}, "M_BAD_JSON"),
        ({**SFU_GET, "device_id": ""}, "M_BAD_JSON"),
        ({**SFU_GET, "openid_token": None}, "M_BAD_JSON"),
        ({**SFU_GET, "openid_token": {"access_token": "good"}}, "M_BAD_JSON"),
        (b'"' + b"x" * 70_000, "M_TOO_LARGE"),
    ],
)
async def test_nonsense_is_400(port: Port, body: Any, errcode: str) -> None:
    status, answer, headers = await port.post("/sfu/get", body)
    assert (status, answer["errcode"]) == (400, errcode)
    assert headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("field", ["room_id", "openid_token", "member"])
async def test_a_missing_field_of_get_token_is_400(port: Port, field: str) -> None:
    body = {name: value for name, value in GET_TOKEN.items() if name != field}
    assert (await port.post("/get_token", body))[0] == 400


async def test_claiming_to_be_somebody_else_is_401(port: Port) -> None:
    member = {"id": "m1", "claimed_user_id": "@eve:example.org", "claimed_device_id": "DEV"}
    status, answer, _ = await port.post("/get_token", {**GET_TOKEN, "member": member})
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
    assert port.parts.asks == []


@pytest.mark.parametrize(
    ("error", "status", "errcode"),
    [
        (NotAuthorised("x"), 401, "M_UNAUTHORIZED"),
        (Refused("not_member"), 403, "M_FORBIDDEN"),
        (Refused("server_not_admitted", server="x.org"), 403, "M_FORBIDDEN"),
        (TooOften(1.2), 429, "M_LIMIT_EXCEEDED"),
        (Unavailable("homeserver_unavailable"), 503, "M_UNKNOWN"),
        (Unavailable("media_unavailable", reason="x"), 503, "M_UNKNOWN"),
        (RuntimeError("a bug"), 500, "M_UNKNOWN"),
    ],
)
async def test_refusals_have_their_codes_and_cors(
    port: Port, error: Exception, status: int, errcode: str
) -> None:
    port.parts.error = error
    got, answer, headers = await port.post("/sfu/get", SFU_GET)
    assert (got, answer["errcode"]) == (status, errcode)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert answer["error"]
    if status == 429:
        assert (headers["Retry-After"], answer["retry_after_ms"]) == ("2", 1200)


async def test_a_bug_is_logged_with_a_reference_and_without_the_token(
    port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    port.parts.error = RuntimeError("a bug")
    _, answer, _ = await port.post("/sfu/get", SFU_GET)
    reference = answer["error"].rpartition(" ")[2]
    assert reference in caplog.text
    assert "a bug" not in answer["error"]
    assert '"good"' not in caplog.text


LEAVE = {"delay_id": "syd_1", "delay_timeout": 3_600_000, "delay_cs_api_url": "https://evil"}


async def test_leaves_are_taken_over_at_every_door(port: Port) -> None:
    for path, body in (("/sfu/get", SFU_GET), ("/get_token", GET_TOKEN)):
        assert (await port.post(path, {**body, **LEAVE}))[0] == 200
    status, answer, headers = await port.post("/delegate_delayed_leave", {**GET_TOKEN, **LEAVE})
    assert (status, answer) == (200, {})
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert [ask.delay for ask in port.parts.asks] == [Delay("syd_1", 3_600_000)] * 3
    assert [ask.member_id for ask in port.parts.asks] == [None, "m1", "m1"]


@pytest.mark.parametrize("body", [b"", b"{}", {**GET_TOKEN}, {**GET_TOKEN, **LEAVE, "delay_id": 3}])
async def test_who_only_tries_whether_leaves_are_taken_over_learns_that_they_are(
    port: Port, body: Any
) -> None:
    # Element Call sends an empty request; every answer but 404 means yes.
    status, _, headers = await port.post("/delegate_delayed_leave", body)
    assert status == 400
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert port.parts.asks == []


async def test_one_address_asking_without_end_is_slowed_down(port: Port) -> None:
    statuses = [
        (await port.post("/sfu/get", b"", **{"X-Forwarded-For": f"192.0.2.{n}, 198.51.100.7"}))[0]
        for n in range(200)
    ] + [
        (await port.post("/sfu/get", b"", **{"X-Forwarded-For": "198.51.100.7"}))[0]
        for _ in range(200)
    ]
    assert set(statuses) == {400, 429}
    assert statuses[:200] == [400] * 200
    status, _, _ = await port.post("/sfu/get", SFU_GET, **{"X-Forwarded-For": "198.51.100.8"})
    assert status == 200, "another address is not held responsible"


# webhook


def signed(body: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": KEY.key, "exp": int(time.time()) + 60, "sha256": digest}
    return jwt.encode(claims, KEY.secret, algorithm="HS256")


def event(room: str = "media-room", **more: Any) -> bytes:
    return json.dumps(
        {"event": "participant_joined", "id": "EV_1", "room": {"name": room}, **more}
    ).encode()


async def _granted(port: Port) -> None:
    await port.grants.put(
        Grant(
            media_room="media-room",
            identity="i",
            room_id="!r:example.org",
            user_id=ALICE,
            device_id="DEV",
            granted_ms=1,
        )
    )


async def test_news_is_in_the_inbox_before_the_200(port: Port) -> None:
    await _granted(port)
    body = event(participant={"identity": "i"})
    status, _, _ = await port.post("/media/webhook", body, Authorization=signed(body))
    assert status == 200
    entry = await port.inbox.next("!r:example.org")
    assert entry is not None
    assert (entry.kind, entry.key) == ("media", "EV_1")
    assert entry.payload["participant"]["identity"] == "i"
    assert port.parts.committed == [{"!r:example.org"}]
    status, _, _ = await port.post("/media/webhook", body, Authorization=signed(body))
    assert status == 200
    assert port.parts.committed == [{"!r:example.org"}], "a repetition wakes nobody"


async def test_news_of_a_room_that_is_not_ours_is_taken_and_dropped(port: Port) -> None:
    body = event("somebody else's")
    assert (await port.post("/media/webhook", body, Authorization=signed(body)))[0] == 200
    assert await port.inbox.waiting_rooms() == []


async def test_news_nobody_signed_is_refused(port: Port) -> None:
    await _granted(port)
    assert (await port.post("/media/webhook", event()))[0] == 401
    assert (await port.post("/media/webhook", event(), Authorization=signed(b"x")))[0] == 401
    assert (await port.post("/media/webhook", b"x", Authorization=signed(b"x")))[0] == 400
    large = b"x" * 1_100_000
    assert (await port.post("/media/webhook", large, Authorization=signed(large)))[0] == 413
    assert await port.inbox.waiting_rooms() == []


async def test_news_that_cannot_be_stored_is_not_acknowledged(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    await _granted(port)

    async def full(*_: object, **__: object) -> set[str]:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(port.inbox, "commit", full)
    body = event()
    assert (await port.post("/media/webhook", body, Authorization=signed(body)))[0] == 503


# page


async def test_the_page_and_its_files(port: Port) -> None:
    status, text, headers = await port.get("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<script" in text
    for path in ("/main.js", "/static/main.js"):
        status, _, headers = await port.get(path)
        assert (status, headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    status, _, headers = await port.get("/icon.svg")
    assert (status, headers["Content-Type"]) == (200, "image/svg+xml")
    again = await port.get("/main.js", **{"If-None-Match": (await port.get("/main.js"))[2]["ETag"]})
    assert again[0] == 304


async def test_the_page_may_reach_what_it_needs_and_nothing_else(port: Port) -> None:
    _, _, headers = await port.get("/")
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"].split() == [
        "'self'",
        "https://hs.example.org",
        "wss://sfu.example.org",
        "https://sfu.example.org",
        "https:",  # the homeservers of people invited from elsewhere
        "wss:",  # the media servers of their organisations
    ]
    assert policy["frame-ancestors"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "camera=(self)" in headers["Permissions-Policy"]


async def test_the_captions_page_alone_may_be_shown_in_a_clients_frame(port: Port) -> None:
    status, text, headers = await port.get("/captions")
    assert status == 200
    assert 'src="captions_page.js"' in text
    assert "frame-ancestors 'self' https:" in headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in headers
    assert headers["Permissions-Policy"] == "camera=(), microphone=(), display-capture=()"
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    for path in ("/", "/captions.html", "/captions_page.js"):
        _, _, others = await port.get(path)
        assert "frame-ancestors 'none'" in others["Content-Security-Policy"]
        assert others["X-Frame-Options"] == "DENY"
    own = Web(widget_parents=["https://element.example.org"])
    policy = panel_headers(dataclasses.replace(Settings(), web=own))["Content-Security-Policy"]
    assert "frame-ancestors 'self' https://element.example.org" in policy


async def test_pages_of_other_sites_may_ask_for_captions_and_nothing_else(port: Port) -> None:
    for path in ("/api/captions", "/api/session"):
        async with port.http.options(port.url + path) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
    status, _, headers = await port.get("/api/captions?room=!r:example.org")
    assert (status, headers["Access-Control-Allow-Origin"]) == (401, "*")
    _, _, headers = await port.get("/api/something")
    assert "Access-Control-Allow-Origin" not in headers


def test_where_nobody_from_elsewhere_is_admitted_the_page_stays_at_home() -> None:
    closed = dataclasses.replace(Settings(), federation=Federation(allow_servers=[]))
    policy = security_headers(closed)["Content-Security-Policy"]
    (connect,) = [part for part in policy.split("; ") if part.startswith("connect-src")]
    assert "https:" not in connect.split()
    assert page_config(closed)["other_servers"] is False


async def test_what_the_page_is_told(port: Port) -> None:
    status, text, headers = await port.get("/config.json")
    config = json.loads(text)
    assert (status, config.pop("version") is not None) == (200, True)
    assert config == {
        "homeserver": "https://hs.example.org",
        "server_name": "example.org",
        "livekit_service_url": "https://call.example.org",
        "other_servers": True,
        "prefix": "!visio",
        "languages": ["fr", "en"],
    }
    assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/static/",
        "/static",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/..%2fapp.py",
        "/%2e%2e/%2e%2e/pyproject.toml",
        "/static//etc/passwd",
        "//etc/passwd",
        "/.env",
        "/vendor",
        "/vendor/.hidden.js",
        "/main.js%00.html",
        "/" + "x" * 5000,
        "/_matrix/client/versions",
    ],
)
async def test_everything_else_is_404(port: Port, path: str) -> None:
    status, text, _ = await port.get(path)
    assert (status, json.loads(text)["errcode"]) == (404, "M_UNRECOGNIZED")


async def test_other_methods(port: Port) -> None:
    assert (await port.post("/nothing", b""))[0] == 404
    async with port.http.put(port.url + "/sfu/get") as answer:
        assert answer.status == 405
    async with port.http.head(port.url + "/") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


# health and metrics


async def test_health_names_the_parts(port: Port) -> None:
    status, text, _ = await port.get("/healthz")
    health = json.loads(text)
    assert (status, health["status"], health["parts"]) == (200, "ok", {"media": "ok"})
    # Whoever compares two answers knows whether they come from the same process.
    assert json.loads((await port.get("/healthz"))[1])["instance"] == health["instance"] != ""
    async with port.http.head(port.url + "/healthz") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_a_part_that_hangs_is_down_and_the_answer_comes(port: Port) -> None:
    port.parts.healthy = False
    status, text, _ = await port.get("/healthz")
    assert (status, json.loads(text)["parts"]) == (200, {"media": "down"})


async def test_metrics_are_for_the_inside(port: Port) -> None:
    await port.post("/media/webhook", event())
    status, text, _ = await port.get("/metrics")
    assert status == 200
    assert 'colloque_media_webhooks_total{outcome="refused"} 1.0' in text
    assert (await port.get("/metrics", **{"X-Forwarded-For": "192.0.2.1"}))[0] == 404


@pytest.mark.parametrize("path", ["/.well-known/matrix/client", TRANSPORTS])
async def test_discovery_is_served_with_cors(port: Port, path: str) -> None:
    status, text, headers = await port.get(path)
    assert status == (401 if path == TRANSPORTS else 200), text
    assert headers["Access-Control-Allow-Origin"] == "*"
    async with port.http.options(port.url + path) as answer:
        assert answer.status == 200
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
