"""The media server's API key: given by the configuration, or made once and kept in `data_dir`."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config import Settings
from bridge.errors import ConfigError


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
    return _kept(settings.path(settings.data_dir) / "media.keys")


def _kept(file: Path) -> ApiKey:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _read(file)
    except FileNotFoundError:
        pass
    # Written whole beside it, then linked: a crash leaves no half file, and of two bridges that
    # start at once the first one's key stands (link fails where the name exists).
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(f"colloque-{secrets.token_hex(4)}: {secrets.token_urlsafe(32)}\n")
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(fresh, file)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return _read(file)


def _read(file: Path) -> ApiKey:
    key, colon, secret = file.read_text(encoding="utf-8").strip().partition(": ")
    if not (key and colon and secret):
        raise ConfigError(f"{file}: must hold one line `key: secret`; remove it to have one made")
    return ApiKey(key, secret)
