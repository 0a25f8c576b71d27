"""A media server that fails: whatever goes wrong is `Unavailable`, soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from bridge.errors import Unavailable
from bridge.media.keys import ApiKey
from bridge.media.server import MediaServer

KEY = ApiKey("k", "a secret that is long enough for HS256")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _error(_request: web.Request) -> web.Response:
    return web.json_response({"code": "internal", "msg": "x"}, status=500)


async def _refused(_request: web.Request) -> web.Response:
    return web.json_response({"code": "permission_denied", "msg": "x"}, status=403)


async def _garbage(_request: web.Request) -> web.Response:
    return web.Response(body=b"\xff\xff\xff\xff not a message")


async def _hang(_request: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    return web.Response()


async def _html(_request: web.Request) -> web.Response:
    return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[MediaServer]]]:
    runners: list[web.AppRunner] = []
    servers: list[MediaServer] = []

    async def start(handler: Handler) -> MediaServer:
        app = web.Application()
        app.router.add_post("/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        media = MediaServer(f"http://127.0.0.1:{runner.addresses[0][1]}", KEY, timeout_s=0.5)
        servers.append(media)
        return media

    yield start
    for media in servers:
        await media.close()
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize("handler", [_error, _refused, _garbage, _hang, _html])
async def test_every_failure_is_unavailable(
    serve: Callable[[Handler], Awaitable[MediaServer]], handler: Handler
) -> None:
    media = await serve(handler)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: media.rooms(["r"]),
        lambda: media.create_room("r"),
        lambda: media.delete_room("r"),
        lambda: media.participants("r"),
        lambda: media.remove("r", "a"),
        lambda: media.mute("r", "a", "TR_1"),
        lambda: media.send_data("r", b"x"),
    ]
    for call in calls[:1] if handler is _hang else calls:
        with pytest.raises(Unavailable) as error:
            await call()
        assert error.value.key == "media_unavailable"
        assert KEY.secret not in repr(error.value.values)
    assert not await media.reachable()


async def test_nobody_there_is_unavailable() -> None:
    media = MediaServer("http://127.0.0.1:9", KEY)
    with pytest.raises(Unavailable):
        await media.rooms()
    await media.close()
