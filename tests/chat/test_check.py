"""Each kind of damage is found, and a good database is not called bad."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from chat.record import Record
from trio.testing import MockClock

from wscore.chat.backends import schema
from wscore.chat.backends.base import Claim, OpenRoom, PostTo, SendTo
from wscore.chat.backends.check import check
from wscore.chat.backends.sqlite import SQLiteBackend
from wscore.chat.model import Name, inbox_log, room_log

ANNA, BOB, CAROL, ROOM = (Name(n.casefold(), n) for n in ("Anna", "Bob", "Carol", "Küche"))


async def build(path: Path, *, keep_messages: int | None = None) -> None:
    """A database with a bit of everything; with retention, some of it trimmed."""
    now = 10**12
    backend = SQLiteBackend(path, keep_messages=keep_messages, clock=lambda: now)
    async with backend.open(Record()):
        commands = [Claim(ANNA, b"a"), Claim(BOB, b"b"), Claim(CAROL, b"c"), OpenRoom(ROOM)]
        await backend.write(commands)
        await backend.write([OpenRoom(Name("empty", "Empty"))])
        await backend.write([PostTo("anna", "küche", f"text {n}", f"p{n}", now) for n in range(8)])
        await backend.write([SendTo("anna", "bob", f"dm {n}", f"d{n}", now) for n in range(5)])
        await backend.write([SendTo("bob", "anna", "back", "d0", now)])
        await backend.write([SendTo("anna", "anna", "note", "n0", now)])
        await backend.write([SendTo("carol", "bob", f"hi {n}", f"c{n}", now) for n in range(3)])


async def trim(path: Path, clock: MockClock) -> None:
    """Keep two messages of each log."""
    backend = SQLiteBackend(path, keep_messages=2, clock=lambda: 10**12)
    async with backend.open(Record()):
        logs = {room_log("küche"): 7, inbox_log("anna"): 6, inbox_log("bob"): 8}
        logs[inbox_log("carol")] = 2
        for log, start in logs.items():
            for _ in range(20_000):
                if (await backend.read_after(log, 0, 0, 0)).start == start:
                    break
                clock.jump(60)
            else:
                pytest.fail(f"{log} is not trimmed")


async def merge(path: Path) -> None:
    """Have what is recent merged, as each start does."""
    async with SQLiteBackend(path).open(Record()):
        pass


def damage(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    for one in statement.split(";"):
        connection.execute(one)
    connection.close()


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    assert check(tmp_path / "chat.db") == [f"there is no file {tmp_path / 'chat.db'}"]
    assert not any(tmp_path.iterdir())


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_text("Dear diary, " * 1000)
    (finding,) = check(path)
    assert "not a database" in finding


def test_of_another_program_or_version(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    damage(path, "CREATE TABLE recipes (name TEXT)")
    (finding,) = check(path)
    assert "another program" in finding
    path.unlink()
    damage(path, f"PRAGMA application_id = {schema.APPLICATION_ID};PRAGMA user_version = 1")
    (finding,) = check(path)
    assert "schema is 1" in finding
    damage(path, "PRAGMA user_version = 99")
    (finding,) = check(path)
    assert "newer" in finding


async def test_a_good_database(tmp_path: Path, mock_clock: MockClock) -> None:
    path = tmp_path / "chat.db"
    await build(path)
    before = path.read_bytes()
    assert check(path) == []
    assert path.read_bytes() == before
    await trim(path, mock_clock)
    assert check(str(path)) == []


async def test_a_database_that_is_served(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    await build(path)
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        await backend.write([PostTo("anna", "küche", "x", "live", 5)])
        assert check(path) == []
        await backend.write([PostTo("anna", "küche", "x", "more", 5)])


INBOX = "(SELECT id FROM logs WHERE key = '{}' AND kind = 'inbox')"
A, B, ROOM_ID = (
    INBOX.format("anna"),
    INBOX.format("bob"),
    "(SELECT id FROM logs WHERE key = 'küche')",
)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            f"DELETE FROM entries WHERE log = {ROOM_ID} AND offset = 4",
            "room 'küche' should have offsets 1-8, but has 7 entries from 1 to 8",
        ),
        (
            f"DELETE FROM entries WHERE log = {ROOM_ID} AND offset = 1",
            "room 'küche' should have offsets 1-8, but has 7 entries from 2 to 8",
        ),
        (
            "UPDATE logs SET last = 9 WHERE key = 'küche'",
            "room 'küche' should have offsets 1-9, but has 8 entries from 1 to 8",
        ),
        (
            "UPDATE logs SET last = 1 WHERE key = 'empty'",
            "room 'empty' should have offsets 1-1, but has 0 entries from None to None",
        ),
        (
            f"UPDATE entries SET offset = 9 WHERE log = {ROOM_ID} AND offset = 8",
            "room 'küche' should have offsets 1-8, but has 8 entries from 1 to 9",
        ),
        ("UPDATE logs SET epoch = '' WHERE key = 'küche'", "room 'küche' has no epoch"),
        (
            "UPDATE logs SET kind = 'attic' WHERE key = 'empty'",
            "attic 'empty' is neither a room nor an inbox",
        ),
        ("UPDATE logs SET secret = NULL WHERE key = 'bob'", "user 'bob' has no secret"),
        (
            f"UPDATE entries SET sender = {ROOM_ID} WHERE id = 'p3'",
            "room 'küche', offset 4: the sender is no user",
        ),
        (
            "UPDATE entries SET sender = 999 WHERE id = 'p3'",
            "room 'küche', offset 4: the sender is no user",
        ),
        (
            f"UPDATE entries SET recipient = {B} WHERE id = 'p3'",
            "room 'küche', offset 4: a direct message in a room",
        ),
        (
            "INSERT INTO entries VALUES (999, 1, 1, NULL, 'x', 1, 'x')",
            "an entry of offset 1 belongs to no log (row 999)",
        ),
        (
            f"UPDATE entries SET sender = {B}, recipient = {B} WHERE id = 'n0'",
            "inbox 'anna', offset 7: neither from nor to its user",
        ),
        (
            "UPDATE entries SET recipient = NULL WHERE id = 'n0'",
            "inbox 'anna', offset 7: neither from nor to its user",
        ),
        (
            f"UPDATE entries SET text = 'forged' WHERE id = 'd2' AND log = {B}",
            "inbox 'anna', offset 3: the other inbox has it differently\n"
            "inbox 'bob', offset 3: the other inbox has it differently",
        ),
        (
            f"UPDATE entries SET id = 'renamed' WHERE id = 'd2' AND log = {B}",
            "inbox 'anna', offset 3: missing in the inbox of 'bob'\n"
            "inbox 'bob', offset 3: missing in the inbox of 'anna'",
        ),
        (
            "UPDATE logs SET name = 'Bobby' WHERE key = 'bob'",
            "inbox 'bob': the name 'Bobby' is not valid, or not of this key",
        ),
        (
            "UPDATE logs SET key = 'Empty' WHERE key = 'empty'",
            "room 'Empty': the name 'Empty' is not valid, or not of this key",
        ),
        (
            "UPDATE logs SET key = 'a b', name = 'A b' WHERE key = 'empty'",
            "room 'a b': the name 'A b' is not valid, or not of this key",
        ),
        ("DROP INDEX entries_by_id", "the index entries_by_id is missing"),
        (
            "DROP INDEX entries_by_id;CREATE INDEX entries_by_id ON entries (log, sender, id)",
            "the index entries_by_id is not what it should be",
        ),
        ("DROP TABLE trimmed", "the table trimmed is missing\nthe index trimmed_by_end is missing"),
        (
            f"INSERT INTO trimmed VALUES ({ROOM_ID}, {A}, 'x', 3, NULL, zeroblob(16), 1, 2)",
            "the id 'x' of room 'küche' is remembered as trimmed, but is not of a trimmed entry",
        ),
        (
            f"INSERT INTO trimmed VALUES ({ROOM_ID}, {A}, 'p1', 0, NULL, zeroblob(16), 1, 2)",
            "the id 'p1' of room 'küche' is remembered as trimmed, but is not of a trimmed entry",
        ),
    ],
)
async def test_damage(tmp_path: Path, statement: str, finding: str) -> None:
    path = tmp_path / "chat.db"
    await build(path)
    await merge(path)
    damage(path, statement)
    assert sorted(check(path)) == sorted(finding.splitlines())


async def test_damage_to_what_is_not_merged_yet(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    await build(path)
    await merge(path)
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        await backend.write([PostTo("anna", "küche", "x", f"q{n}", 5) for n in range(3)])
        await backend.write([SendTo("anna", "bob", "x", "e0", 5)])
    assert check(path) == []
    damage(path, "DELETE FROM recent WHERE id = 'q1'")
    missing = "room 'küche' should have offsets 1-11, but has 10 entries from 1 to 11"
    assert check(path) == [missing]
    damage(path, f"UPDATE recent SET text = 'forged' WHERE id = 'e0' AND log = {B}")
    assert len(check(path)) == 3


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            f"UPDATE entries SET id = 'renamed' WHERE id = 'c2' AND log = {B}",
            "inbox 'bob', offset 9: missing in the inbox of 'carol'\n"
            "inbox 'carol', offset 3: missing in the inbox of 'bob'",
        ),
        (
            "UPDATE trimmed SET digest = X'00' WHERE id = 'p0'",
            "the trimmed id 'p0' lacks its log, its user or its digest",
        ),
        (
            "UPDATE trimmed SET sender = 999 WHERE id = 'p0'",
            "the trimmed id 'p0' lacks its log, its user or its digest",
        ),
        (
            "UPDATE logs SET start = start + 1 WHERE key = 'bob'",
            "inbox 'bob' should have offsets 9-9, but has 2 entries from 8 to 9",
        ),
    ],
)
async def test_damage_where_something_was_trimmed(
    tmp_path: Path, mock_clock: MockClock, statement: str, finding: str
) -> None:
    path = tmp_path / "chat.db"
    await build(path)
    await trim(path, mock_clock)
    damage(path, statement)
    assert sorted(check(path)) == sorted(finding.splitlines())


async def test_damage_to_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    await build(path)
    # Of a page that is free SQLite says more than one line.
    damage(path, "CREATE TABLE gone (x);DROP TABLE gone")
    size = path.stat().st_size
    whole = path.read_bytes()
    for begin in range(4096, size, 4096):
        path.write_bytes(whole[:begin] + b"\xff" * 4096 + whole[begin + 4096 :])
        assert all("\n" not in line for line in check(path))
    assert check(path)
    with path.open("r+b") as file:
        file.truncate(size // 2)
    assert check(path)
