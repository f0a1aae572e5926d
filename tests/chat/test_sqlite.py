"""What only the SQLite back-end has to do: keep, survive, refuse."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from chat.record import Record

from wscore.chat.auth import Gate
from wscore.chat.backends import recent, sqlite
from wscore.chat.backends.base import (
    CannotOpen,
    Claim,
    Claimed,
    Command,
    Opened,
    OpenRoom,
    PostTo,
    Refused,
    Result,
    SendTo,
    Stored,
    Unavailable,
)
from wscore.chat.backends.check import check
from wscore.chat.backends.memory import MemoryBackend
from wscore.chat.backends.sqlite import SQLiteBackend
from wscore.chat.model import Name, inbox_log, room_log
from wscore.chat.protocol import Hello
from wscore.trio import HTTPRequest

ANNA, ROOM = Name("anna", "Anna"), Name("room", "Room")


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def writer(backend: SQLiteBackend) -> sqlite3.Connection:
    assert backend._database is not None
    return backend._database.writer()


def post(text: str, id: str) -> PostTo:
    return PostTo("anna", "room", text, id, 1000)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    first = SQLiteBackend(path)
    async with first.open(Record()):
        before = await first.write(
            [Claim(ANNA, b"a"), OpenRoom(ROOM), post("x", "1"), SendTo("anna", "anna", "n", "1", 1)]
        )
    again = SQLiteBackend(path)
    async with again.open(Record()):
        after = await again.write(
            [post("x", "1"), SendTo("anna", "anna", "n", "1", 9), Claim(ANNA, b"wrong")]
        )
        assert isinstance(before[2], Stored)
        assert isinstance(before[3], Stored)
        assert isinstance(after[2], Refused)
        assert after[:2] == [r._replace(duplicate=True) for r in (before[2], before[3])]
        assert len((await again.read_after(room_log("room"), 0, 9, 9)).entries) == 1
        assert len((await again.read_after(inbox_log("anna"), 0, 9, 9)).entries) == 1


async def test_what_is_merged_and_what_is_not_yet_are_one_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was merged when, pages have no holes, and ids are known; after a kill, too."""
    monkeypatch.setattr(recent, "_MOST", 5)
    backend = SQLiteBackend(tmp_path / "chat.db")
    log = room_log("room")
    async with backend.open(Record()):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
        for batch in range(8):
            stored = await backend.write([post("x", f"{batch}-{n}") for n in range(3)])
            assert [r.offset for r in stored if isinstance(r, Stored)] == [
                3 * batch + n for n in (1, 2, 3)
            ]
            again = await backend.write([post("x", f"{n}-1") for n in range(batch + 1)])
            assert [(r.offset, r.duplicate) for r in again if isinstance(r, Stored)] == [
                (3 * n + 2, True) for n in range(batch + 1)
            ]
            end = 3 * batch + 3
            for first in range(end):
                after = await backend.read_after(log, first, end, 4)
                before = await backend.read_before(log, first + 1, 4)
                assert [e.offset for e in after.entries] == [*range(first + 1, end + 1)][:4]
                assert [e.offset for e in before.entries] == [*range(1, first + 1)][-4:]
            assert [e.offset for e in (await backend.read_after(log, 0, 2, 99)).entries] == [1, 2]
        folder = tmp_path / "as it was"
        folder.mkdir()
        for suffix in "", "-wal", "-mark":
            shutil.copy(f"{tmp_path / 'chat.db'}{suffix}", folder / f"chat.db{suffix}")
    killed = SQLiteBackend(folder / "chat.db")
    async with killed.open(Record()):
        assert [e.offset for e in (await killed.read_after(log, 0, 99, 99)).entries] == [
            *range(1, 25)
        ]
        stored = await killed.write([post("x", f"{n}-2") for n in range(8)])
        assert all(isinstance(r, Stored) and r.duplicate for r in stored)


@pytest.mark.parametrize("seed", range(5))
async def test_merging_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Beside the store in memory: batches of posts and direct messages, some sent again."""
    monkeypatch.setattr(recent, "_MOST", 7)
    monkeypatch.setattr(sqlite, "_KNOWN_ROWS", 3)
    chance = random.Random(seed)
    names = [Name(f"n{number}", f"N{number}") for number in range(6)]
    ours, other = SQLiteBackend(tmp_path / "chat.db"), MemoryBackend()
    record, expected = Record(), Record()
    async with ours.open(record), other.open(expected):
        for time in range(1, 150):
            batch: list[Command] = []
            for _ in range(chance.randrange(4)):
                user, to = (chance.choice(names) for _ in range(2))
                id = str(chance.randrange(200))
                batch += chance.choice(
                    [
                        [Claim(user, b"s")],
                        [OpenRoom(to)],
                        [PostTo(user.key, to.key, "x", id, time)],
                        [SendTo(user.key, to.key, "x", id, time)],
                    ]
                )
            for one, two in zip(await ours.write(batch), await other.write(batch), strict=True):
                assert without_epoch(one) == without_epoch(two)
            assert record.announced == expected.announced
            limit = chance.randrange(1, 8)
            assert await ours.rooms(limit) == await other.rooms(limit)
        for log in {log for log, _ in record.announced}:
            assert await ours.read_after(log, 0, 999, 999) == await other.read_after(
                log, 0, 999, 999
            )
    assert check(tmp_path / "chat.db") == []
    again = SQLiteBackend(tmp_path / "chat.db")
    async with again.open(Record()), other.open(Record()):
        assert await again.rooms(9) == await other.rooms(9)


def without_epoch(result: Result) -> tuple[object, ...]:
    match result:
        case Claimed(name, head) | Opened(name, head):
            return name, head.offset
        case Stored():
            return result[1:]
    return result


async def test_a_merge_that_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "_MOST", 3)
    backend = SQLiteBackend(tmp_path / "chat.db")
    async with backend.open(Record()):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
        await backend.write([post("x", str(n)) for n in range(3)])
        writer(backend).execute("PRAGMA query_only = ON")
        with pytest.raises(Unavailable, match="readonly"):
            await backend.write([post("x", "3")])
        stored = await backend.write([post("x", str(n)) for n in range(5)])
        assert [(r.offset, r.duplicate) for r in stored if isinstance(r, Stored)] == [
            (1, True),
            (2, True),
            (3, True),
            (4, False),
            (5, False),
        ]
        page = await backend.read_after(room_log("room"), 0, 99, 99)
        assert [entry.offset for entry in page.entries] == [1, 2, 3, 4, 5]


async def test_large_texts_are_merged_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "_MOST_TEXT", 1000)
    path = tmp_path / "chat.db"
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
        for n in range(3):
            await backend.write([post("x" * 600, str(n))])
        reader = sqlite3.connect(path)
        assert reader.execute("SELECT count(*) FROM entries").fetchone() == (2,)
        assert reader.execute("SELECT count(*) FROM recent").fetchone() == (1,)
        reader.close()


async def test_the_database_is_as_safe_as_it_says(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path / "chat.db")
    async with backend.open(Record()):
        assert writer(backend).execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer(backend).execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_sessions_are_not_in_the_file(tmp_path: Path) -> None:
    session = "do-not-find-me-in-the-file"
    request = HTTPRequest("GET", "/ws", [], "client", "server")
    admission = await Gate().admit(Hello(id="1", user="Anna", session=session), request)
    path = tmp_path / "chat.db"
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        await backend.write([Claim(admission.user, admission.secret)])
    assert b"Anna" in contents(tmp_path)
    assert session.encode() not in contents(tmp_path)


@pytest.mark.parametrize("where", ["no-such-folder/chat.db", "."])
async def test_a_path_that_cannot_be(tmp_path: Path, where: str) -> None:
    with pytest.raises(CannotOpen, match="cannot use"):
        async with SQLiteBackend(tmp_path / where).open(Record()):
            pass


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(CannotOpen, match="not a database"):
        async with SQLiteBackend(path).open(Record()):
            pass
    assert path.read_text().startswith("Dear diary")


async def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(CannotOpen, match="another program"):
        async with SQLiteBackend(path).open(Record()):
            pass


async def test_one_server_for_one_file(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with SQLiteBackend(path).open(Record()):
        with pytest.raises(CannotOpen, match="another server"):
            async with SQLiteBackend(path).open(Record()):
                pass
    async with SQLiteBackend(path).open(Record()):
        pass
