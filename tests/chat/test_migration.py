"""Databases that older versions made are brought up to date, and those of newer ones refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from chat.record import Record

from wscore.chat.backends import schema
from wscore.chat.backends.base import (
    CannotOpen,
    Claim,
    Claimed,
    Opened,
    OpenRoom,
    PostTo,
    Refused,
    SendTo,
    Stored,
)
from wscore.chat.backends.sqlite import SQLiteBackend
from wscore.chat.model import Entry, Name, inbox_log, room_log

ANNA, ROOM = Name("anna", "Anna"), Name("küche", "Küche")

# As version 1 wrote them.
VERSION_1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, secret BLOB,
    epoch TEXT NOT NULL, start INTEGER NOT NULL DEFAULT 1, last INTEGER NOT NULL DEFAULT 0,
    touched INTEGER NOT NULL DEFAULT 0, UNIQUE (kind, key)
);
CREATE INDEX rooms_by_activity ON logs (touched, id) WHERE kind = 'room';
CREATE TABLE entries (
    log INTEGER NOT NULL REFERENCES logs, offset INTEGER NOT NULL,
    sender INTEGER NOT NULL REFERENCES logs, recipient INTEGER REFERENCES logs, text TEXT NOT NULL,
    time INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (log, offset)
) WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_id ON entries (log, sender, id);
PRAGMA application_id = 2004050792;
PRAGMA user_version = 1;
INSERT INTO logs VALUES
    (1, 'inbox', 'anna', 'Anna', X'61', 'e1', 1, 2, 1003),
    (2, 'inbox', 'bob', 'Bob', X'62', 'e2', 1, 1, 1002),
    (3, 'room', 'küche', 'Küche', NULL, 'e3', 1, 2, 1001);
INSERT INTO entries VALUES
    (3, 1, 1, NULL, 'hello', 1000, 'm1'), (3, 2, 2, NULL, 'hi', 1001, 'm1'),
    (1, 1, 1, 2, 'psst', 1002, 'm2'), (2, 1, 1, 2, 'psst', 1002, 'm2'),
    (1, 2, 1, 1, 'note', 1003, 'm3');
"""
# What version 2 added.
VERSION_2 = """
CREATE TABLE trimmed (
    log INTEGER NOT NULL REFERENCES logs, sender INTEGER NOT NULL REFERENCES logs,
    id TEXT NOT NULL, offset INTEGER NOT NULL, recipient INTEGER REFERENCES logs,
    digest BLOB NOT NULL, time INTEGER NOT NULL, until INTEGER, PRIMARY KEY (log, sender, id)
) WITHOUT ROWID;
CREATE INDEX trimmed_by_end ON trimmed (until) WHERE until IS NOT NULL;
PRAGMA user_version = 2;
"""
OLDER = {1: VERSION_1, 2: VERSION_1 + VERSION_2}

# What the last statement makes of the migration from each of them.
LAST = {1: "trimmed_by_end", 2: "recent_by_offset"}


def build(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(OLDER[version])
    connection.close()
    if version > 1:
        Path(f"{path}-mark").write_text("5\n")  # or it would pass for one from elsewhere


def pragma(path: Path, name: str) -> object:
    connection = sqlite3.connect(path)
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    connection.close()
    return value


def shape(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    tables = [
        (name, *row)
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        for row in connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))
    ]
    indices = [
        (name, *row)
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")
        for row in connection.execute("SELECT * FROM pragma_index_xinfo(?)", (name,))
    ]
    connection.close()
    return sorted([*tables, *indices], key=repr)


def test_there_is_a_database_of_every_older_version() -> None:
    assert sorted(OLDER) == list(range(1, schema.VERSION))


@pytest.mark.parametrize("version", OLDER)
async def test_everything_is_there_after_a_migration(tmp_path: Path, version: int) -> None:
    path = tmp_path / "chat.db"
    build(path, version)
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        claimed, opened, thief = await backend.write(
            [Claim(ANNA, b"a"), OpenRoom(ROOM), Claim(ANNA, b"x")]
        )
        assert isinstance(claimed, Claimed)
        assert (claimed.user, claimed.inbox) == ("Anna", ("e1", 2))
        assert isinstance(opened, Opened)
        assert (opened.room, opened.head) == ("Küche", ("e3", 2))
        assert isinstance(thief, Refused)
        pages = [
            await backend.read_after(log, 0, 99, 99)
            for log in (room_log("küche"), inbox_log("anna"), inbox_log("bob"))
        ]
        psst = Entry(1, "Anna", "Bob", "psst", 1002, "m2")
        assert pages == [
            (
                1,
                [
                    Entry(1, "Anna", None, "hello", 1000, "m1"),
                    Entry(2, "Bob", None, "hi", 1001, "m1"),
                ],
            ),
            (1, [psst, Entry(2, "Anna", "Anna", "note", 1003, "m3")]),
            (1, [psst]),
        ]
        again, conflict, new = await backend.write(
            [
                PostTo("anna", "küche", "hello", "m1", 5),
                SendTo("anna", "bob", "other", "m2", 5),
                PostTo("anna", "küche", "more", "m4", 5),
            ]
        )
        assert again == Stored("e3", 1, 1000, duplicate=True)
        assert isinstance(conflict, Refused)
        assert new == Stored("e3", 3, 5, duplicate=False)
    assert pragma(path, "user_version") == schema.VERSION
    # It has become what a new one is.
    async with SQLiteBackend(tmp_path / "new.db").open(Record()):
        pass
    assert shape(path) == shape(tmp_path / "new.db")
    # And stays so.
    async with SQLiteBackend(path).open(Record()):
        pass
    assert shape(path) == shape(tmp_path / "new.db")


@pytest.mark.parametrize("version", OLDER)
async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "chat.db"
    build(path, version)
    connection = sqlite3.connect(path)
    in_the_way = LAST[version]
    connection.execute(f"CREATE TABLE {in_the_way} (x)")
    connection.close()
    before = shape(path)
    with pytest.raises(CannotOpen, match=in_the_way):
        async with SQLiteBackend(path).open(Record()):
            pass
    assert pragma(path, "user_version") == version
    assert shape(path) == before
    connection = sqlite3.connect(path)
    connection.execute(f"DROP TABLE {in_the_way}")
    connection.close()
    async with SQLiteBackend(path).open(Record()):
        pass
    assert pragma(path, "user_version") == schema.VERSION


async def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with SQLiteBackend(path).open(Record()):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CannotOpen, match=f"newer wscore .schema 99, ours {schema.VERSION}"):
        async with SQLiteBackend(path).open(Record()):
            pass
    assert pragma(path, "user_version") == 99
