"""`python -m sfu` as a process on free ports, and clients of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from livekit import api, rtc

KEY, SECRET = "testkey", "a-secret-of-the-tests-32-bytes-long"


@dataclass(frozen=True)
class Sfu:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    tcp_port: int
    udp_port: int

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def api(self) -> api.LiveKitAPI:
        return api.LiveKitAPI(self.http, KEY, SECRET)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(port: int, udp_port: int, tcp_port: int, more: Sequence[str] = ()) -> list[str]:
    ports = ["--port", str(port), "--udp-port", str(udp_port), "--tcp-port", str(tcp_port)]
    return [sys.executable, "-m", "sfu", "--bind", "127.0.0.1", *ports, *more]


@contextlib.contextmanager
def running(*more: str) -> Iterator[Sfu]:
    """A server until the block ends; it must end cleanly."""
    port, tcp_port, udp_port = free_port(), free_port(), free_port(socket.SOCK_DGRAM)
    process = subprocess.Popen(
        command(port, udp_port, tcp_port, more),
        env={**os.environ, "LIVEKIT_KEYS": f"{KEY}: {SECRET}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening" in line, line
        yield Sfu(process, port, tcp_port, udp_port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=15) == 0
        finally:
            process.kill()
            process.communicate()


def token(identity: str, room: str, **grants: object) -> str:
    given = {"can_update_own_metadata": True, **grants}
    video = api.VideoGrants(room_join=True, room=room, **given)  # type: ignore[arg-type]
    made = api.AccessToken(KEY, SECRET).with_identity(identity).with_name(identity.title())
    return made.with_grants(video).to_jwt()


async def connected(
    sfu: Sfu, identity: str, room: str, *, single: bool = True, **grants: object
) -> rtc.Room:
    """A `livekit` client in the room."""
    client = rtc.Room()
    options = rtc.RoomOptions(auto_subscribe=True, single_peer_connection=single)
    await client.connect(sfu.ws, token(identity, room, **grants), options)
    return client


def sine(hertz: float, start: int, length: int = 480, rate: int = 48000) -> rtc.AudioFrame:
    """10 ms of a tone at half of full scale, in phase from frame to frame."""
    times = (np.arange(length) + start) / rate
    samples = (np.sin(2 * np.pi * hertz * times) * 16384).astype(np.int16)
    return rtc.AudioFrame(samples.tobytes(), rate, 1, length)


def loudest(samples: np.ndarray, rate: int = 48000) -> float:
    """The frequency that carries most, in hertz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()])
