"""OpenID verification against real servers on this machine, honest and not."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json

import pytest
from aiohttp import web

from bridge.config import Federation, Homeserver, Settings
from bridge.errors import Refused, Unavailable
from bridge.matrix.openid import NotAuthorised, OpenId, OpenIdToken, is_user_id
from tests.support.strangers import USERINFO, Dns, Remote


def verifier(dns: Dns | None = None, **changes: object) -> OpenId:
    options = {
        name: changes.pop(name) for name in ("allowed", "well_known_port") if name in changes
    }
    federation = Federation(**{"openid_timeout_s": 2, "allow_private_addresses": True, **changes})  # type: ignore[arg-type]
    settings = dataclasses.replace(
        Settings(), federation=federation, homeserver=Homeserver(server_name="own.test")
    )
    return OpenId(settings, resolver=dns or Dns(hs_test=[["127.0.0.1"]]), **options)  # type: ignore[arg-type]


def token(server: str, text: str = "t") -> OpenIdToken:
    return OpenIdToken(text, server)


async def test_an_honest_server_is_believed_about_its_own_user(
    remotes: tuple[Remote, Remote],
) -> None:
    remote, _ = remotes
    name = f"hs.test:{remote.port}"
    remote.answer({"sub": f"@bob:{name}"})
    openid = verifier()
    assert await openid.user_of(token(name)) == f"@bob:{name}"
    assert await openid.user_of(token(name)) == f"@bob:{name}"
    assert remote.seen == [(name, USERINFO)], "asked once, with the server's name as Host"


async def test_a_literal_address_is_asked_and_its_certificate_checked(
    remotes: tuple[Remote, Remote],
) -> None:
    good, other = remotes
    good.answer({"sub": f"@bob:127.0.0.1:{good.port}"})
    other.answer({"sub": f"@bob:127.0.0.2:{good.port}"})
    assert await verifier().user_of(token(f"127.0.0.1:{good.port}"))
    with pytest.raises(Unavailable):  # the certificate is not for 127.0.0.2
        await verifier().user_of(token(f"127.0.0.2:{good.port}"))
    assert other.seen == []
    unchecked = verifier(verify_certificates=False)
    assert await unchecked.user_of(token(f"127.0.0.2:{good.port}"))


async def test_a_delegated_name_is_asked_with_its_own_name_and_certificate(
    remotes: tuple[Remote, Remote],
) -> None:
    remote, _ = remotes
    delegated = f"delegated.test:{remote.port}"
    remote.answer({"m.server": delegated}, path="/.well-known/matrix/server")
    remote.answer({"sub": "@bob:hs.test"})
    dns = Dns(hs_test=[["127.0.0.1"]], delegated_test=[["127.0.0.1"]])
    openid = verifier(dns, well_known_port=remote.port)
    assert await openid.user_of(token("hs.test")) == "@bob:hs.test"
    assert remote.seen[1] == (delegated, USERINFO)


@pytest.mark.parametrize(
    "name", ["127.0.0.1:{port}", "[::1]:{port}", "hs.test:{port}", "[::ffff:127.0.0.1]:{port}"]
)
async def test_private_addresses_are_never_connected_to(
    remotes: tuple[Remote, Remote], name: str
) -> None:
    remote, _ = remotes
    server = name.format(port=remote.port)
    remote.answer({"sub": f"@bob:{server}"})
    with pytest.raises(NotAuthorised):
        await verifier(allow_private_addresses=False).user_of(token(server))
    assert remote.seen == []


async def test_a_dns_answer_that_changes_after_the_check_changes_nothing(
    remotes: tuple[Remote, Remote],
) -> None:
    forbidden, public = remotes  # 127.0.0.2 plays the public address
    name = f"rebind.test:{public.port}"
    for remote in remotes:
        remote.answer({"sub": f"@bob:{name}"})
    dns = Dns(rebind_test=[["127.0.0.2"], ["127.0.0.1"]])
    openid = verifier(dns, allowed=lambda address: address == "127.0.0.2")
    assert await openid.user_of(token(name)) == f"@bob:{name}"
    assert (len(public.seen), forbidden.seen, dns.asked) == (1, [], ["rebind.test"])
    # Asked again, the name now stands for the forbidden address: refused before any connection.
    with pytest.raises(NotAuthorised):
        await openid.user_of(token(name, "another"))
    assert forbidden.seen == []


async def test_a_redirect_is_not_followed(remotes: tuple[Remote, Remote]) -> None:
    remote, target = remotes
    name = f"hs.test:{remote.port}"

    async def redirect(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"https://127.0.0.2:{target.port}{USERINFO}")

    remote.handlers[USERINFO] = redirect
    target.answer({"sub": f"@bob:{name}"})
    with pytest.raises(NotAuthorised):
        await verifier(verify_certificates=False).user_of(token(name))
    assert target.seen == []


async def test_a_slow_server_costs_the_time_limit_and_no_more(
    remotes: tuple[Remote, Remote],
) -> None:
    remote, _ = remotes

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.1)
        return response

    remote.handlers[USERINFO] = drip
    loop = asyncio.get_running_loop()
    since = loop.time()
    with pytest.raises(Unavailable):
        await verifier(openid_timeout_s=1).user_of(token(f"hs.test:{remote.port}"))
    assert loop.time() - since < 3


async def test_a_huge_answer_is_cut_off(remotes: tuple[Remote, Remote]) -> None:
    remote, _ = remotes
    name = f"hs.test:{remote.port}"
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 64 * 1024 * 1024:
            await response.write(b"x" * 65536)
            sent += 65536
        return response

    remote.handlers[USERINFO] = flood
    with pytest.raises(Unavailable):
        await verifier().user_of(token(name))
    assert sent < 16 * 1024 * 1024  # what the socket's buffers took


async def test_compression_is_not_undone(remotes: tuple[Remote, Remote]) -> None:
    remote, _ = remotes
    name = f"hs.test:{remote.port}"

    async def bomb(_request: web.Request) -> web.Response:
        body = gzip.compress(json.dumps({"sub": f"@bob:{name}", "x": "0" * 10_000_000}).encode())
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    remote.handlers[USERINFO] = bomb
    with pytest.raises(NotAuthorised):
        await verifier().user_of(token(name))


@pytest.mark.parametrize(
    "answer",
    [
        {"sub": "@bob:elsewhere.test"},
        {"sub": "@bob:hs.test"},  # without the port it is another server
        {"sub": "bob:hs.test:{port}"},
        {"sub": "@:hs.test:{port}"},
        {"sub": "@bob\n:hs.test:{port}"},
        {"sub": "@" + "b" * 300 + ":hs.test:{port}"},
        {"sub": None},
        {"sub": ["@bob:hs.test:{port}"]},
        {},
        [],
        None,
        "text",
    ],
)
async def test_an_answer_that_names_no_user_of_that_server_is_refused(
    remotes: tuple[Remote, Remote], answer: object
) -> None:
    remote, _ = remotes
    remote.answer(json.loads(json.dumps(answer).replace("{port}", str(remote.port))))
    with pytest.raises(NotAuthorised):
        await verifier().user_of(token(f"hs.test:{remote.port}"))


@pytest.mark.parametrize(
    ("status", "error"), [(401, NotAuthorised), (404, NotAuthorised), (503, Unavailable)]
)
async def test_an_error_of_the_homeserver(
    remotes: tuple[Remote, Remote], status: int, error: type[Exception]
) -> None:
    remote, _ = remotes
    remote.answer({"errcode": "M_UNKNOWN_TOKEN"}, status=status)
    openid, name = verifier(), f"hs.test:{remote.port}"
    for _ in range(2):
        with pytest.raises(error):
            await openid.user_of(token(name))
    assert len(remote.seen) == 2, "only a good answer is remembered"


async def test_what_listens_but_speaks_no_http_is_unavailable() -> None:
    async def garble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xffnot tls at all")
        writer.close()

    server = await asyncio.start_server(garble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unavailable):
        await verifier().user_of(token(f"hs.test:{port}"))
    server.close()
    with pytest.raises(Unavailable):  # and nobody listens now
        await verifier().user_of(token(f"hs.test:{port}"))


async def test_servers_not_on_the_list_are_refused_unasked(
    remotes: tuple[Remote, Remote],
) -> None:
    remote, _ = remotes
    name = f"hs.test:{remote.port}"
    remote.answer({"sub": f"@bob:{name}"})
    with pytest.raises(Refused):
        await verifier(allow_servers=["other.test"]).user_of(token(name))
    assert remote.seen == []
    assert await verifier(allow_servers=[name]).user_of(token(name))


@pytest.mark.parametrize("name", ["", "a b", "hs.test/path", "user@hs.test", "hs.test:99999"])
async def test_what_is_no_server_name_is_refused(name: str) -> None:
    with pytest.raises(NotAuthorised):
        await verifier().user_of(token(name))


async def test_our_own_homeserver_is_asked_where_the_settings_say() -> None:
    remote = Remote("127.0.0.1", 0)
    remote.answer({"sub": "@alice:own.test"})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", remote.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = dataclasses.replace(
        Settings(),
        homeserver=Homeserver(
            server_name="own.test", address=f"http://127.0.0.1:{runner.addresses[0][1]}"
        ),
    )
    openid = OpenId(settings, resolver=Dns())  # private addresses are not allowed; this is ours
    assert await openid.user_of(token("own.test")) == "@alice:own.test"
    await runner.cleanup()
    with pytest.raises(Unavailable):
        await openid.user_of(token("own.test", "another"))


def test_the_token_is_not_in_a_repr() -> None:
    assert "syt_secret" not in repr(OpenIdToken("syt_secret", "hs.test"))


@pytest.mark.parametrize("value", ["@a:b", "@a:b:8448", "@:x:y", 3, None, "a:b", "@ab", "@a:"])
def test_user_ids(value: object) -> None:
    assert is_user_id(value) == (value in {"@a:b", "@a:b:8448"})
