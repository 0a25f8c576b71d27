"""Challenges: how a page proves to this bridge, and to no other, who reads.

An OpenID token is bound to nobody: whoever is shown one can show it on. A challenge is answered
through the homeservers instead: the reader's own client sends it to our bot as a to-device message
(`wire.SESSION`), and the two homeservers vouch for its sender. Kept in memory alone, for a minute.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from bridge.config import Settings
from bridge.domain.policy import server_admitted
from bridge.errors import ColloqueError, ConfigError, Refused
from bridge.ids import server_of
from bridge.matrix.admission import BadAsk, TooOften
from bridge.matrix.limits import Rate, RateLimit, Recent
from bridge.matrix.openid import is_user_id

LIFE_S = 60.0
WAIT_S = 10.0
"""How long an exchange waits for the message; homeservers that talk pass it on in some 100 ms."""
MOST = 10_000
# Together with LIFE_S this bounds how many one address has: 400. A ministry's agents share one.
_ADDRESS_RATE = Rate(per_second=5.0, burst=100)


class NoChallenge(ColloqueError):
    """There is no such challenge: never asked for, expired, used, or not with this secret."""


class NotProved(ColloqueError):
    """The reader's message has not come yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a page is given. `secret` stays in the page: homeservers see `challenge` alone."""

    challenge: str
    secret: str = field(repr=False)
    bot: str
    device: str
    site: str
    expires_in: int


@dataclass(slots=True)
class _Asked:
    user_id: str
    secret: bytes
    proved: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: bool = False


class Challenges:
    """At most 10 000 at once; the oldest goes first, so that nobody can keep others out for long.

    `bot`, `device_id`: where messages go. `site`: origin of our pages. `admitted`: servers whose
    people may read here.
    """

    def __init__(
        self,
        *,
        bot: str,
        device_id: str,
        site: str,
        admitted: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
        address_rate: Rate = _ADDRESS_RATE,
    ) -> None:
        self._bot = bot
        self._device_id = device_id
        self._site = site
        self._admitted = admitted
        self._clock = clock
        self._wait_s = wait_s
        self._of_address = RateLimit(address_rate)
        self._open: Recent[str, _Asked] = Recent(MOST)

    @classmethod
    def of(cls, settings: Settings, bot: str, device_id: str) -> Challenges:
        """Those of a bridge with these settings."""
        try:
            site = str(URL(settings.web.public_url).origin())
        except ValueError as error:
            raise ConfigError("web.public_url is not an http or https address") from error
        own, allowed = settings.homeserver.server_name, tuple(settings.federation.allow_servers)
        return cls(
            bot=bot,
            device_id=device_id,
            site=site,
            admitted=lambda server: server_admitted(server, allowed, own),
        )

    def ask(self, user_id: str, address: str) -> Challenge:
        """A new one for who says that they are `user_id`. Raises BadAsk, Refused, TooOften."""
        if wait := self._of_address.take(address, self._clock()):
            raise TooOften(wait)
        if not is_user_id(user_id):
            raise BadAsk("`user_id` is not a Matrix id", "M_INVALID_PARAM")
        server = server_of(user_id)
        if not self._admitted(server):
            raise Refused("server_not_admitted", server=server)
        name, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        self._open.put(name, _Asked(user_id, _digest(secret)), until=self._clock() + LIFE_S)
        return Challenge(
            challenge=name,
            secret=secret,
            bot=self._bot,
            device=self._device_id,
            site=self._site,
            expires_in=int(LIFE_S),
        )

    def take(self, message: Mapping[str, Any]) -> None:
        """A to-device message of type `wire.SESSION`. The homeservers proved its sender.

        One that proves nothing is passed over without a word: a log would hold what strangers
        write. `site` is where the sender's client read the challenge: another site's bridge could
        have asked for it here, and shown it there.
        """
        content = message.get("content")
        if not isinstance(content, dict) or content.get("site") != self._site:
            return
        name = content.get("challenge")
        asked = self._of(name) if isinstance(name, str) else None
        if asked is not None and message.get("sender") == asked.user_id:
            asked.proved.set()

    async def user_of(self, name: str, secret: str) -> str:
        """Who proved a challenge; waits for them up to ten seconds. It holds once.

        Raises NoChallenge, NotProved (ask again, until it expires) and TooOften (somebody waits
        for the same one already).
        """
        asked = self._of(name)
        if asked is None or not hmac.compare_digest(asked.secret, _digest(secret)):
            raise NoChallenge("no such challenge")
        if asked.waiting:
            raise TooOften(1.0)
        asked.waiting = True
        try:
            async with asyncio.timeout(self._wait_s):
                await asked.proved.wait()
        except TimeoutError:
            raise NotProved("no message yet") from None
        finally:
            asked.waiting = False
        self._open.forget(name)
        return asked.user_id

    def _of(self, name: str) -> _Asked | None:
        return self._open.get(name, self._clock())[1]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
