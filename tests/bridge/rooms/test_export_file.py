"""`python -m bridge export`: from either database, beside a bridge that has it open."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import cli
from bridge.config import Database, Settings
from bridge.domain import course
from bridge.domain.conference import Conference, write_conferences
from bridge.domain.wish import Wish
from bridge.errors import UserError
from bridge.rooms import record
from bridge.rooms.export import export
from bridge.rooms.house import Stores
from bridge.store.database import open_database
from bridge.store.utterances import Utterance

ROOM, ANNE = "!room:a", "@anne:a"


def a_call(name: str, started_ms: int, *, said: int = 1) -> Conference:
    begun, _ = course.start(
        conference=name,
        room_id=ROOM,
        by=ANNE,
        display_name="Anne",
        wish=Wish(transcript=True, language="fr"),
        now_ms=started_ms,
    )
    return replace(begun, utterances=said)


async def keep(stores: Stores, c: Conference, *, running: bool) -> None:
    async with stores.db.acquire() as conn, conn.transaction():
        if running:
            snapshot = write_conferences([c])
            await stores.conferences.save(conn, ROOM, snapshot, active=True)
        else:
            meeting = record.meeting(c, room_name="Budget", root=None)
            await stores.meetings.put(conn, meeting)
        said = Utterance(
            conference=c.id,
            segment=f"of {c.id}",
            rev=0,
            room_id=ROOM,
            speaker=ANNE,
            device="D",
            display_name="Anne",
            text=f"dans {c.id}",
            language="fr",
            start_ms=0,
            end_ms=1000,
            engine="test",
        )
        await stores.utterances.put(conn, said)


async def test_from_the_store_of_a_running_bridge(database_url: str) -> None:
    settings = Settings(database=Database(url=database_url))
    db = await open_database(settings)
    try:
        stores = Stores.over(db)
        await keep(stores, a_call("old", 1_000_000), running=False)
        await keep(stores, a_call("now", 2_000_000), running=True)
        # A transaction of the bridge's is open meanwhile: on SQLite it alone may write.
        async with db.acquire() as conn, conn.transaction():
            await conn.execute("DELETE FROM errand")
            last = json.loads(await export(settings, "json", room=ROOM))
        assert [u["text"] for u in last["utterances"]] == ["dans now"]
        for name in ("old", "now"):
            text = (await export(settings, "md", conference=name, language="en")).decode()
            assert f"dans {name}" in text
            assert "# Transcript: " in text
        for wrong in ({"room": "!x:y"}, {"conference": "x"}):
            with pytest.raises(UserError):
                await export(settings, "md", **wrong)  # type: ignore[arg-type]
    finally:
        await db.stop()


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "bridge.yaml", tmp_path / "call.odt"
    file.write_text(f"database:\n  url: sqlite:{tmp_path}/store.db\n")

    async def prepare() -> None:
        db = await open_database(Settings(database=Database(url=f"sqlite:{tmp_path}/store.db")))
        await keep(Stores.over(db), a_call("c1", 1_000_000), running=False)
        await db.stop()

    asyncio.run(prepare())
    words = ["export", "--config", str(file), "--out", str(out)]
    assert cli.main([*words, "--conference", "c1"]) == 0
    assert out.read_bytes().startswith(b"PK")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert cli.main([*words, "--room", "!nowhere:a"]) == 1
    assert capsys.readouterr().err == (
        "colloque: No call is known by !nowhere:a. Give the id of a room or of a call.\n"
    )
