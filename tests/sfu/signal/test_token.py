"""Access tokens, made by livekit-api and by hand."""

import base64
import datetime
import hashlib
import json
import time

import jwt
import pytest
from livekit import api
from livekit.protocol import models

from sfu.signal import token
from sfu.signal.token import BadToken, Claims, Grants

KEY, SECRET = "key", "a secret that is long enough for HMAC"
NOW = 1_700_000_000.0


def signed(secret: str = SECRET, **claims: object) -> str:
    return jwt.encode({"iss": KEY, "exp": NOW + 60, **claims}, secret, algorithm="HS256")


def raw(claims: object) -> str:
    parts = ({"alg": "HS256"}, claims)
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join([*(part.rstrip("=") for part in encoded), "AAAA"])


def read(text: str, now: float = NOW) -> Claims:
    return token.verify(text, {KEY: SECRET}, now)


def test_what_livekit_api_makes_is_understood() -> None:
    grants = api.VideoGrants(
        room_join=True,
        room="room",
        can_publish_sources=["microphone", "screen_share", "unheard_of"],
        can_publish_data=False,
        can_update_own_metadata=True,
        hidden=True,
    )
    text = (
        api.AccessToken(KEY, SECRET)
        .with_identity("alice")
        .with_name("Alice")
        .with_kind("agent")
        .with_metadata("{}")
        .with_attributes({"a": "b"})
        .with_grants(grants)
        .with_ttl(datetime.timedelta(minutes=1))
        .to_jwt()
    )
    claims = read(text, time.time())
    assert (claims.identity, claims.name, claims.metadata) == ("alice", "Alice", "{}")
    assert claims.kind == models.ParticipantInfo.Kind.AGENT
    assert claims.attributes == {"a": "b"}
    permission = claims.grants.permission()
    assert permission.can_publish
    assert permission.can_subscribe
    assert not permission.can_publish_data
    assert permission.hidden
    assert permission.can_update_metadata
    assert list(permission.can_publish_sources) == [2, 3]
    assert token.joinable(claims).identity == "alice"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no access token"),
        ("x" * 20_000, "too long"),
        ("garbage", "malformed"),
        ("a.b.c", "malformed"),
        (signed(iss="other"), "unknown API key"),
        (raw({"iss": ["key"]}), "unknown API key"),
        (raw(["iss"]), "malformed"),
        (signed(secret="another secret that is long enough for HMAC"), "signature"),
        (signed(exp=NOW - 1), "expired"),
        (signed(exp=NOW), "expired"),
        (signed(nbf=NOW + 61), "not valid yet"),
        (signed(exp="tomorrow"), "no valid times"),
        (signed(exp=True), "no valid times"),
        (signed(nbf="x"), "no valid times"),
        (jwt.encode({"iss": KEY}, SECRET, algorithm="HS256"), "no valid times"),
        (jwt.encode({"iss": KEY, "exp": NOW + 9}, SECRET, algorithm="HS512"), "signature"),
        (jwt.encode({"iss": KEY, "exp": NOW + 9}, None, algorithm="none"), "signature"),
    ],
)
def test_what_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(BadToken, match=sentence):
        read(text)


def test_an_altered_token_is_refused() -> None:
    head, body, signature = signed(sub="alice").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = "mallory"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    with pytest.raises(BadToken, match="signature"):
        read(f"{head}.{forged}.{signature}")


def test_rights_of_a_wrong_kind_are_no_rights() -> None:
    video = {"room": 7, "roomJoin": "yes", "canPublish": 1, "hidden": 1, "canPublishSources": "x"}
    claims = read(signed(video=video, attributes={"a": 1, "b": "c"}, name=3))
    assert claims.grants == Grants(can_publish=False)
    assert claims.attributes == {"b": "c"}
    assert claims.name == ""
    assert read(signed(video=[], attributes=[])).grants == Grants()


def test_a_clock_a_little_ahead_is_forgiven() -> None:
    assert read(signed(nbf=NOW + 30)).not_before == NOW + 30


@pytest.mark.parametrize(
    ("identity", "grants"),
    [
        ("alice", Grants(room="room")),
        ("alice", Grants(room_join=True)),
        ("", Grants(room="room", room_join=True)),
        ("a" * 257, Grants(room="room", room_join=True)),
        ("alice", Grants(room="r" * 257, room_join=True)),
    ],
)
def test_not_every_token_allows_to_join(identity: str, grants: Grants) -> None:
    with pytest.raises(BadToken):
        token.joinable(Claims(api_key=KEY, identity=identity, grants=grants))


def test_a_refreshed_token_has_the_rights_of_now() -> None:
    claims = read(signed(sub="alice", video={"room": "room", "roomJoin": True}))
    permission = Grants(can_publish=False).permission()
    permission.can_publish_sources.append(models.TrackSource.CAMERA)
    text = token.refreshed(
        claims, SECRET, permission, now=NOW, ttl_s=600, name="Alice", metadata="m"
    )
    again = read(text, NOW + 599)
    assert again.grants.room == "room"
    assert again.grants.room_join
    assert not again.grants.can_publish
    assert again.grants.can_publish_sources == (models.TrackSource.CAMERA,)
    assert (again.identity, again.name, again.metadata) == ("alice", "Alice", "m")
    with pytest.raises(BadToken):
        read(text, NOW + 600)


def test_a_signed_body() -> None:
    claims = read(token.signed_body(b"body", KEY, SECRET, now=NOW))
    assert claims.sha256 == base64.b64encode(hashlib.sha256(b"body").digest()).decode()
