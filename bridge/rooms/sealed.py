"""Encrypted events of the inbox: read, waited for, or given up with a word in the room.

An event whose key has not come yet is put by, and the room goes on without it: whoever sends
events that nobody can read must not hold up a room in which somebody is being removed from a call.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from bridge import text
from bridge.crypto import Crypto, Undecryptable
from bridge.matrix import wire
from bridge.rooms import facts as room_facts
from bridge.rooms.house import House, Stores
from bridge.rooms.saying import sentence_row
from bridge.store.inbox import Entry

log = logging.getLogger(__name__)

KEY_WAIT_MS = 20_000
"""How long a key may come after its message: federation is late, device lists have to be read."""
_SAY_AGAIN_MS = 600_000
_REMEMBERED = 1000


class Unsealing:
    """Opens entries that are encrypted."""

    def __init__(
        self, house: House, stores: Stores, crypto: Crypto, clock_ms: Callable[[], int]
    ) -> None:
        self._house = house
        self._stores = stores
        self._crypto = crypto
        self._clock_ms = clock_ms
        self._said: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def open(self, entry: Entry) -> Entry | None:
        """The entry as if it had come in clear; None where it waits for a key, or for ever."""
        if entry.kind != "matrix" or entry.payload.get("type") != wire.ENCRYPTED:
            return entry
        if "state_key" in entry.payload:
            # State is never encrypted. Opened, this could be any state of the room, written with
            # the power it takes to write this type: a moderator could make themselves more.
            return entry
        try:
            return await self._decrypted(entry)
        except Undecryptable as error:
            if error.session is None:
                await self._set_aside(entry, str(error))
                return None
            if self._clock_ms() - entry.received_ms < KEY_WAIT_MS:
                return await self._put_by(entry, error.session)
            await self._give_up(entry, error.session, str(error))
            return None

    async def _decrypted(self, entry: Entry) -> Entry:
        return replace(entry, payload=await self._crypto.decrypt(entry.payload))

    async def _put_by(self, entry: Entry, session: str) -> Entry | None:
        await self._stores.inbox.lock(entry, session)
        try:
            # The key may have come between our look and the lock, which it then did not find.
            return await self._decrypted(entry)
        except Undecryptable:
            return None

    async def _set_aside(self, entry: Entry, reason: str) -> None:
        log.info("event %s of %s cannot be read: %s", entry.key, entry.room_id, reason)
        async with self._stores.db.acquire() as conn, conn.transaction():
            await self._stores.inbox.set_aside(conn, entry, reason)

    async def _give_up(self, entry: Entry, session: str, reason: str) -> None:
        """Say once for each session, and not more often than that, whom we cannot read."""
        log.info("event %s of %s is given up: %s", entry.key, entry.room_id, reason)
        sender, now_ms = str(entry.payload.get("sender")), self._clock_ms()
        async with self._stores.db.acquire() as conn, conn.transaction():
            facts = room_facts.from_json(await self._stores.rooms.get(conn, entry.room_id))
            if self._tells(facts, entry.room_id, sender, now_ms):
                language = facts.read_wish(self._house.defaults).language
                sentence = text.say(
                    "encrypted.unreadable", language, name=facts.display_name(sender)
                )
                about = hashlib.sha256(f"{entry.room_id} {sender} {session}".encode()).hexdigest()
                row = sentence_row(entry.room_id, f"unreadable:{about[:24]}", sentence)
                await self._stores.outbox.put(conn, row, now_ms=now_ms)
            await self._stores.inbox.set_aside(conn, entry, reason)

    def _tells(self, facts: room_facts.Facts, room_id: str, sender: str, now_ms: int) -> bool:
        """Only whom this site answers, and not each time where every message has a new session."""
        if not (
            facts.joined
            and self._house.admits(sender)
            and facts.answers(sender, self._house.server_name)
        ):
            return False
        last = self._said.get((room_id, sender))
        if last is not None and now_ms - last < _SAY_AGAIN_MS:
            return False
        self._said[room_id, sender] = now_ms
        while len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        return True
