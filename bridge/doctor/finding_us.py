"""How clients find the token service: MSC4143's endpoint and the well-known documents."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from bridge.doctor.configuration import is_here
from bridge.doctor.findings import Remark, failed, ok, unchecked, warning
from bridge.doctor.http import NoAnswer, Reply, ask
from bridge.doctor.visit import Visit
from bridge.doctor.walk import Answer
from bridge.matrix.discovery import parse_server_name
from bridge.web.discovery import TRANSPORTS, WELL_KNOWN

_FOCI = "org.matrix.msc4143.rtc_foci"


async def transports(visit: Visit) -> Answer:
    """What the homeserver tells clients of call servers is us, letter by letter."""
    reply = await visit.matrix("GET", TRANSPORTS)
    ours = visit.page
    if reply.status == 404:
        return failed("transports.off", url=ours)
    if reply.status != 200:
        return failed("homeserver.answers", request="rtc/transports", status=reply.shown)
    listed = reply.object.get("rtc_transports")
    if not isinstance(listed, list) or not listed:
        return failed("transports.none", url=ours)
    return _compared(listed, ours, "transports")


def _compared(listed: list[Any], ours: str, where: str) -> Remark:
    urls = [
        str(one["livekit_service_url"])
        for one in listed
        if isinstance(one, dict) and one.get("type") == "livekit" and "livekit_service_url" in one
    ]
    if not urls:
        return failed(f"{where}.shape", url=ours)
    if urls[0] == ours:
        return ok("transports.fine", url=ours)
    if urls[0].rstrip("/") == ours:
        return failed(f"{where}.slash", url=ours, found=urls[0])
    # Clients take the first of the list.
    if ours in urls:
        return failed(f"{where}.order", url=ours, found=urls[0])
    return failed(f"{where}.other", url=ours, found=urls[0])


async def client(visit: Visit) -> Answer:
    """`/.well-known/matrix/client` of the server name, as a page of another origin reads it."""
    url = client_url(visit)
    try:
        reply = await ask("GET", url, headers={"Origin": "https://doctor.invalid"})
    except NoAnswer as error:
        return failed("known.down", url=url, reason=str(error))
    if reply.status != 200 or not reply.object:
        return failed("known.absent", url=url, status=reply.shown)
    remarks = [_cors(reply, url), _foci(reply, visit.page, url), _base(reply, url)]
    found = [one for one in remarks if one is not None]
    return found or ok("known.fine", url=url)


def client_url(visit: Visit) -> str:
    """Where clients look: at the host of the server name; on loopback, at the homeserver."""
    homeserver = visit.settings.homeserver
    host = parse_server_name(homeserver.server_name).host
    if is_here(host):  # development: a server name nobody serves pages at
        return (homeserver.public_address or homeserver.address).rstrip("/") + WELL_KNOWN
    return f"https://{f'[{host}]' if ':' in host else host}{WELL_KNOWN}"


def _cors(reply: Reply, url: str) -> Remark | None:
    allowed = reply.header("Access-Control-Allow-Origin")
    return None if allowed == ["*"] else failed("known.cors", url=url, found=", ".join(allowed))


def _foci(reply: Reply, ours: str, url: str) -> Remark | None:
    listed = reply.object.get(_FOCI)
    if not isinstance(listed, list) or not listed:
        return failed("known.foci", url=url, ours=ours)
    found = _compared(listed, ours, "known")
    return None if found.outcome == "ok" else found


def _base(reply: Reply, url: str) -> Remark | None:
    section = reply.object.get("m.homeserver")
    base = section.get("base_url") if isinstance(section, dict) else None
    if isinstance(base, str) and urlsplit(base).scheme in {"http", "https"}:
        return None
    return warning("known.base", url=url)


async def server(visit: Visit) -> Remark:
    """`/.well-known/matrix/server`, where the server name needs it."""
    name = parse_server_name(visit.settings.homeserver.server_name)
    if name.port is not None or name.literal:
        return ok("delegation.port", name=str(name))
    url = f"https://{name.host}/.well-known/matrix/server"
    try:
        reply = await ask("GET", url)
    except NoAnswer as error:
        return unchecked("delegation.none", url=url, reason=str(error))
    if reply.status == 404:
        return unchecked("delegation.none", url=url, reason="404")
    try:
        target = str(parse_server_name(str(reply.object["m.server"])))
    except (KeyError, ValueError):
        return failed("delegation.wrong", url=url, status=reply.shown)
    return ok("delegation.fine", target=target)
