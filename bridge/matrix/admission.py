"""Who may join the call of a room: the one way to a call token, behind every door.

The rule nobody else applies: the person is, now, a joined member of that Matrix room. It is asked
of the homeserver each time, never remembered.
"""

from __future__ import annotations

import dataclasses
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from bridge.config import Settings
from bridge.domain.leaves import Leave
from bridge.domain.policy import server_admitted
from bridge.errors import ColloqueError, Refused, Unavailable, UserError
from bridge.ids import ROOM_CALL, hashed_identity, media_room, plain_identity, server_of
from bridge.matrix.client import HomeserverError
from bridge.matrix.limits import Rate, RateLimit, Recent
from bridge.matrix.openid import is_user_id
from bridge.media.keys import ApiKey
from bridge.media.tokens import call_token
from bridge.store.grants import Grant

# Element Call asks once for each media server of a call and again at each reconnection.
_USER_RATE = Rate(per_second=1.0, burst=30)
_NAME_TTL_S = 60.0
_ROOM_TTL_S = 10.0
_MAX_NAME = 100
_MAX_ID = 255


class BadAsk(ColloqueError):
    """What was asked makes no sense (HTTP 400)."""

    def __init__(self, reason: str, errcode: str = "M_BAD_JSON") -> None:
        super().__init__(reason)
        self.errcode = errcode


class TooOften(ColloqueError):
    """Asked too often (HTTP 429); asking again succeeds after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many requests")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Delay:
    """A scheduled leave (MSC4140) that a client hands over with its ask (MSC4195)."""

    delay_id: str
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A person, already identified, asks to join the call of a room with one of their devices.

    `member_id` is given where the client publishes a sticky `rtc.member` event: the identity is
    then the hash of MSC4195, otherwise `user:device`. `delay`: their leave, if it is handed over.
    """

    room_id: str
    user_id: str
    device_id: str
    member_id: str | None = None
    slot_id: str = ROOM_CALL
    delay: Delay | None = None

    @property
    def identity(self) -> str:
        """The name of this device at the media server."""
        if self.member_id is None:
            return plain_identity(self.user_id, self.device_id)
        return hashed_identity(self.user_id, self.device_id, self.member_id)

    @property
    def alias(self) -> str:
        """The name this device has there if it got its token at `/sfu/get`, '' without one."""
        if self.member_id is None or not self.device_id or ":" in self.device_id:
            return ""
        return plain_identity(self.user_id, self.device_id)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Where to connect and the token to show there."""

    url: str
    jwt: str = dataclasses.field(repr=False)


class Membership(Protocol):
    """What admission asks the homeserver (bridge.matrix.client.Homeserver)."""

    async def is_joined(self, room_id: str, user_id: str) -> bool:
        """Whether a user is a joined member of a room now."""

    async def display_name(self, room_id: str, user_id: str) -> str:
        """A member's name in a room; their id where they have none."""


class GrantStore(Protocol):
    """bridge.store.grants.Grants."""

    async def of_identity(self, media_room: str, identity: str) -> Grant | None:
        """The grant of one participant, revoked or not."""

    async def renew(self, grant: Grant, *, granted_ms: int) -> None:
        """Given again, unless it has been revoked meanwhile."""

    async def put(self, grant: Grant) -> None:
        """Store in place of an earlier grant of the same identity."""


class MediaRooms(Protocol):
    """bridge.media.server.MediaServer."""

    async def create_room(self, name: str, *, empty_timeout_s: int) -> object:
        """Make a room; one of that name stays as it is."""


class Entrance(Protocol):
    """bridge.rooms.entrance.Entrance."""

    async def allow(self, room_id: str, user_id: str) -> bool:
        """Whether this member may also be heard and seen. Raises Refused and Unavailable."""


class LeaveTaker(Protocol):
    """bridge.upkeep.leaves.Leaves."""

    async def take(self, leave: Leave) -> None:
        """Take a leave over; durable when it returns. Raises BadAsk where that cannot be."""


class Admission:
    """Gives call tokens. One for the whole bridge: the limits are counted over all doors."""

    def __init__(
        self,
        settings: Settings,
        key: ApiKey,
        *,
        homeserver: Membership,
        grants: GrantStore,
        media: MediaRooms,
        entrance: Entrance,
        leaves: LeaveTaker,
        registry: CollectorRegistry,
        on_grant: Callable[[str], None] = lambda room_id: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_grant`: called with the room before a token is given for its call."""
        self._settings = settings
        self._key = key
        self._homeserver = homeserver
        self._grants = grants
        self._media = media
        self._entrance = entrance
        self._leaves = leaves
        self._on_grant = on_grant
        self._clock = clock
        self._limit = RateLimit(_USER_RATE)
        self._names: Recent[tuple[str, str], str] = Recent(5000)
        self._made: Recent[str, bool] = Recent(5000)
        self._asks = Counter(
            "colloque_token_requests", "Call tokens asked for.", ["outcome"], registry=registry
        )

    async def admit(self, ask: Ask) -> Admitted:
        """A token for whoever may have one.

        Raises BadAsk, TooOften, Refused (not a member, or not of an admitted server) and
        Unavailable (homeserver or media server do not answer).
        """
        with self._counted("admitted"):
            return await self._admit(ask)

    async def delegate(self, ask: Ask) -> None:
        """Only take over the leave of whoever could have a token. Raises as `admit`."""
        with self._counted("delegated"):
            now = self._clock()
            await self._check(ask, now)
            await self._entrance.allow(ask.room_id, ask.user_id)
            await self._take_leave(ask, now)

    @contextmanager
    def _counted(self, outcome: str) -> Iterator[None]:
        try:
            yield
        except ColloqueError as error:
            self._asks.labels(outcome=type(error).__name__).inc()
            raise
        self._asks.labels(outcome=outcome).inc()

    async def _check(self, ask: Ask, now: float) -> None:
        _check(ask)
        if wait := self._limit.take(ask.user_id, now):
            raise TooOften(wait)
        self._check_server(ask.user_id)
        await self._check_member(ask)

    async def _take_leave(self, ask: Ask, now: float) -> None:
        if ask.delay is None:
            return
        leave = Leave(
            media_room=media_room(ask.room_id, ask.slot_id),
            identity=ask.identity,
            alias=ask.alias,
            room_id=ask.room_id,
            user_id=ask.user_id,
            delay_id=ask.delay.delay_id,
            timeout_ms=ask.delay.timeout_ms,
            asked_ms=int(now * 1000),
        )
        await self._leaves.take(leave)

    async def _admit(self, ask: Ask) -> Admitted:
        now = self._clock()
        await self._check(ask, now)
        may_publish = await self._entrance.allow(ask.room_id, ask.user_id)
        await self._take_leave(ask, now)
        room = media_room(ask.room_id, ask.slot_id)
        await self._ensure_room(room, now)
        await self._grant(ask, room, now)
        self._on_grant(ask.room_id)
        name = await self._name(ask, now)
        jwt = call_token(
            self._key,
            identity=ask.identity,
            room=room,
            now=int(now),
            ttl_s=self._settings.media.token_ttl_s,
            name=name,
            can_publish=may_publish,
        )
        return Admitted(self._settings.media.public_url, jwt)

    def _check_server(self, user_id: str) -> None:
        allowed, own = self._settings.federation.allow_servers, self._settings.homeserver
        server = server_of(user_id)
        if not server_admitted(server, allowed, own.server_name):
            raise Refused("server_not_admitted", server=server)

    async def _check_member(self, ask: Ask) -> None:
        try:
            joined = await self._homeserver.is_joined(ask.room_id, ask.user_id)
        except HomeserverError as error:  # not a refusal (that is False): it has a problem
            raise Unavailable("homeserver_unavailable") from error
        if not joined:
            raise Refused("not_member")

    async def _grant(self, ask: Ask, room: str, now: float) -> None:
        known = await self._grants.of_identity(room, ask.identity)
        if known is not None and known.user_id == ask.user_id and known.revoked_ms is None:
            # Whoever loses the room from now on finds this grant and revokes it. Its time says
            # which call it was given for.
            await self._grants.renew(known, granted_ms=int(now * 1000))
            return
        grant = Grant(
            media_room=room,
            identity=ask.identity,
            room_id=ask.room_id,
            user_id=ask.user_id,
            device_id=ask.device_id,
            member_id=ask.member_id,
            granted_ms=int(now * 1000),
        )
        await self._grants.put(grant)
        # Kicked between the first check and the grant, nobody would have found a grant to revoke,
        # or the revocation has just been overwritten. So look again now that it is there.
        try:
            await self._check_member(ask)
        except UserError:
            await self._grants.put(dataclasses.replace(grant, revoked_ms=int(now * 1000)))
            raise

    async def _ensure_room(self, room: str, now: float) -> None:
        """Make the media room: a server without `auto_create` refuses who comes before it."""
        if self._made.get(room, now)[0]:
            return
        timeout = self._settings.conference.empty_timeout_s
        await self._media.create_room(room, empty_timeout_s=timeout)
        self._made.put(room, True, until=now + _ROOM_TTL_S)

    async def _name(self, ask: Ask, now: float) -> str:
        key = (ask.room_id, ask.user_id)
        known, name = self._names.get(key, now)
        if not known or name is None:
            try:
                given = await self._homeserver.display_name(ask.room_id, ask.user_id)
            except HomeserverError as error:
                raise Unavailable("homeserver_unavailable") from error
            name = shown_name(given) or ask.user_id
            self._names.put(key, name, until=now + _NAME_TTL_S)
        return name


def shown_name(name: str) -> str:
    """A display name as it may stand beside others: one line, no invisible or reordering signs.

    A right-to-left override in a name can make it read as somebody else's.
    """
    kept = (
        " " if unicodedata.category(sign) in {"Zl", "Zp", "Zs", "Cc"} else sign
        for sign in name
        if unicodedata.category(sign) not in {"Cs", "Co", "Cn"} and sign not in _REORDERING
    )
    return " ".join("".join(kept).split())[:_MAX_NAME].rstrip()


_REORDERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def _check(ask: Ask) -> None:
    if not is_user_id(ask.user_id):
        raise BadAsk("not a Matrix user id")
    if ask.room_id[:1] != "!" or not _sane(ask.room_id):
        raise BadAsk("not a Matrix room id")
    if ask.slot_id != ROOM_CALL:
        raise BadAsk(f"the only slot served is {ROOM_CALL}", "M_INVALID_PARAM")
    if ask.delay is not None and not _sane(ask.delay.delay_id):
        raise BadAsk("not a delay id")
    if ask.member_id is None:
        _check_device(ask.device_id)
    elif not _sane(ask.member_id) or (ask.device_id and not _sane(ask.device_id)):
        raise BadAsk("member id and device id are texts of at most 255 bytes")


def _check_device(device_id: str) -> None:
    # A plain identity is `user:device`, and the device is what the client says it is. With a colon
    # in it `@a:host` + `8448:X` would be the identity of `@a:host:8448` + `X`: another person.
    if not _sane(device_id) or ":" in device_id:
        raise BadAsk("not a device id")


def _sane(text: str) -> bool:
    return 0 < len(text.encode(errors="replace")) <= _MAX_ID and text.isprintable()
