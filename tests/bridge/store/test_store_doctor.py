"""What the doctor says of a database, on both kinds; it writes nothing."""

from __future__ import annotations

from pathlib import Path

from bridge.config import Settings
from bridge.doctor.configuration import database
from bridge.doctor.visit import Visit
from bridge.store.database import open_database
from bridge.store.schema import upgrades


async def test_the_doctor_knows_the_version_of_the_tables(settings: Settings) -> None:
    visit = Visit(Path("unused"))
    visit.found = settings
    empty = await database(visit)
    assert (empty.outcome, empty.key in {"database.unusable", "database.unreachable"}) == (
        "failed",
        True,
    )
    db = await open_database(settings)
    try:
        assert (await database(visit)).values == {"version": len(upgrades)}
        for version, key in ((1, "database.old"), (len(upgrades) + 1, "database.new")):
            await db.execute("UPDATE colloque_version SET version = $1", version)
            remark = await database(visit)
            assert (remark.outcome, remark.key) == ("failed", key)
            assert remark.values == {"found": version, "wanted": len(upgrades)}
        await db.execute("UPDATE colloque_version SET version = $1", len(upgrades))
        assert (await database(visit)).outcome == "ok"
    finally:
        await db.stop()
