"""Access tokens: JWT, HS256, LiveKit's claims. Nothing here reads a clock; `now` comes in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
from jwt.types import Options
from livekit.protocol import models

NOT_BEFORE_LEEWAY_S = 60
"""A token is used right after another machine made it; its clock may be a little ahead."""

MAX_TOKEN = 16 * 1024

_SOURCES = {
    "camera": models.TrackSource.CAMERA,
    "microphone": models.TrackSource.MICROPHONE,
    "screen_share": models.TrackSource.SCREEN_SHARE,
    "screen_share_audio": models.TrackSource.SCREEN_SHARE_AUDIO,
}
_KINDS = {
    "standard": models.ParticipantInfo.Kind.STANDARD,
    "ingress": models.ParticipantInfo.Kind.INGRESS,
    "egress": models.ParticipantInfo.Kind.EGRESS,
    "sip": models.ParticipantInfo.Kind.SIP,
    "agent": models.ParticipantInfo.Kind.AGENT,
    "bridge": models.ParticipantInfo.Kind.BRIDGE,
}


class BadToken(ValueError):
    """The token is missing, altered, foreign, expired or not yet valid. Its text is for clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The `video` claim. Absent can_* rights are granted (LiveKit's rule)."""

    room: str = ""
    room_join: bool = False
    room_create: bool = False
    room_list: bool = False
    room_admin: bool = False
    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_publish_sources: tuple[models.TrackSource, ...] = ()
    can_update_own_metadata: bool = False
    hidden: bool = False
    recorder: bool = False
    agent: bool = False

    def permission(self) -> models.ParticipantPermission:
        """The same as participants are told it."""
        return models.ParticipantPermission(
            can_subscribe=self.can_subscribe,
            can_publish=self.can_publish,
            can_publish_data=self.can_publish_data,
            can_publish_sources=self.can_publish_sources,
            can_update_metadata=self.can_update_own_metadata,
            hidden=self.hidden,
            recorder=self.recorder,
            agent=self.agent,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Who holds the token and what they may do."""

    api_key: str
    identity: str = ""
    name: str = ""
    metadata: str = ""
    kind: models.ParticipantInfo.Kind = models.ParticipantInfo.Kind.STANDARD
    attributes: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    not_before: float = 0.0
    """When the token was made (its nbf), seconds since 1970."""
    grants: Grants = field(default_factory=Grants)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def verify(token: str, keys: Mapping[str, str], now: float) -> Claims:
    """Claims of a valid token; `now` in seconds since 1970. Raises BadToken."""
    if not token:
        raise BadToken("no access token given")
    if len(token) > MAX_TOKEN:
        raise BadToken("access token is too long")
    payload = _payload(token, keys)
    _check_times(payload, now)
    return Claims(
        api_key=payload["iss"],
        identity=_text(payload, "sub"),
        name=_text(payload, "name"),
        metadata=_text(payload, "metadata"),
        kind=_KINDS.get(_text(payload, "kind"), models.ParticipantInfo.Kind.STANDARD),
        attributes=_attributes(payload.get("attributes")),
        sha256=_text(payload, "sha256"),
        not_before=_number(payload.get("nbf", 0)) or 0.0,
        grants=_grants(payload.get("video")),
        raw=payload,
    )


def refreshed(
    claims: Claims,
    secret: str,
    permission: models.ParticipantPermission,
    *,
    now: float,
    ttl_s: int,
    name: str,
    metadata: str,
) -> str:
    """A token with the rights the participant has by now; lets a client resume later on."""
    sources = [name for name, value in _SOURCES.items() if value in permission.can_publish_sources]
    video = {
        **(claims.raw.get("video") or {}),
        "canPublish": permission.can_publish,
        "canSubscribe": permission.can_subscribe,
        "canPublishData": permission.can_publish_data,
        "canUpdateOwnMetadata": permission.can_update_metadata,
        "hidden": permission.hidden,
        "canPublishSources": sources,
    }
    times = {"nbf": int(now), "exp": int(now) + ttl_s}
    payload = {**claims.raw, **times, "name": name, "metadata": metadata, "video": video}
    return jwt.encode(payload, secret, algorithm="HS256")


def signed_body(body: bytes, api_key: str, secret: str, *, now: float, ttl_s: int = 300) -> str:
    """The Authorization value of a webhook: a token whose sha256 claim binds the body."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    times = {"nbf": int(now), "exp": int(now) + ttl_s}
    return jwt.encode({"iss": api_key, "sha256": digest, **times}, secret, algorithm="HS256")


def joinable(claims: Claims) -> Claims:
    """The same claims, if they allow to join a room. Raises BadToken."""
    if not claims.grants.room_join or not claims.grants.room:
        raise BadToken("the token does not allow to join a room")
    if not claims.identity or len(claims.identity) > 256 or len(claims.grants.room) > 256:
        raise BadToken("the token names no usable identity or room")
    return replace(claims, name=claims.name[:256])


def _payload(token: str, keys: Mapping[str, str]) -> dict[str, Any]:
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise BadToken("the access token is malformed") from error
    secret = keys.get(issuer) if isinstance(issuer, str) else None
    if secret is None:
        raise BadToken("the access token is of an unknown API key")
    try:
        # Times are checked below against the `now` that came in.
        unchecked: Options = {
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "verify_aud": False,
            "verify_sub": False,
            "verify_jti": False,
        }
        payload: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], options=unchecked)
    except jwt.PyJWTError as error:
        raise BadToken("the signature of the access token is wrong") from error
    return payload


def _check_times(payload: Mapping[str, Any], now: float) -> None:
    expires, begins = _number(payload.get("exp")), _number(payload.get("nbf", 0))
    if expires is None or begins is None:
        raise BadToken("the access token has no valid times")
    if now >= expires:
        raise BadToken("the access token has expired")
    if now + NOT_BEFORE_LEEWAY_S < begins:
        raise BadToken("the access token is not valid yet")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _text(payload: Mapping[str, Any], key: str) -> str:
    value = payload.get(key)
    return value if isinstance(value, str) else ""


def _attributes(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {k: v for k, v in value.items() if isinstance(v, str)}


def _grants(value: object) -> Grants:
    video = value if isinstance(value, dict) else {}

    def right(name: str, default: bool = False) -> bool:
        given = video.get(name)
        # A right of a wrong kind (a text, a number) is no right.
        return default if given is None else given is True

    sources = video.get("canPublishSources")
    listed = sources if isinstance(sources, list) else []
    return Grants(
        room=_text(video, "room"),
        room_join=right("roomJoin"),
        room_create=right("roomCreate"),
        room_list=right("roomList"),
        room_admin=right("roomAdmin"),
        can_publish=right("canPublish", True),
        can_subscribe=right("canSubscribe", True),
        can_publish_data=right("canPublishData", True),
        can_publish_sources=tuple(_SOURCES[s] for s in listed if s in _SOURCES),
        can_update_own_metadata=right("canUpdateOwnMetadata"),
        hidden=right("hidden"),
        recorder=right("recorder"),
        agent=right("agent"),
    )
