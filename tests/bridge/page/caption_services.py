"""A bridge's captions as a test writes them, behind the real page; and a client's frame around it.

A tool to inject what is said and what goes wrong. Real captions of a real call are in
tests/e2e/test_e2e_captions.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from bridge.config import Federation
from bridge.dev.ports import free_ports
from bridge.web.caption_door import CORS
from tests.bridge.page.services import Services

_WIDGET_API = (
    Path(__file__).resolve().parents[2] / "browsers/node_modules/matrix-widget-api/dist/api.min.js"
)
_HOST = Path(__file__).with_name("widget_frame.html")
STATE = {"captions": "on", "call": "c1", "language": "fr", "scribe": "listening", "sites": []}


class CaptionServices(Services):
    """`say` writes an event to all who read; `streams` holds what they asked with."""

    def __init__(self, port: int, federation: Federation) -> None:
        super().__init__(port, federation)
        self.told: dict[str, Any] = dict(STATE)
        self.proofs: list[Any] = []
        self.rooms: list[str] = []
        self.streams: list[dict[str, str]] = []
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self._readers: set[asyncio.Queue[bytes | None]] = set()
        self._number = 0

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._preflights])
        app.router.add_post("/api/session", self._session)
        app.router.add_get("/api/captions", self._captions)
        app.router.add_get("/host", _file(_HOST))
        app.router.add_get("/host.js", _file(_HOST.with_suffix(".mjs")))
        app.router.add_get("/widget-api.js", _file(_WIDGET_API))
        app.router.add_route("*", "/_matrix/client/v3/{path:.+}", self._matrix)
        app.add_routes(self._page.routes())
        return app

    def say(self, event: str, data: Any, number: str = "") -> None:
        """One event, to everybody."""
        head = f"id: {number}\n" if number else ""
        self._write(f"{head}event: {event}\ndata: {json.dumps(data)}\n\n".encode())

    def caption(self, name: str, text: str, *, final: bool = True, segment: str = "") -> None:
        """Somebody's words."""
        self._number += 1
        shown = {
            "segment": segment or f"s{self._number}",
            "user_id": f"@{name.lower()}:essai.example",
            "name": name,
            "text": text,
            "final": final,
            "language": "fr",
            "start_ms": 0,
            "voice": "",
        }
        self.say("caption", shown, f"0123abcd-{self._number}" if final else "")

    def stands(self, **more: Any) -> None:
        """How it stands from now on."""
        self.told = {**self.told, **more}
        self.say("state", self.told)

    def cut(self) -> None:
        """Every connection breaks."""
        self._write(None)

    def _write(self, data: bytes | None) -> None:
        for reader in self._readers:
            reader.put_nowait(data)

    @web.middleware
    async def _preflights(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers={**CORS, "Access-Control-Allow-Methods": "*"})
        answer: web.StreamResponse = await handler(request)
        if not answer.prepared and request.path.startswith("/api/"):
            answer.headers.update(CORS)
        return answer

    async def _session(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.proofs.append(asked["openid_token"])
        self.rooms.append(asked["room"])
        return web.json_response({"session": "s3cret", "expires_in": 3600, "user_id": "@a:b"})

    async def _captions(self, request: web.Request) -> web.StreamResponse:
        self.streams.append({**request.query, **request.headers})
        if self.refusal is not None:
            status, body = self.refusal
            return web.json_response(body, status=status)
        answer = web.StreamResponse(headers={**CORS, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        written = asyncio.Queue[bytes | None]()
        self._readers.add(written)
        try:
            await answer.write(f"event: state\ndata: {json.dumps(self.told)}\n\n".encode())
            while (data := await written.get()) is not None:
                await answer.write(data)
        except ConnectionError:
            pass
        finally:
            self._readers.discard(written)
        return answer


@asynccontextmanager
async def caption_services() -> AsyncIterator[CaptionServices]:
    """Serve them on a free port."""
    (port,) = free_ports(1)
    served = CaptionServices(port, Federation(allow_private_addresses=True))
    runner = web.AppRunner(served.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield served
    finally:
        served.cut()
        await runner.cleanup()


def _file(path: Path) -> Any:
    async def answer(_request: web.Request) -> web.FileResponse:
        kind = "text/html" if path.suffix == ".html" else "text/javascript"
        return web.FileResponse(path, headers={"Content-Type": kind})

    return answer
