"""Disks that are full, read-only, slow, locked, or lie: `unavailable`, and nothing is lost."""

from __future__ import annotations

import logging
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from chat.client import running
from chat.disk import LimitedFiles, SmallDisk, mounted, small_disk
from chat.process import command, environment, serving
from chat.record import Record

from wscore.chat import ChatServer
from wscore.chat.backends.base import Claim, OpenRoom, PostTo, Stored, Unavailable
from wscore.chat.backends.sqlite import SQLiteBackend
from wscore.chat.model import Name, room_log

ANNA, ROOM = Name("anna", "Anna"), Name("room", "Room")
LOG = room_log("room")
LONG = "😀" * 4000  # 16 KiB


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "wscore.chat")


def post(id: str, text: str = "x") -> PostTo:
    return PostTo("anna", "room", text, id, 1000)


def writer(backend: SQLiteBackend) -> sqlite3.Connection:
    assert backend._database is not None
    return backend._database.writer()


async def offsets(backend: SQLiteBackend) -> list[int]:
    return [entry.offset for entry in (await backend.read_after(LOG, 0, 2**53, 2**31)).entries]


async def refusal(folder: Path) -> str:
    """Start a server that cannot start, and return what it says."""
    with trio.fail_after(60):
        done = await trio.run_process(
            command("--port", "0"),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=folder,
            env=environment(),
        )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    program, _, message = line.partition("wscore chat: ")
    assert not program
    return message


# --- Full -----------------------------------------------------------------------------------


@pytest.fixture(params=["disk", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk | LimitedFiles]:
    if request.param == "limit":
        yield LimitedFiles(tmp_path)
        return
    with small_disk(tmp_path / "disk") as disk:
        yield disk


async def test_a_full_disk_is_over_when_it_is_over(disk: SmallDisk | LimitedFiles) -> None:
    acknowledged: list[str] = []
    async with serving(disk.folder) as server:
        async with server.client() as anna, server.client() as bob:
            await anna.hello("Anna")
            await bob.hello("Bob")
            await anna.ok("join", room="r")
            await bob.ok("join", room="r")

            async def fill(prefix: str) -> str:
                for n in range(30):
                    id = f"{prefix}{n}"
                    reply = await anna.ask("post", room="r", text=LONG, id=id)
                    if reply["type"] == "error":
                        assert reply["code"] == "unavailable"
                        return id
                    acknowledged.append(id)
                pytest.fail("the disk is never full")

            for n in range(3):
                await anna.ok("post", room="r", text=LONG, id=f"first{n}")
                acknowledged.append(f"first{n}")
            pid = server.process.pid
            disk.fill(pid)
            failed = await fill("full")
            for _ in range(3):
                reply = await anna.ask("post", room="r", text=LONG, id=failed)
                assert reply["code"] == "unavailable"
            # What is stored can be read, and connections live.
            history = await bob.ok("history", room="r", before=4, limit=3)
            assert [message["id"] for message in history["messages"]] == acknowledged[:3]
            await bob.ok("ping")
            disk.free(pid)
            stored = await anna.ok("post", room="r", text=LONG, id=failed)
            assert "duplicate" not in stored
            assert stored["offset"] == len(acknowledged) + 1
            acknowledged.append(failed)
            pushes = [push for push in await bob.sync() if push["type"] == "message"]
            assert [push["id"] for push in pushes] == acknowledged
        assert (await server.end(signal.SIGKILL))[0] == -signal.SIGKILL
    async with serving(disk.folder) as server, server.client() as anna:
        await anna.hello("Anna")
        offset = (await anna.ok("join", room="r"))["offset"]
        found: list[str] = []
        while offset > len(found):
            before = offset - len(found) + 1
            history = await anna.ok("history", room="r", before=before, limit=5)
            found = [message["id"] for message in history["messages"]] + found
        assert found == acknowledged


async def test_no_start_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        disk.fill(0)
        assert (await refusal(disk.folder)).startswith("cannot use chat.db: ")
        disk.free(0)
        async with serving(disk.folder) as server, server.client() as anna:
            await anna.hello("Anna")


# --- Read-only ------------------------------------------------------------------------------


async def test_no_start_on_a_read_only_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk.folder / "chat.db"
        async with SQLiteBackend(path).open(Record()):
            pass
        disk.forbid_writing()
        assert (await refusal(disk.folder)).startswith("cannot use chat.db: ")


async def test_a_connection_that_may_not_write_is_replaced(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path / "chat.db")
    async with backend.open(Record()):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM), post("1")])
        writer(backend).execute("PRAGMA query_only = ON")
        with pytest.raises(Unavailable, match="readonly"):
            await backend.write([post("2")])
        (stored,) = await backend.write([post("2")])
        assert isinstance(stored, Stored)
        assert (stored.offset, stored.duplicate) == (2, False)


async def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path / "data" / "chat.db")
    (tmp_path / "data").mkdir()
    record = Record()
    async with backend.open(record):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM), post("1")])
        # The same files, by a way on which they cannot be written.
        with mounted(tmp_path / "data", "-o", "bind,ro", str(tmp_path / "data")):
            writer(backend).execute("PRAGMA query_only = ON")  # an error makes it look again
            for _ in range(3):
                with pytest.raises(Unavailable, match="readonly"):
                    await backend.write([post("2")])
            assert await offsets(backend) == [1]
        (stored,) = await backend.write([post("2")])
        assert isinstance(stored, Stored)
        assert (stored.offset, stored.duplicate) == (2, False)
        assert record.all_lost == 0


# --- Slow -----------------------------------------------------------------------------------


async def test_a_disk_that_hangs_holds_up_nobody_but_those_who_write(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path / "chat.db")
    gate = threading.Event()
    async with running(ChatServer(backend)) as chat:
        anna, bob = await chat.user("Anna", room="r"), await chat.user("Bob", room="r")
        await anna.ok("post", room="r", text="1")
        await bob.sync()
        writer(backend).set_trace_callback(lambda statement: gate.wait() and None)
        try:
            await anna.send("post", room="r", text="2", id="m2")
            await bob.send("post", room="r", text="3", id="m3")
            carol = await chat.connect()
            await carol.send("ping", id="early")
            assert (await carol.reply("early"))["code"] == "hello_required"
            await anna.ok("ping")
            await bob.ok("ping")
            assert not {"m2", "m3"} & {*anna.replies, *bob.replies}
            dora = await chat.connect()
            reading = await dora.send("hello", user="Bob", session="x" * 22)
            await anna.ok("ping")
            assert reading not in dora.replies
        finally:
            gate.set()
        stored = [await anna.reply("m2"), await bob.reply("m3")]
        assert sorted(reply["offset"] for reply in stored) == [2, 3]
        assert (await dora.reply(reading))["code"] == "name_taken"


HANGING = """
import os, sqlite3, sys, time
from wscore.chat.backends import database
connect = database.connect

def hang(statement):
    while os.path.exists("hang"):
        time.sleep(0.01)

def slow(path, mode):
    connection = connect(path, mode)
    connection.set_trace_callback(hang)
    return connection

database.connect = slow
from wscore.chat.__main__ import main
sys.exit(main())
"""


async def test_a_server_whose_disk_hangs_can_be_stopped(tmp_path: Path) -> None:
    program = tmp_path / "hanging.py"
    program.write_text(HANGING)
    async with serving(tmp_path, program=[str(program)]) as server, server.client() as anna:
        await anna.hello("Anna")
        await anna.ok("join", room="r")
        await anna.ok("post", room="r", text="1")
        (tmp_path / "hang").touch()
        await anna.send("post", room="r", text="2")
        await anna.ok("ping")
        status, stderr = await server.end(signal.SIGTERM)
        assert (status, stderr) == (0, "")


# --- Locked, and failing --------------------------------------------------------------------


async def test_a_locked_database_is_unavailable_for_its_time(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    backend = SQLiteBackend(path)
    async with backend.open(Record()):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
        writer(backend).execute("PRAGMA busy_timeout = 0")
        somebody = sqlite3.connect(path, isolation_level=None)
        somebody.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await backend.write([post("1")])
        somebody.execute("ROLLBACK")
        somebody.close()
        (stored,) = await backend.write([post("1")])
        assert isinstance(stored, Stored)
        assert not stored.duplicate


async def test_a_database_that_is_locked_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    backend = SQLiteBackend(path)
    async with backend.open(Record()), trio.open_nursery() as nursery:
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM)])
        somebody = sqlite3.connect(path, isolation_level=None)
        somebody.execute("BEGIN IMMEDIATE")
        asked, token = trio.Event(), trio.lowlevel.current_trio_token()
        writer(backend).set_trace_callback(
            lambda statement: token.run_sync_soon(asked.set) if "BEGIN" in statement else None
        )
        nursery.start_soon(backend.write, [post("1")])
        await asked.wait()
        somebody.execute("ROLLBACK")
        somebody.close()
    assert not backend._news


class Failing:
    """A connection whose commit fails, before or after it took effect."""

    def __init__(self, connection: sqlite3.Connection, *, is_stored: bool) -> None:
        self._connection = connection
        self._is_stored = is_stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            if self._is_stored:
                self._connection.execute(sql)
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, *arguments)


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_commit_whose_end_is_in_doubt(tmp_path: Path, is_stored: bool) -> None:
    """The poster is told that it failed; whoever follows must still see every offset."""
    backend = SQLiteBackend(tmp_path / "chat.db")
    record = Record()
    async with backend.open(record):
        await backend.write([Claim(ANNA, b"a"), OpenRoom(ROOM), post("1")])
        assert backend._database is not None
        failing: Any = Failing(writer(backend), is_stored=is_stored)
        backend._database._writer = failing
        with pytest.raises(Unavailable, match="disk I/O error"):
            await backend.write(
                [
                    post("2"),
                    OpenRoom(Name("other", "other")),
                    PostTo("anna", "other", "x", "1", 1000),
                    post("3"),
                ]
            )
        assert len(record.announced) == 1
        retried = await backend.write([post("2"), post("3"), post("4")])
        assert [result[1:] for result in retried] == [
            (2, 1000, is_stored),
            (3, 1000, is_stored),
            (4, 1000, False),
        ]
        in_room = [entry for log, entry in record.announced if log == LOG]
        assert len(record.announced) == 4 + is_stored
        assert [(entry.offset, entry.id) for entry in in_room] == [
            (1, "1"),
            (2, "2"),
            (3, "3"),
            (4, "4"),
        ]
        assert await offsets(backend) == [1, 2, 3, 4]
