"""Media keys that people's devices give the bot's device, for the scribe of an encrypted call.

A key comes as an Olm-encrypted to-device message, often before anything else of its sender is
known, and is handed on only for a grant of the same person and device: whoever sends keys can give
away what they say themselves, and nothing else. Keys are kept in memory alone. A bridge that
restarts has none; the scribe, which outlives it, has them, and appearing anew in the call brings
them all again (docs/protocol.md).
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.crypto import ToDevice
from bridge.store.grants import Grant

log = logging.getLogger(__name__)

STRANGERS = 50
"""People of a room whose keys wait although no token was given to them yet."""
DEVICES = 10
"""Devices of one person."""
INDICES = 256
KEY_BYTES = range(16, 65)


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A participant's key at the media server."""

    identity: str
    index: int
    key: bytes = field(repr=False)


_Devices = dict[str, dict[int, bytes]]


class MediaKeys:
    """What was received, by room, person and device.

    `wanted(room_id)`: whether a call there is encrypted and listened to. Keys of other rooms are
    left aside: the bot may be a member of a call only to let phones ring.
    """

    def __init__(
        self,
        wanted: Callable[[str], Awaitable[bool]],
        grants: Callable[[str, str], Awaitable[list[Grant]]],
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self._wanted = wanted
        self._grants = grants
        self._wake = wake
        self._people: dict[str, dict[str, _Devices]] = {}
        self._strangers: dict[str, dict[str, _Devices]] = {}

    async def received(self, message: ToDevice) -> None:
        """A message of type `io.element.call.encryption_keys`; what is none is left aside."""
        room_id, device, keys = _read(message.content)
        if not room_id or not keys:
            log.info("a media key of %s cannot be read", message.sender)
            return
        if device != message.device:
            log.warning("a media key of %s is of another device than it says", message.sender)
            return
        if not await self._wanted(room_id):
            log.debug("a media key of %s is for no call that is listened to", message.sender)
            return
        known = bool(await self._grants(room_id, message.sender))
        devices = self._devices(room_id, message.sender, known)
        devices[device] = {**devices.pop(device, {}), **keys}
        if len(devices) > DEVICES:
            del devices[next(iter(devices))]
        self._wake([room_id])

    def of(self, room_id: str, grants: Iterable[Grant]) -> list[HeldKey]:
        """The keys of those who hold a grant, under the names they have at the media server."""
        found: list[HeldKey] = []
        for grant in grants:
            if grant.revoked_ms is not None:
                continue
            for index, key in self._held(room_id, grant.user_id).get(grant.device_id, {}).items():
                found.append(HeldKey(grant.identity, index, key))
        return found

    def forget(self, room_id: str) -> None:
        """Nobody listens there any more."""
        self._people.pop(room_id, None)
        self._strangers.pop(room_id, None)

    def _devices(self, room_id: str, user_id: str, known: bool) -> _Devices:
        """Where a person's keys are kept. Whoever has no token may fill the strangers' place only,
        and from it nobody is driven out of the other."""
        if known:
            return self._held(room_id, user_id, move=True)
        waiting = self._strangers.setdefault(room_id, {})
        waiting[user_id] = waiting.pop(user_id, {})
        if len(waiting) > STRANGERS:
            del waiting[next(iter(waiting))]
        return waiting[user_id]

    def _held(self, room_id: str, user_id: str, *, move: bool = False) -> _Devices:
        held = self._people.get(room_id, {}).get(user_id)
        early = self._strangers.get(room_id, {}).pop(user_id, None)
        if held is None and (move or early is not None):
            held = self._people.setdefault(room_id, {}).setdefault(user_id, {})
        if held is not None and early is not None:
            held.update(early)
        return {} if held is None else held


def _read(content: Mapping[str, Any]) -> tuple[str, str, dict[int, bytes]]:
    """Room, claimed device and keys; empty where it says none. One key (matrix-js-sdk 43) or a
    list of them (before)."""
    member, keys = content.get("member"), content.get("keys")
    device = member.get("claimed_device_id") if isinstance(member, dict) else None
    listed = keys if isinstance(keys, list) else [keys]
    read = {key[0]: key[1] for one in listed[:INDICES] if (key := _key(one)) is not None}
    return _text(content.get("room_id")), _text(device or content.get("device_id")), read


def _key(one: object) -> tuple[int, bytes] | None:
    if not isinstance(one, dict):
        return None
    index, encoded = one.get("index"), one.get("key")
    if type(index) is not int or not 0 <= index < INDICES or not isinstance(encoded, str):
        return None
    try:
        key = base64.b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return None
    return (index, key) if len(key) in KEY_BYTES else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def message(
    room_id: str, *, member_id: str, device_id: str, index: int, key: bytes, now_ms: int
) -> dict[str, Any]:
    """Content of the message by which a device gives another one its key (matrix-js-sdk 43)."""
    return {
        "keys": {"index": index, "key": base64.b64encode(key).decode().rstrip("=")},
        "room_id": room_id,
        "member": {"id": member_id, "claimed_device_id": device_id},
        "session": {"call_id": "", "application": "m.call", "scope": "m.room"},
        "sent_ts": now_ms,
    }
