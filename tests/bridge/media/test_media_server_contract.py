"""What the bridge relies on in a media server, driven through `MediaServer` and real clients.

It runs on our own sfu, and on any LiveKit server beside it that these variables name:
COLLOQUE_LIVEKIT_URL (http://127.0.0.1:7880), COLLOQUE_LIVEKIT_KEY, COLLOQUE_LIVEKIT_SECRET.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from livekit import rtc

from bridge.errors import Unavailable
from bridge.media.keys import ApiKey
from bridge.media.programs import answers_http
from bridge.media.server import MediaServer
from bridge.media.tokens import call_token
from tests.support.synapse import free_ports

pytestmark = pytest.mark.livekit

_OTHER = os.environ.get("COLLOQUE_LIVEKIT_URL", "")


@dataclass(frozen=True)
class Backend:
    """A media server that runs."""

    url: str
    key: ApiKey

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)


@pytest.fixture(scope="module", params=["sfu", *(["livekit"] if _OTHER else [])])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "livekit":
        key = ApiKey(os.environ["COLLOQUE_LIVEKIT_KEY"], os.environ["COLLOQUE_LIVEKIT_SECRET"])
        yield Backend(_OTHER, key)
        return
    port, udp, tcp = free_ports(3)
    key = ApiKey("contract", secrets.token_urlsafe(32))
    command = [sys.executable, "-m", "sfu", "--bind", "127.0.0.1", "--port", str(port)]
    command += ["--udp-port", str(udp), "--tcp-port", str(tcp), "--advertise", "127.0.0.1"]
    process = subprocess.Popen(
        command, env={**os.environ, "LIVEKIT_KEYS": f"{key.key}: {key.secret}"}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        asyncio.run(_until_up(url))
        yield Backend(url, key)
    finally:
        process.terminate()
        process.wait(10)


async def _until_up(url: str) -> None:
    async with asyncio.timeout(20):
        while not await answers_http(url):  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.1)


@pytest.fixture
async def media(backend: Backend) -> AsyncIterator[MediaServer]:
    server = MediaServer(backend.url, backend.key)
    yield server
    await server.close()


@pytest.fixture
async def room(media: MediaServer) -> AsyncIterator[str]:
    """A room of this test alone. The name has every character such names have."""
    name = f"{secrets.token_hex(8)}/+contract"
    await media.create_room(name, metadata='{"a": 1}', empty_timeout_s=60)
    yield name
    await media.delete_room(name)


@asynccontextmanager
async def joined(
    backend: Backend, room: str, identity: str, **claims: bool
) -> AsyncIterator[rtc.Room]:
    token = call_token(
        backend.key,
        identity=identity,
        room=room,
        name="Zoë ? > ~",
        now=int(time.time()),
        ttl_s=60,
        **claims,
    )
    client = rtc.Room()
    await client.connect(backend.ws_url, token)
    try:
        yield client
    finally:
        await client.disconnect()


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)


async def test_making_a_room_twice_leaves_one(media: MediaServer, room: str) -> None:
    again = await media.create_room(room, metadata="other")
    listed = await media.rooms([room])
    assert [(one.name, one.sid, one.metadata) for one in listed] == [(room, again.sid, '{"a": 1}')]
    assert abs(listed[0].created_ms - time.time() * 1000) < 60_000
    assert room in {one.name for one in await media.rooms()}


async def test_deleting_a_room_twice_is_no_error(media: MediaServer, room: str) -> None:
    assert await media.delete_room(room) is True
    await media.delete_room(room)
    assert await media.rooms([room]) == []


async def test_what_does_not_exist_is_no_error(media: MediaServer, room: str) -> None:
    assert await media.participants("no such room") == []
    assert await media.remove(room, "nobody") is False
    assert await media.mute(room, "nobody", "TR_none") is False
    assert await media.reachable()


async def test_a_participant_with_our_token_is_listed(
    backend: Backend, media: MediaServer, room: str
) -> None:
    async with joined(backend, room, "@zoë:example.org:8448:DEV"):
        (one,) = await media.participants(room)
        assert (one.identity, one.name) == ("@zoë:example.org:8448:DEV", "Zoë ? > ~")
        assert (one.agent, one.tracks) == (False, ())
        assert abs(one.joined_ms - time.time() * 1000) < 60_000
        assert (await media.rooms([room]))[0].participants == 1


async def test_an_agent_is_marked_and_visible(
    backend: Backend, media: MediaServer, room: str
) -> None:
    async with (
        joined(backend, room, "listener") as client,
        joined(backend, room, "scribe", agent=True, can_publish=False),
    ):
        assert {one.identity: one.agent for one in await media.participants(room)} == {
            "listener": False,
            "scribe": True,
        }

        async def seen() -> bool:
            return "scribe" in client.remote_participants

        await eventually(seen)


async def test_a_removed_participant_is_disconnected_within_two_seconds(
    backend: Backend, media: MediaServer, room: str
) -> None:
    async with joined(backend, room, "kicked") as client:
        gone = asyncio.Event()
        client.on("disconnected", lambda *_: gone.set())
        assert await media.remove(room, "kicked") is True
        async with asyncio.timeout(2):
            await gone.wait()

        async def absent() -> bool:
            return await media.participants(room) == []

        await eventually(absent)


async def test_rights_change_in_mid_call(backend: Backend, media: MediaServer, room: str) -> None:
    async with joined(backend, room, "speaker") as client, joined(backend, room, "b") as other:
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("mic", source)
        await client.local_participant.publish_track(track, rtc.TrackPublishOptions())

        async def published(expected: bool) -> bool:
            seen = other.remote_participants["speaker"].track_publications
            return bool(seen) is expected

        await eventually(lambda: published(True))
        assert await media.permit(room, "speaker", can_publish=False) is True
        await eventually(lambda: published(False), 2)
        there = {one.identity: one for one in await media.participants(room)}
        assert (there["speaker"].can_publish, there["b"].can_publish) == (False, True)
        assert await media.permit(room, "speaker", can_publish=True) is True
        again = rtc.LocalAudioTrack.create_audio_track("mic", source)
        await client.local_participant.publish_track(again, rtc.TrackPublishOptions())
        await eventually(lambda: published(True))
        assert await media.permit(room, "nobody", can_publish=True) is False


async def test_deleting_a_room_disconnects_everybody(
    backend: Backend, media: MediaServer, room: str
) -> None:
    async with joined(backend, room, "last") as client:
        gone = asyncio.Event()
        client.on("disconnected", lambda *_: gone.set())
        assert await media.delete_room(room) is True
        async with asyncio.timeout(5):
            await gone.wait()


async def test_a_published_track_is_listed_and_muted(
    backend: Backend, media: MediaServer, room: str
) -> None:
    async with joined(backend, room, "speaker") as client:
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("mic", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        publication = await client.local_participant.publish_track(track, options)
        await source.capture_frame(rtc.AudioFrame.create(48000, 1, 480))

        async def listed() -> bool:
            return bool((await media.participants(room))[0].tracks)

        await eventually(listed)
        (one,) = (await media.participants(room))[0].tracks
        assert (one.sid, one.kind, one.source) == (publication.sid, "audio", "MICROPHONE")
        assert not one.muted
        assert await media.mute(room, "speaker", publication.sid) is True

        async def muted() -> bool:
            return (await media.participants(room))[0].tracks[0].muted

        await eventually(muted)


async def test_data_reaches_whom_it_is_for(backend: Backend, media: MediaServer, room: str) -> None:
    async with joined(backend, room, "a") as first, joined(backend, room, "b") as second:
        got: asyncio.Queue[tuple[str, bytes, str | None]] = asyncio.Queue()
        for name, client in (("a", first), ("b", second)):
            client.on(
                "data_received",
                lambda packet, name=name: got.put_nowait((name, packet.data, packet.topic)),
            )
        assert await media.send_data(room, b"for b", topic="t", to=["b"]) is True
        assert await media.send_data(room, b"for all") is True
        async with asyncio.timeout(5):
            received = [await got.get() for _ in range(3)]
    assert {(name, data) for name, data, _ in received} == {
        ("a", b"for all"),
        ("b", b"for all"),
        ("b", b"for b"),
    }
    assert ("b", b"for b", "t") in received


@pytest.mark.parametrize("wrong", ["key", "secret"])
async def test_a_wrong_key_is_unavailable(backend: Backend, wrong: str) -> None:
    key = ApiKey("other", backend.key.secret)
    if wrong == "secret":
        key = ApiKey(backend.key.key, secrets.token_urlsafe(32))
    media = MediaServer(backend.url, key)
    with pytest.raises(Unavailable):
        await media.rooms()
    assert not await media.reachable()
    await media.close()
