"""The key endpoints of the homeserver, asked as the bot's device (MSC4190, MSC3202).

Has the names that `mautrix.crypto.OlmMachine` calls on its client, over our own HTTP: whose errors
tell a request that never left from one whose answer was lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from mautrix.types import Serializable, UserID

from bridge.matrix.client import Homeserver, HomeserverError, Unreachable
from bridge.matrix.http import object_of

_V3 = "/_matrix/client/v3"
_SERVERS_TIMEOUT_MS = 10_000  # what our homeserver waits for another one
_TIMEOUT_S = 30.0
_DEVICES_A_REQUEST = 100


class KeyApi:
    """What an Olm device asks of its homeserver."""

    def __init__(self, homeserver: Homeserver, device_id: str) -> None:
        self._homeserver = homeserver
        self.mxid = UserID(homeserver.user_id)
        self.device_id = device_id

    def add_event_handler(self, *_: Any, **__: Any) -> None:
        """Nothing is dispatched through here: the machine is given what it needs directly."""

    async def create_device(self, display_name: str) -> None:
        """Make the bot's device, or name it again (MSC4190)."""
        path = f"{_V3}/devices/{quote(self.device_id, safe='')}"
        await self._homeserver.request(
            "PUT", path, query={"user_id": self.mxid}, body={"display_name": display_name}
        )

    async def delete_device(self, device_id: str) -> None:
        """Remove a device that is not used any more."""
        path = f"{_V3}/devices/{quote(device_id, safe='')}"
        await self._homeserver.request("DELETE", path, query={"user_id": self.mxid}, body={})

    async def upload_keys(self, **keys: Any) -> int:
        """Publish `device_keys`, `one_time_keys`, `fallback_keys`.

        Returns how many one-time keys the homeserver now holds.
        """
        body = {name: _plain(value) for name, value in keys.items() if value}
        answer = await self._post("keys/upload", body)
        count = object_of(answer.get("one_time_key_counts")).get("signed_curve25519", 0)
        return count if isinstance(count, int) else 0

    async def query(self, user_ids: Iterable[str]) -> dict[str, Any]:
        """The devices of these users, as their servers and ours answer. Not to be trusted."""
        asked: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
        body = {"timeout": _SERVERS_TIMEOUT_MS, "device_keys": asked}
        with _no_verdict():
            return await self._post("keys/query", body)

    async def claim(self, devices: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        """A one-time key of each of these devices: user -> device -> algorithm."""
        body = {"timeout": _SERVERS_TIMEOUT_MS, "one_time_keys": devices}
        with _no_verdict():
            return await self._post("keys/claim", body)

    async def send_to_device(
        self, event_type: str, messages: Iterable[tuple[str, str, dict[str, Any]]]
    ) -> None:
        """Send (user, device, content) each; at most a hundred go in one request."""
        waiting = list(messages)
        for start in range(0, len(waiting), _DEVICES_A_REQUEST):
            by_user: dict[str, dict[str, Any]] = {}
            for user_id, device_id, content in waiting[start : start + _DEVICES_A_REQUEST]:
                by_user.setdefault(user_id, {})[device_id] = content
            path = f"{_V3}/sendToDevice/{quote(event_type, safe='')}/{uuid.uuid4().hex}"
            with _no_verdict():
                await self._homeserver.request(
                    "PUT", path, query=self._as_device, body={"messages": by_user}
                )

    async def upload_cross_signing(self, keys: dict[str, Any]) -> None:
        """Publish master, self-signing and user-signing key."""
        body = {f"{usage}_key": _plain(key) for usage, key in keys.items()}
        await self._post("keys/device_signing/upload", body)

    async def upload_signature(self, name: str, signed: dict[str, Any]) -> None:
        """Publish a signature of the bot's own keys."""
        await self._post("keys/signatures/upload", {self.mxid: {name: signed}})

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._homeserver.object(
            "POST", f"{_V3}/{path}", query=self._as_device, body=body, timeout_s=_TIMEOUT_S
        )

    @property
    def _as_device(self) -> dict[str, str]:
        # The third is what older homeservers know the second by (MSC3202).
        return {
            "user_id": self.mxid,
            "device_id": self.device_id,
            "org.matrix.msc3202.device_id": self.device_id,
        }


@contextmanager
def _no_verdict() -> Iterator[None]:
    """A refusal here says nothing of the message that is to be encrypted: it is tried again."""
    try:
        yield
    except HomeserverError as error:
        if 400 <= error.status < 500 and error.status != 429:
            raise Unreachable(f"the bot's device is refused: {error}", sent=False) from error
        raise


def _plain(value: Any) -> Any:
    return value.serialize() if isinstance(value, Serializable) else value
