"""A person's Matrix client, as far as development, demo and tests need one.

Each request opens its own connection, so that a Person may be used from any event loop.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

from bridge.errors import ColloqueError
from bridge.matrix import attachments

JSON = dict[str, Any]


def _quoted(part: str) -> str:
    return quote(part, safe="")


class MatrixError(ColloqueError):
    """A homeserver refused a request; `status` is HTTP's, `errcode` Matrix's."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(f"{status} {errcode}: {error}")
        self.status = status
        self.errcode = errcode


async def call(
    method: str,
    url: str,
    *,
    token: str | None = None,
    body: Any = None,
    params: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> JSON:
    """One request with a JSON answer. Raises MatrixError for every status of 400 and above."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limit = aiohttp.ClientTimeout(total=timeout)
    async with (
        aiohttp.ClientSession(timeout=limit) as http,
        http.request(method, url, json=body, params=params, headers=headers) as response,
    ):
        try:
            answer = await response.json(content_type=None)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            answer = {}
        if response.status >= 400:
            raise MatrixError(
                response.status, str(answer.get("errcode", "")), str(answer.get("error", ""))
            )
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Someone signed in at a homeserver."""

    homeserver: str
    """Client API, without a slash at the end."""
    user_id: str
    password: str = field(repr=False)
    access_token: str = field(repr=False)
    device_id: str

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> JSON:
        """`path` as in `/_matrix/client/v3/sync`, its variables already quoted."""
        return await call(
            method,
            self.homeserver + path,
            token=self.access_token,
            body=body,
            params=params,
            timeout=timeout,
        )

    # rooms

    async def create_room(
        self,
        name: str = "",
        *,
        invite: Iterable[str] = (),
        power: Mapping[str, int] | None = None,
        events: Mapping[str, int] | None = None,
        version: str | None = None,
        public: bool = False,
        **more: Any,
    ) -> str:
        """A room id. `power`: levels of people other than the creator; `events`: of event types."""
        content: JSON = {
            "name": name,
            "preset": "public_chat" if public else "private_chat",
            "invite": list(invite),
            **more,
        }
        if version is not None:
            content["room_version"] = version
        if power or events:
            content["power_level_content_override"] = await self._levels(
                version, dict(power or {}), dict(events or {})
            )
        answer = await self.request("POST", "/_matrix/client/v3/createRoom", content)
        return str(answer["room_id"])

    async def _levels(self, version: str | None, users: JSON, events: JSON) -> JSON:
        # Creators of rooms of version 12 and later have no entry (MSC4289); before, they need one.
        if version is None:
            answer = await self.request("GET", "/_matrix/client/v3/capabilities")
            version = str(answer["capabilities"]["m.room_versions"]["default"])
        old = version.isdigit() and int(version) < 12
        levels: JSON = {"users": {self.user_id: 100, **users} if old else users}
        return {**levels, "events": events} if events else levels

    async def join(self, room_id: str, via: Iterable[str] = ()) -> None:
        """Join. Rooms of another server need its name in `via` (ids of version 12 name none)."""
        query = "&".join(f"via={_quoted(server)}" for server in via)
        await self.request("POST", f"/_matrix/client/v3/join/{_quoted(room_id)}?{query}", {})

    async def leave(self, room_id: str) -> None:
        """Leave the room."""
        await self._act(room_id, "leave", {})

    async def invite(self, room_id: str, user_id: str) -> None:
        """Invite someone."""
        await self._act(room_id, "invite", {"user_id": user_id})

    async def kick(self, room_id: str, user_id: str) -> None:
        """Remove someone, who may come again if invited."""
        await self._act(room_id, "kick", {"user_id": user_id})

    async def ban(self, room_id: str, user_id: str) -> None:
        """Remove someone for good."""
        await self._act(room_id, "ban", {"user_id": user_id})

    async def unban(self, room_id: str, user_id: str) -> None:
        """Lift a ban."""
        await self._act(room_id, "unban", {"user_id": user_id})

    async def _act(self, room_id: str, verb: str, body: JSON) -> None:
        await self.request("POST", f"/_matrix/client/v3/rooms/{_quoted(room_id)}/{verb}", body)

    async def joined_rooms(self) -> list[str]:
        """Rooms this person is in."""
        answer = await self.request("GET", "/_matrix/client/v3/joined_rooms")
        return [str(room) for room in answer["joined_rooms"]]

    async def members(self, room_id: str) -> list[str]:
        """User ids of those joined."""
        path = f"/_matrix/client/v3/rooms/{_quoted(room_id)}/joined_members"
        return sorted((await self.request("GET", path))["joined"])

    # events

    async def say(self, room_id: str, text: str, **more: Any) -> str:
        """Type a message; returns its event id."""
        content = {"msgtype": "m.text", "body": text, **more}
        return await self.send(room_id, "m.room.message", content)

    async def send(self, room_id: str, event_type: str, content: JSON) -> str:
        """Send a message event; returns its event id."""
        path = f"/_matrix/client/v3/rooms/{_quoted(room_id)}/send/{_quoted(event_type)}"
        answer = await self.request("PUT", f"{path}/{secrets.token_hex(8)}", content)
        return str(answer["event_id"])

    async def set_state(
        self, room_id: str, event_type: str, content: JSON, state_key: str = ""
    ) -> str:
        """Write room state; returns the event id."""
        path = self._state_path(room_id, event_type, state_key)
        return str((await self.request("PUT", path, content))["event_id"])

    async def state(self, room_id: str, event_type: str, state_key: str = "") -> JSON:
        """Content of one state event. Raises MatrixError 404 where there is none."""
        return await self.request("GET", self._state_path(room_id, event_type, state_key))

    @staticmethod
    def _state_path(room_id: str, event_type: str, state_key: str) -> str:
        room = f"/_matrix/client/v3/rooms/{_quoted(room_id)}"
        return f"{room}/state/{_quoted(event_type)}/{_quoted(state_key)}"

    async def messages(self, room_id: str, limit: int = 500) -> list[JSON]:
        """The last events of the timeline, oldest first."""
        events: list[JSON] = []
        start: str | None = None
        while len(events) < limit:
            params = {"dir": "b", "limit": str(min(100, limit - len(events)))}
            if start:
                params["from"] = start
            path = f"/_matrix/client/v3/rooms/{_quoted(room_id)}/messages"
            answer = await self.request("GET", path, params=params)
            events += answer["chunk"]
            start = answer.get("end")
            if not start or not answer["chunk"]:
                break
        return events[::-1]

    async def sync(self, since: str | None = None, timeout_ms: int = 0) -> JSON:
        """One /sync with up to 500 events a room."""
        params = {"timeout": str(timeout_ms), "filter": '{"room":{"timeline":{"limit":500}}}'}
        if since:
            params["since"] = since
        limit = timeout_ms / 1000 + 60
        return await self.request("GET", "/_matrix/client/v3/sync", params=params, timeout=limit)

    async def wait_for(
        self,
        room_id: str,
        matches: Callable[[JSON], bool],
        *,
        timeout: float = 20.0,
        since: str | None = None,
    ) -> JSON:
        """The first event of the room's timeline for which `matches` says yes, by long polling.

        Events already there count too, unless `since` (a /sync token) says from when. Raises
        TimeoutError.
        """
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no such event in {room_id} within {timeout:.0f} s")
            answer = await self.sync(since, int(min(left, 10) * 1000) if since else 0)
            since = answer["next_batch"]
            room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
            for event in room.get("timeline", {}).get("events", []):
                if matches(event):
                    return dict(event)
            await asyncio.sleep(0)

    # media and identity

    async def openid_token(self) -> JSON:
        """What one shows to a third party to prove who one is."""
        path = f"/_matrix/client/v3/user/{_quoted(self.user_id)}/openid/request_token"
        return await self.request("POST", path, {})

    async def download(self, mxc: str) -> bytes:
        """Content of an `mxc://server/id` address, by the authenticated media API."""
        url = f"{self.homeserver}/_matrix/client/v1/media/download/{mxc.removeprefix('mxc://')}"
        headers = {"Authorization": f"Bearer {self.access_token}"}
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
            if response.status != 200:
                raise MatrixError(response.status, "", f"{mxc} cannot be downloaded")
            return await response.read()

    async def attachment(self, file: JSON) -> bytes:
        """Content of a message's `file`, decrypted. ValueError where it is another."""
        return attachments.unseal(await self.download(str(file["url"])), file)
