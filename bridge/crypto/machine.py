"""The bot's Olm account and its sessions: one owner of their state, in memory as in the database.

A ratchet moves in memory when it is used and in the database when that is committed. So whatever
uses one does it inside `writing()`, one at a time; if that fails, memory forgets what it had.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

from mautrix.crypto import OlmMachine
from mautrix.crypto.account import OlmAccount
from mautrix.crypto.signature import verify_signature_json
from mautrix.crypto.store import PgCryptoStore
from mautrix.errors import MatrixError
from mautrix.types import DeviceIdentity, OlmCiphertext, OlmMsgType
from mautrix.util.async_db.errors import UnsupportedDatabaseVersion
from olm.account import OlmAccountError
from olm.session import OlmSessionError

from bridge.crypto.api import KeyApi
from bridge.errors import ConfigError
from bridge.matrix import wire
from bridge.matrix.http import object_of
from bridge.store.database import Connection, Database

log = logging.getLogger(__name__)

KEY = re.compile(r"[A-Za-z0-9+/]{43}")
"""32 bytes in unpadded base64: Curve25519 and Ed25519 keys, Megolm session ids."""
CURVE = "signed_curve25519"
_SESSIONS_A_DEVICE = 12  # a stranger can begin as many as they like; the newest are kept


class CannotRead(Exception):
    """A to-device message that Olm refuses, or that is not what it says."""


class Store(PgCryptoStore):
    """mautrix' tables in our database."""

    def forget(self) -> None:
        """Drop what is in memory: the database is right."""
        self._account = None
        self._olm_cache = defaultdict(dict)


class Machine(OlmMachine):
    """Olm: `open()` first. Only what runs inside `writing()` changes anything."""

    def __init__(self, api: KeyApi, store: Store, db: Database) -> None:
        super().__init__(cast("Any", api), store, cast("Any", None), cast("Any", log))
        self.api = api
        self.store = store
        self.db = db
        self.wedged: dict[str, str] = {}  # identity key -> user: sessions to be begun anew
        self._one_writer = asyncio.Lock()
        self._stale = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """The one transaction in which Olm and Megolm state changes. Never await the network."""
        async with self._one_writer:
            if self._stale:
                self.store.forget()
                await self.load()
                self._stale = False
            try:
                async with self.db.acquire() as conn, conn.transaction():
                    yield conn
            except BaseException:
                self._stale = True
                raise

    async def decrypt_olm(self, sender: str, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Identity key of the sending device, and what it sent. Inside `writing()`.

        Raises CannotRead. The payload's sender and recipient are checked; whether the device is
        the sender's is not (that takes their device list).
        """
        sender_key = content.get("sender_key")
        ciphertexts = content.get("ciphertext")
        own = ciphertexts.get(self._account.identity_key) if isinstance(ciphertexts, dict) else None
        if not _is_key(sender_key) or not isinstance(own, dict):
            raise CannotRead("it is not for this device")
        kind, body = own.get("type"), own.get("body")
        if kind not in (0, 1) or not isinstance(body, str):
            raise CannotRead("it is no Olm message")
        message = OlmCiphertext(type=OlmMsgType(kind), body=body)
        try:
            plain = await self._decrypt_olm_ciphertext(
                cast("Any", sender), cast("Any", sender_key), message
            )
            payload = json.loads(plain)
        except (OlmSessionError, OlmAccountError, MatrixError) as error:
            raise CannotRead(str(error) or type(error).__name__) from error
        except (ValueError, RecursionError) as error:
            raise CannotRead("its content is not JSON") from error
        await self._keep_newest(str(sender_key))
        return str(sender_key), self._checked(sender, payload)

    def _checked(self, sender: str, payload: Any) -> dict[str, Any]:
        payload = object_of(payload)
        wanted = {"sender": sender, "recipient": self.api.mxid}
        if any(payload.get(name) != value for name, value in wanted.items()):
            raise CannotRead("it was made for others")
        if object_of(payload.get("recipient_keys")).get("ed25519") != self._account.signing_key:
            raise CannotRead("it was made for another device")
        if not _is_key(object_of(payload.get("keys")).get("ed25519")):
            raise CannotRead("it has no signing key")
        if not isinstance(payload.get("type"), str) or not isinstance(payload.get("content"), dict):
            raise CannotRead("it has no type or no content")
        return cast("dict[str, Any]", payload)

    async def _keep_newest(self, sender_key: str) -> None:
        await self.db.execute(
            "DELETE FROM crypto_olm_session WHERE account_id = $1 AND sender_key = $2"
            " AND session_id NOT IN (SELECT session_id FROM crypto_olm_session"
            " WHERE account_id = $1 AND sender_key = $2 ORDER BY last_decrypted DESC LIMIT $3)",
            self.store.account_id,
            sender_key,
            _SESSIONS_A_DEVICE,
        )

    async def _unwedge_session(self, sender: Any, sender_key: Any) -> None:
        # Called by OlmDecryptionMachine where a session is broken. Repaired by another task.
        if len(self.wedged) < 1000:
            self.wedged[str(sender_key)] = str(sender)

    async def begin_sessions(
        self, devices: Iterable[DeviceIdentity], *, anew: bool = False
    ) -> set[str]:
        """Claim keys of devices we have no Olm session with. Asks the homeserver.

        Returns the identity keys that have one now.
        """
        wanted = {device.identity_key: device for device in devices}
        there = {str(key) for key in wanted if not anew and await self.store.has_session(key)}
        asked: dict[str, dict[str, str]] = {}
        for key, device in wanted.items():
            if key not in there:
                asked.setdefault(str(device.user_id), {})[str(device.device_id)] = CURVE
        if not asked:
            return there
        answer = object_of((await self.api.claim(asked)).get("one_time_keys"))
        for key, device in wanted.items():
            if key in there:
                continue
            mine = object_of(object_of(answer.get(device.user_id)).get(device.device_id))
            if await self._begin(device, next(iter(mine.values()), None)):
                there.add(str(key))
        return there

    async def _begin(self, device: DeviceIdentity, claimed: Any) -> bool:
        claimed = object_of(claimed)
        one_time_key = claimed.get("key")
        if not _is_key(one_time_key) or not _signed(claimed, device):
            return False
        async with self.writing():
            session = self._account.new_outbound_session(device.identity_key, one_time_key)
            await self.store.add_session(device.identity_key, session)
        return True

    async def encrypt_olm(
        self, device: DeviceIdentity, event_type: str, content: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The content of an `m.room.encrypted` for one device. Inside `writing()`.

        None where there is no session with it (`begin_sessions`).
        """
        session = await self.store.get_latest_session(device.identity_key)
        if session is None:
            return None
        payload = {
            "type": event_type,
            "content": content,
            "sender": self.api.mxid,
            "sender_device": self.api.device_id,
            "keys": {"ed25519": self._account.signing_key},
            "recipient": device.user_id,
            "recipient_keys": {"ed25519": device.signing_key},
        }
        message = session.encrypt(json.dumps(payload))
        await self.store.update_session(device.identity_key, session)
        return {
            "algorithm": wire.OLM,
            "sender_key": self._account.identity_key,
            "ciphertext": {device.identity_key: {"type": message.type.value, "body": message.body}},
        }

    @property
    def _account(self) -> OlmAccount:
        if self.account is None:
            raise RuntimeError("the machine is not open")
        return self.account

    @property
    def own(self) -> OlmAccount:
        """The account: its public keys never change."""
        return self._account


async def open_tables(db: Database) -> None:
    """Make or upgrade the crypto store's tables. Raises ConfigError for those of a newer one."""
    try:
        await PgCryptoStore.upgrade_table.upgrade(db)
    except UnsupportedDatabaseVersion as error:
        raise ConfigError("`database.url`: written by a newer version of Colloque") from error


def _signed(claimed: dict[str, Any], device: DeviceIdentity) -> bool:
    try:
        return verify_signature_json(
            cast("Any", claimed), device.user_id, device.device_id, device.signing_key
        )
    except (TypeError, AttributeError):
        return False


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and KEY.fullmatch(value) is not None
