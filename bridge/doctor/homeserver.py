"""The homeserver: what it can, whether it takes the bot, and whether it reaches the bridge."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from bridge.doctor.findings import Remark, failed, ok, unchecked, warning
from bridge.doctor.http import NoAnswer, ask
from bridge.doctor.visit import Visit
from bridge.doctor.walk import Answer
from bridge.ids import server_of
from bridge.matrix import wire

_V3 = "/_matrix/client/v3"
_DELAYED = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
_HOUR_MS = 3_600_000
"""Element Call asks for an hour where a leave is delegated (MSC4195)."""
_RESTARTS = 8
"""More than Synapse lets through at once by default (burst 5), less than a call needs."""


async def reachable(visit: Visit) -> Remark:
    """It answers at `homeserver.address`."""
    address = visit.settings.homeserver.address
    try:
        # Without the token, which has a check of its own.
        reply = await ask("GET", f"{address.rstrip('/')}/_matrix/client/versions")
    except NoAnswer as error:
        return failed("homeserver.down", address=address, reason=str(error))
    if reply.status != 200 or "versions" not in reply.object:
        return failed("homeserver.stranger", address=address, status=reply.shown)
    return ok("answers", address=address, ms=reply.ms)


async def version(visit: Visit) -> Remark:
    """Name and version of the software, where the client listener tells it."""
    reply = await visit.matrix("GET", "/_matrix/federation/v1/version")
    server = reply.object.get("server")
    if not isinstance(server, dict) or not isinstance(server.get("version"), str):
        reply = await visit.matrix("GET", "/_matrix/client/versions")
        name = (reply.header("server") or [""])[0]
        return ok("homeserver.version", name=name[:60]) if name else unchecked("homeserver.unnamed")
    name = f"{server.get('name', '')} {server['version']}"
    return ok("homeserver.version", name=name[:60])


async def token(visit: Visit) -> Remark:
    """The `as_token` is taken, and stands for the bot of this server."""
    reply = await visit.matrix("GET", f"{_V3}/account/whoami")
    path = str(visit.settings.path(visit.settings.appservice.registration))
    if reply.status in {401, 403}:
        return failed("token.refused", path=path, status=reply.shown)
    if reply.status != 200:
        return failed("homeserver.answers", request="whoami", status=reply.shown)
    user_id = str(reply.object.get("user_id", ""))
    if server_of(user_id) != visit.settings.homeserver.server_name:
        ours = visit.settings.homeserver.server_name
        return failed("token.server", ours=ours, theirs=server_of(user_id))
    if user_id != visit.bot:
        return failed("token.other", user=user_id, bot=visit.bot, path=path)
    return ok("token.fine", bot=user_id)


async def bot(visit: Visit) -> Remark:
    """The bot has an account."""
    reply = await visit.matrix("GET", f"{_V3}/profile/{_q(visit.bot)}")
    if reply.status == 404:
        return failed("bot.none", bot=visit.bot)
    if reply.status != 200:
        return warning("homeserver.answers", request="profile", status=reply.shown)
    return ok("bot.fine", name=str(reply.object.get("displayname") or visit.bot))


_FEATURES = (
    ("org.matrix.msc4140", "max_event_delay_duration: 24h"),
    ("org.matrix.msc4354", "experimental_features: {msc4354_enabled: true}"),
    ("org.matrix.msc4143", "experimental_features: {msc4143_enabled: true}"),
    ("io.element.msc4502", "experimental_features: {msc4502_enabled: true}"),
)
"""What /versions tells of, and the setting of Synapse. Of MSC4222 and MSC4512 it says nothing."""


async def features(visit: Visit) -> Answer:
    """The unstable features a call needs."""
    reply = await visit.matrix("GET", "/_matrix/client/versions")
    flags = reply.object.get("unstable_features")
    known = flags if isinstance(flags, dict) else {}
    missing = [(name, where) for name, where in _FEATURES if known.get(name) is not True]
    remarks = [
        # Without MSC4354 and MSC4502 calls work, by older ways.
        (failed if name in {"org.matrix.msc4140", "org.matrix.msc4143"} else warning)(
            "feature.off", feature=name.rpartition(".")[2].upper(), where=where
        )
        for name, where in missing
    ]
    shown = ", ".join(name.rpartition(".")[2].upper() for name, _ in _FEATURES)
    return remarks or ok("feature.on", features=shown)


async def delays(visit: Visit) -> Remark:
    """An hour may be asked for a delayed event: what delegated leaves need (MSC4140)."""
    reply = await visit.matrix("GET", f"{_V3}/capabilities")
    capabilities = reply.object.get("capabilities")
    known: Any = capabilities if isinstance(capabilities, dict) else {}
    limits = known.get("org.matrix.msc4140.delayed_events")
    longest = limits.get("max_delay_ms") if isinstance(limits, dict) else None
    if longest == 0:
        return failed("delay.off")
    if isinstance(longest, int) and longest < _HOUR_MS:
        return failed("delay.short", seconds=longest // 1000)
    return await _schedule(visit)


async def _schedule(visit: Visit) -> Remark:
    """Schedule an event in the doctor's own room, restart it, and withdraw it."""
    path = f"{_V3}/rooms/{_q(visit.own_room)}/send/{wire.DOCTOR}/{visit.nonce}"
    reply = await visit.matrix("PUT", f"{path}?org.matrix.msc4140.delay={_HOUR_MS}", {})
    delay_id = reply.object.get("delay_id")
    if reply.status != 200 or not isinstance(delay_id, str):
        if "event_id" in reply.object:  # sent at once: the parameter is unknown here
            return failed("delay.unknown")
        return failed("delay.refused", status=reply.shown)
    here = f"{_DELAYED}/{_q(delay_id)}"
    restarted = await visit.matrix("POST", f"{here}/restart", {})
    ended = await visit.matrix("POST", f"{here}/cancel", {})
    for verb, answer in (("restart", restarted), ("cancel", ended)):
        if answer.status != 200:
            return failed("delay.managed", verb=verb, status=answer.shown)
    return ok("delay.fine")


async def rates(visit: Visit) -> Remark:
    """How often one address may restart delayed events: bridges do it for everybody in a call."""
    address = visit.settings.homeserver.address.rstrip("/")
    for number in range(_RESTARTS):
        # Without a token, as whoever a leave was delegated to; of an event that does not exist.
        url = f"{address}{_DELAYED}/syd_doctor_{visit.nonce}/restart"
        reply = await ask("POST", url, body={})
        if reply.status == 429:
            return warning("rates.low", count=number)
        if reply.status == 401:
            return unchecked("rates.closed")
    return ok("rates.fine", count=_RESTARTS)


async def ping(visit: Visit) -> Remark:
    """Homeserver to bridge and back (Application Service API, "ping")."""
    path = f"/_matrix/client/v1/appservice/{_q(visit.registration.id)}/ping"
    reply = await visit.matrix("POST", path, {"transaction_id": f"doctor-{visit.nonce}"})
    if reply.status == 200:
        duration = reply.object.get("duration_ms")
        return ok("ping.fine", ms=duration if isinstance(duration, int) else reply.ms)
    file = str(visit.settings.path(visit.settings.appservice.registration))
    values = {"url": visit.registration.url, "path": file, "id": visit.registration.id}
    inner = reply.object.get("status")
    match reply.errcode.removeprefix("FI.MAU.MSC2659_").removeprefix("M_"):
        case "URL_NOT_SET":
            return failed("ping.no_url", **values)
        case "BAD_STATUS" if inner in {401, 403}:
            return failed("ping.token", **values)
        case "BAD_STATUS":
            return failed("ping.stranger", status=str(inner), **values)
        case "CONNECTION_FAILED" | "CONNECTION_TIMEOUT":
            return failed("ping.unreachable", **values)
        case "FORBIDDEN":
            return failed("ping.id", **values)
        case _:
            return failed("homeserver.answers", request="ping", status=reply.shown)


async def room(visit: Visit) -> Remark:
    """A room of the bot alone, where this walk may ask for call tokens. One for all walks."""
    note = f"{_V3}/user/{_q(visit.bot)}/account_data/{wire.DOCTOR}"
    known = (await visit.matrix("GET", note)).object.get("room_id")
    rooms = (await visit.matrix("GET", f"{_V3}/joined_rooms")).object.get("joined_rooms")
    if isinstance(known, str) and isinstance(rooms, list) and known in rooms:
        visit.own_room = known
        return ok("room.own", room=known)
    wish = {
        "preset": "private_chat",
        "name": "Colloque doctor",
        "creation_content": {"m.federate": False},
    }
    reply = await visit.matrix("POST", f"{_V3}/createRoom", wish)
    made = reply.object.get("room_id")
    if reply.status != 200 or not isinstance(made, str):
        return failed("room.refused", status=reply.shown, bot=visit.bot)
    visit.own_room = made
    await visit.matrix("PUT", note, {"room_id": made})
    return ok("room.own", room=made)


async def is_joined(visit: Visit) -> Remark:
    """The bridge may ask who is in a room it is not in (MSC4502)."""
    path = f"/_matrix/client/unstable/io.element.msc4502/rooms/{_q(visit.own_room)}/is_joined"
    reply = await visit.matrix("GET", f"{path}?mxid={_q(visit.bot)}")
    file = str(visit.settings.path(visit.settings.appservice.registration))
    if reply.status == 404:
        return warning("joined.off")
    if reply.status == 403:
        return warning("joined.scope", path=file)
    if reply.object.get("joined") is not True:
        return failed("homeserver.answers", request="is_joined", status=reply.shown)
    return ok("joined.fine")


async def public(visit: Visit) -> Answer:
    """The same homeserver where browsers look for it, with CORS."""
    address = visit.settings.homeserver.public_address.rstrip("/")
    if not address:
        return unchecked("public.same")
    try:
        reply = await ask(
            "GET", f"{address}/_matrix/client/versions", headers={"Origin": "https://doctor"}
        )
    except NoAnswer as error:
        return failed("public.down", address=address, reason=str(error))
    if reply.status != 200 or "versions" not in reply.object:
        return failed("public.stranger", address=address, status=reply.shown)
    if reply.header("Access-Control-Allow-Origin") != ["*"]:
        return failed("public.cors", address=address)
    return ok("answers", address=address, ms=reply.ms)


def _q(part: str) -> str:
    return quote(part, safe="")
