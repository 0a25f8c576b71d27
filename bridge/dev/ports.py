"""Ports of a development instance."""

from __future__ import annotations

import random
import socket

from bridge.errors import ColloqueError

# Below Linux's ephemeral range (32768 and up): an outgoing connection never takes one of these
# between our check and the server's bind, nor while a stopped server waits to be started again.
_FREE = range(20000, 32000)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen at this TCP port (and, so media ports fit too, UDP) now."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                # As servers do: a connection in TIME_WAIT is no reason to call the port taken.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports free on the loopback address."""
    found: list[int] = []
    for port in random.sample(_FREE, len(_FREE)):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    return found


def free_block(count: int) -> int:
    """The first of `count` consecutive free ports."""
    starts = range(_FREE.start, _FREE.stop - count, count)
    for first in random.sample(starts, len(starts)):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise ColloqueError(f"there are no {count} free ports in a row between 20000 and 32000")
