"""The bot's own device: made once (MSC4190), signed by the bot's own identity, never out of keys.

Clients that only trust signed devices (MSC4153) take the bot's, because its self-signing key signs
it. The identity's private keys lie in `Secret`: a new device of the same bot is signed by them too.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

from mautrix.crypto.account import OlmAccount
from mautrix.crypto.cross_signing_key import CrossSigningSeeds
from mautrix.crypto.signature import sign_olm
from mautrix.types import CrossSigningKeys, CrossSigningUsage, DeviceID, KeyID
from olm.account import OlmAccountError

from bridge.crypto.api import KeyApi
from bridge.crypto.machine import CURVE, Machine, Store
from bridge.crypto.secret import Secret
from bridge.matrix.http import HomeserverError, Unreachable, object_of
from bridge.store.database import DATABASE_ERRORS, Database
from bridge.store.marks import Marks

log = logging.getLogger(__name__)

_LATER: tuple[type[Exception], ...] = (HomeserverError, Unreachable, *DATABASE_ERRORS)

NAME = "Colloque"
_FEWEST_KEYS = 25
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_OLD_DEVICE = "e2ee: a device to remove"


async def device_of(store: Store, db: Database) -> str:
    """The device this database was made for; made up, and stored, where there is none.

    An account that cannot be opened (`encryption.key` is another one) is put away: with its device
    nobody could be answered any more.
    """
    try:
        if await store.get_account() is not None:
            return str(await store.get_device_id())
    except (OlmAccountError, ValueError) as error:
        old = str(await store.get_device_id())
        log.error("the keys of device %s cannot be opened (%s): a new one is made", old, error)
        await _put_away(store, db)
        await Marks(db).put(_OLD_DEVICE, old)
        store.forget()
    device_id = f"COLLOQUE{secrets.token_hex(4).upper()}"
    account = OlmAccount()
    async with db.acquire() as conn, conn.transaction():
        await store.put_account(account)
        await store.put_device_id(DeviceID(device_id))
    return device_id


async def _put_away(store: Store, db: Database) -> None:
    async with db.acquire() as conn, conn.transaction():
        await store.delete()
        await conn.execute(
            "DELETE FROM crypto_megolm_inbound_session WHERE account_id = $1", store.account_id
        )
        await conn.execute("DELETE FROM e2ee_share")


class OwnDevice:
    """Keeps the device known and supplied. `run()` owns the work; `counted` says what is left."""

    def __init__(self, machine: Machine, secret: Secret) -> None:
        self._machine = machine
        self._api: KeyApi = machine.api
        seeds = CrossSigningSeeds(secret.master, secret.self_signing, secret.user_signing)
        self._keys = seeds.to_keys()
        self._marks = Marks(machine.db)
        self._due = asyncio.Event()
        self._due.set()
        self._fallback_used = False
        self.ready = asyncio.Event()

    def counted(self, one_time_keys: int | None, fallback_types: list[str] | None) -> None:
        """What the homeserver says it still holds of this device; None where it does not say."""
        if one_time_keys is not None and one_time_keys < _FEWEST_KEYS:
            self._due.set()
        if fallback_types is not None and CURVE not in fallback_types:
            self._fallback_used = True
            self._due.set()

    async def run(self) -> None:
        """Make the device, then supply it whenever keys run short."""
        pause = _FIRST_PAUSE_S
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                if not self.ready.is_set():
                    await self._prepare()
                await self._supply()
                if not self.ready.is_set():
                    self.ready.set()
                    log.info("encrypted rooms are served by device %s", self._api.device_id)
                pause = _FIRST_PAUSE_S
            except _LATER as error:
                say = log.warning if isinstance(error, HomeserverError) else log.info
                say("the bot's device for encrypted rooms is not ready: %s", error)
                self._due.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _prepare(self) -> None:
        await self._api.create_device(NAME)
        old = await self._marks.get(_OLD_DEVICE)
        if old:
            await self._api.delete_device(old)
            await self._marks.put(_OLD_DEVICE, "")
        answer = await self._api.query([self._api.mxid])
        listed = object_of(object_of(answer.get("device_keys")).get(self._api.mxid))
        device_keys = self._device_keys()
        there = object_of(listed.get(self._api.device_id))
        if there.get("keys") != device_keys["keys"]:
            await self._api.upload_keys(device_keys=device_keys)
            there = device_keys
        await self._sign(there, answer)
        async with self._machine.writing():
            self._machine.own.shared = True
            await self._machine.store.put_account(self._machine.own)

    async def _sign(self, device_keys: dict[str, Any], answer: dict[str, Any]) -> None:
        """Publish the identity and its signature of the device, where they are not there yet."""
        public = self._keys.public_keys
        masters = object_of(object_of(object_of(answer.get("master_keys")).get(self._api.mxid)))
        if public.master_key not in object_of(masters.get("keys")).values():
            await self._api.upload_cross_signing(self._cross_signing_keys())
        signer = str(KeyID.ed25519(public.self_signing_key))
        if signer in object_of(object_of(device_keys.get("signatures")).get(self._api.mxid)):
            return
        signed = {name: value for name, value in device_keys.items() if name != "unsigned"}
        signature = sign_olm({**signed}, self._keys.self_signing_key)
        signed["signatures"] = {self._api.mxid: {signer: signature}}
        await self._api.upload_signature(self._api.device_id, signed)

    async def _supply(self) -> None:
        """Refill one-time keys, renew a fallback key that was used."""
        held = await self._api.upload_keys()
        fallback: dict[str, Any] = {}
        # Committed before they are published: a key that others have must never be lost.
        async with self._machine.writing():
            account = self._machine.own
            one_time = account.get_one_time_keys(
                self._api.mxid, DeviceID(self._api.device_id), held
            )
            if await self._fallback_due():
                if not account.fallback_key.get("curve25519"):
                    account.generate_fallback_key()
                fallback = self._fallback_keys(account)
            await self._machine.store.put_account(account)
        if not one_time and not fallback:
            return
        await self._publish(one_time, fallback)
        async with self._machine.writing():
            self._machine.own.mark_keys_as_published()
            await self._machine.store.put_account(self._machine.own)
        if fallback:
            self._fallback_used = False
            await self._marks.put(self._fallback_mark, "published")

    async def _publish(self, one_time: dict[str, Any], fallback: dict[str, Any]) -> None:
        try:
            await self._api.upload_keys(one_time_keys=one_time, fallback_keys=fallback)
        except HomeserverError as error:
            if error.status != 400:
                raise
            # A database brought back from a backup: the homeserver has other keys by these names.
            log.warning("the homeserver refuses our one-time keys, others are made: %s", error)
            async with self._machine.writing():
                self._machine.own.mark_keys_as_published()
                await self._machine.store.put_account(self._machine.own)
            raise

    async def _fallback_due(self) -> bool:
        return self._fallback_used or await self._marks.get(self._fallback_mark) is None

    @property
    def _fallback_mark(self) -> str:
        return f"e2ee: fallback key of {self._api.device_id}"

    def _fallback_keys(self, account: OlmAccount) -> dict[str, Any]:
        keys = {}
        for key_id, key in account.fallback_key["curve25519"].items():
            signed: dict[str, Any] = {"key": key, "fallback": True}
            signature = sign_olm({**signed}, account)
            name = str(KeyID.ed25519(DeviceID(self._api.device_id)))
            signed["signatures"] = {self._api.mxid: {name: signature}}
            keys[f"{CURVE}:{key_id}"] = signed
        return keys

    def _device_keys(self) -> dict[str, Any]:
        account = self._machine.own
        device_keys: dict[str, Any] = dict(
            account.get_device_keys(self._api.mxid, DeviceID(self._api.device_id)).serialize()
        )
        device_keys.pop("unsigned", None)
        return device_keys

    def _cross_signing_keys(self) -> dict[str, Any]:
        public, mxid = self._keys.public_keys, self._api.mxid
        signer = KeyID.ed25519(public.master_key)
        keys = {}
        for name, usage, key in (
            ("master", CrossSigningUsage.MASTER, public.master_key),
            ("self_signing", CrossSigningUsage.SELF, public.self_signing_key),
            ("user_signing", CrossSigningUsage.USER, public.user_signing_key),
        ):
            made = CrossSigningKeys(user_id=mxid, usage=[usage], keys={KeyID.ed25519(key): key})
            if usage == CrossSigningUsage.MASTER:
                device = KeyID.ed25519(DeviceID(self._api.device_id))
                made.signatures = {mxid: {device: sign_olm(made, self._machine.own)}}
            else:
                made.signatures = {mxid: {signer: sign_olm(made, self._keys.master_key)}}
            keys[name] = made
        return keys
