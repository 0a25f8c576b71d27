"""`/healthz` for whoever watches the service, `/metrics` for Prometheus."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bridge.matrix.answers import matrix_error
from bridge.web.addresses import came_through_proxy

Check = Callable[[], Awaitable[bool]]
_PATIENCE_S = 2.0


class Health:
    """The state of the parts. `checks` answer within two seconds or count as failed."""

    def __init__(self, checks: Mapping[str, Check], registry: CollectorRegistry) -> None:
        self._checks = checks
        self._registry = registry
        # Tells `doctor` that the public address leads to this very process.
        self._instance = secrets.token_hex(8)

    def routes(self) -> list[web.RouteDef]:
        """GET and HEAD."""
        return [web.get("/healthz", self._healthz), web.get("/metrics", self._metrics)]

    async def _healthz(self, _request: web.Request) -> web.Response:
        """200 as long as this process serves, with what it depends on in the body.

        Not 503 when a part is down: a load balancer would then take away the doors too, and with
        them the clear answers people get while, say, the homeserver restarts.
        """
        answers = await asyncio.gather(*(_passes(check) for check in self._checks.values()))
        parts = {
            name: "ok" if passed else "down"
            for name, passed in zip(self._checks, answers, strict=True)
        }
        status = "ok" if all(answers) else "degraded"
        body = {"status": status, "parts": parts, "instance": self._instance}
        return web.json_response(body, headers=_NO_STORE)

    async def _metrics(self, request: web.Request) -> web.Response:
        if came_through_proxy(request):  # how busy a ministry is, is nobody else's business
            return matrix_error(404, "M_UNRECOGNIZED", "Unrecognized request")
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST, **_NO_STORE})


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await check()
    except TimeoutError:
        return False


_NO_STORE = {"Cache-Control": "no-store"}
