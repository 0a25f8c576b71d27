"""News of the media server: LiveKit webhooks, believed only when signed with our key.

`Authorization` holds a JWT whose claim `sha256` is the base64 of the body's SHA-256
(docs.livekit.io, "Webhooks").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import jwt
from google.protobuf.json_format import MessageToDict, Parse, ParseError
from livekit.protocol.webhook import WebhookEvent

from bridge.media.keys import ApiKey

_LEEWAY_S = 60
MAX_BYTES = 1024 * 1024
"""Longest body worth reading: an event names one participant and one track."""


class InvalidWebhook(ValueError):
    """Not from our media server, or not an event. `signed` tells which of the two."""

    def __init__(self, reason: str, *, signed: bool) -> None:
        super().__init__(reason)
        self.signed = signed


@dataclass(frozen=True, slots=True)
class MediaEvent:
    """One event of the media server.

    `payload` is the whole event in protojson with the field names of the .proto (`created_at`,
    `joined_at`, ...), times as whole numbers.
    """

    id: str
    event: str  # room_started, participant_joined, track_published ...
    media_room: str
    created_s: int  # Unix seconds
    payload: dict[str, Any]


def verify(body: bytes, authorization: str, key: ApiKey) -> MediaEvent:
    """The event in a webhook's body. Raises InvalidWebhook."""
    _check_signature(body, authorization, key)
    try:
        event = Parse(body.decode(), WebhookEvent(), ignore_unknown_fields=True)
    except (ParseError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidWebhook("the body is not a webhook event", signed=True) from error
    if not (event.id and event.event):
        raise InvalidWebhook("the event has no id or no name", signed=True)
    payload = MessageToDict(event, preserving_proto_field_name=True)
    _whole_numbers(payload, event)
    return MediaEvent(event.id, event.event, event.room.name, event.created_at, payload)


def _check_signature(body: bytes, authorization: str, key: ApiKey) -> None:
    token = authorization.removeprefix("Bearer ").strip()
    try:
        claims = jwt.decode(
            token,
            key.secret,
            algorithms=["HS256"],
            issuer=key.key,
            leeway=_LEEWAY_S,
            options={"require": ["iss", "exp"], "verify_aud": False},
        )
        claimed = base64.b64decode(str(claims.get("sha256", "")), validate=True)
    except (jwt.PyJWTError, binascii.Error, ValueError) as error:
        raise InvalidWebhook("the signature is not of this media server", signed=False) from error
    if not hmac.compare_digest(claimed, hashlib.sha256(body).digest()):
        raise InvalidWebhook("the signature is of another body", signed=False)


def _whole_numbers(payload: dict[str, Any], event: WebhookEvent) -> None:
    """protojson writes 64-bit numbers as text; the two times that are read become numbers."""
    payload["created_at"] = event.created_at
    if "participant" in payload:
        payload["participant"]["joined_at"] = event.participant.joined_at
        payload["participant"]["joined_at_ms"] = event.participant.joined_at_ms
