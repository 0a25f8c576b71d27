"""The scribe's own media key: in an encrypted call its captions are encrypted too."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from bridge.crypto import Crypto, NoSession
from bridge.domain.conference import Conference
from bridge.errors import Unavailable
from bridge.matrix import wire
from bridge.matrix.http import HomeserverError
from bridge.upkeep import media_keys

log = logging.getLogger(__name__)

CONFERENCES = 1000
"""Conferences whose key is kept."""
WAITING = 2000
"""Devices that a key may be on its way to."""


class OwnKey:
    """What the scribe encrypts its captions with, and its way to everybody in the call.

    One random key for each conference of this process. `run()` sends; a device that cannot be
    reached goes without: it then sees no captions of the scribe, and hears everything.
    """

    def __init__(
        self,
        crypto: Crypto,
        identity: str,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._crypto = crypto
        self._identity = identity
        self._clock_ms = clock_ms
        self._keys: dict[str, bytes] = {}
        self._given: dict[str, set[str]] = {}
        self._waiting: asyncio.Queue[tuple[str, str, str, bytes]] = asyncio.Queue(WAITING)

    def give(self, conference: Conference) -> bytes:
        """The conference's key; who is present and has not got it yet will get it."""
        key = self._keys.setdefault(conference.id, secrets.token_bytes(16))
        given = self._given.setdefault(conference.id, set())
        there = {stay.sid: stay for stay in conference.stays if stay.left_ms is None}
        for sid in there.keys() - given:
            stay = there[sid]
            if not self._waiting.full():
                self._waiting.put_nowait((conference.room_id, stay.user_id, stay.device_id, key))
                given.add(sid)
        given &= there.keys()
        self._forget_others(conference.id)
        return key

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._send(*await self._waiting.get())

    async def _send(self, room_id: str, user_id: str, device_id: str, key: bytes) -> None:
        content = media_keys.message(
            room_id,
            member_id=self._identity,
            device_id=self._crypto.device_id,
            index=0,
            key=key,
            now_ms=self._clock_ms(),
        )
        try:
            await self._crypto.send_to_device(user_id, device_id, wire.MEDIA_KEYS, content)
        except (NoSession, HomeserverError, Unavailable) as error:
            log.info("the scribe's key did not reach a device of %s: %s", user_id, error)

    def _forget_others(self, conference: str) -> None:
        # Bounded without being told of ends: those given longest ago are over.
        self._keys[conference] = self._keys.pop(conference)
        while len(self._keys) > CONFERENCES:
            oldest = next(iter(self._keys))
            del self._keys[oldest], self._given[oldest]
