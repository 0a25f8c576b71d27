"""The homeserver as the bot uses it: its client-server API, typed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict
from urllib.parse import quote

from bridge.matrix import wire
from bridge.matrix.http import HomeserverError, MatrixApi, Unreachable
from bridge.matrix.registration import Registration

__all__ = ["Homeserver", "HomeserverError", "Member", "Page", "Unreachable"]

log = logging.getLogger(__name__)

_V3 = "/_matrix/client/v3"
_IS_JOINED = "/_matrix/client/unstable/io.element.msc4502/rooms/{}/is_joined"
_DELAYED = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
_JOIN_TIMEOUT_S = 180  # a join of a large federated room takes Synapse minutes


class Member(TypedDict):
    """A joined member of a room. `display_name` is their id where they chose none."""

    display_name: str


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a room's history, newest first.

    `members`: display names of those who wrote. `end`: where it goes on, '' at its beginning.
    """

    events: list[dict[str, Any]]
    members: Mapping[str, str]
    end: str


class Homeserver(MatrixApi):
    """The bot's account at its homeserver. One HTTP session; `close()` ends it."""

    def __init__(
        self,
        address: str,
        server_name: str,
        registration: Registration,
        *,
        timeout_s: float = 30,
    ) -> None:
        super().__init__(address, registration.as_token, timeout_s=timeout_s)
        self.server_name = server_name
        self.user_id = registration.bot(server_name)
        self._registration = registration
        self._knows_is_joined = True

    async def ensure_registered(self) -> None:
        """Create the bot's account if there is none."""
        try:
            await self.request(
                "POST",
                f"{_V3}/register",
                body={
                    "type": "m.login.application_service",
                    "username": self._registration.sender_localpart,
                    # Synapse with MAS refuses an application service that asks for a token.
                    "inhibit_login": True,
                },
            )
        except HomeserverError as error:
            if error.errcode != "M_USER_IN_USE":
                raise

    async def ping(self) -> None:
        """Have the homeserver try the way back to us, now.

        A Synapse that could not deliver waits up to 512 s before it tries again; after this ping
        it delivers what waits at once. Raises HomeserverError where the way back is closed.
        """
        path = f"/_matrix/client/v1/appservice/{_q(self._registration.id)}/ping"
        for pause_s in (0.1, 0.3, 1.0, None):
            try:
                await self.request("POST", path, body={"transaction_id": "ping"})
                return
            except HomeserverError as error:
                # Synapse keeps connections, and tries each that our last process left behind
                # before it opens a new one.
                if error.errcode != "M_CONNECTION_FAILED" or pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def reachable(self) -> bool:
        """Whether the homeserver answers at all."""
        try:
            await self.request("GET", "/_matrix/client/versions", timeout_s=2)
        except (HomeserverError, Unreachable):
            return False
        return True

    async def ensure_display_name(self, name: str) -> None:
        """What people see as the bot's name, where it has none yet."""
        path = f"{_V3}/profile/{_q(self.user_id)}"
        if "displayname" not in await self.object("GET", path):
            await self.set_display_name(name)

    async def set_display_name(self, name: str) -> None:
        """What people see as the bot's name."""
        path = f"{_V3}/profile/{_q(self.user_id)}/displayname"
        await self.request("PUT", path, body={"displayname": name})

    async def join(self, room_id: str, via: list[str] | tuple[str, ...] = ()) -> str:
        """Join a room; `via` are servers to ask (ids of room version 12 name none)."""
        query = [(name, server) for server in via for name in ("via", "server_name")]
        answer = await self.object(
            "POST", f"{_V3}/join/{_q(room_id)}", query=query, body={}, timeout_s=_JOIN_TIMEOUT_S
        )
        return str(answer.get("room_id", room_id))

    async def joined_rooms(self) -> list[str]:
        """The rooms the bot is in."""
        answer = await self.object("GET", f"{_V3}/joined_rooms")
        rooms = answer.get("joined_rooms")
        return [room_id for room_id in rooms or [] if isinstance(room_id, str)]

    async def leave(self, room_id: str) -> None:
        """Leave a room, or decline its invitation."""
        await self.request("POST", f"{_V3}/rooms/{_q(room_id)}/leave", body={})

    async def invite(self, room_id: str, user_id: str) -> None:
        """Invite somebody. HomeserverError 403 for members, the banned, and for lack of power."""
        body = {"user_id": user_id}
        await self.request("POST", f"{_V3}/rooms/{_q(room_id)}/invite", body=body)

    async def send_message(
        self, room_id: str, event_type: str, content: dict[str, Any], txn_id: str
    ) -> str:
        """Send an event that is not state. Returns its event id."""
        path = f"{_V3}/rooms/{_q(room_id)}/send/{_q(event_type)}/{_q(txn_id)}"
        return _event_id(await self.object("PUT", path, body=content))

    async def send_state(
        self, room_id: str, event_type: str, state_key: str, content: dict[str, Any]
    ) -> str:
        """Set state. Returns the event id (of the present state where it is the same already)."""
        path = f"{_V3}/rooms/{_q(room_id)}/state/{_q(event_type)}/{_q(state_key)}"
        return _event_id(await self.object("PUT", path, body=content))

    async def delay_state(
        self,
        room_id: str,
        event_type: str,
        state_key: str,
        content: dict[str, Any],
        delay_ms: int,
    ) -> str:
        """Have state set later, unless it is put off or called off (MSC4140). Returns its id."""
        path = f"{_V3}/rooms/{_q(room_id)}/state/{_q(event_type)}/{_q(state_key)}"
        query = {"org.matrix.msc4140.delay": str(delay_ms)}
        return _member_text(await self.object("PUT", path, query=query, body=content), "delay_id")

    async def manage_delayed(
        self, delay_id: str, action: Literal["restart", "send", "cancel"], timeout_s: float = 10
    ) -> None:
        """Put off, send now or call off. HomeserverError 404 where it was sent already."""
        path = f"{_DELAYED}/{_q(delay_id)}/{action}"
        await self.request("POST", path, body={}, timeout_s=timeout_s)

    async def delayed_events(self) -> list[dict[str, Any]]:
        """What the bot has scheduled and is not sent yet."""
        events = (await self.object("GET", _DELAYED)).get("delayed_events")
        return [event for event in events or [] if isinstance(event, dict)]

    async def redact(self, room_id: str, event_id: str, txn_id: str, reason: str = "") -> str:
        """Remove an event's content. Returns the redaction's event id."""
        path = f"{_V3}/rooms/{_q(room_id)}/redact/{_q(event_id)}/{_q(txn_id)}"
        return _event_id(await self.object("PUT", path, body={"reason": reason} if reason else {}))

    async def upload(self, data: bytes, media_type: str, file_name: str) -> str:
        """Upload a file. Returns its mxc: address."""
        answer = await self.object(
            "POST",
            "/_matrix/media/v3/upload",
            query={"filename": file_name},
            body=data,
            media_type=media_type,
        )
        return _member_text(answer, "content_uri")

    async def state_event(
        self, room_id: str, event_type: str, state_key: str = ""
    ) -> dict[str, Any] | None:
        """Content of one state event, None where there is none.

        In a room the bot has left, Synapse answers with the state of that moment.
        """
        path = f"{_V3}/rooms/{_q(room_id)}/state/{_q(event_type)}/{_q(state_key)}"
        try:
            return await self.object("GET", path)
        except HomeserverError as error:
            if error.status == 404:
                return None
            raise

    async def state(self, room_id: str) -> list[dict[str, Any]]:
        """Every state event of a room the bot is in."""
        answer = await self.request("GET", f"{_V3}/rooms/{_q(room_id)}/state")
        return [event for event in answer if isinstance(event, dict)]

    async def members(self, room_id: str) -> dict[str, Member]:
        """Who is joined now, by Matrix id. HomeserverError 403 where the bot is not."""
        answer = await self.object("GET", f"{_V3}/rooms/{_q(room_id)}/joined_members")
        joined = answer.get("joined")
        return {
            user_id: Member(display_name=_display_name(profile, "display_name", user_id))
            for user_id, profile in (joined if isinstance(joined, dict) else {}).items()
        }

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        """Whether this person is, now, a joined member of this room. The answer is never cached.

        Not read from the room's state, which Synapse shows to a bot that has left as it was then:
        somebody banned since would still be in it. False where the homeserver will not tell.
        """
        if self._knows_is_joined:
            known = await self._ask_is_joined(room_id, user_id)
            if known is not None:
                return known
        try:
            return user_id in await self.members(room_id)
        except HomeserverError as error:
            if error.status in {403, 404}:
                return False
            raise

    async def was_joined(self, room_id: str, user_id: str, event_id: str) -> bool:
        """Whether this person was a joined member when an event was sent.

        The state at that event, of which only their own join is asked for: a join is the one
        membership that its subject always sends themself. False where the homeserver will not tell.
        """
        only = json.dumps({"types": ["m.room.member"], "senders": [user_id]})
        path = f"{_V3}/rooms/{_q(room_id)}/context/{_q(event_id)}"
        try:
            answer = await self.object("GET", path, query={"limit": "0", "filter": only})
        except HomeserverError as error:
            if error.status in {403, 404}:
                return False
            raise
        state = answer.get("state")
        return any(_is_join(event, user_id) for event in state or [])

    async def is_server_joined(self, room_id: str, server: str) -> bool:
        """Whether anybody of this server is, now, a joined member. False where nobody will tell."""
        try:
            answer = await self.object(
                "GET", _IS_JOINED.format(_q(room_id)), query={"server_name": server}
            )
        except HomeserverError as error:
            if error.status not in {400, 403, 404}:
                raise
            return False
        return answer.get("joined") is True

    async def display_name(self, room_id: str, user_id: str) -> str:
        """A person's name in this room; their id where they have none."""
        try:
            content = await self.state_event(room_id, "m.room.member", user_id)
        except HomeserverError as error:
            if error.status != 403:
                raise
            content = None
        return _display_name(content, "displayname", user_id)

    async def sender_of(self, room_id: str, event_id: str) -> str:
        """Who sent an event, '' where the homeserver does not know or will not tell."""
        path = f"{_V3}/rooms/{_q(room_id)}/event/{_q(event_id)}"
        try:
            sender = (await self.object("GET", path)).get("sender")
        except HomeserverError as error:
            if error.status not in {400, 403, 404}:
                raise
            return ""
        return sender if isinstance(sender, str) else ""

    async def recent(self, room_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """The bot's own last events in a room, newest first."""
        only_mine = json.dumps({"senders": [self.user_id], "lazy_load_members": True})
        answer = await self.object(
            "GET",
            f"{_V3}/rooms/{_q(room_id)}/messages",
            query={"dir": "b", "limit": str(limit), "filter": only_mine},
        )
        chunk = answer.get("chunk")
        return [event for event in chunk or [] if isinstance(event, dict)]

    async def before(self, room_id: str, at_ms: int) -> str | None:
        """Where to read backwards from, to find what was sent until then; None for nothing."""
        query = {"ts": str(at_ms), "dir": "b"}
        path = f"/_matrix/client/v1/rooms/{_q(room_id)}/timestamp_to_event"
        try:
            found = await self.object("GET", path, query=query)
        except HomeserverError as error:
            if error.status == 404:
                return None
            raise
        path = f"{_V3}/rooms/{_q(room_id)}/context/{_q(_event_id(found))}"
        return _member_text(await self.object("GET", path, query={"limit": "0"}), "end")

    async def page(self, room_id: str, start: str, limit: int) -> Page:
        """Messages in front of `start`, newest first, with the names of who sent them."""
        types = [wire.MESSAGE, wire.ENCRYPTED]
        answer = await self.object(
            "GET",
            f"{_V3}/rooms/{_q(room_id)}/messages",
            query={
                "dir": "b",
                "from": start,
                "limit": str(limit),
                "filter": json.dumps({"types": types, "lazy_load_members": True}),
            },
        )
        chunk, state, end = answer.get("chunk"), answer.get("state"), answer.get("end")
        members = [event for event in state or [] if isinstance(event, dict)]
        return Page(
            events=[event for event in chunk or [] if isinstance(event, dict)],
            members={
                str(event.get("state_key")): _display_name(event.get("content"), "displayname", "")
                for event in members
            },
            end=end if isinstance(end, str) else "",
        )

    async def openid_token(self) -> dict[str, Any]:
        """A token that proves to another service who the bot is."""
        path = f"{_V3}/user/{_q(self.user_id)}/openid/request_token"
        return await self.object("POST", path, body={})

    async def _ask_is_joined(self, room_id: str, user_id: str) -> bool | None:
        try:
            answer = await self.object(
                "GET", _IS_JOINED.format(_q(room_id)), query={"mxid": user_id}
            )
        except HomeserverError as error:
            if error.errcode == "M_INVALID_PARAM":
                return False  # not the form of a room id or of a Matrix id
            if error.status not in {403, 404}:
                raise
            log.info("the homeserver has no MSC4502 for us (%s): asking for member lists", error)
            self._knows_is_joined = False
            return None
        return answer.get("joined") is True


def _q(part: str) -> str:
    return quote(part, safe="")


def _is_join(event: object, user_id: str) -> bool:
    if not isinstance(event, dict) or event.get("type") != "m.room.member":
        return False
    content = event.get("content")
    joined = isinstance(content, dict) and content.get("membership") == "join"
    return joined and event.get("state_key") == user_id


def _event_id(answer: dict[str, Any]) -> str:
    return _member_text(answer, "event_id")


def _member_text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise Unreachable(f"the answer has no {name}", sent=True)
    return value


def _display_name(profile: object, name: str, user_id: str) -> str:
    value = profile.get(name) if isinstance(profile, dict) else None
    return value if isinstance(value, str) and value.strip() else user_id
