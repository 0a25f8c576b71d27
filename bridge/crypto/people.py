"""Other people's devices: read when needed, and again after their server said they changed.

`e2ee_outdated` holds who changed. A list that was read is good until then; all are read again after
either of us was away, since what the homeserver had to tell meanwhile may be lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable
from typing import Any, cast

from mautrix.errors import DeviceValidationError
from mautrix.types import (
    DeviceIdentity,
    DeviceKeys,
    IdentityKey,
    SerializerError,
    TrustState,
    UserID,
)

from bridge.crypto.machine import KEY, Machine
from bridge.errors import Unavailable
from bridge.ids import server_of
from bridge.matrix.http import HomeserverError, object_of
from bridge.store.database import DATABASE_ERRORS, Connection
from bridge.store.text import storable_id

log = logging.getLogger(__name__)

_USERS_A_QUERY = 250
_USERS_A_SELECT = 500
_DEVICES_A_USER = 200
_FAILURES: tuple[type[Exception], ...] = (HomeserverError, Unavailable, *DATABASE_ERRORS)
_LEARN_EVERY_S = 30.0
_LEARNED = 10_000
_REST_S = 60.0
"""A server that did not answer about its users is not asked again for so long."""


class People:
    """Whose device is whose."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._resting: dict[str, float] = {}
        self._learned: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def changed(self, conn: Connection, users: Iterable[str]) -> None:
        """Their lists are not to be relied on any more; inside the transaction that says so."""
        mark = time.time_ns()
        for user_id in users:
            await conn.execute(
                "INSERT INTO e2ee_outdated (user_id, mark) VALUES ($1, $2)"
                " ON CONFLICT (user_id) DO UPDATE SET mark = excluded.mark",
                user_id,
                mark,
            )

    async def all_changed(self) -> None:
        """Nobody's list is to be relied on: we may have missed something."""
        await self._machine.db.execute(
            "INSERT INTO e2ee_outdated (user_id, mark) SELECT user_id, $1 FROM crypto_tracked_user"
            " WHERE true ON CONFLICT (user_id) DO UPDATE SET mark = excluded.mark",
            time.time_ns(),
        )

    async def of_key(self, user_id: str, identity_key: str) -> DeviceIdentity | None:
        """The device with this identity key, if it is known to be this user's. Asks nobody."""
        return await self._machine.store.find_device_by_key(
            UserID(user_id), IdentityKey(identity_key)
        )

    async def device(self, user_id: str, device_id: str) -> DeviceIdentity | None:
        """One device, its list read first where that is due."""
        return (await self._of(user_id)).get(device_id)

    async def devices(self, users: Iterable[str]) -> list[DeviceIdentity]:
        """Every device of these people, but the bot's own; lists are read first where due.

        People of a server that does not answer have the devices they were last known to have.
        """
        users = [user_id for user_id in users if user_id != self._machine.api.mxid]
        await self.fresh(users)
        rows = await self._select(
            "SELECT user_id, device_id, identity_key, signing_key FROM crypto_device"
            " WHERE user_id IN (?)",
            users,
        )
        return [
            DeviceIdentity(**row, trust=TrustState.UNVERIFIED, deleted=False, name="")
            for row in rows
        ]

    async def fresh(self, users: Iterable[str], *, insist: bool = False) -> None:
        """Read the lists that are due; `insist`: all of these.

        Raises HomeserverError, Unreachable where our own homeserver does not answer: a message
        encrypted for the devices known by chance would be lost to everybody else.
        """
        by_server: dict[str, list[str]] = {}
        due = set(users) if insist else await self._due(set(users))
        for user_id in sorted(due):
            by_server.setdefault(server_of(user_id), []).append(user_id)
        now = time.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                for server, ids in by_server.items():
                    if self._resting.get(server, 0.0) <= now:
                        tasks.create_task(self._read_all(server, ids))
        except* _FAILURES as errors:
            raise errors.exceptions[0] from None

    async def learn(self, user_id: str) -> None:
        """Read somebody's list because a device of theirs is unknown: at once if it is due, else
        twice a minute at most, whatever they send us."""
        now = time.monotonic()
        insist = self._learned.get(user_id, 0.0) <= now
        if insist:
            if len(self._learned) > _LEARNED:
                self._learned.clear()
            self._learned[user_id] = now + _LEARN_EVERY_S
        await self.fresh([user_id], insist=insist)

    async def _of(self, user_id: str) -> dict[str, DeviceIdentity]:
        await self.fresh([user_id])
        known = await self._machine.store.get_devices(UserID(user_id)) or {}
        return {str(device_id): device for device_id, device in known.items()}

    async def _due(self, users: set[str]) -> set[str]:
        known = await self._select(
            "SELECT t.user_id FROM crypto_tracked_user t LEFT JOIN e2ee_outdated o"
            " ON o.user_id = t.user_id WHERE o.user_id IS NULL AND t.user_id IN (?)",
            users,
        )
        return users - {row["user_id"] for row in known}

    async def _select(self, query: str, users: Collection[str]) -> list[dict[str, Any]]:
        """Rows of a query that has `(?)` where the users stand."""
        rows: list[dict[str, Any]] = []
        waiting = list(users)
        for start in range(0, len(waiting), _USERS_A_SELECT):
            some = waiting[start : start + _USERS_A_SELECT]
            places = ",".join(f"${number}" for number in range(1, len(some) + 1))
            found = await self._machine.db.fetch(query.replace("(?)", f"({places})"), *some)
            rows += [dict(row) for row in found]
        return rows

    async def _read_all(self, server: str, users: list[str]) -> None:
        for start in range(0, len(users), _USERS_A_QUERY):
            await self._read(server, users[start : start + _USERS_A_QUERY])

    async def _read(self, server: str, users: list[str]) -> None:
        async with self._asking.setdefault(server, asyncio.Lock()):
            marks = await self._marks(users)
            answer = await self._machine.api.query(users)
            if server in object_of(answer.get("failures")):
                log.info("%s does not say which devices its people have", server)
                self._resting[server] = time.monotonic() + _REST_S
                return
            lists = object_of(answer.get("device_keys"))
            for user_id in users:
                await self._store(user_id, object_of(lists.get(user_id)), marks.get(user_id))

    async def _marks(self, users: list[str]) -> dict[str, int]:
        rows = await self._select(
            "SELECT user_id, mark FROM e2ee_outdated WHERE user_id IN (?)", users
        )
        return {row["user_id"]: int(row["mark"]) for row in rows}

    async def _store(self, user_id: str, listed: dict[str, Any], mark: int | None) -> None:
        store = self._machine.store
        async with self._machine.db.acquire() as conn, conn.transaction():
            before = {
                str(known): device
                for known, device in (await store.get_devices(UserID(user_id)) or {}).items()
            }
            devices = {}
            for device_id, keys in list(listed.items())[:_DEVICES_A_USER]:
                device = await self._valid(user_id, device_id, keys, before.get(device_id))
                if device is not None:
                    devices[device.device_id] = device
            await store.put_devices(UserID(user_id), devices)
            # What changed while we asked stays outdated.
            await conn.execute(
                "DELETE FROM e2ee_outdated WHERE user_id = $1 AND mark = $2",
                user_id,
                -1 if mark is None else mark,
            )

    async def _valid(
        self, user_id: str, device_id: Any, keys: Any, before: DeviceIdentity | None
    ) -> DeviceIdentity | None:
        """The device if its keys are signed by itself and are those it always had."""
        if not storable_id(device_id) or not isinstance(keys, dict):
            return None
        try:
            device = await self._machine._validate_device(
                UserID(user_id), device_id, DeviceKeys.deserialize(cast("Any", keys)), before
            )
        except (DeviceValidationError, SerializerError, TypeError, ValueError, KeyError) as error:
            log.info("device %s of %s is left aside: %s", device_id, user_id, error)
            return before
        if device is None or not (
            KEY.fullmatch(device.identity_key) and KEY.fullmatch(device.signing_key)
        ):
            return before
        device.name = ""  # chosen by a stranger, of no use here
        return device
