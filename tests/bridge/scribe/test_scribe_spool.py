"""Segments survive on disk until they are acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.scribe.spool import Spool, SpoolError


def segment(number: int) -> dict[str, object]:
    return {"type": "segment", "key": f"s-{number}:0", "text": f"numéro {number}"}


async def test_what_was_put_is_there_after_opening_again(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "scribe.spool"
    spool = await Spool.open(file)
    for number in range(5):
        await spool.put(segment(number))
    await spool.ack(["s-1:0", "unknown"])
    await spool.close()
    again = await Spool.open(file)
    assert [s["key"] for _, s in await again.after(0)] == ["s-0:0", "s-2:0", "s-3:0", "s-4:0"]
    await again.close()


async def test_the_same_key_is_kept_once(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    await spool.put(segment(1))
    await spool.put(segment(1))
    assert len(await spool.after(0)) == 1
    await spool.close()


async def test_positions_go_on_after_everything_was_acknowledged(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    await spool.put(segment(1))
    ((first, _),) = await spool.after(0)
    await spool.ack(["s-1:0"])
    await spool.put(segment(2))
    ((second, found),) = await spool.after(first)
    assert second > first
    assert found["key"] == "s-2:0"
    await spool.close()


async def test_pages_are_as_long_as_asked(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    for number in range(5):
        await spool.put(segment(number))
    page = await spool.after(0, limit=3)
    assert [s["text"] for _, s in page] == ["numéro 0", "numéro 1", "numéro 2"]
    assert len(await spool.after(page[-1][0], limit=3)) == 2
    await spool.close()


async def test_a_second_scribe_on_the_same_spool_is_refused(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    with pytest.raises(SpoolError, match="cannot be used"):
        await Spool.open(tmp_path / "spool")
    await spool.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "spool"
    file.write_bytes(b"something else entirely" * 100)
    with pytest.raises(SpoolError):
        await Spool.open(file)


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    await spool.close()
