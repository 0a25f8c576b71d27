"""Megolm towards a room: one session, its key with every device of everybody who is joined.

Who has the key is kept (`e2ee_share`): who comes gets the present key, and who has it and is not
in the room any more, or whose device is gone, means a new session before the next message. So
nothing depends on having been told of each coming and going.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any, cast

from mautrix.crypto.sessions import OutboundGroupSession
from mautrix.types import DeviceIdentity

from bridge.crypto import NoSession
from bridge.crypto.machine import Machine
from bridge.crypto.people import People
from bridge.crypto.rooms import EncryptedRooms
from bridge.matrix import wire
from bridge.matrix.limits import Recent

log = logging.getLogger(__name__)

_IN_CLEAR = frozenset({wire.REDACTION, wire.REACTION, wire.ENCRYPTED})
_REST_S = 300.0
"""A device without keys is not asked for them again for so long."""
_RESTING = 10_000


class Outgoing:
    """Encrypts for rooms and for single devices."""

    def __init__(self, machine: Machine, people: People, rooms: EncryptedRooms) -> None:
        self._machine = machine
        self._people = people
        self._rooms = rooms
        self._one_a_room: dict[str, asyncio.Lock] = {}
        self._resting: Recent[str, None] = Recent(_RESTING)

    async def encrypt(
        self, room_id: str, event_type: str, content: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Type and content to send (see `Crypto.encrypt`)."""
        if event_type in _IN_CLEAR or not await self._rooms.encrypts(room_id):
            return event_type, content
        async with self._one_a_room.setdefault(room_id, asyncio.Lock()):
            session_id = await self._shared_session(room_id)
            return wire.ENCRYPTED, await self._megolm(room_id, session_id, event_type, content)

    async def current(self, room_id: str, session_id: str) -> bool:
        """Whether a message encrypted with this session may still be sent: it is the room's, and
        nobody has its key who is not in the room any more."""
        async with self._one_a_room.setdefault(room_id, asyncio.Lock()):
            return await self._shared_session(room_id) == session_id

    async def send_to_device(
        self, user_id: str, device_id: str, event_type: str, content: dict[str, Any]
    ) -> None:
        """To one device by Olm (see `Crypto.send_to_device`)."""
        device = await self._people.device(user_id, device_id)
        if device is None:
            raise NoSession(f"{user_id} has no device {device_id}")
        await self.send_olm(device, event_type, content)

    async def send_olm(
        self,
        device: DeviceIdentity,
        event_type: str,
        content: dict[str, Any],
        *,
        anew: bool = False,
    ) -> None:
        """The same where the device is known; `anew`: by a new session."""
        if device.identity_key not in await self._machine.begin_sessions([device], anew=anew):
            raise NoSession(f"device {device.device_id} of {device.user_id} has no keys left")
        async with self._machine.writing():
            sealed = await self._machine.encrypt_olm(device, event_type, content)
        if sealed is None:
            raise NoSession(f"no session with device {device.device_id} of {device.user_id}")
        message = (str(device.user_id), str(device.device_id), sealed)
        await self._machine.api.send_to_device(wire.ENCRYPTED, [message])

    # ---- the room's session

    async def _shared_session(self, room_id: str) -> str:
        """The id of a session that everybody's devices have, and nobody else's."""
        members = await self._rooms.members(room_id)
        devices = await self._people.devices(members)
        session = await self._machine.store.get_outbound_group_session(cast("Any", room_id))
        shared = await self._shared(session.id) if session is not None else set()
        if session is None or session.expired or shared - {str(d.identity_key) for d in devices}:
            session, shared = await self._new_session(room_id), set()
        await self._share(session, [d for d in devices if str(d.identity_key) not in shared])
        return str(session.id)

    async def _new_session(self, room_id: str) -> OutboundGroupSession:
        session = OutboundGroupSession(cast("Any", room_id))
        rotation = await self._rooms.rotation(room_id)
        session.max_messages, session.max_age = rotation.messages, rotation.age
        session.shared = True  # what that means is kept in e2ee_share
        async with self._machine.writing() as conn:
            await self._machine.store.add_outbound_group_session(session)
            await conn.execute("DELETE FROM e2ee_share WHERE room_id = $1", room_id)
        return session

    async def _shared(self, session_id: str) -> set[str]:
        rows = await self._machine.db.fetch(
            "SELECT identity_key FROM e2ee_share WHERE session_id = $1", session_id
        )
        return {row["identity_key"] for row in rows}

    async def _share(self, session: OutboundGroupSession, devices: list[DeviceIdentity]) -> None:
        now = time.monotonic()
        asked = [d for d in devices if not self._resting.get(str(d.identity_key), now)[0]]
        if not asked:
            return
        reachable = await self._machine.begin_sessions(asked)
        self._rest({str(d.identity_key) for d in asked} - reachable, now + _REST_S)
        key = {
            "algorithm": wire.MEGOLM,
            "room_id": session.room_id,
            "session_id": session.id,
            "session_key": session.session_key,
        }
        messages, receivers = [], []
        async with self._machine.writing():
            for device in asked:
                sealed = await self._machine.encrypt_olm(device, wire.ROOM_KEY, key)
                if sealed is not None:
                    messages.append((str(device.user_id), str(device.device_id), sealed))
                    receivers.append(device)
        await self._machine.api.send_to_device(wire.ENCRYPTED, messages)
        async with self._machine.writing() as conn:
            for device in receivers:
                await conn.execute(
                    "INSERT INTO e2ee_share (session_id, identity_key, room_id, user_id, device_id)"
                    " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                    session.id,
                    device.identity_key,
                    session.room_id,
                    device.user_id,
                    device.device_id,
                )

    def _rest(self, keys: set[str], until: float) -> None:
        for key in keys:
            self._resting.put(key, None, until=until)

    async def _megolm(
        self, room_id: str, session_id: str, event_type: str, content: dict[str, Any]
    ) -> dict[str, Any]:
        payload = {"type": event_type, "content": content, "room_id": room_id}
        store = self._machine.store
        async with self._machine.writing():
            session = await store.get_outbound_group_session(cast("Any", room_id))
            if session is None or session.id != session_id:
                raise RuntimeError("the room's session changed under its lock")
            ciphertext = cast("Any", session).encrypt(json.dumps(payload))
            await store.update_outbound_group_session(session)
        sealed = {
            "algorithm": wire.MEGOLM,
            "sender_key": self._machine.own.identity_key,
            "device_id": self._machine.api.device_id,
            "session_id": session_id,
            "ciphertext": ciphertext,
        }
        if wire.RELATES_TO in content:
            # In clear, so that homeservers can count threads and gather edits (MSC1849).
            sealed[wire.RELATES_TO] = content[wire.RELATES_TO]
        return sealed
