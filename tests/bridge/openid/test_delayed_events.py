"""Delayed events at other people's homeservers, asked with tied hands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from bridge.config import Federation
from bridge.errors import ConfigError
from bridge.matrix.delayed import WELL_KNOWN, Answer, DelayedEvents
from bridge.matrix.guarded import Guarded
from bridge.matrix.http import HomeserverError, Unreachable
from tests.support.strangers import Dns, Remote

RESTART = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/syd_1/restart"
BOB = "@bob:hs.test"


class Own:
    """Our own homeserver."""

    server_name = "own.test"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def request(
        self, method: str, path: str, *, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        self.asked.append(path)
        if self.error is not None:
            raise self.error
        return {}


def guarded_by(remote: Remote, **changes: Any) -> Guarded:
    federation = Federation(
        **{"openid_timeout_s": 2, "allow_private_addresses": True, **changes}  # type: ignore[arg-type]
    )
    dns = Dns(hs_test=[["127.0.0.1"]], delegated_test=[["127.0.0.1"]])
    return Guarded(federation, resolver=dns, well_known_port=remote.port)


def delayed(remote: Remote, own: Own | None = None, **changes: Any) -> DelayedEvents:
    return DelayedEvents(own or Own(), guarded_by(remote, **changes))


def points_to(remote: Remote, base_url: object) -> None:
    remote.answer({"m.homeserver": {"base_url": base_url}}, path=WELL_KNOWN)


async def test_asked_where_the_well_known_file_says(remotes: tuple[Remote, Remote]) -> None:
    remote, _ = remotes
    points_to(remote, f"https://delegated.test:{remote.port}/matrix/")
    remote.answer({}, path="/matrix" + RESTART)
    events = delayed(remote)
    assert await events.reaches(BOB)
    assert await events.ask(BOB, "syd_1", "restart") == Answer("done")
    assert await events.ask(BOB, "syd_1", "restart") == Answer("done")
    host = f"delegated.test:{remote.port}"
    assert remote.seen[1:] == [(host, "/matrix" + RESTART)] * 2, "looked up once"


async def test_asked_where_the_administrator_says(remotes: tuple[Remote, Remote]) -> None:
    remote, _ = remotes
    remote.answer({}, path="/matrix" + RESTART)
    named = f"hs.test=https://delegated.test:{remote.port}/matrix"
    events = DelayedEvents(Own(), guarded_by(remote), client_apis=[named])
    assert await events.reaches(BOB)
    assert not await events.reaches("@bob:other.test")
    assert await events.ask(BOB, "syd_1", "restart") == Answer("done")
    assert remote.seen == [(f"delegated.test:{remote.port}", "/matrix" + RESTART)]


@pytest.mark.parametrize("entry", ["hs.test", "=https://hs.test", "hs.test=http://hs.test", "a=b"])
async def test_a_setting_that_names_no_client_api(
    remotes: tuple[Remote, Remote], entry: str
) -> None:
    with pytest.raises(ConfigError, match="client_apis"):
        DelayedEvents(Own(), guarded_by(remotes[0]), client_apis=[entry])


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (404, {"errcode": "M_NOT_FOUND"}, Answer("unknown")),
        (401, {"errcode": "M_MISSING_TOKEN"}, Answer("refused")),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}, Answer("failed", 1500)),
        (429, {"retry_after_ms": 10**12}, Answer("failed", 60_000)),
        (429, "text", Answer("failed")),
        (502, {}, Answer("failed")),
        (302, {}, Answer("refused")),
    ],
)
async def test_what_the_answers_mean(
    remotes: tuple[Remote, Remote], status: int, body: object, answer: Answer
) -> None:
    remote, _ = remotes
    points_to(remote, f"https://hs.test:{remote.port}")
    remote.answer(body, path=RESTART, status=status)
    assert await delayed(remote).ask(BOB, "syd_1", "restart") == answer


@pytest.mark.parametrize(
    "base_url",
    ["http://hs.test:{port}", "https://u@hs.test:{port}", "https:///x", "ftp://hs.test", 3, None],
)
async def test_a_well_known_file_that_names_no_client_api(
    remotes: tuple[Remote, Remote], base_url: object
) -> None:
    remote, _ = remotes
    points_to(remote, json.loads(json.dumps(base_url).replace("{port}", str(remote.port))))
    events = delayed(remote)
    assert not await events.reaches(BOB)
    assert await events.ask(BOB, "syd_1", "restart") == Answer("failed")
    assert [path for _, path in remote.seen] == [WELL_KNOWN], "and it is asked once"


async def test_without_a_well_known_file_nothing_can_be_handed_over(
    remotes: tuple[Remote, Remote],
) -> None:
    assert not await delayed(remotes[0]).reaches(BOB)
    assert not await delayed(remotes[0]).reaches("@bob:no such server")
    assert not await delayed(remotes[0]).reaches("@bob:unknown.test")


async def test_private_addresses_are_never_connected_to(remotes: tuple[Remote, Remote]) -> None:
    remote, inside = remotes
    closed = delayed(remote, allow_private_addresses=False)
    assert not await closed.reaches(BOB)
    assert remote.seen == []
    # The well-known file may be read; what it points to is of the inside.
    points_to(remote, f"https://127.0.0.2:{inside.port}")
    federation = Federation(openid_timeout_s=2, verify_certificates=False)
    half_open = DelayedEvents(
        Own(),
        Guarded(
            federation,
            resolver=Dns(hs_test=[["127.0.0.1"]]),
            allowed=lambda address: address == "127.0.0.1",
            well_known_port=remote.port,
        ),
    )
    assert await half_open.ask(BOB, "syd_1", "send") == Answer("failed")
    assert inside.seen == []


async def test_a_redirect_is_not_followed(remotes: tuple[Remote, Remote]) -> None:
    remote, target = remotes
    points_to(remote, f"https://hs.test:{remote.port}")

    async def redirect(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"https://127.0.0.2:{target.port}{RESTART}")

    remote.handlers[RESTART] = redirect
    events = delayed(remote, verify_certificates=False)
    assert await events.ask(BOB, "syd_1", "restart") == Answer("refused")
    assert target.seen == []


async def test_an_id_cannot_lead_elsewhere(remotes: tuple[Remote, Remote]) -> None:
    remote, _ = remotes
    points_to(remote, f"https://hs.test:{remote.port}")
    await delayed(remote).ask(BOB, "../../logout?x#", "send")
    # aiohttp shows the path decoded: the slashes were sent as %2F, within one segment.
    assert remote.seen[1][1].endswith("/delayed_events/../../logout?x#/send")
    own = Own()
    await delayed(remote, own).ask("@alice:own.test", "../x?y", "send")
    assert own.asked[0].endswith("/delayed_events/..%2Fx%3Fy/send")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (None, Answer("done")),
        (HomeserverError(404, "M_NOT_FOUND"), Answer("unknown")),
        (HomeserverError(429, "M_LIMIT_EXCEEDED", retry_after_ms=900), Answer("failed", 900)),
        (HomeserverError(403, "M_FORBIDDEN"), Answer("refused")),
        (Unreachable("gone", sent=True), Answer("failed")),
    ],
)
async def test_our_own_homeserver(
    remotes: tuple[Remote, Remote], error: Exception | None, answer: Answer
) -> None:
    own = Own()
    own.error = error
    events = delayed(remotes[0], own)
    assert await events.reaches("@alice:own.test")
    assert await events.ask("@alice:own.test", "syd_1", "restart") == answer
    assert own.asked == [RESTART]
