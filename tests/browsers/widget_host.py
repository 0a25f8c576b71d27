"""Serves the widget host and Element Call, as it is shipped but for its config.json."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from bridge.dev.ports import free_ports

_HERE = Path(__file__).parent
_ELEMENT_CALL = _HERE / "node_modules/@element-hq/element-call-embedded/dist"
_WIDGET_API = _HERE / "node_modules/matrix-widget-api/dist/api.min.js"
MODES = ("compatibility", "matrix_2_0")

# Small pictures, so that four pages run on two cores; two layers of simulcast all the same.
_MEDIA: dict[str, Any] = {
    "video": {
        "max_resolution": 360,
        "max_bitrate": 200_000,
        "max_framerate": 5,
        "simulcast_layers": [{"height": 180, "bitrate": 60_000}],
    },
    "screen_share": {"max_resolution": 360, "max_bitrate": 200_000, "max_framerate": 5},
}


@asynccontextmanager
async def widget_host() -> AsyncIterator[str]:
    """The address of the host page; Element Call lies beside it, once for each mode."""
    app = web.Application()
    app.router.add_get("/", _file(_HERE / "host/index.html"))
    app.router.add_get("/widget-api.js", _file(_WIDGET_API))
    for name in ("host.mjs", "matrix.mjs"):
        app.router.add_get(f"/{name}", _file(_HERE / "host" / name))
    for mode in MODES:
        app.router.add_get(f"/{mode}/config.json", _config(mode))
        app.router.add_static(f"/{mode}/", _ELEMENT_CALL)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    (port,) = free_ports(1)
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


def _file(path: Path) -> Any:
    async def answer(request: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    return answer


def _config(mode: str) -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"matrix_rtc_mode": mode, "media_quality": _MEDIA})

    return answer
