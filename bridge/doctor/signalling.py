"""A real join over the signalling WebSocket, without a browser: as far as the media addresses.

The older of LiveKit's two ways (`/rtc`, two peer connections), because there the server offers:
its offer names its addresses and the password for checks, and nothing has to be encoded.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field

import aiohttp
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from livekit.protocol import rtc
from yarl import URL

from bridge.doctor.http import no_answer
from bridge.doctor.stun import Candidate, Credentials, candidates

_JOIN_S, _OFFER_S, _TRICKLE_S = 8.0, 5.0, 1.5


class NoJoin(Exception):
    """The WebSocket was not opened, or the media server did not let us in."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass
class Joined:
    """A place in the media room, until `close()`."""

    http: aiohttp.ClientSession
    ws: aiohttp.ClientWebSocketResponse
    response: rtc.JoinResponse
    credentials: Credentials | None = None
    candidates: list[Candidate] = field(default_factory=list)

    async def close(self) -> None:
        """Leave."""
        if not self.ws.closed:
            await self.ws.send_bytes(
                rtc.SignalRequest(leave=rtc.LeaveRequest()).SerializeToString()
            )
            await self.ws.close()
        await self.http.close()


async def join(public_url: str, token: str) -> Joined:
    """Connect and learn the media addresses. Raises NoAnswer, NoJoin and TimeoutError."""
    http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=8))
    try:
        # The token in a header: in the address it might end up in somebody's log.
        url = URL(f"{public_url.rstrip('/')}/rtc?protocol=15&auto_subscribe=0&sdk=python&version=1")
        async with asyncio.timeout(_JOIN_S):
            joined = await _joined(http, url, token)
        await _learn(joined)
    except aiohttp.WSServerHandshakeError as error:
        await http.close()
        raise NoJoin(error.status, error.message) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        await http.close()
        raise no_answer(error) from error
    except BaseException:
        await http.close()
        raise
    return joined


async def _joined(http: aiohttp.ClientSession, url: URL, token: str) -> Joined:
    ws = await http.ws_connect(url, headers={"Authorization": f"Bearer {token}"})
    first = await _next(ws)
    if first is None or not first.HasField("join"):
        await ws.close()
        raise NoJoin(101, "no join" if first is None else str(first.WhichOneof("message")))
    return Joined(http, ws, first.join)


async def _next(ws: aiohttp.ClientWebSocketResponse) -> rtc.SignalResponse | None:
    message = await ws.receive()
    try:
        if message.type == aiohttp.WSMsgType.BINARY:
            return rtc.SignalResponse.FromString(message.data)
        if message.type == aiohttp.WSMsgType.TEXT:
            return Parse(message.data, rtc.SignalResponse(), ignore_unknown_fields=True)
    except (DecodeError, ParseError):
        pass
    return None


async def _learn(joined: Joined) -> None:
    """Read until the offer and its addresses are there; answer it, so that checks are answered."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _OFFER_S
    while loop.time() < end:
        try:
            async with asyncio.timeout_at(end):
                message = await _next(joined.ws)
        except TimeoutError:
            return
        if message is None:
            return
        if message.HasField("offer"):
            await _answer(joined, message.offer)
            end = min(end, loop.time() + (0.0 if joined.candidates else _TRICKLE_S))
        elif message.HasField("trickle"):
            joined.candidates += candidates(message.trickle.candidateInit)


async def _answer(joined: Joined, offer: rtc.SessionDescription) -> None:
    ours = secrets.token_hex(4)
    joined.credentials = Credentials(
        theirs=_attribute(offer.sdp, "ice-ufrag"),
        password=_attribute(offer.sdp, "ice-pwd"),
        ours=ours,
    )
    joined.candidates += candidates(offer.sdp)
    description = rtc.SessionDescription(type="answer", sdp=answer_to(offer.sdp, ours), id=offer.id)
    request = rtc.SignalRequest(answer=description)
    await joined.ws.send_bytes(request.SerializeToString())


def answer_to(offer: str, ufrag: str) -> str:
    """An answer that takes the data channel and refuses all else; nobody will speak DTLS."""
    fingerprint = ":".join(f"{byte:02X}" for byte in secrets.token_bytes(32))
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    sections = re.split(r"(?m)^(?=m=)", offer)[1:]
    kept = [_attribute(one, "mid") for one in sections if one.startswith("m=application")]
    lines.append(f"a=group:BUNDLE {' '.join(kept)}")
    for section in sections:
        head = section.split()
        mid = f"a=mid:{_attribute(section, 'mid')}"
        if head[0] != "m=application":
            lines += [f"{head[0]} 0 {head[2]} {head[3]}", "c=IN IP4 0.0.0.0", mid, "a=inactive"]
            continue
        lines += [f"m=application 9 {head[2]} webrtc-datachannel", "c=IN IP4 0.0.0.0", mid]
        lines += [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{secrets.token_hex(16)}"]
        lines += [f"a=fingerprint:sha-256 {fingerprint}", "a=setup:active", "a=sctp-port:5000"]
    return "\r\n".join(lines) + "\r\n"


def _attribute(sdp: str, name: str) -> str:
    found = re.search(rf"(?m)^a={name}:(\S+)", sdp)
    return found[1] if found else ""
