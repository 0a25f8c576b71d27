"""What a transaction of the homeserver says to the bot's device, made durable as it is decrypted.

All of one transaction's messages are one database transaction: Olm's ratchets, the room keys they
brought and what waits for a handler are kept together or, if the database fails, not at all (the
homeserver then brings them again). A message that cannot be read is passed over: it never will be.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from cryptography.fernet import Fernet
from mautrix.crypto.sessions import InboundGroupSession
from mautrix.errors import MatrixError
from olm.group_session import OlmGroupSessionError

from bridge.crypto.device import OwnDevice
from bridge.crypto.machine import KEY, CannotRead, Machine
from bridge.crypto.people import People
from bridge.matrix import wire
from bridge.matrix.http import object_of
from bridge.store.database import Connection
from bridge.store.inbox import Inbox
from bridge.store.text import dumped, storable_id

log = logging.getLogger(__name__)

_UNTOLD = 20
_TO_DEVICE = ("to_device", "de.sorunome.msc2409.to_device")
_LISTS = ("device_lists", "org.matrix.msc3202.device_lists")
_COUNTS = (
    "device_one_time_keys_count",
    "org.matrix.msc3202.device_one_time_keys_count",
    "org.matrix.msc3202.device_one_time_key_counts",
)
_FALLBACKS = (
    "device_unused_fallback_key_types",
    "org.matrix.msc3202.device_unused_fallback_key_types",
)


class Incoming:
    """Takes transactions. `hooked`: the types of to-device messages that have a handler."""

    def __init__(
        self,
        machine: Machine,
        people: People,
        device: OwnDevice,
        inbox: Inbox,
        box: Fernet,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._machine = machine
        self._people = people
        self._device = device
        self._inbox = inbox
        self._box = box
        self._untold = 0
        self._now_ms = now_ms
        self.hooked: set[str] = set()

    async def take(self, transaction: dict[str, Any]) -> tuple[set[str], set[tuple[str, str]]]:
        """Keep what it says of keys and devices.

        Returns the rooms that have something to read now, and (user, identity key) of everybody
        who sent something. Raises DATABASE_ERRORS.
        """
        messages = [m for m in _list(_first(transaction, _TO_DEVICE)) if self._ours(m)]
        lists = object_of(_first(transaction, _LISTS))
        changed = {
            user_id
            for name in ("changed", "left")
            for user_id in _list(lists.get(name))
            if storable_id(user_id)
        }
        self._count(transaction)
        if not messages and not changed:
            return set(), set()
        unlocked: set[str] = set()
        senders: set[tuple[str, str]] = set()
        async with self._machine.writing() as conn:
            await self._people.changed(conn, sorted(changed))
            for message in messages:
                if not await self._new(conn, message):
                    continue
                try:
                    sender_key = await self._read(conn, message, unlocked)
                except CannotRead as error:
                    log.info("a message from %s is passed over: %s", message["sender"], error)
                else:
                    senders.add((message["sender"], sender_key))
        return unlocked, senders

    def _ours(self, message: Any) -> bool:
        """Encrypted for this device. Nothing in clear is ever acted on."""
        api = self._machine.api
        return (
            isinstance(message, dict)
            and message.get("type") == wire.ENCRYPTED
            and message.get("to_user_id") == api.mxid
            and message.get("to_device_id") == api.device_id
            and storable_id(message.get("sender"))
            and isinstance(message.get("content"), dict)
            and message["content"].get("algorithm") == wire.OLM
        )

    def _count(self, transaction: dict[str, Any]) -> None:
        api = self._machine.api
        counts = object_of(object_of(_first(transaction, _COUNTS)).get(api.mxid)).get(api.device_id)
        types = object_of(object_of(_first(transaction, _FALLBACKS)).get(api.mxid)).get(
            api.device_id
        )
        held = object_of(counts).get("signed_curve25519", 0) if isinstance(counts, dict) else None
        self._told(isinstance(counts, dict), transaction.get("events"))
        self._device.counted(
            held if isinstance(held, int) else None, types if isinstance(types, list) else None
        )

    def _told(self, counted: bool, events: Any) -> None:
        """Notice a homeserver that never speaks of our device: nothing will ever be readable.

        Those that Synapse repeats after an outage do not speak of it either.
        """
        if counted:
            self._untold = -1
        elif self._untold >= 0 and events:
            self._untold += 1
            if self._untold == _UNTOLD:
                log.warning(
                    "the homeserver tells nothing of the bot's device: encrypted rooms cannot be"
                    " read (Synapse: experimental_features msc2409_to_device_messages_enabled and"
                    " msc3202_transaction_extensions; both, and the registration's new lines,"
                    " need its restart)"
                )

    async def _new(self, conn: Connection, message: dict[str, Any]) -> bool:
        """Whether this message was never taken: no two ciphertexts are the same."""
        seen = [message["sender"], message["content"]]
        digest = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
        stored = await conn.fetchval(
            "INSERT INTO e2ee_seen (digest, seen_ms) VALUES ($1, $2)"
            " ON CONFLICT (digest) DO NOTHING RETURNING digest",
            digest,
            self._now_ms(),
        )
        return stored is not None

    async def _read(self, conn: Connection, message: dict[str, Any], unlocked: set[str]) -> str:
        sender = message["sender"]
        sender_key, payload = await self._machine.decrypt_olm(sender, message["content"])
        kind, content = payload["type"], payload["content"]
        signing_key = payload["keys"]["ed25519"]
        if kind == wire.ROOM_KEY:
            unlocked |= await self._room_key(conn, sender_key, signing_key, content)
        elif kind == wire.FORWARDED_ROOM_KEY:
            unlocked |= await self._forwarded(conn, sender_key, signing_key, content)
        elif kind in self.hooked:
            await conn.execute(
                "INSERT INTO e2ee_to_device"
                " (sender, sender_key, signing_key, type, content, received_ms)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                sender,
                sender_key,
                signing_key,
                kind,
                self._box.encrypt(dumped(content).encode()).decode(),
                self._now_ms(),
            )
        return sender_key

    async def _room_key(
        self, conn: Connection, sender_key: str, signing_key: str, content: dict[str, Any]
    ) -> set[str]:
        session = _session(InboundGroupSession, sender_key, signing_key, content)
        return await self._keep(conn, session, content)

    async def _forwarded(
        self, conn: Connection, sender_key: str, signing_key: str, content: dict[str, Any]
    ) -> set[str]:
        # Taken from the device that made the session and from no other: whoever forwards somebody
        # else's key could say it is anybody's.
        if content.get("sender_key") != sender_key:
            raise CannotRead("it forwards a room key of another device")
        session = _session(InboundGroupSession.import_session, sender_key, signing_key, content)
        return await self._keep(conn, session, content)

    async def _keep(
        self, conn: Connection, session: InboundGroupSession, content: dict[str, Any]
    ) -> set[str]:
        if content.get("session_id") != session.id or not KEY.fullmatch(session.id):
            raise CannotRead("its room key is that of another session")
        store = self._machine.store
        row = await conn.fetchrow(
            "SELECT sender_key, room_id FROM crypto_megolm_inbound_session"
            " WHERE session_id = $1 AND account_id = $2",
            session.id,
            store.account_id,
        )
        if row is not None:
            # A session belongs to the device that was first to send it, and gets no worse: else
            # any member of the room could make it unreadable to us.
            if (row["sender_key"], row["room_id"]) != (session.sender_key, session.room_id):
                raise CannotRead("its room key is another device's")
            known = await _known(self._machine, session)
            if known is not None and known.first_known_index <= session.first_known_index:
                return set()
        await store.put_group_session(
            session.room_id, session.sender_key, cast("Any", session.id), session
        )
        return await self._inbox.unlock(conn, session.id)


async def _known(machine: Machine, session: InboundGroupSession) -> InboundGroupSession | None:
    try:
        return await machine.store.get_group_session(session.room_id, cast("Any", session.id))
    except MatrixError:
        return None


def _session(
    make: Callable[..., InboundGroupSession],
    sender_key: str,
    signing_key: str,
    content: dict[str, Any],
) -> InboundGroupSession:
    """The session in a room key, by the way its form asks for. Raises CannotRead."""
    room_id, session_key = _room_of(content), content["session_key"]
    try:
        return make(
            session_key,
            signing_key=signing_key,
            sender_key=sender_key,
            room_id=room_id,
            received_at=_utc_now(),
        )
    except (OlmGroupSessionError, ValueError) as error:
        raise CannotRead(f"its room key is none: {error}") from error


def _room_of(content: dict[str, Any]) -> str:
    if content.get("algorithm") != wire.MEGOLM or not isinstance(content.get("session_key"), str):
        raise CannotRead("its room key is of a kind we do not know")
    if not storable_id(content.get("room_id")):
        raise CannotRead("its room key is of no room")
    return str(content["room_id"])


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)  # the column has no time zone


def _first(document: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((document[name] for name in names if name in document), None)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
