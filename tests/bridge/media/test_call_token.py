"""Call tokens: readable by any JWT library, and by the browser's `atob`."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.api import TokenVerifier

from bridge.media.keys import ApiKey
from bridge.media.tokens import call_token

KEY = ApiKey("devkey", "a secret that is long enough for HS256")
NOW = 1_764_000_000


def token(**changes: object) -> str:
    given_values: dict[str, object] = {
        "identity": "@alice:example.org:DEVICE",
        "room": "O8437W3+jmzMVjoIP3tNwbm+XxHQk2iKpOA7aqw3qSc",
        "now": NOW,
        "ttl_s": 3600,
    }
    return call_token(KEY, **{**given_values, **changes})  # type: ignore[arg-type]


def atob(text: str) -> bytes:
    """What browsers do: the standard alphabet only; `-` and `_` throw."""
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def test_the_claims_are_those_a_media_server_wants() -> None:
    claims = jwt.decode(
        token(name="Alice"), KEY.secret, algorithms=["HS256"], options={"verify_exp": False}
    )
    assert claims.pop("nbf") <= NOW
    assert claims == {
        "iss": "devkey",
        "sub": "@alice:example.org:DEVICE",
        "exp": NOW + 3600,
        "name": "Alice",
        "video": {
            "roomJoin": True,
            "room": "O8437W3+jmzMVjoIP3tNwbm+XxHQk2iKpOA7aqw3qSc",
            "canPublish": True,
            "canSubscribe": True,
            "canPublishData": True,
            "canUpdateOwnMetadata": True,
        },
    }


def test_livekits_own_verifier_takes_it() -> None:
    import time

    fresh = token(now=int(time.time()), name="Zoë 日本", agent=True, hidden=True, can_publish=False)
    claims = TokenVerifier(KEY.key, KEY.secret).verify(fresh)
    assert claims.name == "Zoë 日本"
    assert claims.kind == "agent"
    assert claims.video is not None
    assert (claims.video.hidden, claims.video.can_publish) == (True, False)


@pytest.mark.parametrize("offset", range(3))
def test_every_character_at_every_offset_survives_atob(offset: int) -> None:
    for sign in [*map(chr, range(1, 0x100)), "\u2028", "日", "😀"]:
        name = "x" * offset + sign * 4
        payload = token(name=name).split(".")[1]
        assert json.loads(atob(payload))["name"] == name


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_name_survives_atob(name: str) -> None:
    payload = token(name=name).split(".")[1]
    assert json.loads(atob(payload)).get("name", "") == name


def test_without_the_escapes_a_browser_would_throw() -> None:
    plain = base64.urlsafe_b64encode(json.dumps({"n": "???>>>~~~"}).encode()).decode()
    with pytest.raises(ValueError, match="base64"):
        atob(plain.rstrip("="))


def test_the_secret_is_not_in_a_repr() -> None:
    assert KEY.secret not in repr(KEY)
