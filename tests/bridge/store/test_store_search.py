"""The search's contract, the same on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import config
from bridge.domain.search import read_query
from bridge.store import search_schema
from bridge.store.database import Connection, Database, Scheme, open_database
from bridge.store.meetings import Meeting, Meetings, VoiceNames
from bridge.store.peer_utterances import PeerUtterance, PeerUtterances
from bridge.store.search import Filter, Hit, Scope, Search
from bridge.store.utterances import Utterance, Utterances

MEETING = Meeting(
    conference="c1",
    call_id="c1",
    room_id="!budget",
    room_name="Budget",
    title="Visio",
    started_ms=1_000,
    ended_ms=2_000,
    language="fr",
    encrypted=False,
    snapshot={},
)
SAID = Utterance(
    conference="c1",
    segment="s1",
    rev=0,
    room_id="!budget",
    speaker="@alice:a",
    device="DEV",
    display_name="Alice Martin",
    text="Nous avons pris les décisions du budget hier.",
    language="fr",
    start_ms=10,
    end_ms=20,
    engine="e",
    said_ms=1_010,
)
PEERS = PeerUtterance(
    conference="c1",
    site="b",
    segment="p1",
    rev=0,
    speaker="@bob:b",
    display_name="Bob",
    text="Das Budget ist beschlossen.",
    language="de",
    start_ms=30,
    end_ms=40,
    engine="e",
)
ALL = Scope(rooms=["!budget", "!other"])


class Shelf:
    """The stores together."""

    def __init__(self, db: Database) -> None:
        self.db, self.search = db, Search(db)
        self.utterances, self.peers = Utterances(db), PeerUtterances(db)

    async def meet(self, meeting: Meeting = MEETING) -> None:
        async with self.db.acquire() as conn:
            await Meetings(self.db).put(conn, meeting)

    async def say(self, segment: str, text: str, **more: object) -> None:
        said = replace(SAID, segment=segment, text=text, **more)  # type: ignore[arg-type]
        async with self.db.acquire() as conn:
            assert await self.utterances.put(conn, said)

    async def find(
        self, query: str, scope: Scope = ALL, only: Filter | None = None, **more: int
    ) -> list[Hit]:
        terms = read_query(query, ["fr", "en", "de"])
        return await self.search.find(terms, scope, only, **more)

    async def names(self, query: str, scope: Scope = ALL, only: Filter | None = None) -> list[str]:
        return [hit.segment for hit in await self.find(query, scope, only)]


@pytest.fixture
async def shelf(db: Database) -> Shelf:
    made = Shelf(db)
    await made.meet()
    return made


_FRENCH = [
    ("décision", True),
    ("DECISIONS", True),
    ("décidé", False),
    ("budgets", True),
    ("bud*", True),
    ("budg* hier", True),
    ("bu*", True),
    ("b*", False),
    ('"décisions du budget"', True),
    ('"budget décisions"', False),
    ('"les décision"', True),
    ("budget demain", False),
    ("le budget de l’hier", True),
    ("d’hier", True),
]


async def test_what_finds_a_french_sentence(shelf: Shelf) -> None:
    await shelf.say("s1", SAID.text)
    for query, found in _FRENCH:
        assert await shelf.names(query) == (["s1"] if found else []), query


_LANGUAGES = [
    ("fr", "Le congrès est augmenté", "congres augmentee"),
    ("fr-CA", "Les chevaux", "cheval"),
    ("fr", "L’œuvre d’un élève", "oeuvres eleves"),
    ("fr", "une décomposée é", "decompose"),
    ("en", "We were meeting the committees", "meet committee"),
    ("de", "Die Häuser der Straße", "hauser strasse"),
    ("", "Żółć 2027 naïve", "zolc 2027 naive"),
    ("xx", "данные", "данные"),
    ("ja", "予算会議", "予算会議"),
    ("hi", "हिन्दी भाषा", "हिन्दी"),
]


async def test_words_of_many_languages(shelf: Shelf) -> None:
    for number, (language, text, _) in enumerate(_LANGUAGES):
        await shelf.say(f"s{number}", text, language=language)
    for number, (_, _, query) in enumerate(_LANGUAGES):
        assert f"s{number}" in await shelf.names(query), query


_NO_SYNTAX = [
    "'; DROP TABLE utterance; --",
    '" OR 1=1',
    "letters : budget",
    "NEAR(budget hier)",
    "budget AND NOT hier",
    "^budget",
    "bud:* & hier",
    "!budget",
    "budget | hier",
    "<->",
    "\\'budget\\'",
    "budget\0hier",
    "\ud800 budget",
    "*",
    '"""',
    "(" * 500,
    "budget " * 500,
    "x" * 10_000,
    "$1 {} %s",
]


async def test_no_query_has_a_syntax(shelf: Shelf) -> None:
    await shelf.say("s1", SAID.text)
    for query in _NO_SYNTAX:
        await shelf.find(query)  # raises nothing
    assert await shelf.names("budget") == ["s1"]


async def test_a_hit_says_where_when_and_who(shelf: Shelf) -> None:
    await shelf.say("s1", SAID.text, event_id="$first")
    await shelf.say("s1", "Le budget, corrigé.", rev=1, event_id="$edit", editor="@carl:a")
    async with shelf.db.acquire() as conn:
        await VoiceNames(shelf.db).put(conn, "c1", "@alice:a", "V1", name="Zoé", by="@carl:a")
    await shelf.say("s2", "budget", voice="V1", display_name="Salle 214")
    first, second = sorted(await shelf.find("budget"), key=lambda hit: hit.segment)
    assert first == Hit(
        conference="c1",
        room_id="!budget",
        room_name="Budget",
        title="Visio",
        meeting_language="fr",
        started_ms=1_000,
        site="",
        segment="s1",
        speaker="@alice:a",
        display_name="Alice Martin",
        voice="",
        voice_name="",
        text="Le budget, corrigé.",
        language="fr",
        start_ms=10,
        said_ms=1_010,
        event_id="$first",
    )
    assert (second.voice, second.voice_name) == ("V1", "Zoé")


async def test_a_correction_is_found_and_what_it_corrected_is_not(shelf: Shelf) -> None:
    await shelf.say("s1", "le bidule")
    assert await shelf.names("bidule") == ["s1"]
    await shelf.say("s1", "le budget", rev=1)
    assert await shelf.names("bidule") == []
    assert await shelf.names("budget") == ["s1"]


async def test_deleted_words_are_nowhere_in_the_index(shelf: Shelf) -> None:
    await shelf.say("s1", "la clandestinité du ministre")
    await shelf.say("s2", "rien du tout")
    assert await shelf.names("clandestinité") == ["s1"]
    await shelf.say("s1", "", rev=1)
    assert await shelf.names("clandestinité") == []
    assert await _indexed(shelf.db, "cland") == []
    assert await shelf.names("rien") == ["s2"]


@pytest.mark.parametrize("how", ["delete", "update"])
async def test_rows_that_are_deleted_or_emptied_are_not_found(shelf: Shelf, how: str) -> None:
    await shelf.say("s1", "clandestin")
    await shelf.peers.put([replace(PEERS, text="clandestin auch")])
    assert len(await shelf.find("clandestin")) == 2
    for table in ("utterance", "peer_utterance"):
        if how == "delete":
            await shelf.db.execute(f"DELETE FROM {table}")  # noqa: S608
        else:
            await shelf.db.execute(f"UPDATE {table} SET text = ''")  # noqa: S608
    assert await _indexed(shelf.db, "cland") == [], "in the very transaction, before any refresh"
    assert await shelf.find("clandestin") == []
    assert await shelf.db.fetchval("SELECT COUNT(*) FROM search_entry") == 0
    assert await shelf.db.fetchval("SELECT COUNT(*) FROM search_dirty") == 0


async def test_sqlite_keeps_no_deleted_word_in_its_files(tmp_path: Path) -> None:
    """FTS5 leaves deleted words in its segments until they are merged: they are."""
    url = f"sqlite:{tmp_path}/store.db"
    db = await open_database(config.Settings(database=config.Database(url=url)))
    shelf = Shelf(db)
    await db.execute("PRAGMA secure_delete = ON")
    await shelf.meet()
    await shelf.say("s1", "clandestin")
    for n in range(5):
        await shelf.say(f"o{n}", "autre chose")
    await shelf.find("clandestin")
    await db.execute("DELETE FROM utterance WHERE segment = 's1'")
    await shelf.search.refresh()
    await db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = _bytes_of(tmp_path)
    await db.stop()
    assert b"autr" in kept
    assert b"clandest" not in kept


async def test_other_sites_words_are_found_but_never_in_place_of_ours(shelf: Shelf) -> None:
    await shelf.say("s1", "bonjour")
    await shelf.peers.put([PEERS, replace(PEERS, segment="s1", text="beschlossen")])
    (hit,) = await shelf.find("beschlossen")
    assert (hit.segment, hit.site, hit.event_id, hit.said_ms) == ("p1", "b", None, 0)
    assert await shelf.names("bonjour") == ["s1"]


async def test_only_what_one_may_read_is_looked_through(shelf: Shelf) -> None:
    other = replace(MEETING, conference="c2", room_id="!other", started_ms=5_000)
    sealed = replace(MEETING, conference="c3", room_id="!other", encrypted=True, started_ms=9_000)
    await shelf.meet(other)
    await shelf.meet(sealed)
    await shelf.say("s1", "budget")
    await shelf.say("s2", "budget", conference="c2")
    await shelf.say("s3", "budget", conference="c3")
    await shelf.say("s4", "budget", conference="of no meeting")
    found = {
        "nothing": Scope(),
        "one room": Scope(rooms=["!budget"]),
        "another": Scope(rooms=["!other"]),
        "a meeting": Scope(conferences=["c2"]),
        "encrypted ones too": Scope(rooms=["!other"], encrypted=True),
        "a room that is a pattern": Scope(rooms=["%", "!bud_et", '"]']),
    }
    got = {name: sorted(await shelf.names("budget", scope)) for name, scope in found.items()}
    assert got == {
        "nothing": [],
        "one room": ["s1"],
        "another": ["s2"],
        "a meeting": ["s2"],
        "encrypted ones too": ["s2", "s3"],
        "a room that is a pattern": [],
    }


async def test_filters(shelf: Shelf) -> None:
    await shelf.meet(replace(MEETING, conference="c2", room_id="!other", started_ms=5_000))
    await shelf.say("s1", "budget")
    await shelf.say("s2", "budget", conference="c2", speaker="@zoé:x", display_name="100%_Zoé")
    for only, found in [
        (Filter(), ["s1", "s2"]),
        (Filter(room="!other"), ["s2"]),
        (Filter(who="@alice:a"), ["s1"]),
        (Filter(who="martin"), ["s1"]),
        (Filter(who="ZOÉ"), ["s2"]),
        (Filter(who="%_z"), ["s2"]),
        (Filter(who="%_m"), []),
        (Filter(who="\\"), []),
        (Filter(from_ms=1_001), ["s2"]),
        (Filter(to_ms=5_000), ["s1"]),
        (Filter(from_ms=1_000, to_ms=5_001), ["s1", "s2"]),
    ]:
        assert sorted(await shelf.names("budget", only=only)) == found, only


async def test_the_best_comes_first_and_pages_do_not_repeat(shelf: Shelf) -> None:
    long = "le budget est une chose parmi tant de choses dont nous avons longuement parlé ce jour"
    await shelf.say("s1", long)
    await shelf.say("s2", "budget, budget !")
    assert await shelf.names("budget") == ["s2", "s1"]
    pages = [await shelf.find("budget", limit=1, offset=n) for n in range(3)]
    assert [[hit.segment for hit in page] for page in pages] == [["s2"], ["s1"], []]


async def test_reading_waits_for_no_writer_and_writes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/store.db"
    db = await open_database(config.Settings(database=config.Database(url=url)))
    shelf = Shelf(db)
    await shelf.meet()
    async with db.acquire() as conn, conn.transaction():
        await conn.execute("DELETE FROM meeting")
        async with asyncio.timeout(20), db.reading() as reader:
            assert await reader.fetchval("SELECT COUNT(*) FROM meeting") == 1
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await reader.execute("DELETE FROM meeting")
    await db.stop()


async def test_a_voice_that_is_named_is_found_by_its_name(shelf: Shelf) -> None:
    await shelf.say("s1", "budget", voice="V1", display_name="Salle 214")
    assert await shelf.names("budget", only=Filter(who="Anne")) == []
    async with shelf.db.acquire() as conn:
        await VoiceNames(shelf.db).put(conn, "c1", "@alice:a", "V1", name="Anne", by="@b:b")
    assert await shelf.names("budget", only=Filter(who="Anne")) == ["s1"]


async def test_much_is_indexed_in_batches_and_a_rollback_leaves_nothing(shelf: Shelf) -> None:
    for n in range(7):
        await shelf.say(f"s{n}", f"budget {n}")
    assert [await shelf.search.refresh(3) for _ in range(4)] == [3, 3, 1, 0]
    assert len(await shelf.find("budget")) == 7
    async with shelf.db.acquire() as conn:
        with pytest.raises(RuntimeError, match="back"):
            await _delete_all_but(conn)
    assert len(await shelf.find("budget")) == 7
    assert sorted(await shelf.search.languages()) == ["fr"]


async def test_what_was_there_before_the_index_is_filled_in(shelf: Shelf) -> None:
    await shelf.say("s1", "budget")
    await shelf.peers.put([PEERS])
    await shelf.db.execute("DELETE FROM search_dirty")
    await shelf.search.refresh()
    assert await shelf.find("budget") == []
    for statement in search_schema.FILL:
        await shelf.db.execute(statement)
    assert sorted(await shelf.names("budget")) == ["p1", "s1"]


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def _delete_all_but(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute("DELETE FROM utterance")
        raise RuntimeError("back")


async def _indexed(db: Database, beginning: str) -> list[str]:
    """Words of the index, as the database itself knows them."""
    if db.scheme == Scheme.SQLITE:
        await db.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.known USING fts5vocab(main, search_words, row)"
        )
        rows = await db.fetch("SELECT term FROM temp.known")
    else:
        rows = await db.fetch(
            "SELECT substr(word, 2) AS term FROM ts_stat('SELECT terms FROM search_entry')"
        )
    return [row["term"] for row in rows if row["term"].startswith(beginning)]
