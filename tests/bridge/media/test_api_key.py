"""Where the media server's key comes from."""

from __future__ import annotations

import dataclasses
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.config import Media, Settings
from bridge.errors import ConfigError
from bridge.media.keys import ApiKey, api_key


def settings(folder: Path, **media: object) -> Settings:
    return dataclasses.replace(Settings(base=folder), media=Media(**media))  # type: ignore[arg-type]


def test_the_configured_key_is_used(tmp_path: Path) -> None:
    configured = settings(tmp_path, api_key="k", api_secret="s")
    assert api_key(configured) == ApiKey("k", "s")
    assert not (tmp_path / "data").exists()


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = api_key(settings(tmp_path))
    assert api_key(settings(tmp_path)) == first
    assert len(first.secret) >= 32
    file = tmp_path / "data" / "media.keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["media.keys"]


def test_two_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    # In one process the scratch name is shared; what is tested is that the first name stands.
    first = api_key(settings(tmp_path))
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: api_key(settings(tmp_path)), range(8))) == {first}


@pytest.mark.parametrize("media", [{"api_key": "k"}, {"api_secret": "s"}, {"backend": "livekit"}])
def test_half_a_key_or_none_for_a_cluster_is_a_configuration_error(
    tmp_path: Path, media: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"media\.api_"):
        api_key(settings(tmp_path, **media))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "media.keys").write_text("nonsense\n")
    with pytest.raises(ConfigError, match=r"media\.keys"):
        api_key(settings(tmp_path))
