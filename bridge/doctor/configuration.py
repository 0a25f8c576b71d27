"""Files on this machine: configuration, registration, data folder, database."""

from __future__ import annotations

import ipaddress
import re
import shutil
from typing import Any
from urllib.parse import urlsplit

import aiosqlite
import asyncpg
from ruamel.yaml import YAML

from bridge import config
from bridge.doctor.findings import Remark, failed, ok, warning
from bridge.doctor.visit import Visit
from bridge.doctor.walk import Answer
from bridge.errors import ConfigError
from bridge.matrix import registration
from bridge.media.keys import api_key
from bridge.store.schema import upgrades

_WARN_BYTES, _FAIL_BYTES = 1 << 30, 100 << 20


async def readable(visit: Visit) -> Remark:
    """The configuration file."""
    try:
        visit.found = config.load(visit.file)
    except ConfigError as error:
        return failed("config.wrong", error=str(error))
    return ok("at", path=str(visit.file))


async def addresses(visit: Visit) -> Answer:
    """Addresses that clients are given: their scheme, and what no client could reach."""
    settings, remarks = visit.settings, []
    for name, url, schemes in (
        ("web.public_url", settings.web.public_url, ("https", "http")),
        ("media.public_url", settings.media.public_url, ("wss", "ws")),
    ):
        parts = urlsplit(url)
        if parts.scheme not in schemes or not parts.hostname:
            remarks.append(failed("address.scheme", key=name, url=url, scheme=schemes[0]))
        elif parts.scheme == schemes[1] and not is_here(parts.hostname):
            remarks.append(failed("address.plain", key=name, url=url, scheme=schemes[0]))
        elif is_here(parts.hostname) and not is_here(_host_of(settings.homeserver.server_name)):
            remarks.append(failed("address.loopback", key=name, url=url))
    if settings.web.public_url.endswith("/"):
        remarks.append(warning("address.slash", url=settings.web.public_url))
    return remarks or ok("address.fine", page=visit.page, media=settings.media.public_url)


def is_here(host: str) -> bool:
    """Whether a host name means the machine it is used on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _host_of(server_name: str) -> str:
    return urlsplit(f"//{server_name}").hostname or server_name


async def registered(visit: Visit) -> Remark:
    """The registration file, and the media server's key."""
    path = visit.settings.path(visit.settings.appservice.registration)
    try:
        visit.registered = registration.read(path)
    except ConfigError as error:
        return failed("registration.wrong", error=str(error), path=str(path))
    return ok("at", path=str(path))


async def complete(visit: Visit) -> Answer:
    """Everything `generate-registration` would write is in the file."""
    path = visit.settings.path(visit.settings.appservice.registration)
    yaml = YAML(typ="safe")
    expected = yaml.load(registration.generate(visit.settings))
    remarks = differences(expected, yaml.load(path.read_text(encoding="utf-8")), visit.bot)
    shown = [
        Remark(one.outcome, one.key, {**one.values, "path": str(path), "bot": visit.bot})
        for one in remarks
    ]
    return shown or ok()


_OWN = frozenset({"id", "url", "as_token", "hs_token", "sender_localpart", "namespaces"})
_PLACE = frozenset({"io.element.msc4512.proxy_url"})
"""Keys whose value is the administrator's choice; they must be there all the same."""


def differences(expected: dict[str, Any], found: dict[str, Any], bot: str) -> list[Remark]:
    """What a registration lacks. `expected`: as the bridge would generate it now."""
    remarks = []
    for key, value in expected.items():
        if key in _OWN:
            continue
        if key not in found:
            remarks.append(failed("registration.missing", key=key, value=_yaml(value)))
        elif key not in _PLACE and found[key] != value:
            remarks.append(warning("registration.differs", key=key, value=_yaml(value)))
    namespaces = found.get("namespaces") or {}
    users = [one.get("regex") for one in namespaces.get("users") or []]
    if not any(_claims(regex, bot) for regex in users):
        wanted = expected["namespaces"]["users"][0]["regex"]
        remarks.append(failed("registration.namespace", kind="users", value=wanted))
    known = {one.get("regex") for one in namespaces.get("aliases") or []}
    remarks += [
        warning("registration.namespace", kind="aliases", value=one["regex"])
        for one in expected["namespaces"].get("aliases") or []
        if one["regex"] not in known
    ]
    return remarks


def _claims(regex: Any, bot: str) -> bool:
    try:
        return re.match(str(regex), bot) is not None
    except re.error:
        return False


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(one) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


async def disk(visit: Visit) -> Remark:
    """Room left where keys, spool and (with SQLite) the database lie."""
    folder = visit.settings.path(visit.settings.data_dir)
    if not folder.is_dir():
        return failed("disk.missing", path=str(folder))
    free = shutil.disk_usage(folder).free
    values: dict[str, Any] = {"path": str(folder), "free": _size(free)}
    if free < _FAIL_BYTES:
        return failed("disk.full", **values)
    return warning("disk.full", **values) if free < _WARN_BYTES else ok("disk.free", **values)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


async def database(visit: Visit) -> Remark:
    """The database answers and has this version's tables. Nothing is written."""
    url = visit.settings.database.url
    try:
        if url.startswith("sqlite"):
            found = await _sqlite_version(visit)
        else:
            found = await _postgres_version(url)
    except (aiosqlite.Error, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return failed("database.unusable", error=str(error))
    except (OSError, ValueError, TimeoutError) as error:
        return failed("database.unreachable", error=str(error) or type(error).__name__)
    if found < len(upgrades):
        return failed("database.old", found=found, wanted=len(upgrades))
    if found > len(upgrades):
        return failed("database.new", found=found, wanted=len(upgrades))
    return ok("database.fine", version=found)


_VERSION = "SELECT version FROM colloque_version"


async def _sqlite_version(visit: Visit) -> int:
    name = visit.settings.database.url.partition(":")[2]
    path = visit.settings.path(name[2:] if name.startswith("///") else name).absolute()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    async with aiosqlite.connect(f"{path.as_uri()}?mode=ro", uri=True) as db:
        row = await (await db.execute(_VERSION)).fetchone()
    return int(row[0]) if row else 0


async def _postgres_version(url: str) -> int:
    connection = await asyncpg.connect(url, timeout=5, command_timeout=5)
    try:
        return int(await connection.fetchval(_VERSION) or 0)
    finally:
        await connection.close(timeout=2)


async def media_key(visit: Visit) -> Remark:
    """Key and secret of the media server, as the running bridge has them."""
    kept = visit.settings.path(visit.settings.data_dir) / "media.keys"
    media = visit.settings.media
    made = media.backend == "embedded" and not (media.api_key or media.api_secret)
    if made and not kept.exists():  # it is the bridge that makes one
        return failed("key.none", path=str(kept))
    try:
        visit.api_key = api_key(visit.settings)
    except (ConfigError, OSError) as error:
        return failed("key.wrong", error=str(error))
    return ok()
