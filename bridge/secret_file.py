"""Files that their owner alone can read: a secret made where there is none, and its like."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def kept(file: Path, make: Callable[[], str]) -> str:
    """What is in the file, readable to its owner alone. Raises OSError, UnicodeDecodeError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        _write(file, make())
    return file.read_text(encoding="utf-8")


def replaced(file: Path, text: str) -> None:
    """Put this text there, in place of what was. A reader sees the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _fresh(file, text).replace(file)


def _write(file: Path, secret: str) -> None:
    # Written whole beside it, then linked: a crash leaves no half file, and of two bridges that
    # start at once the first one's secret stands (link fails where the name exists).
    fresh = _fresh(file, secret)
    try:
        os.link(fresh, file)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _fresh(file: Path, text: str) -> Path:
    """A whole file beside `file`, on disk."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    return fresh
