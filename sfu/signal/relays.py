"""Relays (TURN) that clients are told of, with credentials that end by themselves.

As in draft-uberti-behave-turn-rest-00, which coturn calls `use-auth-secret`: relay and media server
share a secret; the user name says until when it is valid, the password is its HMAC.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from livekit.protocol import rtc


@dataclass(frozen=True, slots=True, kw_only=True)
class Relays:
    """`urls` as in RFC 7065 (`turn:relay.example.org:3478?transport=udp`)."""

    urls: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    ttl_s: int = 14400

    def servers(self, name: str, wall: float) -> list[rtc.ICEServer]:
        """For one client, from `wall` (since 1970) on. `name`: what the relay's log calls it."""
        if not self.urls:
            return []
        username = f"{int(wall) + self.ttl_s}:{name}"
        # HMAC-SHA1 is what the draft and coturn say.
        digest = hmac.new(self.secret.encode(), username.encode(), hashlib.sha1).digest()
        credential = base64.b64encode(digest).decode()
        return [rtc.ICEServer(urls=self.urls, username=username, credential=credential)]
