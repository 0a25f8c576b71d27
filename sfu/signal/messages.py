"""What a client says over HTTP and WebSocket, read with bounds; what it is told, written.

Binary frames are protobuf, text frames are protojson; the answer comes in the same kind.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

MAX_FRAME = 1 << 20
MAX_JOIN_REQUEST = 1 << 20
"""Bytes of a join request when inflated (Go's own limit for request headers)."""

MAX_ATTRIBUTES = 64 * 1024
MAX_METADATA = 64 * 1024


class BadMessage(ValueError):
    """Not a message of the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """How a client wants to join, whichever route it took."""

    single_connection: bool
    client: models.ClientInfo = field(default_factory=models.ClientInfo)
    auto_subscribe: bool = True
    adaptive_stream: bool = False
    auto_subscribe_data: bool = False
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    tracks: tuple[rtc.AddTrackRequest, ...] = ()
    offer: rtc.SessionDescription | None = None
    resume: str = ""
    """sid of the participant to go on with; '' for a first join."""
    resumes: bool = False
    sync_state: rtc.SyncState | None = None


def join_v0(query: Mapping[str, str]) -> Join:
    """Parameters of `/rtc` (dual connection). Raises BadMessage."""
    client = models.ClientInfo(
        version=query.get("version", "")[:64],
        protocol=_number(query.get("protocol", "")),
        client_protocol=_number(query.get("client_protocol", "")),
        os=query.get("os", "")[:64],
        browser=query.get("browser", "")[:64],
        device_model=query.get("device_model", "")[:64],
    )
    return Join(
        single_connection=False,
        client=client,
        auto_subscribe=_flag(query.get("auto_subscribe", "1")),
        adaptive_stream=_flag(query.get("adaptive_stream", "0")),
        auto_subscribe_data=_flag(query.get("auto_subscribe_data_track", "0")),
        attributes=_attributes(query.get("attributes", "")),
        resumes=_flag(query.get("reconnect", "0")),
        resume=query.get("sid", ""),
    )


def join_v1(query: Mapping[str, str]) -> Join:
    """Parameters of `/rtc/v1` (single connection). Raises BadMessage."""
    wrapped = rtc.WrappedJoinRequest()
    request = rtc.JoinRequest()
    try:
        wrapped.ParseFromString(_urlsafe(query.get("join_request", "")))
        request.ParseFromString(_inflated(wrapped))
    except DecodeError as error:
        raise BadMessage("join_request is no JoinRequest") from error
    settings = request.connection_settings
    return Join(
        single_connection=True,
        client=request.client_info,
        auto_subscribe=settings.auto_subscribe,
        adaptive_stream=settings.adaptive_stream,
        auto_subscribe_data=settings.auto_subscribe_data_track,
        metadata=request.metadata,
        attributes=dict(request.participant_attributes),
        tracks=tuple(request.add_track_requests),
        offer=request.publisher_offer if request.HasField("publisher_offer") else None,
        resumes=request.reconnect,
        resume=request.participant_sid,
        sync_state=request.sync_state if request.HasField("sync_state") else None,
    )


def request(frame: bytes | str) -> rtc.SignalRequest:
    """One frame from a client. Raises BadMessage."""
    if len(frame) > MAX_FRAME:
        raise BadMessage("frame is too long")
    message = rtc.SignalRequest()
    try:
        if isinstance(frame, str):
            json_format.Parse(frame, message, ignore_unknown_fields=True, max_recursion_depth=20)
        else:
            message.ParseFromString(frame)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        raise BadMessage("frame is no SignalRequest") from error
    return message


def response(message: rtc.SignalResponse, *, text: bool = False) -> bytes | str:
    """One frame for a client."""
    return json_format.MessageToJson(message, indent=None) if text else message.SerializeToString()


def acceptable(metadata: str, attributes: Mapping[str, str]) -> bool:
    """Whether a participant's metadata and attributes keep the limits (LiveKit's: 64 KiB each)."""
    size = sum(len(k.encode()) + len(v.encode()) for k, v in attributes.items())
    return size <= MAX_ATTRIBUTES and len(metadata.encode()) <= MAX_METADATA


def _flag(value: str) -> bool:
    return value in ("1", "true", "True")


def _number(value: str) -> int:
    return int(value) if value.isdecimal() and len(value) < 6 else 0


def _attributes(value: str) -> dict[str, str]:
    if not value:
        return {}
    try:
        table = json.loads(_urlsafe(value))
    except (ValueError, RecursionError) as error:
        raise BadMessage("attributes are no base64 JSON object") from error
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise BadMessage("attributes are no table of texts")
    return table


def _urlsafe(value: str) -> bytes:
    if len(value) > MAX_JOIN_REQUEST:
        raise BadMessage("request is too long")
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadMessage("not base64") from error


def _inflated(wrapped: rtc.WrappedJoinRequest) -> bytes:
    if wrapped.compression == rtc.WrappedJoinRequest.Compression.NONE:
        return wrapped.join_request
    # 16 + window bits: the gzip container (zlib manual, inflateInit2).
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(wrapped.join_request, MAX_JOIN_REQUEST)
    except zlib.error as error:
        raise BadMessage("join_request is not gzip") from error
    if inflater.unconsumed_tail:
        raise BadMessage("join_request is too long when inflated")
    return plain
