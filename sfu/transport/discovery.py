"""The address others see us at, told by a STUN server (RFC 8489) that the configuration names."""

import asyncio
import logging
import socket
import struct
from collections.abc import Sequence
from typing import Any

from aioice import stun

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
RESEND_S = 0.5
"""RFC 8489 section 6.2.1, without its doubling: a handful of packets in all."""
MAX_ANSWER = 1024

Server = tuple[str, int]
"""Host (a name or an address) and port."""


async def addresses_seen(
    sockets: Sequence[socket.socket], server: Server, *, patience_s: float = PATIENCE_S
) -> dict[socket.socket, str]:
    """What the server sees each socket as; sockets it does not answer are left out.

    The media sockets themselves ask, before they are read for clients: only they have the port
    that clients come to. OSError, in one clear line, if no socket got an answer.
    """
    found: dict[socket.socket, str] = {}
    try:
        async with asyncio.timeout(patience_s), asyncio.TaskGroup() as group:
            for udp in sockets:
                group.create_task(_ask(udp, server, found), name="address discovery")
    except TimeoutError:
        pass
    if not found:
        raise OSError(
            f"the STUN server {server[0]} port {server[1]} did not answer in {patience_s:.0f} s;"
            " name the addresses instead (--advertise)"
        )
    return found


async def _ask(udp: socket.socket, server: Server, found: dict[socket.socket, str]) -> None:
    loop = asyncio.get_running_loop()
    try:
        known = await loop.getaddrinfo(*server, family=udp.family, type=socket.SOCK_DGRAM)
    except OSError:  # no address of this family
        return
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    while True:
        try:
            await loop.sock_sendto(udp, bytes(request), known[0][4])
            async with asyncio.timeout(RESEND_S):
                address, port = await _answer(udp, request)
        except TimeoutError:
            continue
        except OSError:  # no route from here, or an ICMP error
            return
        if port != udp.getsockname()[1]:
            log.warning(
                "a router changes UDP port %d to %d: it must forward port %d to this machine",
                udp.getsockname()[1], port, udp.getsockname()[1],
            )  # fmt: skip
        found[udp] = address
        return


async def _answer(udp: socket.socket, request: stun.Message) -> tuple[str, int]:
    """The mapped address in the answer to `request`; everything else that comes is left aside."""
    while True:
        data, _ = await asyncio.get_running_loop().sock_recvfrom(udp, MAX_ANSWER)
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            continue
        fits = message.transaction_id == request.transaction_id
        if fits and message.message_class == stun.Class.RESPONSE:
            attributes: dict[str, Any] = message.attributes
            mapped = attributes.get("XOR-MAPPED-ADDRESS") or attributes.get("MAPPED-ADDRESS")
            if mapped is not None:
                return mapped[0], mapped[1]
