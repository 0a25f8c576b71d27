"""Join requests and frames, with their bounds."""

import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models, rtc

from sfu.signal import messages
from sfu.signal.messages import BadMessage


def wrapped(request: rtc.JoinRequest, *, packed: bool = False) -> dict[str, str]:
    body = request.SerializeToString()
    kind = rtc.WrappedJoinRequest.Compression.GZIP if packed else 0
    message = rtc.WrappedJoinRequest(
        compression=kind, join_request=gzip.compress(body) if packed else body
    )
    return {"join_request": base64.urlsafe_b64encode(message.SerializeToString()).decode()}


def join_request() -> rtc.JoinRequest:
    return rtc.JoinRequest(
        client_info=models.ClientInfo(sdk=models.ClientInfo.SDK.JS, protocol=17),
        connection_settings=rtc.ConnectionSettings(auto_subscribe=True, adaptive_stream=True),
        participant_attributes={"a": "b"},
        metadata="m",
        publisher_offer=rtc.SessionDescription(type="offer", sdp="v=0"),
        add_track_requests=[rtc.AddTrackRequest(cid="c")],
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_single_connection_join(packed: bool) -> None:
    join = messages.join_v1(wrapped(join_request(), packed=packed))
    assert join.single_connection
    assert join.client.protocol == 17
    assert join.auto_subscribe
    assert join.adaptive_stream
    assert join.attributes == {"a": "b"}
    assert join.metadata == "m"
    assert join.offer is not None
    assert join.offer.sdp == "v=0"
    assert [track.cid for track in join.tracks] == ["c"]
    assert not join.resumes
    assert join.sync_state is None


def test_a_single_connection_resume() -> None:
    request = rtc.JoinRequest(reconnect=True, participant_sid="PA_1", sync_state=rtc.SyncState())
    join = messages.join_v1(wrapped(request))
    assert join.resumes
    assert join.resume == "PA_1"
    assert join.offer is None
    assert join.sync_state is not None


def test_padding_of_the_join_request_may_be_missing() -> None:
    query = wrapped(join_request())
    assert messages.join_v1({"join_request": query["join_request"].rstrip("=")}).metadata == "m"


def bomb() -> dict[str, str]:
    message = rtc.WrappedJoinRequest(
        compression=rtc.WrappedJoinRequest.Compression.GZIP,
        join_request=gzip.compress(b"\0" * (messages.MAX_JOIN_REQUEST + 1)),
    )
    return {"join_request": base64.urlsafe_b64encode(message.SerializeToString()).decode()}


def not_gzip() -> dict[str, str]:
    message = rtc.WrappedJoinRequest(
        compression=rtc.WrappedJoinRequest.Compression.GZIP, join_request=b"plain"
    )
    return {"join_request": base64.urlsafe_b64encode(message.SerializeToString()).decode()}


@pytest.mark.parametrize(
    "query",
    [
        {"join_request": "%%%"},
        {"join_request": "é"},
        {"join_request": "AAAA"},
        {"join_request": "A" * (messages.MAX_JOIN_REQUEST + 1)},
        bomb(),
        not_gzip(),
    ],
)
def test_broken_join_requests(query: dict[str, str]) -> None:
    with pytest.raises(BadMessage):
        messages.join_v1(query)


def test_a_dual_connection_join() -> None:
    attributes = base64.b64encode(json.dumps({"a": "b"}).encode()).decode()
    join = messages.join_v0(
        {"auto_subscribe": "0", "adaptive_stream": "true", "attributes": attributes,
         "protocol": "17", "client_protocol": "x", "reconnect": "1", "sid": "PA_1"}
    )  # fmt: skip
    assert not join.single_connection
    assert not join.auto_subscribe
    assert join.adaptive_stream
    assert join.attributes == {"a": "b"}
    assert (join.client.protocol, join.client.client_protocol) == (17, 0)
    assert (join.resumes, join.resume) == (True, "PA_1")
    assert messages.join_v0({}).auto_subscribe


@pytest.mark.parametrize("value", ["%%%", "AAAA", "W10=", "eyJhIjoxfQ=="])
def test_broken_attributes(value: str) -> None:
    with pytest.raises(BadMessage):
        messages.join_v0({"attributes": value})


def test_frames_are_protobuf_or_json() -> None:
    ping = rtc.SignalRequest(ping=5)
    assert messages.request(ping.SerializeToString()) == ping
    assert messages.request('{"ping": "5", "unknown": 1}') == ping
    pong = rtc.SignalResponse(pong=7)
    assert messages.response(pong) == pong.SerializeToString()
    assert json.loads(messages.response(pong, text=True)) == {"pong": "7"}


@pytest.mark.parametrize(
    "frame",
    [b"\xff" * 10, "[1]", "not json", '{"ping": {}}', "[" * 5000, "x" * (messages.MAX_FRAME + 1)],
)
def test_broken_frames(frame: bytes | str) -> None:
    with pytest.raises(BadMessage):
        messages.request(frame)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_garbage_frames_are_read_or_refused(frame: bytes | str) -> None:
    try:
        messages.request(frame)
    except BadMessage:
        return


def test_limits_of_metadata_and_attributes() -> None:
    assert messages.acceptable("m" * messages.MAX_METADATA, {"k": "v"})
    assert not messages.acceptable("é" * messages.MAX_METADATA, {})
    assert not messages.acceptable("", {"k": "v" * messages.MAX_ATTRIBUTES})
