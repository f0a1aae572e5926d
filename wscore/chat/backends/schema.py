"""The SQLite database's tables and how older ones become today's; imports `base` only.

`VERSION` is kept in ``PRAGMA user_version``. A database of version n is brought up to date by the
migrations from n on, each in a transaction of its own together with its new version number: one
that is interrupted is carried on at the next start. A migration that was released never changes.
"""

from __future__ import annotations

import sqlite3

from .base import CannotOpen

APPLICATION_ID = 0x77736368
"""``wsch``, in ``PRAGMA application_id``: tells our files from other people's."""

_FIRST = """
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,               -- room, or inbox (of a user)
    key TEXT NOT NULL,                -- of the room's or user's name
    name TEXT NOT NULL,               -- its first spelling
    secret BLOB,                      -- of a user: the hash of the session
    epoch TEXT NOT NULL,
    start INTEGER NOT NULL DEFAULT 1, -- first offset that is kept
    last INTEGER NOT NULL DEFAULT 0,
    touched INTEGER NOT NULL DEFAULT 0, -- time of the last entry, ms
    UNIQUE (kind, key)
);
CREATE INDEX rooms_by_activity ON logs (touched, id) WHERE kind = 'room';
CREATE TABLE entries (
    log INTEGER NOT NULL REFERENCES logs,
    offset INTEGER NOT NULL,
    sender INTEGER NOT NULL REFERENCES logs,
    recipient INTEGER REFERENCES logs,
    text TEXT NOT NULL,
    time INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (log, offset)
) WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_id ON entries (log, sender, id);
"""

_TRIMMED_IDS = """
-- What is remembered of entries no longer kept: those of rooms, and of their senders' inboxes.
CREATE TABLE trimmed (
    log INTEGER NOT NULL REFERENCES logs,
    sender INTEGER NOT NULL REFERENCES logs,
    id TEXT NOT NULL,
    offset INTEGER NOT NULL,
    recipient INTEGER REFERENCES logs,
    digest BLOB NOT NULL,             -- of the text
    time INTEGER NOT NULL,
    until INTEGER,                    -- ms; NULL while the recipient's inbox keeps the message
    PRIMARY KEY (log, sender, id)
) WITHOUT ROWID;
CREATE INDEX trimmed_by_end ON trimmed (until) WHERE until IS NOT NULL;
"""

_RECENT = """
-- The newest entries, in the order they came, until they are merged into the others.
CREATE TABLE recent (
    log INTEGER NOT NULL REFERENCES logs,
    offset INTEGER NOT NULL,
    sender INTEGER NOT NULL REFERENCES logs,
    recipient INTEGER REFERENCES logs,
    text TEXT NOT NULL,
    time INTEGER NOT NULL,
    id TEXT NOT NULL
);
CREATE UNIQUE INDEX recent_by_offset ON recent (log, offset);
"""

_MIGRATIONS = [_FIRST, _TRIMMED_IDS, _RECENT]
"""The n-th makes version n from version n - 1; version 0 is an empty file."""

VERSION = len(_MIGRATIONS)


def version(connection: sqlite3.Connection) -> int:
    """The version of a database; 0 where nothing is in it.

    Raises:
        CannotOpen: it is not ours, or newer than this program.
        sqlite3.Error: it cannot be read.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (tables or application or found):
        raise CannotOpen("it is a database of another program")
    if found > VERSION:
        raise CannotOpen(f"it was made by a newer wscore (schema {found}, ours {VERSION})")
    assert isinstance(found, int)
    return found


def migrate(connection: sqlite3.Connection) -> int:
    """Bring a database up to date; it always writes, so that a read-only file shows here.

    Returns:
        The version that was found.

    Raises:
        CannotOpen: it is not ours, or newer than this program.
        sqlite3.Error: it cannot be read or written.
    """
    before = version(connection)
    for number in range(before, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        for statement in _MIGRATIONS[number].split(";\n"):
            connection.execute(statement)
        _stamp(connection, number + 1)
    connection.execute("BEGIN IMMEDIATE")
    _stamp(connection, VERSION)
    return before


def _stamp(connection: sqlite3.Connection, number: int) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")
