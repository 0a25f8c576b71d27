"""The tables of the search, and the triggers that keep them true whoever writes what was said.

Nobody who stores, corrects or deletes an utterance has to think of the search: in the same
transaction a trigger takes the old words out of the index and notes the segment in `search_dirty`;
bridge.store.search puts the present words in. (The stems are made in Python: SQLite has none for
French, and both databases are to find the same.)
"""

from __future__ import annotations

from mautrix.util.async_db import Connection, Scheme

_TABLES = (
    """CREATE TABLE search_entry (
        id         SERIAL,
        conference TEXT NOT NULL,
        site       TEXT NOT NULL,
        segment    TEXT NOT NULL,
        language   TEXT NOT NULL,
        who        TEXT NOT NULL,
        UNIQUE (conference, site, segment)
    )""",
    "CREATE INDEX search_entry_language ON search_entry (language)",
    """CREATE TABLE search_dirty (
        conference TEXT NOT NULL,
        site       TEXT NOT NULL,
        segment    TEXT NOT NULL,
        removed    INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (conference, site, segment)
    )""",
)

# What exists already is indexed as if it had just been written.
FILL = (
    "INSERT INTO search_dirty (conference, site, segment)"
    " SELECT DISTINCT conference, '', segment FROM utterance",
    "INSERT INTO search_dirty (conference, site, segment)"
    " SELECT DISTINCT conference, site, segment FROM peer_utterance",
)

_SQLITE_WORDS = (
    "CREATE VIRTUAL TABLE search_words USING fts5("
    "letters, stems, tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* M* Co'\")"
)

# {row}: NEW or OLD; {site}: where it was said.
_SQLITE_TOUCH = """
    INSERT INTO search_dirty (conference, site, segment, removed)
        VALUES ({row}.conference, {site}, {row}.segment, EXISTS (SELECT 1 FROM search_entry
            WHERE conference = {row}.conference AND site = {site} AND segment = {row}.segment))
        ON CONFLICT (conference, site, segment)
        DO UPDATE SET removed = MAX(removed, excluded.removed);
    DELETE FROM search_words WHERE rowid IN (SELECT id FROM search_entry
        WHERE conference = {row}.conference AND site = {site} AND segment = {row}.segment);
    DELETE FROM search_entry
        WHERE conference = {row}.conference AND site = {site} AND segment = {row}.segment;
"""
# A voice got a name, or lost it: its speaker is found by another one.
_SQLITE_VOICE = """
    INSERT INTO search_dirty (conference, site, segment)
        SELECT DISTINCT conference, '', segment FROM utterance
        WHERE conference = {row}.conference AND speaker = {row}.speaker AND voice = {row}.voice
        ON CONFLICT (conference, site, segment) DO NOTHING;
"""

_EVENTS = (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD"))
_SAID = (("utterance", "''"), ("peer_utterance", "{row}.site"))

_POSTGRES = (
    "ALTER TABLE search_entry ADD COLUMN terms TSVECTOR NOT NULL DEFAULT ''::tsvector",
    "CREATE INDEX search_entry_terms ON search_entry USING GIN (terms)",
    """CREATE FUNCTION search_touch(of_conference TEXT, of_site TEXT, of_segment TEXT)
    RETURNS VOID LANGUAGE plpgsql AS $body$
    DECLARE there INTEGER;
    BEGIN
        DELETE FROM search_entry WHERE conference = of_conference AND site = of_site
            AND segment = of_segment;
        GET DIAGNOSTICS there = ROW_COUNT;
        INSERT INTO search_dirty (conference, site, segment, removed)
            VALUES (of_conference, of_site, of_segment, there)
            ON CONFLICT (conference, site, segment)
            DO UPDATE SET removed = GREATEST(search_dirty.removed, excluded.removed);
    END $body$""",
)
_POSTGRES_SAID = """CREATE FUNCTION search_{table}_{event}() RETURNS TRIGGER
    LANGUAGE plpgsql AS $body$
    BEGIN
        PERFORM search_touch({row}.conference, {site}, {row}.segment);
        RETURN NULL;
    END $body$"""
_POSTGRES_VOICE = """CREATE FUNCTION search_voice_{event}() RETURNS TRIGGER
    LANGUAGE plpgsql AS $body$
    BEGIN
        INSERT INTO search_dirty (conference, site, segment)
            SELECT DISTINCT conference, '', segment FROM utterance
            WHERE conference = {row}.conference AND speaker = {row}.speaker
                AND voice = {row}.voice
            ON CONFLICT (conference, site, segment) DO NOTHING;
        RETURN NULL;
    END $body$"""


async def create(conn: Connection, scheme: Scheme) -> None:
    """The migration step."""
    sqlite = scheme == Scheme.SQLITE
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT" if sqlite else "BIGSERIAL PRIMARY KEY"
    for statement in (*_TABLES, *FILL):
        await conn.execute(statement.replace("SERIAL", serial))
    for statement in _sqlite() if sqlite else _postgres():
        await conn.execute(statement)


def _sqlite() -> list[str]:
    made = [_SQLITE_WORDS]
    for event, row in _EVENTS:
        for table, site in _SAID:
            body = _SQLITE_TOUCH.format(row=row, site=site.format(row=row))
            made.append(
                f"CREATE TRIGGER search_{table}_{event} AFTER {event} ON {table} BEGIN {body} END"
            )
        body = _SQLITE_VOICE.format(row=row)
        made.append(
            f"CREATE TRIGGER search_voice_{event} AFTER {event} ON voice_name BEGIN {body} END"
        )
    return made


def _postgres() -> list[str]:
    made = list(_POSTGRES)
    for event, row in _EVENTS:
        for table, site in _SAID:
            at = site.format(row=row)
            made.append(_POSTGRES_SAID.format(table=table, event=event, row=row, site=at))
            made.append(_postgres_trigger(f"search_{table}_{event}", event, table))
        made.append(_POSTGRES_VOICE.format(event=event, row=row))
        made.append(_postgres_trigger(f"search_voice_{event}", event, "voice_name"))
    return made


def _postgres_trigger(name: str, event: str, table: str) -> str:
    return f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"
