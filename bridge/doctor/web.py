"""The public address of the web service: does it lead here, whole, with a certificate and CORS."""

from __future__ import annotations

import asyncio
import ssl
import time
from urllib.parse import urlsplit

from cryptography import x509

from bridge.doctor.findings import Remark, failed, ok, unchecked, warning
from bridge.doctor.http import NoAnswer, Reply, ask
from bridge.doctor.visit import Visit
from bridge.doctor.walk import Answer

_DAYS_WARN, _DAYS_FAIL = 21, 3
ORIGIN = {"Origin": "https://doctor.invalid"}
POSTS = ("/sfu/get", "/get_token", "/delegate_delayed_leave")
_GETS = ("/", "/config.json", "/static/call.js")


async def public(visit: Visit) -> Remark:
    """`web.public_url` leads to this very bridge."""
    url = f"{visit.page}/healthz"
    try:
        reply = await ask("GET", url)
    except NoAnswer as error:
        return failed(f"web.{_sort(error)}", url=visit.page, reason=str(error))
    if 300 <= reply.status < 400:
        return failed("web.redirect", url=url, to=(reply.header("Location") or [""])[0])
    instance = reply.object.get("instance")
    # From outside nobody knows which instance it should be.
    if instance and visit.instance in {"", instance}:
        return ok("answers", address=visit.page, ms=reply.ms)
    if instance:
        return failed("web.other", url=visit.page, listen=visit.settings.web.listen)
    prefix, listen = urlsplit(visit.page).path, visit.settings.web.listen
    if prefix and reply.status in {404, 405}:
        return failed("web.prefix", url=url, prefix=prefix, status=reply.shown, listen=listen)
    return failed("web.stranger", url=url, status=reply.shown, listen=listen)


def _sort(error: NoAnswer) -> str:
    return error.kind if error.kind in {"dns", "tls"} else "down"


async def routes(visit: Visit) -> Answer:
    """Every route of the service gives the same answer outside as inside."""
    remarks: list[Remark] = []
    for method, path in [("POST", path) for path in POSTS] + [("GET", path) for path in _GETS]:
        body: dict[str, str] | None = {} if method == "POST" else None
        inside = await ask(method, visit.inside + path, body=body)
        try:
            outside = await ask(method, visit.page + path, body=body, headers=ORIGIN)
        except NoAnswer as error:
            remarks.append(failed("route.down", url=visit.page + path, reason=str(error)))
            continue
        if _differ(inside, outside):
            values = {"path": path, "status": outside.shown, "inside": inside.shown}
            remarks.append(failed("route.elsewhere", listen=visit.settings.web.listen, **values))
        elif method == "POST":
            remarks += _cors(outside, path)
    return remarks or ok("route.fine", count=len(POSTS) + len(_GETS))


def _differ(inside: Reply, outside: Reply) -> bool:
    return (inside.status, inside.errcode) != (outside.status, outside.errcode)


def _cors(reply: Reply, path: str) -> list[Remark]:
    allowed = reply.header("Access-Control-Allow-Origin")
    if allowed == ["*"]:
        return []
    found = ", ".join(allowed)
    if len(allowed) > 1:
        return [failed("cors.twice", path=path, found=found)]
    return [failed("cors.none", path=path, found=found)]


async def preflight(visit: Visit) -> Answer:
    """What a browser asks before it posts to another origin."""
    remarks = []
    asked = {
        **ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for path in POSTS:
        reply = await ask("OPTIONS", visit.page + path, headers=asked)
        allowed = ",".join(reply.header("Access-Control-Allow-Headers")).lower()
        if reply.status not in {200, 204} or "content-type" not in allowed:
            remarks.append(failed("preflight.refused", path=path, status=reply.shown))
        else:
            remarks += _cors(reply, path)
    return remarks or ok("preflight.fine")


async def certificates(visit: Visit) -> Answer:
    """Of every public address with TLS: valid, and for how long."""
    settings, remarks = visit.settings, []
    urls = (visit.page, settings.media.public_url, settings.homeserver.public_address)
    hosts = dict.fromkeys(
        (parts.hostname, parts.port or 443)
        for parts in map(urlsplit, urls)
        if parts.scheme in {"https", "wss"} and parts.hostname
    )
    if not hosts:
        return unchecked("certificate.none")
    for host, port in hosts:
        remarks.append(await _certificate(str(host), port))
    return remarks


async def _certificate(host: str, port: int) -> Remark:
    try:
        async with asyncio.timeout(8):
            raw = await _served(host, port)
    except ssl.SSLCertVerificationError as error:
        return failed("certificate.invalid", host=host, reason=error.verify_message)
    except (OSError, TimeoutError) as error:
        return failed("certificate.unseen", host=host, reason=str(error) or "timeout")
    ends = x509.load_der_x509_certificate(raw).not_valid_after_utc
    days = int((ends.timestamp() - time.time()) // 86400)
    if days < _DAYS_FAIL:
        return failed("certificate.ends", host=host, days=days)
    if days < _DAYS_WARN:
        return warning("certificate.ends", host=host, days=days)
    return ok("certificate.fine", host=host, days=days)


async def _served(host: str, port: int) -> bytes:
    _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    try:
        connection = writer.get_extra_info("ssl_object")
        return bytes(connection.getpeercert(binary_form=True))
    finally:
        writer.close()
