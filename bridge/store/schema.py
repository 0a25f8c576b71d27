"""The tables, as numbered migrations. A step that was released is never edited: add the next one.

Where SQLite and PostgreSQL differ a step asks for the scheme; all else is the same SQL. Times are
integer milliseconds since 1970. JSON lies in TEXT with everything outside ASCII escaped, so that
any text of a stranger's event fits (PostgreSQL refuses NUL, and UTF-8 lone surrogates).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mautrix.util.async_db import Connection, Scheme

from bridge.store import search_schema

Step = Callable[[Connection, Scheme], Awaitable[None]]


async def _first_tables(conn: Connection, scheme: Scheme) -> None:
    serial = "BIGSERIAL PRIMARY KEY"
    blob = "BYTEA"
    if scheme == Scheme.SQLITE:
        # AUTOINCREMENT: a number is never given twice, even after the last row was deleted.
        serial, blob = "INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB"
    for statement in (_INBOX, _INBOX_WAITING, _OUTBOX, _OUTBOX_WAITING, *_DOMAIN):
        await conn.execute(statement.replace("SERIAL", serial).replace("BLOB", blob))


_INBOX = """CREATE TABLE inbox (
    seq         SERIAL,
    room_id     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    key         TEXT NOT NULL,
    payload     TEXT,
    received_ms BIGINT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    state       TEXT NOT NULL DEFAULT 'waiting',
    reason      TEXT,
    UNIQUE (kind, key)
)"""
_INBOX_WAITING = "CREATE INDEX inbox_waiting ON inbox (room_id, seq) WHERE state = 'waiting'"

_OUTBOX = """CREATE TABLE outbox (
    seq          SERIAL,
    room_id      TEXT NOT NULL,
    txn_id       TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    type         TEXT NOT NULL,
    state_key    TEXT NOT NULL,
    content      TEXT NOT NULL,
    blob         BLOB,
    size         BIGINT NOT NULL,
    media_type   TEXT NOT NULL,
    file_name    TEXT NOT NULL,
    if_forbidden TEXT,
    mxc          TEXT,
    created_ms   BIGINT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    state        TEXT NOT NULL DEFAULT 'waiting',
    reason       TEXT,
    event_id     TEXT
)"""
_OUTBOX_WAITING = "CREATE INDEX outbox_waiting ON outbox (room_id, seq) WHERE state = 'waiting'"

_DOMAIN = (
    """CREATE TABLE room (
        room_id TEXT PRIMARY KEY,
        facts   TEXT NOT NULL
    )""",
    """CREATE TABLE conference (
        room_id    TEXT PRIMARY KEY,
        media_room TEXT NOT NULL UNIQUE,
        active     BOOLEAN NOT NULL,
        snapshot   TEXT NOT NULL
    )""",
    """CREATE TABLE call_grant (
        media_room TEXT NOT NULL,
        identity   TEXT NOT NULL,
        room_id    TEXT NOT NULL,
        user_id    TEXT NOT NULL,
        device_id  TEXT NOT NULL,
        member_id  TEXT,
        granted_ms BIGINT NOT NULL,
        revoked_ms BIGINT,
        PRIMARY KEY (media_room, identity)
    )""",
    "CREATE INDEX call_grant_room ON call_grant (room_id, user_id)",
    """CREATE TABLE utterance (
        segment      TEXT NOT NULL,
        rev          INTEGER NOT NULL,
        conference   TEXT NOT NULL,
        room_id      TEXT NOT NULL,
        speaker      TEXT NOT NULL,
        device       TEXT NOT NULL,
        display_name TEXT NOT NULL,
        text         TEXT NOT NULL,
        language     TEXT NOT NULL,
        start_ms     BIGINT NOT NULL,
        end_ms       BIGINT NOT NULL,
        engine       TEXT NOT NULL,
        event_id     TEXT,
        PRIMARY KEY (segment, rev)
    )""",
    "CREATE INDEX utterance_conference ON utterance (conference, start_ms)",
)


async def _marks(conn: Connection, scheme: Scheme) -> None:
    await conn.execute("CREATE TABLE mark (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    await conn.execute("CREATE INDEX inbox_room ON inbox (room_id, received_ms)")


async def _errands(conn: Connection, scheme: Scheme) -> None:
    await conn.execute(
        """CREATE TABLE errand (
            id         TEXT PRIMARY KEY,
            room_id    TEXT NOT NULL,
            kind       TEXT NOT NULL,
            content    TEXT NOT NULL,
            created_ms BIGINT NOT NULL
        )"""
    )
    await conn.execute("CREATE INDEX errand_room ON errand (room_id, created_ms)")


async def _delegated_leaves(conn: Connection, scheme: Scheme) -> None:
    await conn.execute(
        """CREATE TABLE delegated_leave (
            media_room TEXT NOT NULL,
            identity   TEXT NOT NULL,
            delay_id   TEXT NOT NULL,
            alias      TEXT NOT NULL,
            room_id    TEXT NOT NULL,
            user_id    TEXT NOT NULL,
            timeout_ms BIGINT NOT NULL,
            asked_ms   BIGINT NOT NULL,
            connected  BOOLEAN NOT NULL,
            replaced   BOOLEAN NOT NULL,
            PRIMARY KEY (media_room, identity, delay_id)
        )"""
    )


async def _memberships(conn: Connection, scheme: Scheme) -> None:
    await conn.execute(
        """CREATE TABLE membership (
            room_id     TEXT NOT NULL,
            kind        TEXT NOT NULL,
            place       TEXT NOT NULL,
            key         TEXT NOT NULL,
            user_id     TEXT NOT NULL,
            device_id   TEXT NOT NULL,
            event_id    TEXT NOT NULL,
            member_id   TEXT NOT NULL,
            service_url TEXT NOT NULL,
            selection   TEXT NOT NULL,
            intent      TEXT NOT NULL,
            created_ms  BIGINT NOT NULL,
            sent_ms     BIGINT NOT NULL,
            expires_ms  BIGINT NOT NULL,
            PRIMARY KEY (room_id, kind, place)
        )"""
    )


async def _peer_utterances(conn: Connection, scheme: Scheme) -> None:
    await conn.execute(
        """CREATE TABLE peer_utterance (
            conference   TEXT NOT NULL,
            site         TEXT NOT NULL,
            segment      TEXT NOT NULL,
            rev          INTEGER NOT NULL,
            speaker      TEXT NOT NULL,
            display_name TEXT NOT NULL,
            text         TEXT NOT NULL,
            language     TEXT NOT NULL,
            start_ms     BIGINT NOT NULL,
            end_ms       BIGINT NOT NULL,
            engine       TEXT NOT NULL,
            PRIMARY KEY (conference, site, segment, rev)
        )"""
    )


_ENCRYPTION = (
    # Rooms that are encrypted stay so, whatever their state says later.
    "CREATE TABLE e2ee_room (room_id TEXT PRIMARY KEY, settings TEXT NOT NULL)",
    # Whose device list changed since it was read.
    "CREATE TABLE e2ee_outdated (user_id TEXT PRIMARY KEY, mark BIGINT NOT NULL)",
    # To-device messages have no id of their own: this is what they looked like.
    "CREATE TABLE e2ee_seen (digest TEXT PRIMARY KEY, seen_ms BIGINT NOT NULL)",
    # Decrypted, and not handled yet.
    """CREATE TABLE e2ee_to_device (
        seq         SERIAL,
        sender      TEXT NOT NULL,
        sender_key  TEXT NOT NULL,
        signing_key TEXT NOT NULL,
        type        TEXT NOT NULL,
        content     TEXT NOT NULL,
        received_ms BIGINT NOT NULL
    )""",
    # Which devices have the key of the room's present Megolm session.
    """CREATE TABLE e2ee_share (
        session_id   TEXT NOT NULL,
        identity_key TEXT NOT NULL,
        room_id      TEXT NOT NULL,
        user_id      TEXT NOT NULL,
        device_id    TEXT NOT NULL,
        PRIMARY KEY (session_id, identity_key)
    )""",
    "CREATE INDEX e2ee_share_room ON e2ee_share (room_id)",
    "CREATE INDEX inbox_locked ON inbox (reason) WHERE state = 'locked'",
    "ALTER TABLE outbox ADD COLUMN sealed TEXT",
    "ALTER TABLE outbox ADD COLUMN file_info TEXT",
)


async def _encryption(conn: Connection, scheme: Scheme) -> None:
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"
    for statement in _ENCRYPTION:
        statement = statement.replace(
            "SERIAL", serial if scheme == Scheme.SQLITE else "BIGSERIAL PRIMARY KEY"
        )
        await conn.execute(statement)


async def _expiring_messages(conn: Connection, scheme: Scheme) -> None:
    await conn.execute("ALTER TABLE outbox ADD COLUMN not_after_ms BIGINT")


async def _alias_rooms(conn: Connection, scheme: Scheme) -> None:
    await conn.execute(
        """CREATE TABLE alias_room (
            room_id    TEXT PRIMARY KEY,
            alias      TEXT NOT NULL,
            created_ms BIGINT NOT NULL
        )"""
    )


_WORDS = (
    *(
        f"ALTER TABLE {table} ADD COLUMN {column}"
        for table in ("utterance", "peer_utterance")
        for column in (
            "voice TEXT NOT NULL DEFAULT ''",
            "words TEXT NOT NULL DEFAULT '[]'",
            "editor TEXT NOT NULL DEFAULT ''",
        )
    ),
    "ALTER TABLE utterance ADD COLUMN said_ms BIGINT NOT NULL DEFAULT 0",
    # What is known of a meeting when the room's snapshot has long forgotten it.
    """CREATE TABLE meeting (
        conference TEXT PRIMARY KEY,
        call_id    TEXT NOT NULL,
        room_id    TEXT NOT NULL,
        room_name  TEXT NOT NULL,
        title      TEXT NOT NULL,
        started_ms BIGINT NOT NULL,
        ended_ms   BIGINT NOT NULL,
        language   TEXT NOT NULL,
        encrypted  BOOLEAN NOT NULL,
        snapshot   TEXT NOT NULL,
        root       TEXT
    )""",
    "CREATE INDEX meeting_room ON meeting (room_id, started_ms)",
    "CREATE INDEX meeting_call ON meeting (call_id)",
    # Who speaks with a voice of a shared microphone, in one meeting alone.
    """CREATE TABLE voice_name (
        conference TEXT NOT NULL,
        speaker    TEXT NOT NULL,
        voice      TEXT NOT NULL,
        name       TEXT NOT NULL,
        named_by   TEXT NOT NULL,
        PRIMARY KEY (conference, speaker, voice)
    )""",
)


async def _words(conn: Connection, scheme: Scheme) -> None:
    for statement in _WORDS:
        await conn.execute(statement)


_SHOWN = (
    # Which rows of the outbox show which segments: a message of several, its edits (`base`: the
    # row they edit). How a deletion finds everything that holds the words.
    """CREATE TABLE shown (
        txn_id  TEXT NOT NULL,
        segment TEXT NOT NULL,
        base    TEXT NOT NULL,
        PRIMARY KEY (txn_id, segment)
    )""",
    "CREATE INDEX shown_segment ON shown (segment)",
    "CREATE INDEX shown_base ON shown (base)",
    "CREATE INDEX outbox_event ON outbox (event_id)",
    """INSERT INTO shown (txn_id, segment, base)
        SELECT o.txn_id, u.segment, CASE WHEN u.rev = f.rev THEN ''
            ELSE 'utt:' || u.segment || ':' || CAST(f.rev AS TEXT) END
        FROM utterance u
        JOIN outbox o ON o.txn_id = 'utt:' || u.segment || ':' || CAST(u.rev AS TEXT)
        JOIN (SELECT segment, MIN(rev) AS rev FROM utterance GROUP BY segment) f
            ON f.segment = u.segment""",
    # What was deleted, when, by whom and why: never the words.
    """CREATE TABLE redaction_log (
        seq        SERIAL,
        at_ms      BIGINT NOT NULL,
        room_id    TEXT NOT NULL,
        conference TEXT NOT NULL,
        kind       TEXT NOT NULL,
        items      TEXT NOT NULL,
        by_user    TEXT NOT NULL,
        why        TEXT NOT NULL
    )""",
    "CREATE INDEX redaction_log_room ON redaction_log (room_id, at_ms)",
)


async def _shown(conn: Connection, scheme: Scheme) -> None:
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"
    for statement in _SHOWN:
        statement = statement.replace(
            "SERIAL", serial if scheme == Scheme.SQLITE else "BIGSERIAL PRIMARY KEY"
        )
        await conn.execute(statement)


async def _opted_out(conn: Connection, scheme: Scheme) -> None:
    await conn.execute(
        """CREATE TABLE opted_out (
            user_id  TEXT NOT NULL,
            room_id  TEXT NOT NULL,
            since_ms BIGINT NOT NULL,
            PRIMARY KEY (user_id, room_id)
        )"""
    )


upgrades: tuple[tuple[str, Step], ...] = (
    ("Inbox, outbox, rooms, conferences, grants, utterances", _first_tables),
    ("Until when the rooms are complete", _marks),
    ("What is to be done outside", _errands),
    ("Leaves that clients handed over", _delegated_leaves),
    ("Memberships of calls", _memberships),
    ("What was said at other sites", _peer_utterances),
    ("Encrypted rooms", _encryption),
    ("Messages that are worth nothing later", _expiring_messages),
    ("Rooms made for an alias", _alias_rooms),
    ("Meetings, voices, and words with their times", _words),
    ("Search", search_schema.create),
    ("What messages show, and what was deleted", _shown),
    ("Who is not written down", _opted_out),
)
