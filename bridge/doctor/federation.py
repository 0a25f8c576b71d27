"""Our homeserver as another ministry's bridge sees it."""

from __future__ import annotations

import dataclasses

from bridge.config import Settings
from bridge.doctor.doors import openid_token
from bridge.doctor.findings import Remark, failed, ok, warning
from bridge.doctor.http import NoAnswer, Reply, ask
from bridge.doctor.visit import Visit
from bridge.errors import Unavailable
from bridge.matrix.discovery import (
    Destination,
    Discovery,
    InvalidServerName,
    SystemResolver,
    Unresolvable,
    is_public,
)
from bridge.matrix.openid import NotAuthorised, OpenId, OpenIdToken

_VERSION = "/_matrix/federation/v1/version"


class Federation:
    """Finds homeservers as the specification says, wherever they are, and asks their version."""

    def __init__(self, visit: Visit) -> None:
        self._tls = visit.federation_tls
        self._resolver = SystemResolver()
        self._discovery = Discovery(
            self._well_known, resolver=self._resolver, allowed=lambda _address: True
        )

    async def find(self, server_name: str) -> Destination:
        """Where a homeserver is. Raises InvalidServerName and Unresolvable."""
        return await self._discovery.destination(server_name)

    async def version(self, at: Destination) -> Reply:
        """Its version. Raises NoAnswer."""
        return await self._ask(at, at.url + _VERSION)

    def close(self) -> None:
        """Let the resolver's threads end."""
        self._resolver.close()

    async def _well_known(self, at: Destination, path: str) -> bytes | None:
        url = f"https://{at.host}{path}" if at.port == 443 else at.url + path
        try:
            reply = await self._ask(at, url)
        except NoAnswer:
            return None
        return reply.body if reply.status == 200 else None

    async def _ask(self, at: Destination, url: str) -> Reply:
        return await ask("GET", url, headers={"Host": at.host_header}, timeout_s=5, tls=self._tls)


async def found(visit: Visit) -> Remark:
    """Other homeservers find ours by its name and get an answer."""
    name = visit.settings.homeserver.server_name
    federation = Federation(visit)
    try:
        at = await federation.find(name)
    except (InvalidServerName, Unresolvable) as error:
        federation.close()
        return failed("federation.lost", name=name, reason=str(error))
    try:
        reply = await federation.version(at)
    except NoAnswer as error:
        return failed("federation.down", name=name, at=at.url, reason=str(error))
    finally:
        federation.close()
    if reply.status != 200:
        return failed("federation.stranger", name=name, at=at.url, status=reply.shown)
    private = [address for address in at.addresses if not is_public(address)]
    if private and not visit.settings.federation.allow_private_addresses:
        return warning("federation.private", name=name, address=private[0])
    return ok("answers", address=at.url, ms=reply.ms)


async def openid(visit: Visit) -> Remark:
    """Another ministry's token service may verify our users."""
    token = await openid_token(visit)
    asker = OpenId(_as_stranger(visit.settings))
    shown = OpenIdToken(str(token["access_token"]), str(token["matrix_server_name"]))
    name = visit.settings.homeserver.server_name
    if shown.matrix_server_name != name:
        return failed("token.server", ours=name, theirs=shown.matrix_server_name)
    try:
        user_id = await asker.user_of(shown)
    except NotAuthorised as error:
        return failed("openid.refused", name=name, reason=str(error))
    except Unavailable as error:
        return failed("openid.down", name=name, reason=str(error.__cause__ or error))
    finally:
        await asker.close()
    if user_id != visit.bot:
        return failed("openid.refused", name=name, reason=user_id)
    return ok("openid.fine", user=user_id)


def _as_stranger(settings: Settings) -> Settings:
    """For whom no server is the own one, so that ours too is asked by way of federation."""
    return dataclasses.replace(
        settings,
        homeserver=dataclasses.replace(settings.homeserver, server_name=""),
        federation=dataclasses.replace(
            settings.federation, allow_servers=["*"], allow_private_addresses=True
        ),
    )
