"""The media server's API key: given by the configuration, or made once and kept in `data_dir`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config import Settings
from bridge.errors import ConfigError
from bridge.secret_file import kept


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Name and secret that sign call tokens, server API requests and webhooks."""

    key: str
    secret: str = field(repr=False)  # a dataclass is easily logged whole


def api_key(settings: Settings) -> ApiKey:
    """The key of the configuration, else the one kept in `data_dir/media.keys` (made if absent).

    Raises ConfigError where a media server of somebody else's needs a key and none is given.
    """
    media = settings.media
    if media.api_key and media.api_secret:
        return ApiKey(media.api_key, media.api_secret)
    if media.api_key or media.api_secret:
        raise ConfigError("`media.api_key` and `media.api_secret` are given together or not at all")
    if media.backend == "livekit":
        raise ConfigError("`media.backend: livekit` needs `media.api_key` and `media.api_secret`")
    file = settings.path(settings.data_dir) / "media.keys"
    return _read(file, kept(file, _fresh))


def _fresh() -> str:
    return f"colloque-{secrets.token_hex(4)}: {secrets.token_urlsafe(32)}\n"


def _read(file: Path, line: str) -> ApiKey:
    key, colon, secret = line.strip().partition(": ")
    if not (key and colon and secret):
        raise ConfigError(f"{file}: must hold one line `key: secret`; remove it to have one made")
    return ApiKey(key, secret)
