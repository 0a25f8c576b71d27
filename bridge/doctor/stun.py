"""One STUN binding request, as ICE makes it (RFC 8489, RFC 8445), over UDP or TCP (RFC 4571)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from aioice import stun

_RESEND_S = 0.5  # RFC 8489 6.2.1: the first retransmission


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address the media server says it can be reached at."""

    transport: Literal["udp", "tcp"]
    address: str
    port: int

    @property
    def shown(self) -> str:
        """`address:port`."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of both sides: what a check needs."""

    theirs: str
    password: str
    ours: str


_LINE = re.compile(
    r"candidate:\S+ 1 (?P<transport>udp|tcp) \d+ (?P<address>\S+) (?P<port>\d+) typ host", re.I
)


def candidates(text: str) -> list[Candidate]:
    """Host candidates of the first component in an SDP, or in one candidate line."""
    found = []
    for line in _LINE.finditer(text):
        transport: Literal["udp", "tcp"] = "udp" if line["transport"].lower() == "udp" else "tcp"
        found.append(Candidate(transport, line["address"], int(line["port"])))
    return list(dict.fromkeys(found))


def request(credentials: Credentials) -> stun.Message:
    """A check by the controlling side."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{credentials.theirs}:{credentials.ours}"
    message.attributes["PRIORITY"] = 1_853_817_087
    message.attributes["ICE-CONTROLLING"] = 1
    message.add_message_integrity(credentials.password.encode())
    return message


def answers(data: bytes, asked: stun.Message) -> bool:
    """Whether a datagram answers the request; a refusal is an answer too."""
    try:
        message = stun.parse_message(data)
    except (ValueError, struct.error):
        return False
    return bool(
        message.transaction_id == asked.transaction_id
        and message.message_class in {stun.Class.RESPONSE, stun.Class.ERROR}
    )


async def reaches(at: Candidate, credentials: Credentials, timeout_s: float) -> bool:
    """Whether the media server answers a check there."""
    try:
        async with asyncio.timeout(timeout_s):
            if at.transport == "udp":
                return await _udp(at, request(credentials))
            return await _tcp(at, request(credentials))
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


class _Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue(16)

    def datagram_received(self, data: bytes, addr: object) -> None:
        with contextlib.suppress(asyncio.QueueFull):  # a flood: the first answers do
            self.received.put_nowait(data)


async def _udp(at: Candidate, asked: stun.Message) -> bool:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        _Answers, remote_addr=(at.address, at.port)
    )
    try:
        async with _repeating(lambda: transport.sendto(bytes(asked))):
            while not answers(await protocol.received.get(), asked):
                pass
            return True
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def _repeating(send: Callable[[], None]) -> AsyncIterator[None]:
    async def repeat() -> None:
        pause = _RESEND_S
        while True:
            send()
            await asyncio.sleep(pause)
            pause *= 2

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tcp(at: Candidate, asked: stun.Message) -> bool:
    reader, writer = await asyncio.open_connection(at.address, at.port)
    try:
        data = bytes(asked)
        writer.write(struct.pack(">H", len(data)) + data)
        await writer.drain()
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        return answers(await reader.readexactly(length), asked)
    finally:
        writer.close()
