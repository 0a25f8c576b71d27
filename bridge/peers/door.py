"""What another site may ask of this bridge, and who it must be. Every request is checked here.

1. It speaks not too often (each site has its own measure).
2. Its server is admitted (`federation.allow_servers`), and is not ours.
3. The request is of the agreed shape and size (messages.py).
4. We are in the room, and so is the other site.
5. It says nothing of people who are not its own (`federation.speaks_for`), and asks for mutes and
   removals in the name of its own server's members alone.

Whatever fails is answered with a Matrix error, and written to the log where it should not happen
between honest bridges. The homeservers prove `origin`: the door never takes it from a body.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import Counter

from bridge.domain import federation
from bridge.domain.policy import server_admitted
from bridge.errors import ColloqueError
from bridge.ids import server_of
from bridge.matrix.answers import matrix_error, read_object, refusal
from bridge.matrix.limits import Rate, RateLimit
from bridge.peers import messages
from bridge.peers.messages import (
    PREFIX,
    ForgetAsked,
    InvalidMessage,
    ModerateAsked,
    Moderated,
    Page,
    PageAsked,
    RoomReport,
)

log = logging.getLogger(__name__)

RATE = Rate(per_second=10.0, burst=30)
KINDS = ("report", "utterances", "moderate", "forget")

ASKED = Counter("colloque_peer_requests_total", "Requests of other bridges.", ["outcome"])

Content = dict[str, Any]


class Rooms(Protocol):
    """What the door needs of the rooms."""

    async def bridges(self, room_id: str) -> Collection[str] | None:
        """Servers whose bridge is in this room, ours among them; None where ours is not."""

    async def take(self, origin: str, told: RoomReport) -> RoomReport:
        """Take note of a report. Returns how we stand."""

    async def page(self, origin: str, asked: PageAsked) -> Page | None:
        """A page of what was said here; None for a call we do not know."""

    async def forget(self, origin: str, asked: ForgetAsked) -> None:
        """Delete our copies of what the site has deleted; durable when it returns."""


class Moderation(Protocol):
    """What the door needs to have somebody muted or removed."""

    async def moderate(self, asked: ModerateAsked) -> Moderated:
        """Do it, if the asker may in this room. Raises Unavailable."""


class Members(Protocol):
    """What the door asks of the homeserver."""

    async def is_joined(self, room_id: str, user_id: str) -> bool: ...

    async def is_server_joined(self, room_id: str, server: str) -> bool: ...


class Denied(Exception):
    """The request is refused: HTTP status, errcode, and why."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.errcode = errcode


class Door:
    """Answers requests of other bridges, whichever way they came."""

    def __init__(
        self,
        own_server: str,
        allow_servers: Sequence[str],
        rooms: Rooms,
        members: Members,
        moderation: Moderation,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own_server
        self._allow = allow_servers
        self._rooms = rooms
        self._members = members
        self._moderation = moderation
        self._clock = clock
        self._rates = RateLimit(RATE, capacity=5_000)

    async def answer(self, origin: str, kind: str, body: Content) -> tuple[int, Content]:
        """Status and answer to a request whose body was read already."""
        try:
            self.admit(origin)
            return 200, await self._answered(origin, kind, body)
        except Denied as denied:
            ASKED.labels("refused").inc()
            return denied.status, {"errcode": denied.errcode, "error": str(denied)}

    def admit(self, origin: str) -> None:
        """Raises Denied where this server may ask nothing, or not so often."""
        if not origin or origin == self._own or not server_admitted(origin, self._allow, self._own):
            raise Denied(403, "M_FORBIDDEN", "This server is not admitted.")
        if self._rates.take(origin, self._clock()) > 0:
            raise Denied(429, "M_LIMIT_EXCEEDED", "Too many requests.")

    async def _answered(self, origin: str, kind: str, body: Content) -> Content:
        try:
            match kind:
                case "report":
                    answer = await self._report(origin, messages.room_report(body))
                case "utterances":
                    answer = await self._page(origin, messages.page_asked(body))
                case "moderate":
                    answer = await self._moderate(origin, messages.moderate_asked(body))
                case "forget":
                    answer = await self._forget(origin, messages.forget_asked(body))
                case _:
                    raise Denied(404, "EU.COLLOQUE.UNKNOWN", "No such request.")
        except InvalidMessage as error:
            log.info("a request of the bridge of %s cannot be read: %s", origin, error)
            raise Denied(400, "M_BAD_JSON", str(error)) from error
        ASKED.labels("answered").inc()
        return answer

    async def _report(self, origin: str, told: RoomReport) -> Content:
        bridges = await self._common(origin, told.room_id)
        lie = federation.lies(origin, told.report, bridges)
        if lie:
            log.warning("a report of %s on room %s is refused: it %s", origin, told.room_id, lie)
            raise Denied(403, "M_FORBIDDEN", "You speak for somebody who is not yours.")
        return messages.report_body(await self._rooms.take(origin, told))

    async def _page(self, origin: str, asked: PageAsked) -> Content:
        await self._common(origin, asked.room_id)
        page = await self._rooms.page(origin, asked)
        if page is None:
            raise Denied(404, "M_NOT_FOUND", "No such call here.")
        return messages.page_body(page)

    async def _moderate(self, origin: str, asked: ModerateAsked) -> Content:
        await self._common(origin, asked.room_id)
        # Not for guests of a server without a bridge either: a site could name any moderator.
        theirs = server_of(asked.asked_by) == origin
        if not theirs or not await self._members.is_joined(asked.room_id, asked.asked_by):
            log.warning(
                "%s asks to %s somebody in room %s for %s, who is not its own or not there",
                origin,
                asked.what,
                asked.room_id,
                asked.asked_by,
            )
            raise Denied(403, "M_FORBIDDEN", "You ask for somebody who is not yours.")
        return messages.moderated_body(await self._moderation.moderate(asked))

    async def _forget(self, origin: str, asked: ForgetAsked) -> Content:
        await self._common(origin, asked.room_id)
        # Of its own words alone: copies are kept under the name of the site that told them.
        await self._rooms.forget(origin, asked)
        return {"version": messages.VERSION}

    async def _common(self, origin: str, room_id: str) -> set[str]:
        """The servers with a bridge in this room, the other's and ours among them."""
        bridges = await self._rooms.bridges(room_id)
        # One answer for all that is not theirs to know: nobody learns here which rooms we are in.
        denied = Denied(403, "M_FORBIDDEN", "Your server and ours share no such room.")
        if bridges is None:
            raise denied
        if origin not in bridges and not await self._members.is_server_joined(room_id, origin):
            log.warning("%s asks about room %s, where it is not", origin, room_id)
            raise denied
        return {origin, self._own, *bridges}


def routes(door: Door) -> list[web.RouteDef]:
    """The door behind the homeserver (MSC4512), to mount where its `hs_token` is checked."""
    return [web.post(f"{PREFIX}/{kind}", _handler(door, kind)) for kind in KINDS]


def _handler(door: Door, kind: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("X-Matrix-Origin", "")
        try:
            body = await read_object(request)
            status, answer = await door.answer(origin, kind, body)
        except ColloqueError as error:
            return refusal(error)
        if status == 200:
            return web.json_response(answer)
        return matrix_error(status, answer["errcode"], answer["error"])

    return handle
