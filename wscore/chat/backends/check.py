"""Verifies a database without changing it; imports `schema`, `base` and `model`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from wscore.chat.model import Name, parse_name

from . import schema
from .base import CannotOpen

_DIGEST_SIZE = 16

# The rules are about all entries, merged or not. A temporary view goes before the table.
_ALL_ENTRIES = """
CREATE TEMP VIEW entries AS SELECT * FROM main.entries UNION ALL SELECT * FROM main.recent
"""
_ALL_ENDS = """
CREATE TEMP VIEW logs AS SELECT id, kind, key, name, secret, epoch, start, max(
    last, ifnull((SELECT max(offset) FROM main.recent WHERE recent.log = stored.id), 0)
) AS last FROM main.logs AS stored
"""

# Each query finds what should not be; its columns fill the sentence.
_RULES: list[tuple[str, str]] = [
    (
        "{0} {1!r} should have offsets {2}-{3}, but has {4} entries from {5} to {6}",
        """
        SELECT kind, key, start, last, count(offset) AS n, min(offset), max(offset)
        FROM logs LEFT JOIN entries ON entries.log = logs.id GROUP BY logs.id
        HAVING n <> last - start + 1
        OR n > 0 AND (min(offset) <> start OR max(offset) <> last) OR start < 1
        """,
    ),
    (
        "{0} {1!r} has no epoch",
        "SELECT kind, key FROM logs WHERE typeof(epoch) <> 'text' OR epoch = ''",
    ),
    (
        "{0} {1!r} is neither a room nor an inbox",
        "SELECT kind, key FROM logs WHERE kind NOT IN ('room', 'inbox')",
    ),
    (
        "user {0!r} has no secret",
        "SELECT key FROM logs WHERE kind = 'inbox' AND typeof(secret) <> 'blob'",
    ),
    (
        "{0} {1!r}, offset {2}: the sender is no user",
        """
        SELECT log.kind, log.key, offset FROM entries JOIN logs AS log ON log.id = entries.log
        LEFT JOIN logs AS sender ON sender.id = entries.sender
        WHERE sender.kind IS NOT 'inbox'
        """,
    ),
    (
        "{0} {1!r}, offset {2}: the recipient is no user",
        """
        SELECT log.kind, log.key, offset FROM entries JOIN logs AS log ON log.id = entries.log
        LEFT JOIN logs AS recipient ON recipient.id = entries.recipient
        WHERE entries.recipient IS NOT NULL AND recipient.kind IS NOT 'inbox'
        """,
    ),
    (
        "an entry of offset {0} belongs to no log (row {1})",
        "SELECT offset, log FROM entries WHERE log NOT IN (SELECT id FROM logs)",
    ),
    (
        "room {0!r}, offset {1}: a direct message in a room",
        """
        SELECT key, offset FROM entries JOIN logs ON logs.id = log
        WHERE kind = 'room' AND recipient IS NOT NULL
        """,
    ),
    (
        "inbox {0!r}, offset {1}: neither from nor to its user",
        """
        SELECT key, offset FROM entries JOIN logs ON logs.id = log
        WHERE kind = 'inbox' AND (recipient IS NULL OR log NOT IN (sender, recipient))
        """,
    ),
    (
        "inbox {0!r}, offset {1}: the other inbox has it differently",
        """
        SELECT key, one.offset FROM entries AS one JOIN logs ON logs.id = one.log
        JOIN entries AS other ON other.sender = one.sender AND other.id = one.id
        AND other.log = iif(one.log = one.sender, one.recipient, one.sender)
        WHERE kind = 'inbox' AND one.log <> other.log
        AND (one.text, one.time, one.recipient) IS NOT (other.text, other.time, other.recipient)
        """,
    ),
    (
        "inbox {0!r}, offset {1}: missing in the inbox of {2!r}",
        # What the other inbox has trimmed is older than all that both have.
        """
        WITH pairs AS (
            SELECT one.log, one.offset,
                iif(one.log = one.sender, one.recipient, one.sender) AS peer,
                EXISTS (
                    SELECT 1 FROM entries AS other
                    WHERE other.log = iif(one.log = one.sender, one.recipient, one.sender)
                    AND other.sender = one.sender AND other.id = one.id
                ) AS is_there
            FROM entries AS one WHERE one.recipient IS NOT NULL AND one.recipient <> one.sender
            AND one.log IN (one.sender, one.recipient)
        ), common AS (
            SELECT log, peer, min(offset) AS first FROM pairs WHERE is_there GROUP BY log, peer
        )
        SELECT own.key, pairs.offset, theirs.key FROM pairs
        JOIN logs AS own ON own.id = pairs.log JOIN logs AS theirs ON theirs.id = pairs.peer
        LEFT JOIN common ON common.log = pairs.log AND common.peer = pairs.peer
        WHERE NOT is_there AND (theirs.start = 1 OR pairs.offset > common.first)
        """,
    ),
    (
        "the id {0!r} of {1} {2!r} is remembered as trimmed, but is not of a trimmed entry",
        """
        SELECT trimmed.id, logs.kind, logs.key FROM trimmed JOIN logs ON logs.id = trimmed.log
        WHERE trimmed.offset >= logs.start OR trimmed.offset < 1 OR EXISTS (
            SELECT 1 FROM entries WHERE entries.log = trimmed.log
            AND entries.sender = trimmed.sender AND entries.id = trimmed.id
        )
        """,
    ),
    (
        "the trimmed id {0!r} lacks its log, its user or its digest",
        f"""
        SELECT id FROM trimmed
        WHERE typeof(digest) <> 'blob' OR length(digest) <> {_DIGEST_SIZE}
        OR log NOT IN (SELECT id FROM logs)
        OR sender NOT IN (SELECT id FROM logs WHERE kind = 'inbox')
        OR recipient NOT IN (SELECT id FROM logs WHERE kind = 'inbox')
        """,
    ),
]


def check(path: str | Path) -> list[str]:
    """Verify a database; a server may be running on it.

    Nothing in the database is changed. SQLite may make its ``-wal`` and ``-shm`` beside it.

    Args:
        path: the database.

    Returns:
        What is wrong with it, one line each; nothing where all is well.
    """
    path = Path(path)
    if not path.is_file():
        return [f"there is no file {path}"]
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")  # one snapshot of what may be written meanwhile
        return list(_findings(connection))
    except (sqlite3.Error, CannotOpen) as error:
        return [f"cannot check {path}: {error}"]
    finally:
        connection.close()


def _findings(connection: sqlite3.Connection) -> Iterator[str]:
    found = schema.version(connection)
    if found < schema.VERSION:
        yield f"its schema is {found}; serve it once, so that it becomes {schema.VERSION}"
        return
    for (lines,) in connection.execute("PRAGMA integrity_check"):
        if lines != "ok":
            yield from (f"SQLite: {line}" for line in lines.splitlines())
    differences = list(_schema_differences(connection))
    yield from differences
    if differences:
        return  # the rules build upon it
    connection.execute(_ALL_ENTRIES)
    connection.execute(_ALL_ENDS)
    yield from _bad_names(connection)
    for sentence, query in _RULES:
        for row in connection.execute(query):
            yield sentence.format(*row)


def _schema_differences(connection: sqlite3.Connection) -> Iterator[str]:
    query = "SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(fresh)
    expected = {name: (type, sql) for name, type, sql in fresh.execute(query)}
    fresh.close()
    actual = {name: (type, sql) for name, type, sql in connection.execute(query)}
    for name, (type, sql) in expected.items():
        if name not in actual:
            yield f"the {type} {name} is missing"
        elif _plain(actual[name][1]) != _plain(sql):
            yield f"the {type} {name} is not what it should be"


def _plain(sql: str) -> str:
    """SQL without comments and spaces, which say nothing."""
    lines = (line.partition("--")[0] for line in sql.splitlines())
    return "".join("".join(lines).split())


def _bad_names(connection: sqlite3.Connection) -> Iterator[str]:
    for kind, key, name in connection.execute("SELECT kind, key, name FROM logs"):
        if parse_name(str(name)) != Name(key, name):
            yield f"{kind} {key!r}: the name {name!r} is not valid, or not of this key"
