"""The processes of this deployment: the running bridge and its scribe."""

from __future__ import annotations

from bridge.doctor.findings import Remark, failed, ok, warning
from bridge.doctor.http import NoAnswer, ask
from bridge.doctor.visit import Visit, reach


async def running(visit: Visit) -> Remark:
    """The bridge's web service, on this machine, without the reverse proxy."""
    listen = visit.settings.web.listen
    try:
        reply = await ask("GET", f"{visit.inside}/healthz")
    except NoAnswer as error:
        return failed("bridge.down", listen=listen, reason=str(error))
    health = reply.object
    instance, parts = health.get("instance"), health.get("parts")
    if reply.status != 200 or not isinstance(instance, str) or not isinstance(parts, dict):
        return failed("bridge.stranger", listen=listen, status=reply.shown)
    visit.instance = instance
    visit.parts = {str(name): str(state) for name, state in parts.items()}
    return ok("bridge.up", listen=listen, ms=reply.ms)


async def appservice(visit: Visit) -> Remark:
    """The port the homeserver connects to, asked with the registration's `hs_token`."""
    listen = visit.settings.appservice.listen
    url = f"{reach(listen)}/_matrix/app/v1/ping"
    try:
        reply = await ask("POST", url, token=visit.registration.hs_token, body={})
    except NoAnswer as error:
        return failed("appservice.down", listen=listen, reason=str(error))
    path = str(visit.settings.path(visit.settings.appservice.registration))
    if reply.status in {401, 403}:
        return failed("appservice.token", listen=listen, path=path)
    if reply.status != 200:
        return failed("appservice.stranger", listen=listen, status=reply.shown)
    return ok("listens", listen=listen)


async def scribe(visit: Visit) -> Remark:
    """The bridge has a scribe, and a scribe answers only when its recognizer is warm."""
    settings = visit.settings.scribe
    engines = ", ".join(one.engine for one in settings.engines)
    socket = str(visit.settings.path(settings.socket))
    if visit.parts.get("scribe") == "ok":
        return ok("scribe.fine", engine=engines)
    log = str(visit.settings.path(visit.settings.data_dir) / "scribe.log")
    if settings.supervise:
        return warning("scribe.down", engine=engines, log=log)
    return warning("scribe.elsewhere", socket=socket)
