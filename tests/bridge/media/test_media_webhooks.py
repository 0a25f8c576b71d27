"""Webhooks: taken with our signature only, read without surprises."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.api import TokenVerifier, WebhookReceiver

from bridge.media.keys import ApiKey
from bridge.media.webhooks import InvalidWebhook, verify

KEY = ApiKey("devkey", "a secret that is long enough for HS256")
BODY = json.dumps(
    {
        "event": "participant_joined",
        "id": "EV_1",
        "createdAt": "1764000000",
        "room": {"sid": "RM_1", "name": "room", "somethingNew": [1]},
        "participant": {"sid": "PA_1", "identity": "@a:b:C", "joinedAt": "1763999999"},
    }
).encode()


def signed(body: bytes = BODY, key: ApiKey = KEY, **changes: Any) -> str:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    now = int(time.time())
    claims = {"iss": key.key, "nbf": now, "exp": now + 300, "sha256": digest, **changes}
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key.secret, algorithm="HS256")


def test_a_signed_event_is_read() -> None:
    event = verify(BODY, signed(), KEY)
    assert (event.id, event.event, event.media_room) == ("EV_1", "participant_joined", "room")
    assert event.created_s == event.payload["created_at"] == 1_764_000_000
    assert event.payload["participant"]["identity"] == "@a:b:C"
    assert event.payload["participant"]["joined_at"] == 1_763_999_999


def test_livekits_own_receiver_takes_what_we_take() -> None:
    receiver = WebhookReceiver(TokenVerifier(KEY.key, KEY.secret))
    assert (
        receiver.receive(BODY.decode(), signed()).id == verify(BODY, f"Bearer {signed()}", KEY).id
    )


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "garbage",
        signed(key=ApiKey("devkey", "another secret, of the same length")),
        signed(key=ApiKey("other", KEY.secret)),
        signed(exp=int(time.time()) - 3600),
        signed(exp=None),
        signed(sha256=None),
        signed(sha256="not base64!"),
        signed(b"another body"),
        jwt.encode({"iss": "devkey", "exp": int(time.time()) + 60}, "", algorithm="none"),
    ],
)
def test_other_signatures_are_refused(authorization: str) -> None:
    with pytest.raises(InvalidWebhook) as refused:
        verify(BODY, authorization, KEY)
    assert not refused.value.signed


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"nope", b"\xff\xfe", b'{"event":"x"}', b'{"id":"x"}', b'{"room":3}']
)
def test_signed_nonsense_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidWebhook) as refused:
        verify(body, signed(body), KEY)
    assert refused.value.signed


@given(st.binary(max_size=300))
def test_garbage_never_raises_anything_else(body: bytes) -> None:
    try:
        verify(body, signed(body), KEY)
    except InvalidWebhook:
        return
