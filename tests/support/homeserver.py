"""A homeserver for fault tests: it does on demand what a real one does once a month.

It answers the client-server API the bridge's bot uses, remembers transaction ids as Synapse does
(in memory: `restart()` forgets them and keeps the events), and carries out planned faults:

    async with FakeHomeserver() as server:
        server.fault("/send/", after="cut")              # stored, then the connection is closed
        server.fault("/send/", status=429, body={"errcode": "M_LIMIT_EXCEEDED", ...}, times=2)
        ...
        assert server.bodies(ROOM) == ["one", "two"]

Whatever it has no rule for is answered 404 M_UNRECOGNIZED, as a real one does.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import unquote

from aiohttp import web

from bridge.matrix.registration import Registration

SERVER_NAME = "fake.test"
BOT = f"@visio:{SERVER_NAME}"

REGISTRATION = Registration(
    id="colloque",
    url="http://127.0.0.1:1",
    sender_localpart="visio",
    as_token="as-token-of-the-tests",
    hs_token="hs-token-of-the-tests",
)


@dataclass
class Fault:
    """What happens to the next `times` requests whose path contains `path`.

    `before`: instead of carrying it out; `after`: once it was carried out.
    """

    path: str
    method: str | None = None
    before: Literal["cut", "hang", "answer"] | None = None
    after: Literal["cut", "hang", "answer"] | None = None
    status: int = 500
    body: dict[str, Any] | str = field(default_factory=dict)
    times: int = 1
    forget: bool = False  # and the server forgets its transaction ids, as if it had restarted


@dataclass
class Room:
    """Events in order, state by (type, key), joined members with their names."""

    events: list[dict[str, Any]] = field(default_factory=list)
    state: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    bot_may_set_state: bool = True


class FakeHomeserver:
    """One server on a free loopback port. `requests`: (method, path) of all that arrived."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.requests: list[tuple[str, str]] = []
        self.uploads: dict[str, tuple[bytes, str, str]] = {}
        self.registered: set[str] = set()
        self.profile: dict[str, Any] = {}
        self.pings = 0
        self.knows_is_joined = True
        self.most_in_flight: Counter[str] = Counter()  # by room: writes at the same time
        self._in_flight: Counter[str] = Counter()
        self.stored = asyncio.Condition()
        self.delay_s = 0.0
        self.chaos: Callable[[str, str], Fault | None] = lambda method, path: None
        self._faults: list[Fault] = []
        self._transactions: dict[str, dict[str, Any]] = {}
        self._runner: web.AppRunner | None = None
        self._hanging = asyncio.Event()
        self.port = 0

    @property
    def address(self) -> str:
        """Client API, also while it is stopped."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop()`, on the same port."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._request)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections from now on; what hangs is cut."""
        self._hanging.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        """Stop and start: every event is kept, every transaction id forgotten."""
        await self.stop()
        self.forget_transactions()
        self._hanging = asyncio.Event()
        await self.start()

    def forget_transactions(self) -> None:
        """What a restart of Synapse does to the transaction ids of an application service."""
        self._transactions.clear()

    def fault(self, path: str, **what: Any) -> None:
        """Plan a fault (see `Fault`); planned ones happen in order. `status` alone is an answer."""
        if "status" in what and not {"before", "after"} & what.keys():
            what["before"] = "answer"
        self._faults.append(Fault(path, **what))

    def room(self, room_id: str, *members: str) -> Room:
        """The room, made on first use with the bot in it."""
        room = self.rooms.setdefault(room_id, Room(members={BOT: "Visio"}))
        room.members.update({member: member[1:].partition(":")[0].title() for member in members})
        return room

    def add_event(self, room_id: str, event: dict[str, Any]) -> str:
        """Store an event as the server does; returns its id."""
        room = self.room(room_id)
        event = {"event_id": f"${len(room.events)}:{room_id[1:4]}", "room_id": room_id, **event}
        room.events.append(event)
        return str(event["event_id"])

    def bodies(self, room_id: str) -> list[str]:
        """Texts of the room's messages, in order."""
        return [
            event["content"]["body"]
            for event in self.room(room_id).events
            if event["type"] == "m.room.message"
        ]

    async def wait_for(self, done: Callable[[], bool], timeout: float = 20) -> None:
        """Until `done()`, which is asked again after every request."""
        async with asyncio.timeout(timeout), self.stored:
            await self.stored.wait_for(done)

    async def _request(self, request: web.Request) -> web.StreamResponse:
        path = unquote(request.rel_url.raw_path)
        self.requests.append((request.method, path))
        body = await request.read()
        fault = self._next_fault(request.method, path)
        room_id = path.split("/")[5] if request.method == "PUT" and "/rooms/" in path else ""
        self._in_flight[room_id] += 1
        self.most_in_flight[room_id] = max(self.most_in_flight[room_id], self._in_flight[room_id])
        try:
            if fault is not None and fault.before is not None:
                return await self._carry_out(request, fault, fault.before)
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            response = self._answer(request, body)
            if fault is not None and fault.after is not None:
                return await self._carry_out(request, fault, fault.after)
            return response
        finally:
            self._in_flight[room_id] -= 1
            async with self.stored:
                self.stored.notify_all()

    def _next_fault(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.path in path and fault.method in {None, method}:
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return self.chaos(method, path)

    async def _carry_out(
        self, request: web.Request, fault: Fault, how: Literal["cut", "hang", "answer"]
    ) -> web.StreamResponse:
        if fault.forget:
            self.forget_transactions()
        async with self.stored:
            self.stored.notify_all()
        if how == "answer":
            text = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
            return web.Response(status=fault.status, text=text, content_type="application/json")
        if how == "hang":
            await self._hanging.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _answer(self, request: web.Request, body: bytes) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {REGISTRATION.as_token}":
            return _error(401, "M_UNKNOWN_TOKEN", "Unknown token")
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
        for rule in _RULES:
            if rule.matches(request.method, parts):
                return rule.answer(self, request, parts, body)
        return _error(404, "M_UNRECOGNIZED", "Unrecognized request")

    # The rules. `parts` are the path's segments, unquoted.

    def _register(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        name = json.loads(body)["username"]
        if name in self.registered:
            return _error(400, "M_USER_IN_USE", "User ID already taken.")
        self.registered.add(name)
        return web.json_response({"user_id": f"@{name}:{SERVER_NAME}"})

    def _ping(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        self.pings += 1
        return web.json_response({"duration_ms": 2})

    def _join(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        self.room(parts[4])
        return web.json_response({"room_id": parts[4]})

    def _send(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        room_id, event_type, txn = parts[4], parts[6], parts[7]
        if BOT not in self.room(room_id).members:
            return _error(403, "M_FORBIDDEN", "User not in room")
        return self._once(
            txn, room_id, {"type": event_type, "sender": BOT, "content": json.loads(body)}
        )

    def _redact(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        room_id, target, txn = parts[4], parts[6], parts[7]
        content = {**json.loads(body or b"{}"), "redacts": target}
        for event in self.room(room_id).events:
            if event["event_id"] == target:
                event["content"] = {}
        return self._once(
            txn, room_id, {"type": "m.room.redaction", "sender": BOT, "content": content}
        )

    def _once(self, txn: str, room_id: str, event: dict[str, Any]) -> web.Response:
        if txn not in self._transactions:
            self._transactions[txn] = {"event_id": self.add_event(room_id, event)}
        return web.json_response(self._transactions[txn])

    def _put_state(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        room = self.room(parts[4])
        if not room.bot_may_set_state or BOT not in room.members:
            return _error(403, "M_FORBIDDEN", "user_level (0) < send_level (50)")
        key = (parts[6], parts[7] if len(parts) > 7 else "")
        present = room.state.get(key)
        content = json.loads(body)
        if present is None or present["content"] != content:
            event = {"type": key[0], "state_key": key[1], "sender": BOT, "content": content}
            self.add_event(parts[4], event)
            present = room.state[key] = room.events[-1]
        return web.json_response({"event_id": present["event_id"]})

    def _get_state(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        room = self.room(parts[4])
        if len(parts) == 6:
            return web.json_response(list(room.state.values()))
        key = (parts[6], parts[7] if len(parts) > 7 else "")
        if key[0] == "m.room.member" and key[1] in room.members:
            return web.json_response({"membership": "join", "displayname": room.members[key[1]]})
        if key not in room.state:
            return _error(404, "M_NOT_FOUND", "Event not found.")
        return web.json_response(room.state[key]["content"])

    def _members(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        room = self.room(parts[4])
        if BOT not in room.members:
            return _error(403, "M_FORBIDDEN", "Appservice not in room")
        return web.json_response(
            {"joined": {user: {"display_name": name} for user, name in room.members.items()}}
        )

    def _is_joined(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        if not self.knows_is_joined:
            return _error(404, "M_UNRECOGNIZED", "Unrecognized request")
        joined = request.query["mxid"] in self.room(parts[5]).members
        return web.json_response({"joined": joined})

    def _messages(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        room = self.room(parts[4])
        if BOT not in room.members:
            return _error(403, "M_FORBIDDEN", "User not in room")
        senders = json.loads(request.query.get("filter", "{}")).get("senders")
        chunk = [e for e in reversed(room.events) if senders is None or e["sender"] in senders]
        start, limit = int(request.query.get("from", 0)), int(request.query["limit"])
        answer: dict[str, Any] = {"chunk": chunk[start : start + limit], "start": str(start)}
        if start + limit < len(chunk):
            answer["end"] = str(start + limit)
        return web.json_response(answer)

    def _upload(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        mxc = f"mxc://{SERVER_NAME}/{len(self.uploads)}"
        media_type = request.headers.get("Content-Type", "")
        self.uploads[mxc] = (body, media_type, request.query.get("filename", ""))
        return web.json_response({"content_uri": mxc})

    def _openid(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        return web.json_response(
            {
                "access_token": "openid",
                "token_type": "Bearer",
                "matrix_server_name": SERVER_NAME,
                "expires_in": 3600,
            }
        )

    def _profile(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        if request.method == "PUT":
            self.profile.update(json.loads(body))
            return web.json_response({})
        return web.json_response(self.profile)

    def _joined_rooms(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        joined = [room_id for room_id, room in self.rooms.items() if BOT in room.members]
        return web.json_response({"joined_rooms": joined})

    def _versions(self, request: web.Request, parts: list[str], body: bytes) -> web.Response:
        return web.json_response({"versions": ["v1.11"], "unstable_features": {}})


@dataclass
class _Rule:
    method: str
    pattern: str
    answer: Callable[[FakeHomeserver, web.Request, list[str], bytes], web.Response]

    def matches(self, method: str, parts: list[str]) -> bool:
        wanted = self.pattern.split("/")
        return (
            method == self.method
            and len(wanted) == len(parts)
            and all(want in {"*", part} for want, part in zip(wanted, parts, strict=True))
        )


_V3 = "_matrix/client/v3"
_ROOM = f"{_V3}/rooms/*"
_RULES = [
    _Rule("POST", f"{_V3}/register", FakeHomeserver._register),
    _Rule("POST", "_matrix/client/v1/appservice/*/ping", FakeHomeserver._ping),
    _Rule("POST", f"{_V3}/join/*", FakeHomeserver._join),
    _Rule("GET", f"{_V3}/joined_rooms", FakeHomeserver._joined_rooms),
    _Rule("PUT", f"{_ROOM}/send/*/*", FakeHomeserver._send),
    _Rule("PUT", f"{_ROOM}/redact/*/*", FakeHomeserver._redact),
    _Rule("PUT", f"{_ROOM}/state/*", FakeHomeserver._put_state),
    _Rule("PUT", f"{_ROOM}/state/*/*", FakeHomeserver._put_state),
    _Rule("GET", f"{_ROOM}/state", FakeHomeserver._get_state),
    _Rule("GET", f"{_ROOM}/state/*", FakeHomeserver._get_state),
    _Rule("GET", f"{_ROOM}/state/*/*", FakeHomeserver._get_state),
    _Rule("GET", f"{_ROOM}/joined_members", FakeHomeserver._members),
    _Rule("GET", f"{_ROOM}/messages", FakeHomeserver._messages),
    _Rule(
        "GET",
        "_matrix/client/unstable/io.element.msc4502/rooms/*/is_joined",
        FakeHomeserver._is_joined,
    ),
    _Rule("POST", "_matrix/media/v3/upload", FakeHomeserver._upload),
    _Rule("POST", f"{_V3}/user/*/openid/request_token", FakeHomeserver._openid),
    _Rule("PUT", f"{_V3}/profile/*/displayname", FakeHomeserver._profile),
    _Rule("GET", f"{_V3}/profile/*", FakeHomeserver._profile),
    _Rule("GET", "_matrix/client/versions", FakeHomeserver._versions),
]


def _error(status: int, errcode: str, error: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": error}, status=status)
