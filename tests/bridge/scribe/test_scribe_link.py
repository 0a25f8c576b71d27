"""The bridge's end of the socket, against a scribe whose every frame the test chooses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.scribe import frames
from bridge.scribe.link import ScribeLink
from tests.support.captions import until

Frame = dict[str, Any]


class Peer:
    """The other end: one connection after the other."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()

    async def accept(self) -> Connection:
        return await asyncio.wait_for(self.connections.get(), 10)


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *sent: Frame) -> None:
        for frame in sent:
            self.writer.write(frames.encode(frame))

    async def next(self, kind: str) -> Frame:
        async with asyncio.timeout(10):
            while frame := await frames.read(self.reader):
                if frame["type"] == kind:
                    return frame
        raise AssertionError(f"the connection ended before a {kind}")


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Peer]:
    peer = Peer()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections.put_nowait(Connection(reader, writer))

    server = await asyncio.start_unix_server(connected, path)
    yield peer
    server.close()


class Bridge:
    """Keeps what the link hands on."""

    def __init__(self, path: Path) -> None:
        self.segments: list[str] = []
        self.batches: list[int] = []
        self.states: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
        self.failures = 0
        self.takes_s = 0.0
        self.captions: list[str] = []
        self.link = ScribeLink(path, self._segments, self._session, self._caption)

    def _caption(self, frame: Frame) -> None:
        self.captions.append(frame["text"])

    async def _segments(self, segments: list[Frame]) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the database is away")
        await asyncio.sleep(self.takes_s)
        self.batches.append(len(segments))
        self.segments += [segment["key"] for segment in segments]

    async def _session(self, frame: Frame) -> None:
        self.states.put_nowait((frame["conference"], frame["state"], frame["detail"]))

    async def state(self) -> tuple[str, str, str]:
        return await asyncio.wait_for(self.states.get(), 10)


@asynccontextmanager
async def linked(path: Path) -> AsyncIterator[Bridge]:
    bridge = Bridge(path)
    running = asyncio.create_task(bridge.link.run())
    yield bridge
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def hello(**sessions: str) -> Frame:
    listed = [{"conference": name, "state": state} for name, state in sessions.items()]
    return {"type": "hello", "sessions": listed}


def segment(number: int) -> Frame:
    return {"type": "segment", "key": f"s-{number}:0", "conference": "c", "text": "x"}


def session(conference: str, state: str) -> Frame:
    return {"type": "session", "conference": conference, "state": state, "detail": ""}


async def test_segments_are_acknowledged_once_they_are_durable(socket_path: Path) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        scribe = await peer.accept()
        scribe.send(hello(), *map(segment, range(3)))
        acked: list[str] = []
        while len(acked) < 3:
            acked += (await scribe.next("ack"))["keys"]
        assert acked == bridge.segments == ["s-0:0", "s-1:0", "s-2:0"]


async def test_captions_do_not_wait_behind_segments_that_wait(socket_path: Path) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        bridge.takes_s = 3600.0
        scribe = await peer.accept()
        caption = {"type": "caption", "conference": "c", "segment": "s-1", "final": False}
        scribe.send(hello(), segment(0), {**caption, "text": "one"}, {**caption, "text": "two"})
        await until(lambda: bridge.captions == ["one", "two"])
        assert bridge.segments == []


async def test_what_comes_while_the_store_works_travels_together(socket_path: Path) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        bridge.takes_s = 0.01  # a commit to a disk
        scribe = await peer.accept()
        scribe.send(hello(), *map(segment, range(500)))
        acked = 0
        while acked < 500:
            acked += len((await scribe.next("ack"))["keys"])
        assert bridge.segments == [f"s-{n}:0" for n in range(500)]
        assert len(bridge.batches) < 100


async def test_what_could_not_be_stored_is_offered_again_and_not_acknowledged(
    socket_path: Path,
) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        bridge.failures = 2
        scribe = await peer.accept()
        scribe.send(hello(), segment(1))
        assert (await scribe.next("ack"))["keys"] == ["s-1:0"]
        assert bridge.segments == ["s-1:0"]
        assert bridge.failures == 0


async def test_a_state_comes_after_the_segments_sent_before_it(socket_path: Path) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        scribe = await peer.accept()
        scribe.send(hello(c="listening"), segment(1), session("c", "stopped"))
        assert await bridge.state() == ("c", "stopped", "")
        assert bridge.segments == ["s-1:0"]
        assert bridge.link.sessions == {}


async def test_orders_reach_the_scribe(socket_path: Path) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        scribe = await peer.accept()
        scribe.send(hello())
        await bridge.link.wait_connected()
        await bridge.link.start({"conference": "c", "token": "t"})
        await bridge.link.update("c", captions=True)
        await bridge.link.stop("c")
        assert await scribe.next("start") == {"type": "start", "conference": "c", "token": "t"}
        assert await scribe.next("update") == {
            "type": "update",
            "conference": "c",
            "captions": True,
        }
        assert await scribe.next("stop") == {"type": "stop", "conference": "c"}


async def test_without_a_scribe_orders_are_refused(socket_path: Path) -> None:
    async with linked(socket_path) as bridge:
        with pytest.raises(Unavailable):
            await bridge.link.start({"conference": "c"})


async def test_a_scribe_that_comes_later_is_found(socket_path: Path) -> None:
    async with linked(socket_path) as bridge:
        await asyncio.sleep(0.3)  # a few vain attempts
        async with listening(socket_path) as peer:
            (await peer.accept()).send(hello(c="joining"))
            await asyncio.wait_for(bridge.link.wait_connected(), 10)
            assert bridge.link.sessions == {"c": "joining"}


async def test_sessions_a_new_scribe_does_not_know_are_told_lost(socket_path: Path) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        first = await peer.accept()
        first.send(hello(kept="listening", gone="listening"))
        await asyncio.wait_for(bridge.link.wait_connected(), 10)
        first.writer.close()
        (await peer.accept()).send(hello(kept="listening"))
        assert await bridge.state() == ("gone", "failed", "lost")
        assert bridge.link.sessions == {"kept": "listening"}


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\2[]",
        frames.encode({"type": "hello", "sessions": [{"state": "x"}]}),
        frames.encode({"type": "session"}),
    ],
)
async def test_nonsense_costs_the_connection_and_nothing_else(
    socket_path: Path, garbage: bytes
) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        first = await peer.accept()
        first.send(hello())
        first.writer.write(garbage)
        again = await peer.accept()
        again.send(hello(), segment(7))
        await again.next("ack")
        assert bridge.segments == ["s-7:0"]


async def test_frames_of_a_newer_scribe_are_passed_over(socket_path: Path) -> None:
    async with listening(socket_path) as peer, linked(socket_path) as bridge:
        scribe = await peer.accept()
        scribe.send(hello(), {"type": "mood", "is": "good"}, {"type": "pong"}, segment(1))
        await scribe.next("ack")
        assert bridge.segments == ["s-1:0"]


async def test_a_link_can_be_ended_at_any_moment(socket_path: Path) -> None:
    async with listening(socket_path) as peer:
        for turn in range(40):
            async with asyncio.timeout(5), linked(socket_path):
                scribe = await peer.accept()
                scribe.send(hello(), *map(segment, range(turn)))
                if turn % 2:
                    scribe.writer.close()
                for _ in range(turn):
                    await asyncio.sleep(0)
