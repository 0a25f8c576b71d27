"""A relay as far as allocations: TURN over UDP (RFC 8656) with coturn's `use-auth-secret`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import cast

from aioice import stun
from aioice.turn import make_integrity_key

REALM, NONCE = "relay.test", b"0123456789abcdef"


class Relay(asyncio.DatagramProtocol):
    """`allocations`: user names that hold an address now."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.allocations: list[str] = []
        self.served: list[str] = []
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = stun.parse_message(data)
        self._transport.sendto(bytes(self._answer(request, data, addr)), addr)

    def _answer(self, request: stun.Message, data: bytes, addr: tuple[str, int]) -> stun.Message:
        username = request.attributes.get("USERNAME", "")
        digest = hmac.new(self._secret, username.encode(), hashlib.sha1).digest()
        key = make_integrity_key(username, REALM, base64.b64encode(digest).decode())
        until = username.partition(":")[0]
        if not (
            until.isdigit() and int(until) > time.time() and request.check_message_integrity(key)
        ):
            return self._refusal(request)
        answer = stun.Message(
            request.message_method, stun.Class.RESPONSE, transaction_id=request.transaction_id
        )
        answer.attributes["LIFETIME"] = lifetime = request.attributes["LIFETIME"]
        if request.message_method == stun.Method.ALLOCATE:
            self.allocations.append(username)
            self.served.append(username)
            answer.attributes["XOR-MAPPED-ADDRESS"] = addr
            answer.attributes["XOR-RELAYED-ADDRESS"] = ("127.0.0.1", 49152)
        elif lifetime == 0:
            self.allocations.remove(username)
        answer.add_message_integrity(key)
        return answer

    def _refusal(self, request: stun.Message) -> stun.Message:
        answer = stun.Message(
            request.message_method, stun.Class.ERROR, transaction_id=request.transaction_id
        )
        answer.attributes["ERROR-CODE"] = (401, "Unauthorized")
        answer.attributes["REALM"], answer.attributes["NONCE"] = REALM, NONCE
        return answer


@contextlib.asynccontextmanager
async def relay(secret: str) -> AsyncIterator[Relay]:
    """A relay on a free port of 127.0.0.1."""
    loop = asyncio.get_running_loop()
    transport, serving = await loop.create_datagram_endpoint(
        lambda: Relay(secret), local_addr=("127.0.0.1", 0)
    )
    try:
        yield serving
    finally:
        transport.close()
