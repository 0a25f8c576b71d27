"""The page as the bridge serves it, and servers around it that can be made to fail.

This is a tool to inject faults. What the page does with real servers is tested in
test_page_call.py, with a real homeserver, the real token doors and the real media server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bridge.config import Federation, Homeserver, Media, Settings, Web
from bridge.dev.ports import free_ports
from bridge.web.page import Page

USER = "@alice:essai.example"
ROOM = "!budget:essai.example"
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
}
_LOGIN = {"user_id": USER, "device_id": "TABLET", "access_token": "secret-of-alice"}


@dataclass
class Fault:
    """What happens in place of the answer."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    until: asyncio.Event | None = None
    """Nothing is answered before this is set."""


class Services:
    """One port for page, homeserver API and token door. `faults` by the end of a path."""

    def __init__(self, port: int, federation: Federation) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.faults: dict[str, Fault] = {}
        self.asked: list[tuple[str, Any]] = []
        self.flows: list[dict[str, Any]] = [{"type": "m.login.password"}]
        self.state: dict[str, dict[str, Any]] = {"m.room.name": {"name": "Budget 2027"}}
        settings = Settings(
            homeserver=Homeserver(address=self.url, server_name="essai.example"),
            web=Web(public_url=self.url),
            federation=federation,
            media=Media(public_url="ws://127.0.0.1:9"),  # discard: nobody listens
        )
        self._page = Page(settings)

    def app(self) -> web.Application:
        """To be served on `port`."""
        app = web.Application(middlewares=[self._fail])
        app.router.add_route("*", "/_matrix/client/v3/{path:.+}", self._matrix)
        app.router.add_post("/sfu/get", self._token)
        app.add_routes(self._page.routes())
        return app

    @web.middleware
    async def _fail(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers=_CORS)
        if request.can_read_body:
            self.asked.append((request.path, json.loads(await request.text())))
        for path, fault in self.faults.items():
            if request.path.endswith(path):
                if fault.until is not None:
                    await fault.until.wait()
                return web.json_response(fault.body, status=fault.status, headers=_CORS)
        return await handler(request)

    async def _matrix(self, request: web.Request) -> web.Response:
        answer = self._answer(request)
        if answer is None:
            return web.json_response({"errcode": "M_NOT_FOUND"}, status=404, headers=_CORS)
        return web.json_response(answer, headers=_CORS)

    def _answer(self, request: web.Request) -> dict[str, Any] | None:
        path = request.match_info["path"]
        if path == "login":
            return {"flows": self.flows} if request.method == "GET" else _LOGIN
        if path == "sync":
            return self._sync()
        if path.endswith("/joined_members"):
            return {"joined": {USER: {"display_name": "Alice Martin"}}}
        if "/state/" in path:
            return self.state.get(path.split("/state/")[1].split("/")[0])
        if path.endswith("/openid/request_token"):
            return {
                "access_token": "openid",
                "token_type": "Bearer",
                "matrix_server_name": "essai.example",
                "expires_in": 3600,
            }
        return {} if path == "logout" else None

    def _sync(self) -> dict[str, Any]:
        return {
            "next_batch": "1",
            "rooms": {
                "join": {
                    ROOM: room("Budget 2027", members=12, live=True),
                    "!space:essai.example": room("Ministère", space=True),
                    "!secret:essai.example": room("Direction", members=3, encrypted=True),
                    "!alone:essai.example": room("Atelier <b>&", members=1),
                }
            },
        }

    async def _token(self, _request: web.Request) -> web.Response:
        answer = {"url": "ws://127.0.0.1:9", "jwt": "e30.e30.e30"}
        return web.json_response(answer, headers=_CORS)


def room(
    name: str, *, members: int = 2, live: bool = False, space: bool = False, encrypted: bool = False
) -> dict[str, Any]:
    """A joined room of a sync answer."""
    create = {"type": "m.space"} if space else {}
    events = [
        {"type": "m.room.create", "state_key": "", "content": create},
        {"type": "m.room.name", "state_key": "", "content": {"name": name}},
    ]
    if encrypted:
        content = {"algorithm": "m.megolm.v1.aes-sha2"}
        events.append({"type": "m.room.encryption", "state_key": "", "content": content})
    if live:
        status = {"type": "eu.colloque.conference.status", "state_key": "essai.example"}
        events.append({**status, "content": {"active": True}})
    return {"summary": {"m.joined_member_count": members}, "state": {"events": events}}


@asynccontextmanager
async def services(federation: Federation | None = None) -> AsyncIterator[Services]:
    """Serve them on a free port."""
    (port,) = free_ports(1)
    served = Services(port, federation or Federation())
    runner = web.AppRunner(served.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield served
    finally:
        for fault in served.faults.values():
            if fault.until is not None:
                fault.until.set()
        await runner.cleanup()
