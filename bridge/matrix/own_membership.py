"""The bot in calls, as MatrixRTC clients see it: its own `call.member` state, and its way out.

A membership outlives whoever wrote it, so the leave is written first: it is scheduled at the
homeserver (MSC4140) and put off as long as this process lives. 18 s and 4 s are Element Call's.
Where a homeserver schedules nothing, the membership says itself that it ends soon.

Phones ring only for a call that somebody is in, and media keys are given to members only
(MSC4075, MSC4143): the bot calls people, and listens in encrypted calls, as a member.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bridge.domain.membership import normal
from bridge.errors import Unavailable
from bridge.ids import plain_identity
from bridge.matrix import wire
from bridge.matrix.http import HomeserverError

log = logging.getLogger(__name__)

LEAVE_AFTER_MS = 18_000
PUT_OFF_EVERY_S = 4.0
EXPIRES_MS = 4 * 3_600_000
RENEW_BEFORE_MS = 3_600_000
SHORT_EXPIRES_MS = 900_000
"""Where no leave can be scheduled: renewed every five minutes, a ghost for at most fifteen."""
SHORT_RENEW_BEFORE_MS = 600_000
MOST_ROOMS = 400
"""Synapse schedules as many events of a user as its administrator lets it (100, as it comes)."""
_AT_ONCE = 8

Intent = Literal["audio", "video"]


class Homeserver(Protocol):
    """What is asked of bridge.matrix.client.Homeserver."""

    user_id: str

    async def send_state(
        self, room_id: str, event_type: str, state_key: str, content: dict[str, Any]
    ) -> str: ...
    async def delay_state(
        self,
        room_id: str,
        event_type: str,
        state_key: str,
        content: dict[str, Any],
        delay_ms: int,
    ) -> str: ...
    async def manage_delayed(
        self, delay_id: str, action: Literal["restart", "send", "cancel"]
    ) -> None: ...
    async def delayed_events(self) -> list[dict[str, Any]]: ...


class TooManyCalls(Unavailable):
    """The bot is in as many calls as it can be."""

    def __init__(self) -> None:
        super().__init__("too_many_calls")


@dataclass(slots=True)
class _Stay:
    """The bot in one room's call. `delay_id`: the scheduled leave, '' where there is none."""

    intent: Intent = "audio"
    holders: set[str] = field(default_factory=set)
    delay_id: str = ""
    event_id: str = ""
    created_ms: int = 0
    expires_ms: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


DEVICE_ID = "COLLOQUE"
"""The bot's device where it has none of its own (encryption is off)."""


class OwnMembership:
    """Publishes and withdraws. `run()` keeps what is published alive; without it all ends in 18 s.

    `service_url`: the site's own token service. `device_id`: the bot's device.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        service_url: str,
        *,
        device_id: str = DEVICE_ID,
        leave_after_ms: int = LEAVE_AFTER_MS,
        put_off_every_s: float = PUT_OFF_EVERY_S,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._homeserver = homeserver
        self._service_url = normal(service_url)
        self._device_id = device_id
        self._leave_after_ms = leave_after_ms
        self._put_off_every_s = put_off_every_s
        self._clock_ms = clock_ms
        self._stays: dict[str, _Stay] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @property
    def identity(self) -> str:
        """The bot's name at the media server while it is a member."""
        return plain_identity(self._homeserver.user_id, self._device_id)

    @property
    def state_key(self) -> str:
        """Where in a room's state the membership lies."""
        return f"_{self._homeserver.user_id}_{self._device_id}_m.call"

    def published(self, room_id: str) -> bool:
        """Whether the bot is a member of this room's call."""
        stay = self._stays.get(room_id)
        return stay is not None and bool(stay.event_id)

    async def publish(self, room_id: str, *, intent: Intent | None = None, holder: str = "") -> str:
        """Be in the room's call, for as long as any `holder` wants. Returns the event's id.

        `intent`: None leaves it as it is, or "audio". Raises HomeserverError (403: the room does
        not allow it), Unreachable and TooManyCalls.
        """
        while True:
            stay = self._stay(room_id)
            stay.holders.add(holder)
            async with stay.lock:
                if self._stays.get(room_id) is not stay:
                    continue  # it was just leaving: begin anew
                wanted = stay.intent if intent is None else intent
                if not stay.event_id or stay.intent != wanted:
                    await self._begin(room_id, stay, wanted, holder)
                return stay.event_id

    async def renew(self, room_id: str) -> None:
        """Be in it as somebody who has just come: others then give their media keys once more.

        To matrix-js-sdk a membership whose `created_ts` changed is of somebody who left and came
        again (RTCEncryptionManager). Raises as `publish`; does nothing where the bot is not in it.
        """
        stay = self._stays.get(room_id)
        if stay is None:
            return
        async with stay.lock:
            if self._stays.get(room_id) is stay and stay.event_id:
                stay.created_ms = 0
                await self._appear(room_id, stay)

    async def withdraw(self, room_id: str, *, holder: str = "") -> None:
        """Be in it no longer, unless another holder wants it. Never raises.

        Where the homeserver does not answer, the scheduled leave does it.
        """
        stay = self._stays.get(room_id)
        if stay is None:
            return
        stay.holders.discard(holder)
        async with stay.lock:
            if stay.holders or self._stays.get(room_id) is not stay:
                return
            try:
                await self._leave(room_id, stay)
            except (HomeserverError, Unavailable) as error:
                log.warning("the bot's membership in %s is left to end: %s", room_id, error)
            finally:
                del self._stays[room_id]

    async def run(self) -> None:
        """Put the scheduled leaves off, and renew what expires, until cancelled."""
        while True:
            await asyncio.sleep(self._put_off_every_s)
            async with asyncio.TaskGroup() as tasks:
                for room_id, stay in list(self._stays.items()):
                    tasks.create_task(self._keep(room_id, stay))

    def _stay(self, room_id: str) -> _Stay:
        stay = self._stays.get(room_id)
        if stay is None:
            if len(self._stays) >= MOST_ROOMS:
                raise TooManyCalls
            stay = self._stays[room_id] = _Stay()
        return stay

    # ---- appearing

    async def _begin(self, room_id: str, stay: _Stay, intent: Intent, holder: str) -> None:
        before, stay.intent = stay.intent, intent
        try:
            await self._appear(room_id, stay)
        except BaseException:
            stay.intent = before
            stay.holders.discard(holder)
            if not stay.holders:
                del self._stays[room_id]
            raise

    async def _appear(self, room_id: str, stay: _Stay) -> None:
        """Schedule the leave unless there is one, then say that the bot is there."""
        if not stay.delay_id:
            await self._call_off_leftovers(room_id)
            stay.delay_id = await self._schedule(room_id)
        now_ms = self._clock_ms()
        created_ms = stay.created_ms or now_ms
        lasts_ms = EXPIRES_MS if stay.delay_id else SHORT_EXPIRES_MS
        content = self._content(room_id, stay.intent, created_ms, now_ms - created_ms + lasts_ms)
        stay.event_id = await self._homeserver.send_state(
            room_id, wire.CALL_MEMBER, self.state_key, content
        )
        stay.created_ms, stay.expires_ms = created_ms, now_ms + lasts_ms

    async def _schedule(self, room_id: str) -> str:
        try:
            return await self._homeserver.delay_state(
                room_id, wire.CALL_MEMBER, self.state_key, {}, self._leave_after_ms
            )
        except HomeserverError as error:
            # 429 too: so Synapse says that a user has as many scheduled as it allows.
            log.warning("no leave can be scheduled in %s (%s)", room_id, error)
            return ""

    async def _call_off_leftovers(self, room_id: str) -> None:
        """A leave scheduled by our last process would end what this one publishes."""
        try:
            for event in await self._homeserver.delayed_events():
                if (
                    event.get("room_id") == room_id
                    and event.get("type") == wire.CALL_MEMBER
                    and event.get("state_key", self.state_key) == self.state_key
                ):
                    await self._homeserver.manage_delayed(str(event.get("delay_id")), "cancel")
        except HomeserverError as error:
            log.info("scheduled leaves of %s are not known: %s", room_id, error)

    def _content(
        self, room_id: str, intent: Intent, created_ms: int, expires_ms: int
    ) -> dict[str, Any]:
        transport = {
            "type": "livekit",
            "livekit_alias": room_id,
            "livekit_service_url": self._service_url,
        }
        return {
            "application": "m.call",
            "call_id": "",
            "scope": "m.room",
            "device_id": self._device_id,
            "membershipID": self.identity,
            "expires": expires_ms,
            "m.call.intent": intent,
            "focus_active": {"type": "livekit", "focus_selection": "multi_sfu"},
            "foci_preferred": [transport],
            # Also the first time, when clients leave it out: state that says the same as what
            # stands there is no new event to Synapse, and nobody would notice that we came again.
            "created_ts": created_ms,
        }

    # ---- staying

    async def _keep(self, room_id: str, stay: _Stay) -> None:
        async with self._slots, stay.lock:
            if self._stays.get(room_id) is not stay:
                return
            try:
                await self._put_off(room_id, stay)
            except Unavailable as error:
                log.info("the bot's membership in %s waits: %s", room_id, error)
            except HomeserverError as error:
                log.warning("the bot's membership in %s cannot be kept: %s", room_id, error)
                if error.status == 403:  # out of the room, or no power there any more
                    del self._stays[room_id]

    async def _put_off(self, room_id: str, stay: _Stay) -> None:
        if stay.delay_id:
            try:
                await self._homeserver.manage_delayed(stay.delay_id, "restart")
            except HomeserverError as error:
                if error.status != 404:
                    raise
                log.info("the bot's leave in %s was sent, it returns", room_id)
                stay.delay_id, stay.event_id, stay.created_ms = "", "", 0
        margin_ms = RENEW_BEFORE_MS if stay.delay_id else SHORT_RENEW_BEFORE_MS
        if not stay.event_id or self._clock_ms() >= stay.expires_ms - margin_ms:
            await self._appear(room_id, stay)

    # ---- leaving

    async def _leave(self, room_id: str, stay: _Stay) -> None:
        if stay.delay_id:
            try:
                await self._homeserver.manage_delayed(stay.delay_id, "send")
                return
            except HomeserverError as error:
                log.info("the leave in %s is not sent early: %s", room_id, error)
        await self._homeserver.send_state(room_id, wire.CALL_MEMBER, self.state_key, {})
