"""The whole way: people speak in a call, and the scribe's words reach the bridge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import pytest_asyncio
from livekit import api, rtc

from bridge.scribe.engines import RATE
from bridge.scribe.link import ScribeLink
from tests.support.sound import Pcm, Speak, joined, quiet

pytestmark = pytest.mark.livekit

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
    grants = api.VideoGrants(room_join=True, room="call")
    made = api.AccessToken(KEY, SECRET).with_identity(identity).with_name(name)
    return made.with_grants(grants).to_jwt()


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
    states: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @contextlib.asynccontextmanager
    async def linked(self) -> AsyncIterator[ScribeLink]:
        link = ScribeLink(self.path, self._segments, self._session)
        running = asyncio.create_task(link.run())
        try:
            await asyncio.wait_for(link.wait_connected(), 30)
            yield link
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _segments(self, segments: list[dict[str, Any]]) -> None:
        async with self.changed:
            self.segments += segments
            self.changed.notify_all()

    async def _session(self, frame: dict[str, Any]) -> None:
        async with self.changed:
            self.states.append(frame["state"])
            self.changed.notify_all()

    async def until(self, state: str, limit_s: float = 40) -> None:
        """Wait for the session to be in a state; what came before is forgotten."""
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(lambda: state in self.states)
            del self.states[: self.states.index(state) + 1]

    async def heard(self, identity: str, words: int, limit_s: float = 40) -> str:
        """What one person has said, once it is so many words."""
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(lambda: len(self.text(identity).split()) >= words)
        return self.text(identity)

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
    async def in_call(cls, identity: str, server: MediaServer) -> AsyncIterator[Person]:
        person = cls(identity)
        person.room.register_text_stream_handler("lk.transcription", person._caption)
        person.room.on("transcription_received", person._older)
        await person.room.connect(server.url, token(identity, identity.title()))
        track = rtc.LocalAudioTrack.create_audio_track("microphone", person._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await person.room.local_participant.publish_track(track, options)
        try:
            yield person
        finally:
            await person.room.disconnect()

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


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A media server and a scribe; both are ended by their ids."""
    server, path = MediaServer(), tmp_path / "scribe.sock"
    await server.start()
    scribe = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIBE, "--socket", str(path), "--spool", str(tmp_path / "spool"))
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


async def test_what_two_people_say_comes_with_their_names_and_times(
    stage: Stage, speak: Speak
) -> None:
    bridge = stage.bridge
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with (
            Person.in_call("alice", stage.server) as alice,
            Person.in_call("bob", stage.server) as bob,
        ):
            began = stage.now_ms()
            # Both at once: each has a track, so nobody has to guess who says what.
            await asyncio.gather(
                alice.say(spoken(speak(ALICE, "slt"))), bob.say(spoken(speak(BOB, "rms")))
            )
            ended = stage.now_ms()
            await bridge.heard("alice", 7)
            await bridge.heard("bob", 6)
            assert {p.name for p in alice.room.remote_participants.values()} == {
                "Bob",
                "Transcription",
            }
            await link.stop("c")
            await bridge.until("stopped")
            check_captions(alice)
    assert jiwer.wer(ALICE, bridge.text("alice")) <= 0.25
    assert jiwer.wer(BOB, bridge.text("bob")) <= 0.15
    assert {s["identity"] for s in bridge.segments} == {"alice", "bob"}
    assert {s["name"] for s in bridge.segments} == {"Alice", "Bob"}
    first = min(s["start_ms"] for s in bridge.segments)
    # 0.7 s of silence comes first; network, jitter buffer and Opus may add half a second.
    assert began + 500 <= first <= began + 1700
    assert max(s["end_ms"] for s in bridge.segments) <= ended
    assert len({s["key"] for s in bridge.segments}) == len(bridge.segments)


def check_captions(person: Person) -> None:
    finals = [(a, t) for a, t in person.captions if a["lk.transcription_final"] == "true"]
    interims = [(a, t) for a, t in person.captions if a["lk.transcription_final"] == "false"]
    assert {a["sender"] for a, _ in person.captions} == {"scribe:c"}
    assert {a["eu.colloque.speaker"] for a, _ in finals} == {"alice", "bob"}
    assert interims
    assert {a["lk.segment_id"] for a, _ in interims} <= {a["lk.segment_id"] for a, _ in finals}
    bobs = next(a for a, _ in finals if a["eu.colloque.speaker"] == "bob")
    track = bobs["lk.transcribed_track_id"]
    bob = next(p for p in person.room.remote_participants.values() if p.identity == "bob")
    assert track in bob.track_publications
    assert {identity for identity, _ in person.older_captions} == {"alice", "bob"}


async def test_who_leaves_in_mid_sentence_is_still_heard(stage: Stage, speak: Speak) -> None:
    bridge, said = stage.bridge, speak(ALICE, "rms")
    async with bridge.linked() as link:
        await link.start(stage.order(captions=False))
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            await alice.say(joined(quiet(0.7), said[: len(said) * 2 // 3]))
        text = await bridge.heard("alice", 3)
        assert text.startswith("good morning everyone")
        assert not alice.captions
        await link.stop("c")
        await bridge.until("stopped")


async def test_stop_in_mid_sentence_tells_what_was_said_first(stage: Stage, speak: Speak) -> None:
    bridge, said = stage.bridge, speak(ALICE, "rms")
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            await alice.say(joined(quiet(0.7), said[: len(said) * 2 // 3]))
            await asyncio.sleep(0.3)  # the jitter buffer and the way of the last packet
            await link.stop("c")
            await bridge.until("stopped", limit_s=10)
            # The segment came before the state, so the documents can be written now.
            assert bridge.text("alice").startswith("good morning everyone")


async def test_a_bridge_that_dies_misses_nothing(stage: Stage, speak: Speak) -> None:
    bridge = stage.bridge
    async with Person.in_call("bob", stage.server) as bob:
        async with bridge.linked() as link:
            await link.start(stage.order())
            await bridge.until("listening")
        await bob.say(spoken(speak(BOB, "rms")))  # nobody is linked
        async with bridge.linked() as link:
            assert link.sessions == {"c": "listening"}
            await bridge.heard("bob", 6)
            await bob.say(spoken(speak("thank you", "rms")))
            text = await bridge.heard("bob", 8)
            await link.stop("c")
            await bridge.until("stopped")
    assert jiwer.wer(f"{BOB} thank you", text) <= 0.25
    assert len({s["key"] for s in bridge.segments}) == len(bridge.segments)


async def test_noise_in_a_call_makes_no_words(stage: Stage, speak: Speak) -> None:
    bridge = stage.bridge
    fan = np.random.default_rng(1).normal(0, 800, RATE * 6).astype(np.int16)
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            began = stage.now_ms()
            await alice.say(fan)
            await alice.say(spoken(speak(BOB, "rms")))
            assert jiwer.wer(BOB, await bridge.heard("alice", 6)) <= 0.25
            await link.stop("c")
            await bridge.until("stopped")
    (segment,) = bridge.segments
    assert segment["start_ms"] > began + 6000


@pytest.mark.parametrize("away_s", [0, 6])
async def test_the_scribe_comes_back_when_the_media_server_does(
    stage: Stage, speak: Speak, away_s: float
) -> None:
    bridge = stage.bridge
    async with bridge.linked() as link:
        await link.start(stage.order())
        await bridge.until("listening")
        async with Person.in_call("alice", stage.server) as alice:
            await alice.say(spoken(speak("thank you", "rms")))
            await bridge.heard("alice", 1)
        await stage.server.kill()
        await asyncio.sleep(away_s)
        await stage.server.start()
        await back(stage.server)
        async with Person.in_call("bob", stage.server) as bob:
            await bob.say(spoken(speak(BOB, "rms")))
            assert jiwer.wer(BOB, await bridge.heard("bob", 6)) <= 0.2
            await link.stop("c")
            await bridge.until("stopped")


async def back(server: MediaServer) -> None:
    """Wait until the scribe is in the call again, as the server sees it."""
    async with asyncio.timeout(30), api.LiveKitAPI(server.url, KEY, SECRET) as admin:
        while True:
            request = api.ListParticipantsRequest(room="call")
            with contextlib.suppress(api.TwirpError):
                present = await admin.room.list_participants(request)
                if any(p.identity == "scribe:c" for p in present.participants):
                    return
            await asyncio.sleep(0.1)


async def test_a_token_the_server_refuses_is_said(stage: Stage) -> None:
    bridge = stage.bridge
    async with bridge.linked() as link:
        refused = api.AccessToken(KEY, "another-secret-of-32-bytes-or-more").with_identity("x")
        refused = refused.with_grants(api.VideoGrants(room_join=True, room="call"))
        await link.start(stage.order(token=refused.to_jwt()))
        await bridge.until("failed")
        await link.start(stage.order())  # a fresh token, as the bridge gives one
        await bridge.until("listening")
        await link.stop("c")
        await bridge.until("stopped")
