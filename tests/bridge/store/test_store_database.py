"""Opening, migrating, and what a cancelled or failed transaction leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import config
from bridge.errors import ConfigError
from bridge.store.database import Database, Scheme, open_database


async def _rooms(db: Database) -> list[str]:
    return [row["room_id"] for row in await db.fetch("SELECT room_id FROM room ORDER BY room_id")]


async def _add(db: Database, room_id: str) -> None:
    await db.execute("INSERT INTO room (room_id, facts) VALUES ($1, '{}')", room_id)


async def test_what_was_written_is_there_when_it_is_opened_again(settings: config.Settings) -> None:
    db = await open_database(settings)
    await _add(db, "!kept")
    await db.stop()
    again = await open_database(settings)
    assert await _rooms(again) == ["!kept"]
    await again.stop()


async def test_sqlite_loses_nothing_with_the_power(db: Database) -> None:
    if db.scheme is Scheme.SQLITE:
        assert await db.fetchval("PRAGMA synchronous") == 2  # FULL
        assert await db.fetchval("PRAGMA journal_mode") == "wal"
    else:
        assert await db.fetchval("SHOW synchronous_commit") == "on"


async def test_a_failed_transaction_leaves_nothing(db: Database) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with db.acquire() as conn, conn.transaction():
            await _add(db, "!half")
            raise ZeroDivisionError
    assert await _rooms(db) == []


async def test_a_cancelled_transaction_leaves_nothing_and_frees_the_connection(
    db: Database,
) -> None:
    inside = asyncio.Event()

    async def never_ends() -> None:
        async with db.acquire() as conn, conn.transaction():
            await conn.execute("INSERT INTO room (room_id, facts) VALUES ('!half', '{}')")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ends())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _add(db, "!next")
    assert await _rooms(db) == ["!next"]


async def test_cancelling_at_any_await_of_a_transaction_leaves_all_or_nothing(
    db: Database,
) -> None:
    async def write(number: int) -> None:
        async with db.acquire() as conn, conn.transaction():
            for half in ("a", "b"):
                await conn.execute(
                    "INSERT INTO room (room_id, facts) VALUES ($1, '{}')", f"!{number}{half}"
                )

    for number in range(30):
        task = asyncio.create_task(write(number))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    rooms = await _rooms(db)
    for number in range(30):
        assert (f"!{number}a" in rooms) == (f"!{number}b" in rooms)
    await _add(db, "!still works")


async def test_a_nested_transaction_is_part_of_the_outer_one(db: Database) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with db.acquire() as conn, conn.transaction():
            async with db.acquire() as same, same.transaction():
                assert same is conn
                await _add(db, "!inner")
            raise ZeroDivisionError
    assert await _rooms(db) == []


async def test_a_task_started_inside_a_transaction_is_not_part_of_it(db: Database) -> None:
    started: list[asyncio.Task[None]] = []
    with contextlib.suppress(ZeroDivisionError):
        async with db.acquire() as conn, conn.transaction():
            await conn.execute("INSERT INTO room (room_id, facts) VALUES ('!rolled back', '{}')")
            started.append(asyncio.create_task(_add(db, "!of its own")))
            raise ZeroDivisionError
    await asyncio.gather(*started)
    assert await _rooms(db) == ["!of its own"]


async def test_two_databases_do_not_share_a_transaction(db: Database, tmp_path: Path) -> None:
    other = await open_database(
        config.Settings(database=config.Database(url=f"sqlite:{tmp_path}/other.db"))
    )
    async with db.acquire() as conn, conn.transaction():
        await _add(other, "!there")
    assert await _rooms(other) == ["!there"]
    assert await _rooms(db) == []
    await other.stop()


async def test_many_writers_at_once(db: Database) -> None:
    async def write(number: int) -> None:
        async with db.acquire() as conn, conn.transaction():
            await conn.fetchval("SELECT COUNT(*) FROM room")
            await _add(db, f"!{number:03}")

    await asyncio.gather(*(write(number) for number in range(50)))
    assert len(await _rooms(db)) == 50


async def test_a_database_of_a_newer_version_is_refused(settings: config.Settings) -> None:
    db = await open_database(settings)
    await db.execute("UPDATE colloque_version SET version = 999")
    await db.stop()
    with pytest.raises(ConfigError, match="newer version"):
        await open_database(settings)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://x", "must begin with sqlite: or postgresql://"),
        ("sqlite:/proc/nowhere/x.db", "/proc/nowhere/x.db cannot be opened"),
        ("postgresql://me:s3cret@127.0.0.1:1/x", "127.0.0.1:1/x cannot be opened"),
        ("postgresql://me:s3cret@127.0.0.1:bad/x", "cannot be opened"),
    ],
)
async def test_what_cannot_be_opened_is_one_clear_line(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        await open_database(config.Settings(database=config.Database(url=url)))
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_sqlite_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(ConfigError, match="cannot be opened"):
        await open_database(
            config.Settings(database=config.Database(url="sqlite:x.db"), base=tmp_path)
        )


@pytest.mark.parametrize("url", ["sqlite:sub/x.db", "sqlite:///sub/x.db"])
async def test_a_relative_sqlite_path_counts_from_the_configuration(
    tmp_path: Path, url: str
) -> None:
    if ":///" in url:
        url = f"sqlite:///{tmp_path}/sub/x.db"
    db = await open_database(config.Settings(database=config.Database(url=url), base=tmp_path))
    await db.stop()
    assert (tmp_path / "sub" / "x.db").exists()


def test_a_process_that_never_closes_its_database_ends(tmp_path: Path) -> None:
    program = (
        "import asyncio\n"
        "from bridge import config\n"
        "from bridge.store.database import open_database\n"
        f"url = 'sqlite:{tmp_path}/x.db'\n"
        "asyncio.run(open_database(config.Settings(database=config.Database(url=url))))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
