"""Which model directory may be loaded. Checkpoints are pickles: loading one runs what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

CONFIG = "config.yaml"
FILES = 1000
"""More than any published pipeline has."""


class BadDirectory(Exception):
    """`key`: what is wrong (`missing`, `layout`, `owner`, `writable`); `path`: where."""

    def __init__(self, key: str, path: Path) -> None:
        super().__init__(_SENTENCES[key].format(path=path))
        self.key = key
        self.path = path


_SENTENCES = {
    "missing": "{path} is not a folder",
    "layout": "{path} is missing: a pipeline of pyannote.audio has it",
    "owner": "{path} belongs to somebody else than root and the user of this process",
    "writable": "{path} may be written to by others than its owner: chmod go-w",
}


def check(folder: Path) -> None:
    """Raise BadDirectory unless only root and we could have put anything there."""
    folder = folder.absolute()
    if not folder.is_dir():
        raise BadDirectory("missing", folder)
    if not (folder / CONFIG).is_file():
        raise BadDirectory("layout", folder / CONFIG)
    real = folder.resolve()
    for path in (real, *_inside(real)):
        # What a link leads to was put there by who made the link; it is checked as itself.
        _check(path.resolve())
    for above in real.parents:
        _check(above, sticky_is_fine=True)


def _inside(folder: Path) -> Iterator[Path]:
    for count, path in enumerate(folder.rglob("*")):
        if count >= FILES:
            raise BadDirectory("layout", folder / CONFIG)
        yield path


def _check(path: Path, *, sticky_is_fine: bool = False) -> None:
    try:
        status = path.stat()
    except OSError:
        raise BadDirectory("missing", path) from None
    if status.st_uid not in {0, os.geteuid()}:
        raise BadDirectory("owner", path)
    # In a sticky folder (/tmp) nobody but their owners replaces files.
    sticky = sticky_is_fine and status.st_mode & stat.S_ISVTX
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
        raise BadDirectory("writable", path)
