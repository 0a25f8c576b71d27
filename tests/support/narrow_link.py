"""A UDP relay on loopback that is as narrow, slow and lossy as told, one process for each way in.

    python -m tests.support.narrow_link ADDRESS PORT TARGET

It listens on ADDRESS:PORT and passes on to TARGET:PORT and back. Each line on stdin sets one
direction, `{"way": "down", "rate": 700000, "delay": 0.02, "queue": 0.3, "loss": 0.05}` (`rate` in
bit/s of whole IP packets, null for no limit; `queue` in seconds at that rate, what comes on top is
dropped; `loss` is random), and is answered by a line with the counts of both directions so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

IP_UDP = 28
BUFFER = 4 << 20
Address = tuple[str, int]
Send = Callable[[bytes], None]


@dataclass
class Lane:
    """One direction: a token clock with a bounded queue before it."""

    rate: float | None = None
    delay: float = 0.0
    queue: float = 0.3
    loss: float = 0.0
    passed: int = 0
    octets: int = 0
    dropped: int = 0
    lost: int = 0
    free_at: float = field(default=0.0, repr=False)

    def take(self, packet: bytes, send: Send) -> None:
        """Let a packet through at its time, or not at all."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if random.random() < self.loss:
            self.lost += 1
            return
        at = now
        if self.rate:
            begins = max(now, self.free_at)
            if begins - now > self.queue:
                self.dropped += 1
                return
            at = self.free_at = begins + (len(packet) + IP_UDP) * 8 / self.rate
        self.passed += 1
        self.octets += len(packet) + IP_UDP
        if at + self.delay > now:
            loop.call_at(at + self.delay, send, packet)
        else:
            send(packet)


class _Back(asyncio.DatagramProtocol):
    """The relay's own socket for one client: what the server answers."""

    def __init__(self, lane: Lane, send: Send) -> None:
        self._lane = lane
        self._send = send

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._lane.take(data, self._send)


class _Front(asyncio.DatagramProtocol):
    """Where clients send to."""

    def __init__(self, target: Address, lanes: dict[str, Lane]) -> None:
        self._target = target
        self._lanes = lanes
        self._backs: dict[Address, asyncio.DatagramTransport] = {}
        self._opening: dict[Address, asyncio.Task[None]] = {}
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        back = self._backs.get(addr)
        if back is not None:
            self._lanes["up"].take(data, back.sendto)
        elif addr not in self._opening:  # the first requests of ICE are repeated
            self._opening[addr] = asyncio.create_task(self._open(addr))

    async def _open(self, addr: Address) -> None:
        def answer(packet: bytes) -> None:
            self._transport.sendto(packet, addr)

        self._backs[addr], _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Back(self._lanes["down"], answer), sock=_socket(None, self._target)
        )


def _socket(own: Address | None, target: Address | None) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    opened.setblocking(False)
    if own:
        opened.bind(own)
    if target:
        opened.connect(target)
    return opened


async def relay(own: Address, target: Address) -> None:
    """Until stdin ends."""
    lanes = {"up": Lane(), "down": Lane()}
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Front(target, lanes), sock=_socket(own, None))
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        lane = lanes.get(told.pop("way", ""))
        for name, value in told.items():
            setattr(lane, name, value)
        print(json.dumps({way: asdict(one) for way, one in lanes.items()}), flush=True)


class NarrowLink:
    """A relay process of ours."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def shape(self, way: str = "", **values: float | None) -> dict[str, Any]:
        """Set a direction; the counts of both."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"way": way, **values}).encode() + b"\n")
        counts: dict[str, Any] = json.loads(await stdout.readline())
        return counts

    async def clear(self, delay: float) -> None:
        """No limit and no loss in either direction."""
        for way in ("up", "down"):
            await self.shape(way, rate=None, loss=0.0, delay=delay)


@contextlib.asynccontextmanager
async def narrow_link(address: str, port: int, target: str) -> AsyncIterator[NarrowLink]:
    """A relay until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.narrow_link", address, str(port), target),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    link = NarrowLink(process)
    try:
        await link.shape()
        yield link
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    address, port, target = sys.argv[1:]
    asyncio.run(relay((address, int(port)), (target, int(port))))
