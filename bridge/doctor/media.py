"""The media server: server API, clock, signalling, every way media may take, its news."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import jwt
from livekit import rtc
from livekit.protocol.rtc import ICEServer

from bridge.doctor.configuration import is_here
from bridge.doctor.findings import Remark, Value, failed, ok, unchecked, warning
from bridge.doctor.http import NoAnswer, Reply, ask
from bridge.doctor.relays import Relay, allocation
from bridge.doctor.signalling import NoJoin, join
from bridge.doctor.stun import Candidate, reaches
from bridge.doctor.visit import Visit
from bridge.doctor.walk import Answer
from bridge.matrix.discovery import is_public
from bridge.media.programs import webhook_url
from bridge.media.server import MediaServer
from bridge.media.tokens import call_token

_SKEW_WARN_S, _SKEW_FAIL_S = 4, 10
"""Call tokens are dated ten seconds back (bridge.media.tokens)."""
NEWS_S = 6.0
"""How long the media server's news may take."""
WAY_S = 4.0
"""How long a check of a media address may take."""
_LONG = 6000
"""Bytes of an address: a client's first request carries its whole offer (2 to 5 kB)."""
_COUNT = re.compile(r'^colloque_media_webhooks_total\{outcome="(\w+)"\} ([0-9.e+]+)', re.M)


async def reachable(visit: Visit) -> Remark:
    """It answers at `media.api_url`."""
    url = visit.settings.media.api_url
    try:
        reply = await ask("GET", url)
    except NoAnswer as error:
        log = str(visit.settings.path(visit.settings.data_dir) / "sfu.log")
        return failed("media.down", url=url, reason=str(error), log=log)
    return ok("answers", address=url, ms=reply.ms)


async def clock(visit: Visit) -> Answer:
    """This machine, the media server and the homeserver agree what time it is."""
    remarks = []
    media = await ask("GET", visit.settings.media.api_url)
    remarks += _skew(media, visit.clock(), visit.settings.media.api_url)
    homeserver = f"{visit.settings.homeserver.address.rstrip('/')}/_matrix/client/versions"
    with contextlib.suppress(NoAnswer):  # its own check has said so
        reply = await ask("GET", homeserver)
        remarks += _skew(reply, visit.clock(), visit.settings.homeserver.address)
    return remarks or ok("clock.fine")


def _skew(reply: Reply, now: float, where: str) -> list[Remark]:
    try:
        theirs = parsedate_to_datetime(reply.header("Date")[0]).timestamp()
    except (IndexError, ValueError):
        return []
    # A Date has whole seconds.
    off = round(theirs + 0.5 - now)
    if abs(off) > _SKEW_FAIL_S:
        return [failed("clock.off", where=where, seconds=off)]
    return [warning("clock.off", where=where, seconds=off)] if abs(off) > _SKEW_WARN_S else []


async def key(visit: Visit) -> Remark:
    """The server API takes our key: a room for this walk is made."""
    visit.webhooks = await _webhook_counts(visit)
    reply = await _create_room(visit)
    media = visit.settings.media
    values = {"url": media.api_url, "status": reply.shown, "key": visit.key.key}
    if reply.status in {401, 403}:
        return failed("media.key", reason=_reason(reply), **values)
    if reply.status != 200:
        return failed("media.stranger", **values)
    visit.undo.push_async_callback(_remove_room, visit)
    return ok("media.key_fine", key=visit.key.key)


async def _create_room(visit: Visit) -> Reply:
    now = int(visit.clock())
    claims = {
        "iss": visit.key.key,
        "nbf": now,
        "exp": now + 60,
        "video": {"roomCreate": True, "roomList": True},
    }
    token = jwt.encode(claims, visit.key.secret, algorithm="HS256")
    url = f"{visit.settings.media.api_url.rstrip('/')}/twirp/livekit.RoomService/CreateRoom"
    body = {"name": visit.media_room, "empty_timeout": 30, "departure_timeout": 1}
    return await ask("POST", url, token=token, body=body)


def _reason(reply: Reply) -> str:
    return str(reply.object.get("msg") or reply.body[:100].decode(errors="replace"))


async def _remove_room(visit: Visit) -> None:
    media = MediaServer(visit.settings.media.api_url, visit.key, timeout_s=3)
    try:
        await media.delete_room(visit.media_room)
    finally:
        await media.close()


def _token(visit: Visit, identity: str) -> str:
    return call_token(
        visit.key,
        identity=identity,
        room=visit.media_room,
        now=int(visit.clock()),
        ttl_s=120,
        can_publish=False,
        agent=True,
    )


async def signal(visit: Visit) -> Answer:
    """`/rtc` of `media.public_url` opens a WebSocket, takes a token and lets us in."""
    url, begin = visit.settings.media.public_url, time.monotonic()
    try:
        joined = await join(url, _token(visit, "doctor-signal"))
    except NoJoin as error:
        return _refused(visit, error)
    except NoAnswer as error:
        kind = error.kind if error.kind in {"dns", "tls"} else "down"
        return failed(f"signal.{kind}", url=url, reason=str(error))
    except TimeoutError:
        return failed("signal.silent", url=url)
    visit.joined = joined
    visit.undo.push_async_callback(joined.close)
    return ok("answers", address=url, ms=round((time.monotonic() - begin) * 1000))


def _refused(visit: Visit, error: NoJoin) -> Remark:
    media = visit.settings.media
    values: dict[str, Value] = {
        "url": media.public_url,
        "status": error.status,
        "api_url": media.api_url,
    }
    if error.status in {401, 403}:
        return failed("signal.key", **values)
    if error.status == 101:
        return failed("signal.silent", url=media.public_url)
    return failed("signal.route", **values)


async def validate(visit: Visit) -> Answer:
    """What clients ask by plain HTTP beside the WebSocket, and how long an address may be."""
    media, token = visit.settings.media, _token(visit, "doctor-validate")
    public = media.public_url.rstrip("/").replace("ws", "http", 1)
    inside = await ask("GET", f"{media.api_url.rstrip('/')}/rtc/v1/validate", token=token)
    remarks: list[Remark] = []
    outside = await ask("GET", f"{public}/rtc/v1/validate", token=token)
    if outside.status != inside.status:
        values = {"status": outside.shown, "inside": inside.shown}
        remarks.append(failed("validate.elsewhere", url=media.public_url, **values))
    elif outside.header("Access-Control-Allow-Origin") != ["*"]:
        found = ", ".join(outside.header("Access-Control-Allow-Origin"))
        remarks.append(failed("validate.cors", url=media.public_url, found=found))
    long = await ask("GET", f"{public}/rtc/v1/validate?doctor={'x' * _LONG}", token=token)
    if long.status != outside.status:
        remarks.append(failed("validate.long", status=long.shown, size=_LONG))
    return remarks or ok("validate.fine", size=_LONG)


async def udp(visit: Visit) -> Answer:
    """A STUN binding over UDP is answered at an address that clients are given."""
    media = visit.settings.media
    return await _way(visit, "udp", media.rtc_udp_port)


async def tcp(visit: Visit) -> Answer:
    """The same over TCP, for networks that let no UDP through."""
    media = visit.settings.media
    if media.backend == "embedded" and media.rtc_tcp_port == 0:
        return warning("tcp.none")
    return await _way(visit, "tcp", media.rtc_tcp_port)


async def _way(visit: Visit, transport: str, port: int) -> Answer:
    joined = visit.joined
    if joined is None or joined.credentials is None:
        return unchecked("way.no_offer")
    given = [one for one in joined.candidates if one.transport == transport]
    if not given:
        return failed(f"{transport}.not_offered", port=port)
    known = joined.credentials
    reached = await asyncio.gather(*(reaches(one, known, WAY_S) for one in given))
    visit.ways[transport] = any(reached)
    shown = ", ".join(one.shown for one in given)
    if not any(reached):
        return failed(f"{transport}.silent", addresses=shown, port=port)
    remarks = [ok("way.fine", addresses=shown)]
    if _only_inside(given, visit):
        remarks.append(warning("way.private", addresses=shown))
    return remarks


def _only_inside(given: list[Candidate], visit: Visit) -> bool:
    """Whether clients elsewhere get no address of use, though signalling is for everybody."""
    host = urlsplit(visit.settings.media.public_url).hostname or ""
    if is_here(host):
        return False
    with contextlib.suppress(ValueError):
        if not is_public(str(ipaddress.ip_address(host))):
            return False  # a closed network, all of it
    return not any(is_public(one.address) for one in given)


async def turn(visit: Visit) -> Answer:
    """Relays that the media server tells clients of give them an address."""
    servers = visit.joined.response.ice_servers if visit.joined else []
    relays = relays_of(servers)
    if not relays and visit.settings.media.turn_urls:
        return failed("turn.not_told", servers=", ".join(visit.settings.media.turn_urls))
    if not relays:
        return unchecked("turn.none")
    outcomes = await asyncio.gather(*(allocation(relay, WAY_S) for relay in relays))
    remarks = []
    for relay, outcome in zip(relays, outcomes, strict=True):
        if outcome.kind == "refused":
            remarks.append(failed("turn.refused", server=relay.url, reason=outcome.reason))
        elif outcome.kind == "silent":
            remarks.append(failed("turn.silent", server=relay.url, reason=outcome.reason))
    return remarks or ok("turn.some", servers=", ".join(relay.url for relay in relays))


def relays_of(servers: Iterable[ICEServer]) -> list[Relay]:
    """Each address of a relay, with its credentials; STUN servers are none."""
    return [
        Relay(url, one.username, one.credential)
        for one in servers
        for url in one.urls
        if url.startswith("turn")
    ]


async def media(visit: Visit) -> Remark:
    """A real client joins: WebSocket, ICE and DTLS, as everybody's does."""
    if visit.ways and not any(visit.ways.values()):
        return unchecked("because", check="media.udp")
    client, begin = rtc.Room(), time.monotonic()
    options = rtc.RoomOptions(auto_subscribe=False, connect_timeout=5.0)
    url = visit.settings.media.public_url
    try:
        async with asyncio.timeout(20):
            await client.connect(url, _token(visit, "doctor-client"), options)
    except (rtc.ConnectError, TimeoutError):
        return failed("join.failed", url=url)
    took = round((time.monotonic() - begin) * 1000)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await client.disconnect()
    return ok("join.fine", ms=took)


async def webhooks(visit: Visit) -> Remark:
    """The media server's news of the room we made has reached the bridge."""
    before = visit.webhooks
    if not before:
        return unchecked("webhooks.uncounted")
    url, end = webhook_url(visit.settings), time.monotonic() + NEWS_S
    while True:
        now = await _webhook_counts(visit)
        if now.get("refused", 0) > before.get("refused", 0):
            return failed("webhooks.refused", url=url, key=visit.key.key)
        if any(now.get(name, 0) > before.get(name, 0) for name in ("not_ours", "new", "repeated")):
            return ok("webhooks.fine")
        if time.monotonic() > end:
            return failed("webhooks.none", url=url)
        await asyncio.sleep(0.2)  # another process counts


async def _webhook_counts(visit: Visit) -> dict[str, float]:
    """By outcome; one entry at least where they can be counted."""
    try:
        reply = await ask("GET", f"{visit.inside}/metrics")
    except NoAnswer:
        return {}
    if reply.status != 200:
        return {}
    found = _COUNT.findall(reply.body.decode(errors="replace"))
    return {"counted": 0.0, **{name: float(value) for name, value in found}}
