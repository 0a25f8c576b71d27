"""Signalling over WebSocket: `/rtc` and `/rtc/v1`, and `validate` beside each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from livekit.protocol import models, rtc

from sfu.http.limits import Bucket
from sfu.signal import messages, requests, token
from sfu.signal.registry import Registry
from sfu.signal.session import Moment, Session
from sfu.signal.signalling import Signalling

log = logging.getLogger(__name__)

MESSAGES_PER_S, BURST = 200.0, 1000.0
MAX_BAD_FRAMES = 20
HEARTBEAT_S = 15.0
DRAINING = "the server is draining: it takes no new rooms"
LAST_WORDS_S = 2.0

Reason = models.DisconnectReason
Action = rtc.LeaveRequest.Action
Settle = Callable[[Signalling], None]


class Refusal(Exception):
    """A join that is refused before the WebSocket is there; `text` is for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Client:
    """One WebSocket: its reader is the request handler, its writer a task of that handler."""

    def __init__(self, signalling: Signalling, session: Session, ws: web.WebSocketResponse) -> None:
        self.signalling = signalling
        self.session = session
        self.ws = ws
        self.text = False
        self.wake = asyncio.Event()
        self.gone = asyncio.Event()
        self.superseded = False

    async def write(self) -> None:
        """Send what the session owes until it ends, then close."""
        session = self.session
        while not self.superseded:
            await self.wake.wait()
            self.wake.clear()
            while session.outbox and not self.superseded:
                await self._send(session.outbox.popleft())
            if session.ended:
                await self.ws.close()
                return
            if session.overflown:
                await self.ws.close(code=WSCloseCode.TRY_AGAIN_LATER)
                return
        await self.ws.close()

    async def _send(self, response: rtc.SignalResponse) -> None:
        frame = messages.response(response, text=self.text)
        if isinstance(frame, str):
            await self.ws.send_str(frame)
        else:
            await self.ws.send_bytes(frame)


class Door:
    """Every signalling connection of this process.

    `settle` is called after anything changed in a room: it tells participants and negotiates.
    """

    def __init__(
        self,
        registry: Registry,
        keys: Mapping[str, str],
        clock: Callable[[], Moment],
        settle: Settle,
        *,
        single_connection: bool = True,
        max_connections: int = 5000,
    ) -> None:
        self._registry = registry
        self._keys = keys
        self._clock = clock
        self._settle = settle
        self._single_connection = single_connection
        self._max_connections = max_connections
        self.clients: dict[str, Client] = {}
        self.counts: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        routes = [web.get("/rtc", self._v0), web.get("/rtc/validate", self._validate_v0)]
        if self._single_connection:
            routes.append(web.get("/rtc/v1", self._v1))
            routes.append(web.get("/rtc/v1/validate", self._validate_v1))
        return routes

    def wake(self) -> None:
        """Let the writers look: sessions may owe something."""
        for client in self.clients.values():
            session = client.session
            if session.outbox or session.ended or session.overflown:
                client.wake.set()

    async def close(self) -> None:
        """Say goodbye to everybody still here."""
        self.wake()
        gone = [client.gone.wait() for client in self.clients.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await asyncio.gather(*gone)

    # -- routes -------------------------------------------------------------------------------

    async def _v0(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, messages.join_v0)

    async def _v1(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, messages.join_v1)

    async def _validate_v0(self, request: web.Request) -> web.Response:
        return self._validate(request, None)

    async def _validate_v1(self, request: web.Request) -> web.Response:
        return self._validate(request, messages.join_v1)

    def _validate(
        self,
        request: web.Request,
        read: Callable[[Mapping[str, str]], messages.Join] | None,
    ) -> web.Response:
        headers = {"Access-Control-Allow-Origin": "*"}
        try:
            self._admit(self._claims(request))
            if read is not None and "join_request" in request.query:
                read(request.query)
        except Refusal as refusal:
            return web.Response(status=refusal.status, text=str(refusal), headers=headers)
        except messages.BadMessage as error:
            return web.Response(status=400, text=str(error), headers=headers)
        return web.Response(text="success", headers=headers)

    async def _serve(
        self, request: web.Request, read: Callable[[Mapping[str, str]], messages.Join]
    ) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=404, text="not a WebSocket request")
        try:
            claims = self._claims(request)
            self._admit(claims)
            join = read(request.query)
        except Refusal as refusal:
            self.counts["join_refused"] += 1
            log.info("join refused: %s", refusal)
            return web.Response(status=refusal.status, text=str(refusal))
        except messages.BadMessage as error:
            self.counts["join_malformed"] += 1
            return web.Response(status=400, text=str(error))
        ws = web.WebSocketResponse(max_msg_size=messages.MAX_FRAME, heartbeat=HEARTBEAT_S)
        await ws.prepare(request)
        try:
            client = self._enter(claims, join, ws)
        except Refusal as refusal:
            log.info("join refused: %s", refusal)
            await self._refuse(ws, Reason.JOIN_FAILURE, Action.DISCONNECT)
            return ws
        if client is None:
            await self._refuse(ws, Reason.STATE_MISMATCH, Action.RECONNECT)
        else:
            await self._converse(client)
        return ws

    def _claims(self, request: web.Request) -> token.Claims:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else request.query.get("access_token", "")
        try:
            return token.joinable(token.verify(given, self._keys, self._clock().wall))
        except token.BadToken as error:
            raise Refusal(401, str(error)) from error

    def _admit(self, claims: token.Claims) -> None:
        if len(self.clients) >= self._max_connections:
            raise Refusal(503, "too many connections")
        signalling = self._registry.find(claims.grants.room)
        if self._registry.revoked(claims):
            raise Refusal(401, "the access token was revoked")
        if signalling is None:
            if self._registry.draining:
                raise Refusal(503, DRAINING)
            if not self._registry.auto_create:
                raise Refusal(404, "requested room does not exist")
            return
        here = claims.identity in signalling.room.participants
        if signalling.room.full and not here and not claims.grants.hidden:
            raise Refusal(403, "the room is full")

    # -- conversation -------------------------------------------------------------------------

    def _enter(
        self, claims: token.Claims, join: messages.Join, ws: web.WebSocketResponse
    ) -> Client | None:
        now = self._clock()
        # Again: others may have come in while the WebSocket was opened.
        self._admit(claims)
        signalling = self._registry.to_join(claims.grants.room, now)
        if signalling is None:
            return None
        if join.resumes:
            session = signalling.resume(join.resume, claims, now)
            if session is None:
                return None
            self._supersede(session)
        else:
            session = signalling.enter(claims, join, now)
            self._count(requests.begin(signalling, session))
        client = Client(signalling, session, ws)
        self.clients[session.participant.sid] = client
        self._settle(signalling)
        return client

    def _supersede(self, session: Session) -> None:
        old = self.clients.pop(session.participant.sid, None)
        if old is not None:
            old.superseded = True
            old.wake.set()

    async def _refuse(
        self,
        ws: web.WebSocketResponse,
        reason: models.DisconnectReason,
        action: rtc.LeaveRequest.Action,
    ) -> None:
        self.counts["join_refused_late"] += 1
        leave = rtc.LeaveRequest(
            reason=reason, action=action, can_reconnect=action == Action.RECONNECT
        )
        await ws.send_bytes(rtc.SignalResponse(leave=leave).SerializeToString())
        await ws.close()

    async def _converse(self, client: Client) -> None:
        sid = client.session.participant.sid
        writer = asyncio.create_task(client.write(), name=f"signal writer {sid}")
        try:
            await self._read(client)
        finally:
            await self._end(client, writer)

    async def _end(self, client: Client, writer: asyncio.Task[None]) -> None:
        sid, session = client.session.participant.sid, client.session
        if self.clients.get(sid) is client:
            del self.clients[sid]
            if not session.ended:
                client.signalling.lost(session, self._clock())
                self._settle(client.signalling)
        if session.ended:
            # The writer is to say why, and ends by itself.
            await asyncio.wait((writer,), timeout=LAST_WORDS_S)
        writer.cancel()
        try:
            await writer
        except asyncio.CancelledError:
            pass
        except ConnectionError:
            self.counts["signal_write_failed"] += 1
        client.gone.set()

    async def _read(self, client: Client) -> None:
        bucket, bad = Bucket(MESSAGES_PER_S, BURST), 0
        async for message in client.ws:
            if client.superseded or client.session.ended:
                break
            now = self._clock()
            if not bucket.take(now.monotonic):
                self.counts["signal_rate_limited"] += 1
                log.warning("a client sends too many messages; its connection is closed")
                await client.ws.close(code=WSCloseCode.POLICY_VIOLATION)
                break
            if not self._receive(client, message, now):
                bad += 1
            if bad >= MAX_BAD_FRAMES:
                await client.ws.close(code=WSCloseCode.UNSUPPORTED_DATA)
                break

    def _receive(self, client: Client, message: WSMessage, now: Moment) -> bool:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return False
        client.text = message.type == WSMsgType.TEXT
        try:
            request = messages.request(message.data)
        except messages.BadMessage as error:
            self.counts["signal_malformed"] += 1
            log.info("ignored a frame: %s", error)
            return False
        reason = requests.receive(client.signalling, client.session, request, now)
        self._count(reason)
        self._settle(client.signalling)
        if client.session.ended:
            client.wake.set()
        return not reason

    def _count(self, reason: str) -> None:
        if reason:
            self.counts[reason] += 1
            log.info("ignored a request: %s", reason)
