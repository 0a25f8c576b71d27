"""A person in a call, with the `livekit` SDK: the client of the demo and of end-to-end tests.

The way in is any person's: an OpenID token of one's own homeserver, shown at the token service
(`POST /sfu/get`), gives the address of the media server and the right to join.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import rtc

from bridge.dev.person import Person, call
from bridge.dev.speech import RATE, Pcm
from bridge.errors import ColloqueError

_FRAME = RATE // 50  # 20 ms
_CAPTIONS = "lk.transcription"


@dataclass(frozen=True, slots=True)
class Caption:
    """Text on screen: who said it (identity of the track's owner), and whether it is final."""

    identity: str
    segment: str
    text: str
    final: bool


async def media_token(
    service_url: str, person: Person, room_id: str, openid: dict[str, Any] | None = None
) -> tuple[str, str]:
    """(address, token) from the token service. Raises MatrixError as the service refuses."""
    body = {
        "room": room_id,
        "openid_token": openid or await person.openid_token(),
        "device_id": person.device_id,
    }
    answer = await call("POST", f"{service_url}/sfu/get", body=body)
    return str(answer["url"]), str(answer["jwt"])


class Caller:
    """Joined from `in_call` until its block ends; `captions` and `heard` fill meanwhile."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.captions: list[Caption] = []
        self.heard: dict[str, float] = {}
        """Loudest second (root mean square, 0 .. 32767) heard of each other identity."""
        self.disconnected = asyncio.Event()
        self.room = rtc.Room()
        self._source = rtc.AudioSource(RATE, 1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []

    @classmethod
    @asynccontextmanager
    async def in_call(cls, person: Person, service_url: str, room_id: str) -> AsyncIterator[Caller]:
        """Get a token, join, publish a microphone; leave at the end."""
        caller = cls(person)
        url, token = await media_token(service_url, person, room_id)
        caller._listen()
        try:
            await caller.room.connect(url, token, caller.options())
        except rtc.ConnectError as error:
            raise ColloqueError(f"{person.user_id} cannot join the call: {error}") from error
        try:
            track = rtc.LocalAudioTrack.create_audio_track("microphone", caller._source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            await caller.room.local_participant.publish_track(track, options)
            yield caller
        finally:
            await caller._leave()

    def options(self) -> rtc.RoomOptions:
        """How to connect: media in clear."""
        return rtc.RoomOptions()

    @property
    def identity(self) -> str:
        """One's own identity in the call."""
        return str(self.room.local_participant.identity)

    async def listened_to(self, timeout_s: float = 30.0) -> None:
        """Return once the scribe is in the call too: what is said before, nobody writes down.

        Raises TimeoutError.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                others = self.room.remote_participants.values()
                if any(
                    other.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
                    and other.attributes.get("lk.agent.state") == "listening"
                    for other in others
                ):
                    return
                await asyncio.sleep(0.05)

    async def speak(self, pcm: Pcm, silence_s: float = 1.0) -> None:
        """Say `pcm` (mono, RATE) in real time, then be silent so that a listener hears the end."""
        quiet = np.zeros(int(RATE * silence_s), np.int16)
        whole = np.concatenate([pcm, quiet])
        whole = np.pad(whole, (0, -len(whole) % _FRAME))
        for start in range(0, len(whole), _FRAME):
            samples = whole[start : start + _FRAME].tobytes()
            # The SDK's own queue paces this: it takes a second ahead, then waits.
            await self._source.capture_frame(rtc.AudioFrame(samples, RATE, 1, _FRAME))
        await self._source.wait_for_playout()

    # what comes in

    def _listen(self) -> None:
        self.room.on("disconnected", lambda *_: self.disconnected.set())
        self.room.on("track_subscribed", self._subscribed)
        self.room.register_text_stream_handler(_CAPTIONS, self._caption)

    def _subscribed(
        self,
        track: rtc.Track,
        _publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._own(self._measure(track, str(participant.identity)))

    def _caption(self, reader: rtc.TextStreamReader, _sender: str) -> None:
        self._own(self._read_caption(reader))

    async def _measure(self, track: rtc.Track, identity: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        energy, count = 0.0, 0
        try:
            async for event in stream:
                samples = np.frombuffer(event.frame.data, np.int16).astype(np.float64)
                energy, count = energy + float(samples @ samples), count + len(samples)
                if count >= RATE:
                    loudness = math.sqrt(energy / count)
                    self.heard[identity] = max(self.heard.get(identity, 0.0), loudness)
                    energy, count = 0.0, 0
        finally:
            await stream.aclose()

    async def _read_caption(self, reader: rtc.TextStreamReader) -> None:
        attributes = dict(reader.info.attributes or {})
        text = await reader.read_all()
        self.captions.append(
            Caption(
                identity=self._owner(attributes.get("lk.transcribed_track_id", "")),
                segment=attributes.get("lk.segment_id", ""),
                text=text,
                final=attributes.get("lk.transcription_final") == "true",
            )
        )

    def _owner(self, track_sid: str) -> str:
        everybody: list[rtc.Participant] = [
            self.room.local_participant,
            *self.room.remote_participants.values(),
        ]
        for participant in everybody:
            if track_sid in participant.track_publications:
                return str(participant.identity)
        return ""

    # the tasks belong to this object, and their failures are kept for whoever asks

    def _own(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    async def _leave(self) -> None:
        await self.room.disconnect()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._source.aclose()
