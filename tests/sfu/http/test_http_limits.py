"""How often is too often, and how many webhooks may wait."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web
from livekit.protocol import models

from sfu.http import webhook
from sfu.http.limits import Bucket
from sfu.http.webhook import Webhooks
from sfu.room.room import RoomEvent
from tests.sfu.server.server_process import free_port


def test_a_bucket_fills_with_time() -> None:
    bucket = Bucket(rate=2.0, burst=3.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.4)
    assert bucket.take(0.6)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def event(number: int) -> RoomEvent:
    return RoomEvent(f"event{number}", models.Room(name="room"))


async def test_what_comes_on_top_is_dropped_and_told_with_the_next() -> None:
    got: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        got.put_nowait(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    hooks = Webhooks([f"http://127.0.0.1:{port}/"], "key", "a secret of 32 bytes at the least")
    hooks.put(event(number) for number in range(webhook.QUEUE + 3))
    running = asyncio.create_task(hooks.run())
    await hooks.drained()
    hooks.put([event(9999)])
    await hooks.drained()
    received = [got.get_nowait() for _ in range(webhook.QUEUE + 1)]
    assert [r["event"] for r in received[:3]] == ["event0", "event1", "event2"]
    assert received[-1]["event"] == "event9999"
    assert received[-1]["numDropped"] == 3
    assert hooks.counts["webhook_dropped"] == 3
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await runner.cleanup()


async def test_a_receiver_that_is_gone_is_given_up() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    hooks = Webhooks([url], "key", "a secret of 32 bytes at the least", delays_s=(0.0, 0.0))
    running = asyncio.create_task(hooks.run())
    hooks.put([event(1)])
    await hooks.drained()
    assert hooks.counts == {"webhook_failed": 3, "webhook_given_up": 1}
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
