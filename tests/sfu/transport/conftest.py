"""An endpoint on loopback with free ports, closed with all its peers."""

import socket
from collections.abc import AsyncIterator

import pytest

from sfu.transport.endpoint import Endpoint, EndpointSettings
from tests.sfu.transport.client_peer import Observer


def free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    opened = await Endpoint.open(
        EndpointSettings(bind=("127.0.0.1",), udp_port=0, tcp_port=free_tcp_port())
    )
    yield opened
    await opened.close()


@pytest.fixture
def observer() -> Observer:
    return Observer()
