"""A relay asked for an address, with the credentials that clients get (TURN, RFC 8656)."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Literal

from aioice import stun
from aioice.turn import create_turn_endpoint

_URL = re.compile(
    r"(?P<scheme>turns?):(\[(?P<six>[^\]]+)\]|(?P<name>[^:?\s]+))(:(?P<port>\d+))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True, slots=True)
class Relay:
    """One address of a relay, and who a client is to it."""

    url: str
    username: str
    credential: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of an attempt."""

    kind: Literal["fine", "silent", "refused"]
    reason: str = ""


class _Gone(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.over = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


async def allocation(relay: Relay, patience_s: float, tls: ssl.SSLContext | None = None) -> Outcome:
    """Get an address of the relay and give it back."""
    found = _URL.fullmatch(relay.url)
    if found is None:
        return Outcome("silent", "no address of a relay")
    secure = found["scheme"] == "turns"
    address = found["six"] or found["name"], int(found["port"] or (5349 if secure else 3478))
    try:
        async with asyncio.timeout(patience_s):
            transport, gone = await create_turn_endpoint(
                _Gone,
                server_addr=address,
                username=relay.username,
                password=relay.credential,
                ssl=(tls or ssl.create_default_context()) if secure else None,
                transport="tcp" if secure else found["transport"] or "udp",
            )
            transport.close()
            await gone.over.wait()
    except stun.TransactionFailed as error:
        return Outcome("refused", " ".join(str(p) for p in error.response.attributes["ERROR-CODE"]))
    except TimeoutError:
        return Outcome("silent", f"{patience_s:.0f} s")
    except (stun.TransactionError, OSError, ConnectionError) as error:
        return Outcome("silent", str(error) or type(error).__name__)
    return Outcome("fine")
