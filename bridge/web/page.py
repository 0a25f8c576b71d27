"""The join page: static files with their types, a strict policy, and what the page must know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from bridge.config import Settings
from bridge.text import LANGUAGES

STATIC = Path(__file__).parent / "static"
# Named here and not asked of the system: its table may be absent or call .js text/plain, and a
# browser told `nosniff` then refuses the module.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}


class Page:
    """The pages (`/`, `/captions`, `/transcripts`), the files beside them, `/config.json`."""

    def __init__(self, settings: Settings, folder: Path = STATIC) -> None:
        self._folder = folder.resolve()
        self._headers = security_headers(settings)
        self._panel_headers = panel_headers(settings)
        self._reading_headers = reading_headers(settings)
        self._config = page_config(settings)

    def routes(self) -> list[web.RouteDef]:
        """GET and HEAD. The last one takes every path; it must be added last."""
        return [
            web.get("/", self._index),
            web.get("/captions", self._panel),
            web.get("/transcripts", self._transcripts),
            web.get("/config.json", self._config_json),
            web.get("/static/{path:.+}", self._file),
            web.get("/{path:.+}", self._file),
        ]

    async def _index(self, _request: web.Request) -> web.StreamResponse:
        return self._answer("index.html")

    async def _panel(self, _request: web.Request) -> web.StreamResponse:
        return self._answer("captions.html", self._panel_headers)

    async def _transcripts(self, _request: web.Request) -> web.StreamResponse:
        return self._answer("transcripts.html", self._reading_headers)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request.match_info["path"])

    async def _config_json(self, _request: web.Request) -> web.Response:
        return web.json_response(self._config, headers={"Cache-Control": "no-cache"})

    def _answer(self, path: str, policy: Mapping[str, str] | None = None) -> web.StreamResponse:
        found = self._find(path)
        if found is None:
            raise web.HTTPNotFound
        # no-cache: kept by the browser, but asked about (ETag) each time; a new version of the
        # bridge is a new page at once.
        headers = {
            **(policy or self._headers),
            "Content-Type": _TYPES[found.suffix],
            "Cache-Control": "no-cache",
        }
        return web.FileResponse(found, headers=headers)

    def _find(self, path: str) -> Path | None:
        """The file of a path, None for anything else: outside, hidden, or of no known type."""
        if "\0" in path or any(part.startswith(".") for part in path.split("/")):
            return None
        try:
            file = (self._folder / path).resolve()
            ours = file.is_relative_to(self._folder) and file.is_file()
        except OSError:  # a name too long for the file system
            return None
        return file if ours and file.suffix in _TYPES else None


def page_config(settings: Settings) -> dict[str, object]:
    """What the page cannot know of itself."""
    homeserver = settings.homeserver
    return {
        "homeserver": (homeserver.public_address or homeserver.address).rstrip("/"),
        "server_name": homeserver.server_name,
        "livekit_service_url": settings.web.public_url.rstrip("/"),
        # Somebody invited from elsewhere signs in at their own homeserver, from this page.
        "other_servers": bool(settings.federation.allow_servers),
        "languages": list(LANGUAGES),
        "prefix": settings.conference.command_prefix,
        "version": version(),
    }


def version() -> str:
    """The version of this software; empty where it runs without having been installed."""
    try:
        return metadata.version("colloque")
    except metadata.PackageNotFoundError:
        return ""


def security_headers(settings: Settings) -> Mapping[str, str]:
    """What the page may do: its own code only, and connections to the servers it needs."""
    public, media = settings.homeserver.public_address, urlsplit(settings.media.public_url)
    secure = media.scheme in {"wss", "https"}
    # Whose homeserver answers where is known only once a person has named it, and where people of
    # other organisations publish only once they are in the call.
    elsewhere = ["https:", "wss:"] if settings.federation.allow_servers else []
    if settings.federation.allow_private_addresses:
        elsewhere += ["http://127.0.0.1:*", "ws://127.0.0.1:*"]
    connect = (
        "'self'",
        _origin(public or settings.homeserver.address),
        f"{'wss' if secure else 'ws'}://{media.netloc}",
        # The client library asks over HTTP why a WebSocket was refused.
        f"{'https' if secure else 'http'}://{media.netloc}",
        *elsewhere,
    )
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "font-src": "'self'",
        "media-src": "'self' blob: mediastream:",
        "connect-src": " ".join(dict.fromkeys(connect)),
        "worker-src": "'self'",
        "manifest-src": "'self'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
        "Referrer-Policy": "no-referrer",  # the address of the page names the room
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def panel_headers(settings: Settings) -> Mapping[str, str]:
    """The same for the page of captions, which a room's client shows in a frame as a widget.

    Nothing of it can be clicked to somebody's harm: it only shows, and it shows nothing to a page
    around it that brings no proof of who reads.
    """
    headers = dict(security_headers(settings))
    del headers["X-Frame-Options"]  # knows one origin or none; the policy counts where both stand
    parents = " ".join(["'self'", *settings.web.widget_parents])
    policy = headers["Content-Security-Policy"]
    headers["Content-Security-Policy"] = policy.replace(
        "frame-ancestors 'none'", f"frame-ancestors {parents}"
    )
    headers["Permissions-Policy"] = "camera=(), microphone=(), display-capture=()"
    return headers


def reading_headers(settings: Settings) -> Mapping[str, str]:
    """The same for the page of meetings, which plays nothing and uses no device."""
    headers = dict(security_headers(settings))
    policy = headers["Content-Security-Policy"]
    silent = re.sub(r"media-src [^;]*", "media-src 'none'", policy)
    headers["Content-Security-Policy"] = silent
    headers["Permissions-Policy"] = "camera=(), microphone=(), display-capture=()"
    return headers


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
