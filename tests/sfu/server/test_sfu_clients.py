"""Real `livekit` clients: what one publishes and sends reaches the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from livekit import api, rtc
from livekit.protocol import models
from livekit.rtc.participant import PublishTrackError

from tests.sfu.server.server_process import KEY, SECRET, Sfu, connected, loudest, sine

pytestmark = pytest.mark.livekit
LIMIT_S = 20.0


@contextlib.asynccontextmanager
async def people(
    sfu: Sfu, room: str, *names: str, single: bool = True
) -> AsyncIterator[list[rtc.Room]]:
    clients = [await connected(sfu, name, room, single=single) for name in names]
    try:
        yield clients
    finally:
        await asyncio.gather(*(client.disconnect() for client in clients))


def happening(room: rtc.Room, event: str) -> asyncio.Future[tuple[object, ...]]:
    """The first arguments of an event to come."""
    future: asyncio.Future[tuple[object, ...]] = asyncio.get_running_loop().create_future()

    def note(*arguments: object) -> None:
        if not future.done():
            future.set_result(arguments)

    room.on(event, note)  # type: ignore[arg-type]
    return future


async def within(awaitable: asyncio.Future[tuple[object, ...]]) -> tuple[object, ...]:
    async with asyncio.timeout(LIMIT_S):
        return await awaitable


@contextlib.asynccontextmanager
async def working(*works: Callable[[], object]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work()) for work in works]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def speak(source: rtc.AudioSource, hertz: float = 440) -> None:
    start = 0
    while True:
        await source.capture_frame(sine(hertz, start))
        start += 480


async def show(source: rtc.VideoSource) -> None:
    """Left half red, right half green, and a line that moves so that frames differ."""
    image = np.zeros((480, 640, 4), np.uint8)
    image[:, :320] = (255, 0, 0, 255)
    image[:, 320:] = (0, 255, 0, 255)
    for number in range(10**9):
        frame = image.copy()
        frame[number * 4 % 480, :, 2] = 255
        kind = rtc.VideoBufferType.RGBA
        source.capture_frame(rtc.VideoFrame(640, 480, kind, frame.tobytes()))
        await asyncio.sleep(1 / 30)


async def publish_microphone(client: rtc.Room) -> tuple[rtc.AudioSource, rtc.LocalAudioTrack, str]:
    source = rtc.AudioSource(48000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    publication = await client.local_participant.publish_track(track, options)
    return source, track, publication.sid


async def listen(track: rtc.Track, seconds: float) -> np.ndarray:
    """What arrives after the first half second, as samples."""
    stream = rtc.AudioStream(track, sample_rate=48000, num_channels=1)
    parts: list[np.ndarray] = []
    async with asyncio.timeout(LIMIT_S):
        async for event in stream:
            parts.append(np.frombuffer(event.frame.data, dtype=np.int16))
            if sum(map(len, parts)) > 48000 * (seconds + 0.5):
                break
    await stream.aclose()
    return np.concatenate(parts)[24000:].astype(float)


@pytest.mark.parametrize("single", [True, False], ids=["single", "dual"])
async def test_a_tone_arrives_as_it_was_sung(sfu: Sfu, room: str, single: bool) -> None:
    async with people(sfu, room, "alice", "bob", single=single) as (alice, bob):
        subscribed = happening(bob, "track_subscribed")
        source, _, sid = await publish_microphone(alice)
        async with working(lambda: speak(source)):
            track, publication, participant = await within(subscribed)
            samples = await listen(track, 2.0)  # type: ignore[arg-type]
    assert publication.sid == sid  # type: ignore[attr-defined]
    assert participant.identity == "alice"  # type: ignore[attr-defined]
    assert abs(loudest(samples) - 440) < 1
    assert 8000 < np.sqrt((samples**2).mean()) < 14000


@pytest.mark.parametrize("single", [True, False], ids=["single", "dual"])
async def test_video_arrives_with_its_colours(sfu: Sfu, room: str, single: bool) -> None:
    async with people(sfu, room, "alice", "bob", single=single) as (alice, bob):
        subscribed = happening(bob, "track_subscribed")
        source = rtc.VideoSource(640, 480)
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, video_codec=rtc.VideoCodec.VP8, simulcast=True
        )
        await alice.local_participant.publish_track(track, options)
        async with working(lambda: show(source)):
            received, _, _ = await within(subscribed)
            stream = rtc.VideoStream(received, format=rtc.VideoBufferType.RGBA)  # type: ignore[arg-type]
            seen = 0
            async with asyncio.timeout(LIMIT_S):
                async for event in stream:
                    seen += 1
                    frame = event.frame
                    if seen >= 40 and frame.width >= 320:
                        break
            await stream.aclose()
    pixels = np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 4)
    row = pixels[frame.height // 2]
    left, right = row[frame.width // 4], row[3 * frame.width // 4]
    assert left[0] > 150 > left[1]
    assert right[1] > 150 > right[0]


@pytest.mark.parametrize("single", [True, False], ids=["single", "dual"])
async def test_data_of_both_kinds_and_text(sfu: Sfu, room: str, single: bool) -> None:
    async with people(sfu, room, "alice", "bob", "carol", single=single) as (alice, bob, carol):
        got: asyncio.Queue[tuple[bytes, str, str]] = asyncio.Queue()
        text: asyncio.Queue[str] = asyncio.Queue()
        carols: asyncio.Queue[bytes] = asyncio.Queue()
        readers: set[asyncio.Task[None]] = set()

        def received(packet: rtc.DataPacket) -> None:
            who = packet.participant.identity if packet.participant else ""
            got.put_nowait((packet.data, packet.topic or "", who))

        async def read(reader: rtc.TextStreamReader, identity: str) -> None:
            text.put_nowait(f"{identity}: {await reader.read_all()}")

        def began(reader: rtc.TextStreamReader, identity: str) -> None:
            readers.add(asyncio.create_task(read(reader, identity)))

        bob.on("data_received", received)
        bob.register_text_stream_handler("chat", began)
        carol.on("data_received", lambda packet: carols.put_nowait(packet.data))
        speaker = alice.local_participant
        async with asyncio.timeout(LIMIT_S):
            await speaker.publish_data(
                b"one", reliable=True, topic="t", destination_identities=["bob"]
            )
            assert await got.get() == (b"one", "t", "alice")
            await speaker.publish_data(b"two", reliable=False, destination_identities=["bob"])
            assert await got.get() == (b"two", "", "alice")
            long = "é" * 40_000
            await speaker.send_text(long, topic="chat", destination_identities=["bob"])
            assert await text.get() == f"alice: {long}"
            await speaker.publish_data(b"all", reliable=True)
            assert await got.get() == (b"all", "", "alice")
            assert await carols.get() == b"all"  # the first thing that reached her


async def test_attributes_mute_and_leaving_are_told(sfu: Sfu, room: str) -> None:
    async with people(sfu, room, "alice", "bob") as (alice, bob):
        changed = happening(bob, "participant_attributes_changed")
        await alice.local_participant.set_attributes({"hand": "raised"})
        assert (await within(changed))[0] == {"hand": "raised"}
        subscribed = happening(bob, "track_subscribed")
        source, track, _ = await publish_microphone(alice)
        async with working(lambda: speak(source)):
            await within(subscribed)
            muted, unmuted = happening(bob, "track_muted"), happening(bob, "track_unmuted")
            track.mute()
            await within(muted)
            track.unmute()
            await within(unmuted)
        left = happening(bob, "participant_disconnected")
        await alice.disconnect()
        assert (await within(left))[0].identity == "alice"  # type: ignore[attr-defined]


async def test_unpublishing_and_publishing_again(sfu: Sfu, room: str) -> None:
    async with people(sfu, room, "alice", "bob") as (alice, bob):
        for _ in range(3):
            subscribed = happening(bob, "track_subscribed")
            gone = happening(bob, "track_unsubscribed")
            source, _, sid = await publish_microphone(alice)
            async with working(lambda source=source: speak(source)):  # type: ignore[misc]
                track, publication, _ = await within(subscribed)
                assert publication.sid == sid  # type: ignore[attr-defined]
                samples = await listen(track, 0.5)  # type: ignore[arg-type]
                assert abs(loudest(samples) - 440) < 3
            await alice.local_participant.unpublish_track(sid)
            await within(gone)


async def test_who_speaks_is_told(sfu: Sfu, room: str) -> None:
    async with people(sfu, room, "alice", "bob") as (alice, bob):
        speaking = happening(bob, "active_speakers_changed")
        source, _, _ = await publish_microphone(alice)
        async with working(lambda: speak(source)):
            (speakers,) = await within(speaking)
    assert [p.identity for p in speakers] == ["alice"]  # type: ignore[attr-defined]


async def test_clients_of_both_kinds_hear_each_other(sfu: Sfu, room: str) -> None:
    alice = await connected(sfu, "alice", room, single=True)
    bob = await connected(sfu, "bob", room, single=False)
    heard = []
    for speaker, listener, hertz in ((alice, bob, 440), (bob, alice, 660)):
        subscribed = happening(listener, "track_subscribed")
        source, _, _ = await publish_microphone(speaker)
        async with working(lambda source=source, hertz=hertz: speak(source, hertz)):  # type: ignore[misc]
            track, _, _ = await within(subscribed)
            heard.append(round(loudest(await listen(track, 1.0)), -1))  # type: ignore[arg-type]
    await alice.disconnect()
    await bob.disconnect()
    assert heard == [440, 660]


async def test_many_tracks_need_more_sections_than_a_client_begins_with(
    sfu: Sfu, room: str
) -> None:
    names = [f"speaker{number}" for number in range(6)]
    async with people(sfu, room, "listener", *names) as (listener, *speakers):
        tracks: asyncio.Queue[str] = asyncio.Queue()
        listener.on(
            "track_subscribed", lambda track, publication, who: tracks.put_nowait(who.identity)
        )
        sources = [(await publish_microphone(speaker))[0] for speaker in speakers]
        async with (
            working(*(lambda source=source: speak(source) for source in sources)),  # type: ignore[misc]
            asyncio.timeout(LIMIT_S),
        ):
            heard = {await tracks.get() for _ in names}
    assert heard == set(names)


async def test_hidden_participants_and_agents(sfu: Sfu, room: str) -> None:
    async with people(sfu, room, "alice") as (alice,):
        seen: asyncio.Queue[rtc.RemoteParticipant] = asyncio.Queue()
        alice.on("participant_connected", seen.put_nowait)
        ghost = await connected(sfu, "ghost", room, hidden=True)
        agent = rtc.Room()
        made = api.AccessToken(KEY, SECRET)
        grants = api.VideoGrants(room_join=True, room=room)
        text = made.with_identity("scribe").with_kind("agent").with_grants(grants).to_jwt()
        await agent.connect(sfu.ws, text)
        async with asyncio.timeout(LIMIT_S):
            first = await seen.get()
        assert (first.identity, first.kind) == ("scribe", models.ParticipantInfo.Kind.AGENT)
        assert set(ghost.remote_participants) >= {"alice"}
        assert "ghost" not in agent.remote_participants
        await ghost.disconnect()
        await agent.disconnect()


async def test_rights_are_enforced(sfu: Sfu, room: str) -> None:
    async with people(sfu, room, "alice") as (alice,):
        mute = await connected(sfu, "mute", room, can_publish=False, can_publish_data=False)
        deaf = await connected(sfu, "deaf", room, can_subscribe=False)
        data: list[object] = []
        alice.on("data_received", data.append)
        deaf_tracks: list[object] = []
        deaf.on("track_subscribed", lambda *found: deaf_tracks.append(found))
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        # This SDK waits 10 s for a track that was refused; its refusal is not awaited here.
        with pytest.raises((PublishTrackError, TimeoutError)):
            async with asyncio.timeout(2):
                await mute.local_participant.publish_track(track)
        assert not alice.remote_participants["mute"].track_publications
        subscribed = happening(mute, "track_subscribed")
        voice, _, _ = await publish_microphone(alice)
        async with working(lambda: speak(voice)):
            await within(subscribed)
            await mute.local_participant.publish_data(b"no", reliable=True)
            arrived = happening(alice, "data_received")
            await deaf.local_participant.publish_data(b"yes", reliable=True)
            await within(arrived)
        assert [packet.data for packet in data] == [b"yes"]  # type: ignore[attr-defined]
        assert deaf_tracks == []
        await mute.disconnect()
        await deaf.disconnect()


async def test_the_same_identity_twice(sfu: Sfu, room: str) -> None:
    first = await connected(sfu, "alice", room)
    ended = happening(first, "disconnected")
    second = await connected(sfu, "alice", room)
    (reason,) = await within(ended)
    assert reason == models.DisconnectReason.DUPLICATE_IDENTITY
    await second.disconnect()


@pytest.mark.parametrize("single", [True, False], ids=["single", "dual"])
async def test_a_data_track_delivers_its_frames(sfu: Sfu, room: str, single: bool) -> None:
    async with people(sfu, room, "alice", "bob", single=single) as (alice, bob):
        published, unpublished = (
            happening(bob, name) for name in ("data_track_published", "data_track_unpublished")
        )
        local = await alice.local_participant.publish_data_track(name="sensor")
        (remote,) = await within(published)
        assert remote.info.name == "sensor"  # type: ignore[attr-defined]
        stream = remote.subscribe()  # type: ignore[attr-defined]

        async def push() -> None:
            for number in range(10**6):
                local.try_push(rtc.DataTrackFrame(payload=bytes([number % 256] * 100)))
                await asyncio.sleep(0.02)

        async with working(push):
            async with asyncio.timeout(LIMIT_S):
                payloads = [(await anext(stream)).payload for _ in range(5)]
        assert all(len(set(payload)) == 1 and len(payload) == 100 for payload in payloads)
        await local.unpublish()
        assert await within(unpublished) == (local.info.sid,)


@pytest.mark.parametrize(
    ("codec", "name", "scalable"),
    [
        (rtc.VideoCodec.H264, "H264", False),
        (rtc.VideoCodec.VP9, "VP9", True),
        (rtc.VideoCodec.AV1, "AV1", True),
    ],
    ids=["h264", "vp9", "av1"],
)
@pytest.mark.parametrize("single", [True, False], ids=["single", "dual"])
async def test_the_newer_codecs_have_qualities_too(
    sfu: Sfu, room: str, codec: rtc.VideoCodec.ValueType, name: str, scalable: bool, single: bool
) -> None:
    async with people(sfu, room, "alice", "bob", single=single) as (alice, bob):
        subscribed = happening(bob, "track_subscribed")
        source = rtc.VideoSource(640, 480)
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA,
            video_codec=codec,
            simulcast=True,
            scalability_mode="L2T1_KEY" if scalable else None,
        )
        await alice.local_participant.publish_track(track, options)
        async with working(lambda: show(source)):
            received, publication, _ = await within(subscribed)
            assert publication.mime_type == f"video/{name}"  # type: ignore[attr-defined]
            stream = rtc.VideoStream(received)  # type: ignore[arg-type]
            high, low = rtc.VideoQuality.VIDEO_QUALITY_HIGH, rtc.VideoQuality.VIDEO_QUALITY_LOW
            for quality in (high, low, high):
                publication.set_video_quality(quality)  # type: ignore[attr-defined]
                await _until_full_size(stream, quality == high)
            await stream.aclose()


async def _until_full_size(stream: rtc.VideoStream, full: bool) -> None:
    """Wait for three frames in a row of the published size, or below it."""
    fitting = 0
    async with asyncio.timeout(LIMIT_S):
        while fitting < 3:
            frame = (await anext(stream)).frame
            fitting = fitting + 1 if (frame.width == 640) is full else 0


async def test_the_quality_of_connections_is_told(sfu: Sfu, room: str) -> None:
    async with people(sfu, room, "alice") as (alice,):
        told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        alice.on(
            "connection_quality_changed",
            lambda participant, quality: told.put_nowait((participant.identity, quality)),
        )
        async with people(sfu, room, "bob"), asyncio.timeout(LIMIT_S):
            while await told.get() != ("bob", rtc.ConnectionQuality.QUALITY_EXCELLENT):
                pass
