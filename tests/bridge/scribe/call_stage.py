"""A call with our media server, a scribe process, and people with microphones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from livekit import api, rtc
from livekit.rtc._proto.e2ee_pb2 import KeyDerivationFunction

from bridge.scribe.engines import RATE
from bridge.scribe.link import ScribeLink
from tests.support.sound import Pcm, joined, quiet

KEY, SECRET = "scribe-tests", "a-secret-of-the-tests-32-bytes-long"
SCRIBE = "import sys; from bridge.scribe.process import main; sys.exit(main(sys.argv[1:]))"
FRAME = RATE // 50
ALICE = "good morning everyone and welcome to the meeting"
BOB = "we agreed on the budget last week"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def token(identity: str, name: str) -> str:
    grants = api.VideoGrants(room_join=True, room="call", can_update_own_metadata=True)
    made = api.AccessToken(KEY, SECRET).with_identity(identity).with_name(name)
    if identity in ("alice", "reader"):  # want captions before they are final; others did not ask
        made = made.with_attributes({"eu.colloque.captions": "interim"})
    return made.with_grants(grants).to_jwt()


def element_call() -> rtc.E2EEOptions:
    """Element Call's end-to-end encryption: raw keys of 16 bytes, one for each participant."""
    options = rtc.KeyProviderOptions(
        key_ring_size=256, key_derivation_function=KeyDerivationFunction.HKDF
    )
    return rtc.E2EEOptions(key_provider_options=options)


@dataclass
class MediaServer:
    """Our media server as a process that can die and come back at the same place."""

    port: int = field(default_factory=free_port)
    udp_port: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM))
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sfu", "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--udp-port", str(self.udp_port), "--tcp-port", "0"),
            env={**os.environ, "LIVEKIT_KEYS": f"{KEY}: {SECRET}"},
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 20)
        assert b"listening" in line, line

    async def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()


@dataclass
class Bridge:
    """A bridge as far as the scribe sees one."""

    path: Path
    segments: list[dict[str, Any]] = field(default_factory=list)
    interruptions: list[dict[str, Any]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @contextlib.asynccontextmanager
    async def linked(self) -> AsyncIterator[ScribeLink]:
        link = ScribeLink(self.path, self._segments, self._session, self.shown.append)
        running = asyncio.create_task(link.run())
        try:
            await asyncio.wait_for(link.wait_connected(), 30)
            yield link
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _segments(self, segments: list[dict[str, Any]]) -> None:
        async with self.changed:
            self.segments += [s for s in segments if s["type"] == "segment"]
            self.interruptions += [s for s in segments if s["type"] == "interruption"]
            self.changed.notify_all()

    async def _session(self, frame: dict[str, Any]) -> None:
        async with self.changed:
            self.states.append(frame["state"])
            self.details.append(frame["detail"])
            self.changed.notify_all()

    async def until(self, state: str, limit_s: float = 40) -> None:
        """Wait for the session to be in a state; what came before is forgotten."""
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(lambda: state in self.states)
            del self.states[: self.states.index(state) + 1]

    async def detail(self, detail: str, limit_s: float = 30) -> None:
        """Wait for the session to say so; what came before is forgotten."""
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(lambda: detail in self.details)
            del self.details[: self.details.index(detail) + 1]

    async def heard(self, identity: str, words: int, limit_s: float = 40) -> str:
        """What one person has said, once it is so many words."""
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(lambda: len(self.text(identity).split()) >= words)
        return self.text(identity)

    def latest(self) -> list[dict[str, Any]]:
        """The newest revision of every segment that is not empty, in the order of time."""
        newest: dict[str, dict[str, Any]] = {}
        for segment in sorted(self.segments, key=lambda s: int(s["rev"])):
            newest[segment["segment"]] = segment
        said = (segment for segment in newest.values() if segment["text"])
        return sorted(said, key=lambda s: int(s["start_ms"]))

    def text(self, identity: str) -> str:
        said = (s for s in self.segments if s["identity"] == identity)
        return " ".join(s["text"] for s in sorted(said, key=lambda s: int(s["start_ms"])))


class Person:
    """Somebody with a microphone who sees captions."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.captions: list[tuple[dict[str, str], str]] = []
        self.older_captions: list[tuple[str, str]] = []
        self.room = rtc.Room()
        self._source = rtc.AudioSource(RATE, 1)
        self._reading: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def in_call(
        cls,
        identity: str,
        server: MediaServer,
        key: bytes | None = None,
        *,
        deaf: bool = False,
    ) -> AsyncIterator[Person]:
        """With `key` everything is encrypted, as Element Call does it, at first with index 0.

        `deaf`: subscribes to nobody, for calls of many.
        """
        person = cls(identity)
        person.room.register_text_stream_handler("lk.transcription", person._caption)
        person.room.on("transcription_received", person._older)
        options = rtc.RoomOptions(auto_subscribe=not deaf)
        options.encryption = None if key is None else element_call()
        await person.room.connect(server.url, token(identity, identity.title()), options)
        if key is not None:
            person.knows(identity, 0, key)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", person._source)
        microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await person.room.local_participant.publish_track(track, microphone)
        try:
            yield person
        finally:
            await person.room.disconnect()

    def knows(self, identity: str, index: int, key: bytes) -> None:
        """What is encrypted by `identity` under `index`, themselves included, has this key."""
        provider = self.room.e2ee_manager.key_provider
        assert provider is not None
        provider.set_key(identity, key, index)

    def changes_key(self, index: int, key: bytes) -> None:
        """Encrypt with a new key from now on."""
        self.knows(self.identity, index, key)
        for cryptor in self.room.e2ee_manager.frame_cryptors():
            if cryptor.participant_identity == self.identity:
                cryptor.set_key_index(index)

    async def say(self, pcm: Pcm) -> None:
        """In real time; returns when it has been played."""
        whole = np.pad(pcm, (0, -len(pcm) % FRAME))
        for at in range(0, len(whole), FRAME):
            frame = rtc.AudioFrame(whole[at : at + FRAME].tobytes(), RATE, 1, FRAME)
            await self._source.capture_frame(frame)
        await self._source.wait_for_playout()

    def _caption(self, reader: rtc.TextStreamReader, sender: str) -> None:
        task = asyncio.create_task(self._read(reader, sender))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader, sender: str) -> None:
        attributes = {**(reader.info.attributes or {}), "sender": sender}
        self.captions.append((attributes, await reader.read_all()))

    def _older(self, segments: Any, participant: Any, publication: Any) -> None:
        self.older_captions += [(participant.identity, s.text) for s in segments if s.final]


@dataclass
class Stage:
    server: MediaServer
    bridge: Bridge
    epoch_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def order(self, **more: Any) -> dict[str, Any]:
        return {
            "conference": "c",
            "room_id": "!r:example.org",
            "url": self.server.url,
            "token": token("scribe:c", "Transcription"),
            "language": "en",
            "captions": True,
            "transcript": True,
            "epoch_ms": self.epoch_ms,
            **more,
        }

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 - self.epoch_ms


@contextlib.asynccontextmanager
async def a_stage(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """A media server and a scribe with these options; both are ended by their ids."""
    server, path = MediaServer(), folder / "scribe.sock"
    await server.start()
    scribe = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIBE, "--socket", str(path), "--spool", str(folder / "spool")),
        *options,
        env={**os.environ, **(environment or {})},
    )
    try:
        async with asyncio.timeout(30):
            while not path.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)
        yield Stage(server, Bridge(path))
        scribe.terminate()
        assert await asyncio.wait_for(scribe.wait(), 20) == 0
    finally:
        if scribe.returncode is None:
            scribe.kill()
            await scribe.wait()
        await server.kill()


def spoken(pcm: Pcm) -> Pcm:
    return joined(quiet(0.7), pcm, quiet(1.2))
