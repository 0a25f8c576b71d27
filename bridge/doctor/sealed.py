"""Encrypted rooms: whether they are served, and what that needs of files and homeserver."""

from __future__ import annotations

import asyncio
import re
import time
from urllib.parse import quote

from bridge import crypto
from bridge.crypto import secret
from bridge.doctor.findings import Remark, failed, ok, unchecked, warning
from bridge.doctor.http import NoAnswer, ask
from bridge.doctor.visit import Visit
from bridge.errors import ConfigError
from bridge.matrix import wire

ARRIVAL_S = 10.0
"""How long the homeserver has to bring the bridge a to-device message."""
_COUNT = re.compile(
    r'^colloque_matrix_device_transactions_total\{part="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE
)


async def wanted(visit: Visit) -> Remark:
    """Whether this bridge serves encrypted rooms, and if not, why."""
    if not visit.settings.encryption.enabled:
        return unchecked("sealed.disabled")
    if not crypto.installed():
        return warning("sealed.packages")
    if not visit.registration.has_device:
        path = visit.settings.path(visit.settings.appservice.registration)
        return warning("sealed.registration", path=str(path))
    visit.sealed = True
    return ok("sealed.on")


async def key_file(visit: Visit) -> Remark:
    """The key to what the database holds of it, readable to its owner alone."""
    folder = visit.settings.path(visit.settings.data_dir)
    file = folder / secret.FILE_NAME
    if not visit.sealed:
        return unchecked("sealed.off")
    if not file.exists():
        return failed("secret.none", path=str(file))
    try:
        secret.kept(folder)
        mode = file.stat().st_mode & 0o777
    except (ConfigError, OSError) as error:
        return failed("secret.wrong", path=str(file), error=str(error))
    if mode & 0o077:
        return warning("secret.open", path=str(file), mode=f"{mode:04o}")
    return ok("at", path=str(file))


async def transactions(visit: Visit) -> Remark:
    """What is sent to the bot's device comes to the bridge, with the number of its keys left.

    Synapse says nowhere whether it does this. So the bot sends its own devices a message that
    nobody acts on, and the running bridge counts what its transactions bring.
    """
    if not visit.sealed:
        return unchecked("sealed.off")
    before = await _counts(visit)
    if before is None:
        return unchecked("device.uncounted")
    begin = time.monotonic()
    path = f"/_matrix/client/v3/sendToDevice/{wire.DOCTOR}/{visit.nonce}"
    body = {"messages": {visit.bot: {"*": {"nonce": visit.nonce}}}}
    reply = await visit.matrix("PUT", path, body)
    if reply.status != 200:
        return failed("homeserver.answers", request="sendToDevice", status=reply.shown)
    now = await _arrived(visit, before)
    if now["to_device"] <= before["to_device"]:
        return await _missing(visit)
    # They come in the same transaction.
    if now["key_counts"] <= before["key_counts"]:
        return failed("device.counts")
    return ok("device.fine", ms=round((time.monotonic() - begin) * 1000))


async def _arrived(visit: Visit, before: dict[str, float]) -> dict[str, float]:
    end = time.monotonic() + ARRIVAL_S
    while True:
        now = await _counts(visit) or before
        if now["to_device"] > before["to_device"] or time.monotonic() > end:
            return now
        await asyncio.sleep(0.2)  # another process counts


async def _missing(visit: Visit) -> Remark:
    """Nothing came: either there is no device, or nothing sent to it is passed on."""
    reply = await visit.matrix("GET", f"/_matrix/client/v3/devices?user_id={quote(visit.bot)}")
    devices = reply.object.get("devices")
    if reply.status == 200 and devices == []:
        return failed("device.none", bot=visit.bot)
    return failed("device.silent", bot=visit.bot, seconds=round(ARRIVAL_S))


async def _counts(visit: Visit) -> dict[str, float] | None:
    """What the running bridge has counted; None where that cannot be read."""
    try:
        reply = await ask("GET", f"{visit.inside}/metrics")
    except NoAnswer:
        return None
    found = {
        name: float(value) for name, value in _COUNT.findall(reply.body.decode("utf-8", "replace"))
    }
    return found if {"to_device", "key_counts"} <= set(found) else None
