"""Tokens that admit a participant to one room of the media server (JWT, HS256).

Element Call decodes the payload with the browser's `atob`, which knows the standard base64
alphabet only, while a JWT is base64url. The two differ in the digits 62 and 63 (`-` and `_`). Of
ASCII bytes only `>`, `?`, `~` and DEL can produce those digits: a base64 digit is six bits of the
bytes, all groups but the last of three contain the (zero) top bit of an ASCII byte among their
upper five bits, and the last is the low six bits of a byte: 0x3E, 0x3F, 0x7E, 0x7F. JSON may write
every character of a string as an escape, so those four are escaped and the rest is ASCII.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from bridge.media.keys import ApiKey

_CLOCK_SKEW_S = 10  # a media server's clock may be a little behind ours; `nbf` must not refuse
_ESCAPES = str.maketrans({">": "\\u003e", "?": "\\u003f", "~": "\\u007e"})


def call_token(
    key: ApiKey,
    *,
    identity: str,
    room: str,
    now: int,
    ttl_s: int,
    name: str = "",
    can_publish: bool = True,
    hidden: bool = False,
    agent: bool = False,
) -> str:
    """A token to join `room` as `identity`, usable from `now` (Unix seconds) for `ttl_s` seconds.

    `name` is shown to the other participants. `agent` marks a program (the scribe) so that clients
    show it as one. `hidden` is for monitoring only: whoever records or transcribes is visible.
    """
    video: dict[str, Any] = {
        "roomJoin": True,
        "room": room,
        "canPublish": can_publish,
        "canSubscribe": True,
        "canPublishData": True,
        "canUpdateOwnMetadata": True,
    }
    if hidden:
        video["hidden"] = True
    claims: dict[str, Any] = {
        "iss": key.key,
        "sub": identity,
        "nbf": now - _CLOCK_SKEW_S,
        "exp": now + ttl_s,
        "video": video,
    }
    if name:
        claims["name"] = name
    if agent:
        claims["kind"] = "agent"
    return _signed(claims, key.secret)


def _signed(claims: dict[str, Any], secret: str) -> str:
    head = _segment({"alg": "HS256", "typ": "JWT"})
    body = _segment(claims)
    mac = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{_base64url(mac)}"


def _segment(value: dict[str, Any]) -> str:
    # DEL is escaped by json.dumps itself, like every other control character and all of non-ASCII.
    # The three characters occur inside strings only, where an escape means the same.
    return _base64url(json.dumps(value, separators=(",", ":")).translate(_ESCAPES).encode("ascii"))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
