"""The key endpoints of a homeserver, in memory: who has which devices, and what was sent to them.

For tests of encryption against a database; those of tests/bridge/crypto/test_encrypted_rooms.py
have a real homeserver.
"""

from __future__ import annotations

from typing import Any

from bridge.matrix import wire
from bridge.matrix.http import HomeserverError, Unreachable

JSON = dict[str, Any]


class KeyServer:
    """Devices, keys, rooms and to-device messages of every account."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, JSON]] = {}
        self.one_time: dict[tuple[str, str], JSON] = {}
        self.fallback: dict[tuple[str, str], JSON] = {}
        self.cross_signing: dict[str, JSON] = {}
        self.inbox: dict[str, list[JSON]] = {}
        self.rooms: dict[str, list[str]] = {}
        self.encrypted: set[str] = set()
        self.dead: set[str] = set()
        """Servers that do not answer."""
        self.removed: list[str] = []
        self.queries = 0
        self.lost_after: int | None = None
        """After so many requests one is not answered."""

    def account(self, user_id: str) -> Account:
        """The homeserver as this user's bridge sees it."""
        return Account(self, user_id)

    def transaction(self, user_id: str, events: list[JSON] | None = None) -> JSON:
        """What waits for this user's bridge."""
        messages, self.inbox[user_id] = self.inbox.get(user_id, []), []
        return {"events": events or [], "de.sorunome.msc2409.to_device": messages}


class Account:
    """Answers what bridge.crypto asks of a Homeserver."""

    def __init__(self, server: KeyServer, user_id: str) -> None:
        self._server = server
        self.user_id = user_id

    async def state_event(self, room_id: str, event_type: str, state_key: str = "") -> JSON | None:
        encrypted = room_id in self._server.encrypted
        return {"algorithm": wire.MEGOLM} if encrypted and event_type == wire.ENCRYPTION else None

    async def members(self, room_id: str) -> JSON:
        return {user_id: {} for user_id in self._server.rooms[room_id]}

    async def request(self, method: str, path: str, **what: Any) -> JSON:
        return await self.object(method, path, **what)

    async def object(self, method: str, path: str, **what: Any) -> JSON:
        if self._server.lost_after is not None:
            self._server.lost_after -= 1
            if self._server.lost_after < 0:
                self._server.lost_after = None
                raise Unreachable("the test says so", sent=False)
        parts = path.removeprefix("/_matrix/client/v3/").split("/")
        body, device = what.get("body") or {}, (what.get("query") or {}).get("device_id", "")
        match method, parts:
            case "PUT", ["devices", made]:
                self._server.devices.setdefault(self.user_id, {}).setdefault(made, {})
                return {}
            case "DELETE", ["devices", gone]:
                self._server.devices[self.user_id].pop(gone)
                self._server.removed.append(gone)
                return {}
            case "POST", ["keys", "upload"]:
                return self._upload(device, body)
            case "POST", ["keys", "query"]:
                return self._query(body["device_keys"])
            case "POST", ["keys", "claim"]:
                return self._claim(body["one_time_keys"])
            case "POST", ["keys", "device_signing", "upload"]:
                self._server.cross_signing[self.user_id] = body
                return {}
            case "POST", ["keys", "signatures", "upload"]:
                return self._sign(body[self.user_id])
            case "PUT", ["sendToDevice", event_type, _]:
                self._send(event_type, body["messages"])
                return {}
        raise HomeserverError(404, "M_UNRECOGNIZED", f"{method} {path}")

    def _upload(self, device: str, body: JSON) -> JSON:
        place = (self.user_id, device)
        if "device_keys" in body:
            self._server.devices[self.user_id][device] = body["device_keys"]
        held = self._server.one_time.setdefault(place, {})
        held |= body.get("one_time_keys", {})
        self._server.fallback[place] = body.get("fallback_keys") or self._server.fallback.get(
            place, {}
        )
        return {"one_time_key_counts": {"signed_curve25519": len(held)}}

    def _query(self, asked: JSON) -> JSON:
        self._server.queries += 1
        servers = {user_id.partition(":")[2] for user_id in asked}
        there = [u for u in asked if u.partition(":")[2] not in self._server.dead]
        crossed = self._server.cross_signing
        return {
            "device_keys": {
                user_id: {
                    name: keys
                    for name, keys in self._server.devices.get(user_id, {}).items()
                    if keys
                }
                for user_id in there
            },
            "master_keys": {u: crossed[u]["master_key"] for u in there if u in crossed},
            "failures": {server: {} for server in servers & self._server.dead},
        }

    def _claim(self, asked: JSON) -> JSON:
        claimed: JSON = {}
        for user_id, devices in asked.items():
            for device in devices:
                held = self._server.one_time.get((user_id, device), {})
                fallback = self._server.fallback.get((user_id, device), {})
                if held:
                    name = next(iter(held))
                    claimed.setdefault(user_id, {})[device] = {name: held.pop(name)}
                elif fallback:
                    claimed.setdefault(user_id, {})[device] = dict(fallback)
        return {"one_time_keys": claimed}

    def _sign(self, signed: JSON) -> JSON:
        for device, keys in signed.items():
            there = self._server.devices[self.user_id][device]["signatures"][self.user_id]
            there |= keys["signatures"][self.user_id]
        return {}

    def _send(self, event_type: str, messages: JSON) -> None:
        for user_id, devices in messages.items():
            for device, content in devices.items():
                message = {
                    "type": event_type,
                    "sender": self.user_id,
                    "to_user_id": user_id,
                    "to_device_id": device,
                    "content": content,
                }
                self._server.inbox.setdefault(user_id, []).append(message)
