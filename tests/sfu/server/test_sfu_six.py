"""A whole call over IPv6 alone: signalling, server API and media."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from livekit import api, rtc

from tests.sfu.server.server_process import KEY, SECRET, Sfu, connected, free_port, sine


class Six(Sfu):
    """A server that listens on ::1."""

    @property
    def ws(self) -> str:
        return f"ws://[::1]:{self.port}"

    @property
    def http(self) -> str:
        return f"http://[::1]:{self.port}"


@pytest.fixture
def six() -> Iterator[Six]:
    ports = free_port(), free_port(), free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sfu", "--bind", "[::1]", "--port", str(ports[0])),
            *("--udp-port", str(ports[1]), "--tcp-port", str(ports[2])),
        ],
        env={**os.environ, "LIVEKIT_KEYS": f"{KEY}: {SECRET}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "listening on [::1]" in process.stdout.readline()
        yield Six(process, ports[0], ports[2], ports[1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.livekit
async def test_a_call_over_ipv6(six: Six, room: str) -> None:
    await _call(six, room)


async def _call(sfu: Sfu, room: str) -> None:
    anne, bob = await connected(sfu, "anne", room), await connected(sfu, "bob", room)
    heard: asyncio.Future[rtc.Track] = asyncio.get_running_loop().create_future()
    bob.on("track_subscribed", lambda track, *_: heard.set_result(track))
    source = rtc.AudioSource(48000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("mic", source)
    await anne.local_participant.publish_track(track)
    async with asyncio.timeout(30):
        stream = rtc.AudioStream(await heard)
        talking = asyncio.create_task(_talk(source))
        async for event in stream:
            if any(event.frame.data):
                break
    talking.cancel()
    client = sfu.api()
    listed = await client.room.list_participants(api.ListParticipantsRequest(room=room))
    assert {one.identity for one in listed.participants} == {"anne", "bob"}
    await client.aclose()  # type: ignore[no-untyped-call]
    await stream.aclose()
    await anne.disconnect()
    await bob.disconnect()


async def _talk(source: rtc.AudioSource) -> None:
    start = 0
    while True:
        await source.capture_frame(sine(440, start))
        start += 480
